import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.crf.guard import LostClass, find_lost_classes

TABLE = ClassTable.from_names(["water", "sand", "rock"])


def test_a_class_that_was_swapped_for_another():
    seeds = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]], np.uint8)
    labels = np.array([[0, 0, 0, 0, 1, 0, 2, 2, 1, 1]], np.uint8)
    assert find_lost_classes(seeds, labels) == [LostClass(1, 0.5, 0.25, 2, 0.5)]
    assert find_lost_classes(seeds, labels)[0].describe(TABLE) == (
        "sand had 50% of the seeds and keeps 25% of them after the CRF; 50% became rock"
    )


def test_a_class_that_keeps_more_than_any_other_took_but_not_half():
    seeds = np.full((1, 5), 2, np.uint8)
    [lost] = find_lost_classes(seeds, np.array([[1, 1, 2, 0, VOID]], np.uint8))
    assert lost == LostClass(1, 1.0, 0.4, 0, 0.2)


def test_half_kept_is_enough():
    seeds = np.array([[2, 2, 2, 2]], np.uint8)
    assert find_lost_classes(seeds, np.array([[1, 1, 0, 0]], np.uint8)) == []
    assert [lost.class_id for lost in find_lost_classes(seeds, np.array([[1, 0, 0, 0]], np.uint8))] == [1]


@pytest.mark.parametrize(("n_sand", "is_told"), [(4, False), (5, True)])
def test_few_seeds_are_not_told_of(n_sand, is_told):
    seeds = np.ones((1, 100), np.uint8)
    seeds[0, :n_sand] = 2
    assert bool(find_lost_classes(seeds, np.zeros((1, 100), np.uint8))) is is_told


def test_lost_to_no_class():
    [lost] = find_lost_classes(np.array([[3, 3]], np.uint8), np.array([[VOID, VOID]], np.uint8))
    assert lost.describe(TABLE).endswith(
        "rock had 100% of the seeds and keeps 0% of them after the CRF; 100% became no class"
    )


def test_the_last_class_that_fits_a_byte_and_no_seeds_at_all():
    seeds = np.full((1, 3), 255, np.uint8)
    assert find_lost_classes(seeds, np.full((1, 3), 254, np.uint8)) == []
    assert find_lost_classes(seeds, np.zeros((1, 3), np.uint8)) == [LostClass(254, 1.0, 0.0, 0, 1.0)]
    assert find_lost_classes(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)) == []


def test_pixels_without_a_seed_do_not_count():
    seeds = np.zeros((10, 10), np.uint8)
    seeds[0, 0] = 1
    labels = np.ones((10, 10), np.uint8)
    labels[0, 0] = 0
    assert find_lost_classes(seeds, labels) == []
