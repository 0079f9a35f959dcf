import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.ranking import average_dice, list_image_rows, rank_images, tell_worst

TABLE = ClassTable.from_names(["water", "sand", "veg"])
TRUTH = np.repeat([0, 1], [90, 10]).astype(np.uint8)


def count(result, truth=TRUTH):
    return count_confusion(truth, np.asarray(result, np.uint8), TABLE)


def change(index, to):
    labels = TRUTH.copy()
    labels[index] = to
    return labels


LOST, EVEN, RIGHT = count(change(slice(90, 100), 0)), count(change(slice(0, 20), 2)), count(TRUTH)


def test_a_rare_class_that_is_lost_is_worse_than_many_pixels_of_a_frequent_one():
    """By hand: 90 % are right, Dice 180/190 and 0; 80 % are right, Dice 140/160, 1 and 0; and all right."""
    found = rank_images({"right": RIGHT, "even": EVEN, "lost": LOST})
    assert [image.image for image in found] == ["lost", "even", "right"]
    assert [image.accuracy for image in found] == [0.9, 0.8, 1.0]
    assert [image.dice for image in found] == pytest.approx([90 / 190, (140 / 160 + 1) / 3, 1])
    assert average_dice(found) == pytest.approx(sum(image.dice for image in found) / 3)


def test_a_class_that_only_the_result_has_counts_unless_it_is_left_out():
    [image] = rank_images({"even": EVEN})
    assert image.class_dice == {"water": 140 / 160, "sand": 1.0, "veg": 0.0} and image.worst_class == "veg"
    assert EVEN.image_dice() == [140 / 160, 1.0, 0.0] and EVEN.scores("f1")[2] is None
    [image] = rank_images({"even": EVEN}, left_out=("Veg",))
    assert image.class_dice == {"water": 140 / 160, "sand": 1.0} and image.worst_class == "water"


def test_the_commonest_mistake_with_the_worst_class():
    nothing = count(change(slice(92, 100), 255))
    both = count(change(np.r_[88:90, 90:93], [1, 1, 2, 2, 2]))
    found = {image.image: image for image in rank_images({"a": LOST, "b": EVEN, "c": RIGHT, "d": nothing, "e": both})}
    assert found["a"].mistake == ("sand", "water", 10) and found["b"].mistake == ("water", "veg", 20)
    assert found["c"].mistake is None and found["d"].mistake == ("sand", "(none)", 8)
    assert found["e"].worst_class == "veg" and found["e"].mistake == ("sand", "veg", 3)
    # Of two classes that are never right, the one with the most wrong pixels.
    [image] = rank_images({"f": count(change(np.r_[0, 90:100], [2, *[0] * 10]))})
    assert image.class_dice["veg"] == image.class_dice["sand"] == 0 and image.mistake == ("sand", "water", 10)
    [image] = rank_images({"g": count(change(np.r_[0:20, 90:100], [*[2] * 20, *[0] * 10]))})
    assert image.worst_class == "veg" and image.mistake == ("water", "veg", 20)
    _, header, rows = tell_worst(rank_images({"a": LOST, "c": RIGHT, "d": nothing}))
    assert header == ("image", "Dice", "worst class", "its Dice", "its commonest mistake", "pixels")
    assert rows == [
        ("a", "0.474", "sand", "0.000", "sand taken for water", "10"),
        ("d", "0.667", "sand", "0.333", "sand without a class", "8"),
        ("c", "1.000", "water", "1.000", "none", "0"),
    ]


def test_images_without_a_compared_pixel_come_last_and_have_no_scores():
    void = count(TRUTH, np.full(100, 255, np.uint8))
    found = rank_images({"x": void, "right": RIGHT, "a": void})
    assert [image.image for image in found] == ["right", "a", "x"] and found[1].dice is None
    title, _, rows = tell_worst(found)
    assert title == "multi-label Dice of 1 image: mean 1.000; the worst first" and len(rows) == 1
    assert tell_worst(found[1:])[0] == "multi-label Dice: no pixel was compared"
    assert average_dice(found) == 1 and average_dice(found[1:]) is None and rank_images({}) == ()
    columns, records = list_image_rows(found)
    assert columns[:4] == ("image", "dice", "accuracy", "pixels") and columns[-2:] == ("dice water", "dice sand")
    assert records[1]["dice"] is None and records[0]["dice sand"] == 1.0


def test_no_more_than_five_are_listed():
    title, _, rows = tell_worst(rank_images({f"p{i}": EVEN for i in range(7)}))
    assert title.startswith("multi-label Dice of 7 images: mean 0.625;")
    assert [row[0] for row in rows] == ["p0", "p1", "p2", "p3", "p4"]
