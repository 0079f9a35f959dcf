import numpy as np
import pytest

from hybridseg.learning.experience import Experience, Lessons
from hybridseg.learning.softmax import fit_softmax

KEYS = ("water", "sand", "cliff")


def make_image(rng, shift, n=60):
    """Samples of two features: the first tells sand from cliff, under a light of its own."""
    class_ids = np.repeat([1, 2], n // 2)
    features = rng.normal(0, (0.3, 2.0), (n, 2)) + np.stack([class_ids * 2.0, np.zeros(n)], axis=1)
    return (features * 3 + shift).astype(np.float32), class_ids


@pytest.fixture
def experience():
    """That of two images, on which there is a third class too."""
    rng, found = np.random.default_rng(0), Experience()
    for i, shift in enumerate((50, 80)):
        features, class_ids = make_image(rng, shift)
        features[:5], class_ids[:5] = 0, 0
        Lessons(found, f"image {i}", KEYS, 0.3, keeps=True).add(features, class_ids)
    return found


def test_few_scribbles_are_enough_where_others_have_taught(experience):
    """Two pixels mislead: their second feature differs by chance."""
    features, class_ids = make_image(np.random.default_rng(1), 20)
    few, few_ids = features[[0, -1]].copy(), class_ids[[0, -1]]
    few[:, 1] = 20 - 6, 20 + 6
    samples, ids, weights = Lessons(experience, "new", KEYS, 0.3, keeps=False).add(few, few_ids)
    assert weights[:2].sum() == pytest.approx(1) and weights[2:].sum() == pytest.approx(0.3)
    assert set(ids) == {1, 2}, "a class without a scribble here is not brought in"

    def count_right(*found):
        classifier = fit_softmax(found[0], found[1] - 1, n_classes=2, weights=found[2])
        return (classifier.predict(features @ classifier.weights).argmax(axis=1) == class_ids - 1).mean()

    assert count_right(samples, ids, weights) > count_right(few, few_ids, None)


def test_others_count_less_the_more_strokes_an_image_has(experience):
    features, class_ids = make_image(np.random.default_rng(1), 20)
    shares = {}
    for n_strokes in (0.5, 1.0, 1.5, 2.0, 9.0):
        lessons = Lessons(experience, "new", KEYS, 0.3, keeps=False)
        shares[n_strokes] = lessons.add(features, class_ids, n_strokes=n_strokes)[2][60:].sum()
    assert list(shares.values()) == pytest.approx([0.3, 0.3, 0.3 / 4, 0, 0])
    assert not lessons.teachers, "who has not taught is not named"


@pytest.mark.parametrize(
    ("image", "keys", "weight", "n_features", "teachers"),
    [
        ("new", KEYS, 0.3, 2, ["image 0", "image 1"]),
        ("image 0", KEYS, 0.3, 2, ["image 1"]),
        ("new", ("water", "forest", "road"), 0.3, 2, []),
        ("new", KEYS, 0.3, 3, []),
        ("new", KEYS, 0.0, 2, []),
    ],
)
def test_who_has_taught(experience, image, keys, weight, n_features, teachers):
    lessons = Lessons(experience, image, keys, weight, keeps=False)
    lessons.add(np.zeros((2, n_features), np.float32), np.array([1, 2]))
    assert lessons.teachers == teachers


def test_classes_are_known_by_their_names(experience):
    turned = Lessons(experience, "new", KEYS[::-1], 1.0, keeps=False)
    _, ids, _ = turned.add(np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert (ids[2:] == 0).sum() == 60 and (ids[2:] == 1).sum() == 50


def test_an_image_does_not_teach_itself(experience):
    features, class_ids = make_image(np.random.default_rng(2), 0)
    for name, n_others in (("image 1", 55), ("new", 110)):
        _, ids, _ = Lessons(experience, name, KEYS, 0.3, keeps=False).add(features, class_ids)
        assert len(ids) == 60 + n_others
    assert len(Lessons(experience, "new", KEYS, 0.0, keeps=False).add(features, class_ids)[1]) == 60


def test_what_was_withdrawn_teaches_no_more(experience):
    experience.forget("image 0")
    experience.forget("nobody")
    assert list(experience.recall("new")) == ["image 1"]


def test_earlier_images_are_looked_at_when_they_are_needed():
    """The latest first, as many as would have been kept; before those that were labelled since."""
    looked, rng = [], np.random.default_rng(0)

    def look(image):
        looked.append(image)
        return None if image == "single" else (rng.normal(size=(4, 2)).astype(np.float32), ["sand"] * 4)

    found = Experience(["own", "b", "single", "c", *(f"older {k}" for k in range(9))], look)
    features, ids = np.eye(2, dtype=np.float32), np.array([1, 2])
    lessons = Lessons(found, "own", KEYS, 0.3, keeps=False, n_looks=0)
    lessons.add(features, ids, n_strokes=2)
    assert lessons.is_all and not looked, "where nobody teaches nobody is asked"
    lessons.add(features, ids)
    assert not (lessons.is_all or looked or lessons.teachers)
    found.remember("since", *look("since"))
    lessons = Lessons(found, "own", KEYS, 0.3, keeps=False, n_looks=1)
    lessons.add(features, ids)
    assert not lessons.is_all and lessons.teachers == ["b", "since"] and looked == ["since", "b"]
    found.forget("c")
    lessons = Lessons(found, "own", KEYS, 0.3, keeps=True)
    lessons.add(features, ids)
    older = [f"older {k}" for k in range(5, -1, -1)]
    assert lessons.is_all and lessons.teachers == [*older, "b", "since"], "the image itself is one of nine"
    assert list(found.recall("other")) == [*older, "b", "since", "own"]
    assert "c" not in looked and len(looked) == len(set(looked))


def test_one_that_is_labelled_anew_while_it_is_looked_at():
    def look(image):
        found.remember("a", np.ones((1, 2), np.float32), ["new"])
        return np.ones((1, 2), np.float32), ["old"]

    found = Experience(["a"], look)
    assert found.look_back("b") and found.recall("b")["a"][1] == ["new"]


def test_one_for_which_there_is_no_room_any_more():
    def look(image):
        for k in range(9):
            found.remember(f"new {k}", np.ones((1, 2), np.float32), ["sand"])
        return np.ones((1, 2), np.float32), ["sand"]

    found = Experience(["a"], look)
    assert found.look_back("b") and list(found.recall("b")) == [f"new {k}" for k in range(9)]


def test_features_of_another_kind_are_left_out(experience):
    other = np.zeros((2, 5), np.float32)
    assert len(Lessons(experience, "new", KEYS, 0.3, keeps=False).add(other, np.array([1, 2]))[0]) == 2


def test_only_the_last_images_are_kept():
    found = Experience()
    for i in range(20):
        found.remember(f"{i}", np.zeros((1000, 2), np.float32), ["water"] * 1000)
    assert len(found.recall("new")) == 9 and all(len(samples) == 300 for samples, _ in found.recall("new").values())
