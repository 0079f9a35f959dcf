import numpy as np
import pytest

from hybridseg.calibration import Calibration
from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion, count_confusion
from hybridseg.demo.overview import draw_scene_overview
from hybridseg.errors import MissingInput
from hybridseg.figures import PictureRow, draw_calibration, draw_confusion, draw_panels, draw_picture_rows
from hybridseg.io.images import read_image


@pytest.mark.parametrize("n_classes", [1, 2, 20])
def test_confusion_figure_grows_with_the_classes(tmp_path, n_classes):
    table = ClassTable.from_names([f"agricultural land {i}" for i in range(n_classes)])
    counts = np.random.default_rng(0).integers(1, 500, (n_classes, n_classes)) + np.eye(n_classes, dtype=int) * 3000
    draw_confusion(tmp_path / "a.png", Confusion(table, counts, np.zeros(n_classes, int)), title="a title")
    rows, cols = read_image(tmp_path / "a.png").shape[:2]
    assert rows >= 500 and (n_classes < 20 or rows > 1400) and 0.9 < cols / rows < 1.4


def test_a_class_that_is_only_predicted_is_shown(tmp_path):
    table = ClassTable.from_names([f"c{i}" for i in range(12)])
    sizes = []
    for prediction in (np.zeros(12, int), np.arange(12)):
        draw_confusion(tmp_path / "a.png", count_confusion(np.zeros(12, int), prediction, table), title="")
        sizes.append(read_image(tmp_path / "a.png").shape[0])
    assert sizes[1] > 1.5 * sizes[0]


def test_names_are_never_formulas_and_many_classes_stay_drawable(tmp_path, monkeypatch):
    monkeypatch.setattr("hybridseg.figures._MAX_SIDE", 5.0)
    table = ClassTable.from_names(["$x_$", *(f"c{i}" for i in range(60))])
    counts = np.eye(61, dtype=int)
    draw_confusion(tmp_path / "a.png", Confusion(table, counts, np.zeros(61, int)), title="$_$ caf\udce9")
    assert max(read_image(tmp_path / "a.png").shape) < 1500


@pytest.mark.parametrize("name", ["zip:x.png", "two\nlines.png", "%s[1]$x$.png"])
def test_names_of_files_that_could_mean_something_else(tmp_path, table, name):
    image, labels = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    draw_panels(tmp_path / name, image, labels + 1, labels, table, heads=("a", "b", "c"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_diagonal_is_dark_and_the_rest_is_light(tmp_path):
    table = ClassTable.from_names(["a", "b"])
    for name, prediction in (("right", [[0, 1]]), ("wrong", [[1, 0]])):
        draw_confusion(
            tmp_path / f"{name}.png", count_confusion(np.array([[0, 1]]), np.array(prediction), table), title=""
        )
    right, wrong = (read_image(tmp_path / f"{name}.png").astype(int) for name in ("right", "wrong"))
    assert right.shape == wrong.shape and np.abs(right - wrong).max() > 150


def test_the_calibration_curve_lies_where_the_accuracy_is(tmp_path):
    confidence, counts = np.array([0.1, np.nan, 0.9]), np.array([10, 0, 10])
    lines = []
    for level in (0.25, 0.75):
        accuracy = np.array([level, np.nan, level])
        draw_calibration(tmp_path / "a.png", Calibration(confidence, accuracy, counts, 0.1), unit="tiles")
        picture = read_image(tmp_path / "a.png")[..., :3].astype(int)
        is_curve = (np.abs(picture - (31, 95, 168)) < 40).all(axis=2)
        # The legend shows the colour of the curve too: its two dots are far wider apart than that.
        per_row = [np.ptp(np.flatnonzero(row)) if row.any() else 0 for row in is_curve]
        lines.append(int(np.argmax(per_row)))
        assert max(per_row) > picture.shape[1] / 3
    low, high = lines
    assert low - high > picture.shape[0] / 5


def test_picture_rows_show_the_pictures(tmp_path, table):
    red = np.zeros((50, 80, 3), np.uint8)
    red[..., 0] = 255
    draw_picture_rows(
        tmp_path / "a.png", [PictureRow("one", [red, red]), PictureRow("two", [red])], width=6, legend=table
    )
    picture = read_image(tmp_path / "a.png")[..., :3]
    assert 0.3 < (picture == (255, 0, 0)).all(axis=2).mean() < 0.8


def test_overview_of_scenes(tmp_path, coast):
    draw_scene_overview(tmp_path / "s.png", coast)
    assert read_image(tmp_path / "s.png").std() > 20
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingInput, match="no image with a label map"):
        draw_scene_overview(tmp_path / "x.png", tmp_path / "none")
