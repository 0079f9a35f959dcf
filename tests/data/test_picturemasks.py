import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.data import picturemasks
from hybridseg.data.picturemasks import nearest_classes, threshold_grey
from hybridseg.errors import BadInput


def test_the_nearest_colour_by_hand(table, monkeypatch):
    monkeypatch.setattr(picturemasks, "_COLORS_AT_ONCE", 2)
    rgb = np.array([[(0, 0, 255), (9, 3, 240), (250, 251, 9), (139, 0, 139), (5, 5, 5), (0, 0, 0)]], np.uint8)
    labels, *counts = nearest_classes(rgb, table)
    assert labels.tolist() == [[0, 0, 1, 2, VOID, VOID]] and counts == [3, 0]
    black = ClassTable(("water", "rock"), ((0, 0, 255), (0, 0, 0)))
    labels, *counts = nearest_classes(rgb, black)
    assert labels.tolist() == [[0, 0, 1, 0, 1, 1]] and counts == [4, 2]


def test_colours_that_cannot_be_told_apart():
    with pytest.raises(BadInput, match="share the colour"):
        nearest_classes(np.zeros((2, 2, 3), np.uint8), ClassTable(("a", "b"), ((1, 2, 3), (1, 2, 3))))


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_grey_values(bands):
    grey = np.array([[0, 100, 101, 255]], np.uint8)[..., None].repeat(bands, axis=2)
    assert threshold_grey(grey, 100).tolist() == [[0, 0, 1, 1]]
    assert threshold_grey(grey.astype(np.uint16) * 100, 10_000).tolist() == [[0, 0, 1, 1]]


def test_what_has_no_grey_values():
    with pytest.raises(BadInput, match="in colours"):
        threshold_grey(np.array([[[255, 0, 0]]], np.uint8), 100)
    with pytest.raises(BadInput, match="has 5 bands"):
        threshold_grey(np.zeros((2, 2, 5), np.uint8), 100)
