"""The verdict on scores that are known: what it says must be true of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion
from hybridseg.verdict import GRADES, NextSteps, judge, measure_interval

TABLE = ClassTable.from_names(["water", "wet sand", "dune"])
STEPS = NextSteps(good="use it", weak="label more {weakest}", few="measure more photos")


def photo(*rows, missed=(0, 0, 0)):
    return Confusion(TABLE, np.array(rows, np.int64), np.array(missed, np.int64))


PERFECT = photo([6, 0, 0], [0, 3, 0], [0, 0, 1])


def test_hardly_any_right_is_poor():
    """9 % of the tiles of two photos, as a classifier of six photos got."""
    tiles = [photo([2, 12, 10], [8, 2, 4], [3, 1, 0]), photo([0, 0, 0], [1, 0, 0], [0, 0, 0])]
    verdict = judge(tiles, unit="tiles")
    assert verdict.grade == "poor" and verdict.skill < 0 and verdict.weakest == "dune"
    assert verdict.text == (
        "Poor: 9 % of the tiles are right; always answering 'water' would get 56 %. Mean F1 0.08: 'dune' is never "
        "found, and most often taken for 'water'. Measured on 2 photos (0 to 10 % right in each): too few to rely on."
    )
    assert verdict.choose_step(STEPS) == "label more 'dune'"


def test_a_high_accuracy_is_no_merit_where_one_class_covers_nearly_all():
    verdict = judge([photo([95, 0, 0], [3, 0, 0], [2, 0, 0])] * 6)
    assert verdict.grade == "poor" and verdict.skill == 0
    assert "95 % of the pixels are right; always answering 'water' would get 95 %" in verdict.text
    assert "Mean F1 0.32: 'wet sand' and 'dune' are never found." in verdict.text


def test_a_rare_class_that_is_lost_spoils_a_good_accuracy():
    """Skill is 0.9, and one class of three is not found: the mean F1 decides."""
    lost = judge([photo([60, 0, 0], [0, 36, 0], [4, 0, 0])] * 6)
    assert lost.skill == pytest.approx(0.9) and lost.grade == "fair"
    assert "Mean F1 0.66: 'dune' is never found, and most often taken for 'water'" in lost.text and lost.choose_step(
        STEPS
    ).endswith("'dune'")


@pytest.mark.parametrize(("n_right", "grade"), [(69, "poor"), (70, "fair"), (80, "good"), (90, "very good")])
def test_the_bands_of_two_equal_classes(n_right, grade):
    """Where always the same answer gets half, a skill of .4, .6 and .8 is an accuracy of .7, .8 and .9."""
    n_wrong = 100 - n_right
    verdict = judge([photo([n_right, n_wrong, 0], [n_wrong, n_right, 0], [0, 0, 0])] * 6)
    assert verdict.grade == grade and "the same answer everywhere would get 50 %" in verdict.text
    assert verdict.choose_step(STEPS) == ("use it" if "good" in grade else "label more 'water'")


def test_the_weakest_class_is_what_others_are_taken_for_where_that_is_more():
    verdict = judge([photo([60, 0, 20], [0, 30, 0], [1, 0, 9])] * 6)
    assert (
        "Mean F1 0.77; the weakest class is 'dune' (F1 0.46): 69 % of what is taken for it is 'water'." in verdict.text
    )
    missed = judge([photo([60, 0, 0], [0, 30, 0], [1, 0, 9], missed=[0, 0, 8])] * 6)
    assert "'dune' (F1 0.67), most often left without a class" in missed.text
    assert "eakest" not in judge([PERFECT] * 6).text


def test_few_photos_ask_for_more_even_when_all_is_right():
    one, four, five = (judge([PERFECT] * n) for n in (1, 4, 5))
    assert one.text.endswith("Measured on one photo: too few to rely on.") and one.interval is None
    assert four.text.endswith("Measured on 4 photos (100 % right in each): too few to rely on.")
    assert four.choose_step(STEPS) == "measure more photos" and five.choose_step(STEPS) == "use it"
    assert "too few" not in five.text and five.grade == four.grade == "very good"


def test_what_lies_between_two_scores_has_one_format():
    nearly = [photo([99_990, 10, 0], [0, 100_000, 0], [0, 0, 100_000]), photo([36, 64, 0], [64, 36, 0], [32, 32, 36])]
    assert "(36.0 to 99.9 % right in each)" in judge(nearly).text
    assert "(36 to 100 % right in each)" in judge([PERFECT, nearly[1]]).text


def test_photos_without_a_labelled_pixel_do_not_count():
    empty = photo([0, 0, 0], [0, 0, 0], [0, 0, 0])
    assert judge([PERFECT, empty, empty]).n_photos == 1
    assert judge([empty]) is None and judge([]) is None


def test_one_class_alone_gives_no_verdict():
    verdict = judge([photo([9, 1, 0], [0, 0, 0], [0, 0, 0])] * 6)
    assert verdict.grade is None and verdict.skill is None and verdict.text.startswith("No verdict: only 'water' is")


def test_other_floors_are_compared():
    half = photo([50, 10, 0], [30, 10, 0], [0, 0, 0])
    verdict = judge([half] * 6, floors={"the tiles alone": 0.7, "colours": 0.5, "none": None, "same": 0.602})
    assert "60 % of the pixels are right, fewer than the tiles alone (70 %), more than colours (50 %)" in verdict.text
    assert "about as many as same (60 %); always" in verdict.text and "none" not in verdict.text
    assert verdict.beaten_by == ("the tiles alone", "same")
    assert verdict.choose_step(STEPS) == "label more 'wet sand'"
    assert verdict.choose_step(replace(STEPS, beaten="tune")) == "tune"


def test_the_interval_is_that_of_photos_and_not_of_pixels():
    """Of twenty photos half are right in .6 and half in .8: the standard error of the mean is .1 / sqrt(20)."""
    photos = [photo([n, 0, 0], [10 - n, 0, 0], [0, 0, 0]) for n in [6, 8] * 10]
    low, high = measure_interval(photos)
    assert low == pytest.approx(0.7 - 1.96 * 0.1 / 20**0.5, abs=0.01)
    assert high == pytest.approx(0.7 + 1.96 * 0.1 / 20**0.5, abs=0.01)
    large = [Confusion(TABLE, p.counts * 1000, p.n_unpredicted) for p in photos]
    assert measure_interval(large) == (low, high) and measure_interval(photos[:4]) == (0.6, 0.8)


@given(counts=npst.arrays(np.int64, (6, 3, 3), elements=st.integers(0, 30)))
def test_a_verdict_on_anything_is_true(counts):
    photos = [photo(*rows) for rows in counts.tolist()]
    assume(counts.sum())
    verdict = judge(photos)
    support = counts.sum(axis=(0, 2))
    accuracy = np.trace(counts.sum(axis=0)) / counts.sum()
    assert verdict.majority == support.max() / support.sum()
    assert verdict.n_photos == (counts.sum(axis=(1, 2)) > 0).sum()
    if verdict.grade is None:
        assert (support > 0).sum() == 1
    else:
        assert verdict.grade in GRADES and support[TABLE.index(verdict.weakest)]
        assert verdict.grade == "poor" or accuracy > verdict.majority
    if verdict.interval is not None:
        low, high = verdict.interval
        assert low - 1e-9 <= accuracy <= high + 1e-9
    assert "\n" not in verdict.text and verdict.text.endswith(".")
