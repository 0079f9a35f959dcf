import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.dense.pictures import WorstImages

TABLE = ClassTable(("dark", "bright"), ((0, 0, 200), (250, 220, 0)))


def test_the_worst_images_of_many_of_some_photographs(tmp_path, monkeypatch):
    """No more than three, one of each photograph: its worst."""
    worst, truth = WorstImages(TABLE), np.zeros((40, 60), np.uint8)
    drawn = {}
    monkeypatch.setattr("hybridseg.dense.pictures.draw_panel_rows", lambda path, panels, *_, **__: drawn.update(panels))
    for source, n_wrong in (("a", 3), ("b", 9), ("a", 30), ("c", 0), ("d", 12), ("e", 6), ("b", 2)):
        result = truth.copy()
        result[:, :n_wrong] = 1
        worst.look(source, truth[..., None], truth, result, count_confusion(truth, result, TABLE))
    assert worst.draw(tmp_path / "worst.png") == [tmp_path / "worst.png"]
    # By hand: 2 x 30 / (60 + 30) and 0, of which the mean is 1/3, and so on.
    assert list(drawn) == ["a: Dice 0.333", "d: Dice 0.444", "b: Dice 0.459"]
    errors = drawn["a: Dice 0.333"].pictures[3]
    assert (errors == (135, 0, 255)).all(axis=2).mean() == pytest.approx(0.5, abs=0.02)
    assert WorstImages(TABLE).draw(tmp_path / "none.png") == []
