"""Every score against scikit-learn, and by hand where a class is absent."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import SCORES, Confusion, count_confusion, pool_confusions
from hybridseg.errors import BadInput

TABLE = ClassTable.from_names(["water", "sand", "dune", "cliff", "road"])
maps = npst.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 3]))


@pytest.fixture(scope="module")
def metrics():
    """Scikit-learn, whose import takes a second: only where these tests run."""
    from sklearn import metrics

    return metrics


def sklearn_scores(metrics, truth, prediction, average):
    """Of the classes that are in the truth, as ours."""
    settings = {"labels": np.unique(truth), "average": average, "zero_division": 0}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, prediction, **settings)
    return precision, recall, f1, metrics.jaccard_score(truth, prediction, **settings)


@given(truth=maps, prediction=maps)
def test_counts_are_those_of_scikit_learn(metrics, truth, prediction):
    counts = metrics.confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(len(TABLE)))
    assert np.array_equal(count_confusion(truth, prediction, TABLE).counts, counts)


@given(
    counts=npst.arrays(np.int64, (5, 5), elements=st.sampled_from([0, 0, 0, 1, 2, 7, 40])),
    missed=npst.arrays(np.int64, 5, elements=st.sampled_from([0, 0, 3])),
)
@example(counts=np.zeros((5, 5), np.int64), missed=np.array([3, 0, 0, 0, 0]))
def test_scores_are_those_of_scikit_learn(metrics, counts, missed):
    """For any matrix: classes never predicted, only predicted, and pixels without a prediction (here a sixth class)."""
    assume((counts.sum() + missed.sum()) > 0)
    confusion = Confusion(TABLE, counts, missed)
    cells = np.concatenate([counts, missed[:, None]], axis=1).ravel()
    truth, prediction = np.repeat(np.arange(5), 6).repeat(cells), np.tile(np.arange(6), 5).repeat(cells)
    assert confusion.accuracy == pytest.approx(metrics.accuracy_score(truth, prediction))
    present = np.unique(truth)
    assert confusion.left_out == tuple(name for i, name in enumerate(TABLE.names) if i not in present)
    for name, expected in zip(SCORES, sklearn_scores(metrics, truth, prediction, None), strict=True):
        values = confusion.scores(name)
        assert all(values[i] is None for i in range(len(TABLE)) if i not in present)
        assert [values[i] for i in present] == pytest.approx(expected)
    for average in ("macro", "weighted"):
        for name, expected in zip(SCORES, sklearn_scores(metrics, truth, prediction, average), strict=True):
            assert getattr(confusion, average)(name) == pytest.approx(expected)


def test_a_class_that_is_never_found_is_not_left_out_of_the_means():
    """One of three classes is found and the others are taken for it: mean precision is a third of its own."""
    truth = np.repeat([0, 1, 2], [94, 3, 3])
    confusion = count_confusion(truth, np.zeros_like(truth), TABLE)
    assert confusion.scores("precision")[:3] == [0.94, 0.0, 0.0]
    assert confusion.macro("precision") == pytest.approx(0.94 / 3)
    assert confusion.weighted("precision") == pytest.approx(0.94**2)
    assert confusion.to_record()["left_out"] == ["cliff", "road"]


def test_absent_classes_have_no_score_and_spoil_no_mean():
    truth, prediction = np.array([[0, 0, 1, 1]]), np.array([[0, 2, 2, 2]])
    confusion = count_confusion(truth, prediction, TABLE)
    assert confusion.scores("precision") == [1.0, 0.0, None, None, None]
    assert confusion.scores("recall") == [0.5, 0.0, None, None, None]
    assert confusion.scores("f1") == [pytest.approx(2 / 3), 0.0, None, None, None]
    assert confusion.scores("iou") == [0.5, 0.0, None, None, None]
    assert confusion.macro("recall") == 0.25 and confusion.macro("iou") == 0.25
    assert confusion.weighted("recall") == 0.25 == confusion.accuracy
    assert confusion.weighted("precision") == 0.5


def test_void_truth_is_not_compared_and_void_prediction_is_missed():
    truth, prediction = np.array([[0, 0, VOID, 1]]), np.array([[0, VOID, 1, 1]])
    confusion = count_confusion(truth, prediction, TABLE)
    assert confusion.n_pixels == 3 and confusion.accuracy == pytest.approx(2 / 3)
    assert confusion.scores("recall")[:2] == [0.5, 1.0] and confusion.scores("precision")[:2] == [1.0, 1.0]
    assert confusion.n_unpredicted.tolist() == [1, 0, 0, 0, 0]


def test_ignored_truth_is_left_out():
    truth, prediction = np.array([[0, 0, 4, 4, 1]]), np.array([[0, 4, 4, 1, 1]])
    confusion = count_confusion(truth, prediction, TABLE).without(("Road",))
    assert confusion.n_pixels == 3 and confusion.scores("precision")[1] == 1.0
    assert confusion.scores("recall")[4] is None and confusion.scores("precision")[4] is None
    assert confusion.macro("recall") == 0.75 and confusion.accuracy == pytest.approx(2 / 3)
    with pytest.raises(BadInput, match="no class is called 'rode'"):
        confusion.without(("rode",))


def test_nothing_to_compare_has_no_scores():
    confusion = count_confusion(np.full((2, 2), VOID), np.zeros((2, 2), np.uint8), TABLE)
    assert confusion.accuracy is None and confusion.macro("f1") is None and confusion.weighted("iou") is None


def test_pooling_is_counting_all_pixels_together_by_name():
    a, b = ClassTable.from_names(["sand", "water"]), ClassTable.from_names(["Water", "road", "SAND"])
    rng = np.random.default_rng(0)
    ta, pa = rng.integers(0, 2, (2, 50), dtype=np.uint8)
    tb, pb = rng.integers(0, 3, (2, 50), dtype=np.uint8)
    pooled = pool_confusions([count_confusion(ta, pa, a), count_confusion(tb, pb, b)])
    assert pooled.table.names == ("sand", "water", "road")
    to_pooled = np.array([1, 2, 0], np.uint8)
    together = count_confusion(np.concatenate([ta, to_pooled[tb]]), np.concatenate([pa, to_pooled[pb]]), pooled.table)
    assert np.array_equal(pooled.counts, together.counts)


def test_different_sizes_are_refused():
    with pytest.raises(BadInput, match="the truth is 2 x 3 pixels but the prediction is 3 x 2"):
        count_confusion(np.zeros((2, 3)), np.zeros((3, 2)), TABLE)


def test_large_maps_are_counted_in_pieces(metrics):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 5, (2, 2100, 2100), dtype=np.uint8)
    assert np.array_equal(
        count_confusion(truth, prediction, TABLE).counts, metrics.confusion_matrix(truth.ravel(), prediction.ravel())
    )
