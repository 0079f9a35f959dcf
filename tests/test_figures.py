import os
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from hybridseg.calibration import Calibration
from hybridseg.classes import ClassTable
from hybridseg.confusion import Confusion, count_confusion
from hybridseg.demo.overview import draw_scene_overview
from hybridseg.errors import BadInput, MissingInput
from hybridseg.figures import (
    FigureOptions,
    NetworkLevel,
    draw_calibration,
    draw_confusion,
    draw_learning_curve,
    draw_network,
    draw_rates,
    find_fonts,
)
from hybridseg.io.images import read_image


@pytest.mark.parametrize("n_classes", [1, 2, pytest.param(20, marks=pytest.mark.slow)])
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


@pytest.mark.slow
def test_names_are_never_formulas_and_many_classes_stay_drawable(tmp_path, monkeypatch):
    monkeypatch.setattr("hybridseg.figures._MAX_SIDE", 5.0)
    table = ClassTable.from_names(["$x_$", *(f"c{i}" for i in range(60))])
    counts = np.eye(61, dtype=int)
    draw_confusion(tmp_path / "a.png", Confusion(table, counts, np.zeros(61, int)), title="$_$ caf\udce9")
    assert max(read_image(tmp_path / "a.png").shape) < 2000


@pytest.mark.slow
def test_diagonal_is_dark_and_the_rest_is_light(tmp_path):
    table = ClassTable.from_names(["a", "b"])
    for name, prediction in (("right", [[0, 1]]), ("wrong", [[1, 0]])):
        draw_confusion(
            tmp_path / f"{name}.png", count_confusion(np.array([[0, 1]]), np.array(prediction), table), title=""
        )
    right, wrong = (read_image(tmp_path / f"{name}.png").astype(int) for name in ("right", "wrong"))
    assert right.shape == wrong.shape and np.abs(right - wrong).max() > 150


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_figure_is_the_same_file(tmp_path, monkeypatch):
    """Whenever and in whatever process it is drawn: sets of texts have another order in each."""
    code = (
        "import sys, time; from unittest import mock\n"
        "from hybridseg.calibration import Calibration\nimport numpy as np\n"
        "from hybridseg.figures import draw_calibration\n"
        "found = Calibration(np.array([0.1, 0.9]), np.array([0.2, 0.8]), np.array([4, 4]), 0.1)\n"
        "with mock.patch('time.time', lambda: float(sys.argv[1])):\n"
        "    for path in sys.argv[2:]:\n"
        "        draw_calibration(path, found, unit='tiles')\n"
    )
    drawn = [[tmp_path / f"{i}.{ending}" for ending in ("png", "pdf", "svg")] for i in range(2)]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code, "1e9", *drawn[0]], env=environment, check=True)
    monkeypatch.setattr("sys.argv", ["-c", "1.1e9", *drawn[1]])
    exec(code, {})
    for first, second in zip(*drawn, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.suffix


def test_text_stays_text_in_svg_and_pdf(tmp_path):
    table = ClassTable.from_names(["wet $sand$", "eau_d'été"])
    confusion = count_confusion(np.array([0, 1]), np.array([0, 1]), table)
    for ending in ("svg", "pdf"):
        draw_confusion(tmp_path / f"a.{ending}", confusion, title="two & more")
    svg = (tmp_path / "a.svg").read_text()
    for text in ("wet $sand$", "eau_d'été", "two &amp; more", "predicted class"):
        assert f">{text}</text>" in svg
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_dpi_is_the_resolution(tmp_path):
    shapes = []
    for dpi in (50, 100):
        curves = {"loss": ([3.0, 2.0], [None, None]), "IoU": ([0.1, 0.2], [0.1, 0.2])}
        draw_learning_curve(tmp_path / "a.png", [1, 2], curves, dpi=dpi)
        shapes.append(read_image(tmp_path / "a.png").shape[:2])
    assert [2 * side for side in shapes[0]] == pytest.approx(shapes[1], abs=3)
    with pytest.raises(BadInput, match="dpi=10: give a whole number from 50 to 600"):
        FigureOptions(dpi=10)


def test_epochs_are_counted_in_whole_numbers(tmp_path):
    draw_learning_curve(tmp_path / "a.svg", [1, 2, 3], dict.fromkeys("ab", ([300.0, 200.0, 100.0], [None] * 3)))
    draw_rates(tmp_path / "b.svg", [300.0, 200.0, 100.0])
    for name in ("a.svg", "b.svg"):
        ticks = re.findall(r">([\d.]+)</text>", (tmp_path / name).read_text())
        assert {"1", "2", "3"} <= set(ticks) and not [tick for tick in ticks if "." in tick]


def test_the_arrows_of_a_network_join_its_boxes(tmp_path):
    levels = [NetworkLevel(f"1/{2**i}", "joined with", "sums" if i else "sums\nresults") for i in (3, 2, 1)]
    draw_network(tmp_path / "a.png", levels, title="", ends=("image", "below", "scores"), dpi=100)
    picture = read_image(tmp_path / "a.png")[..., :3].astype(int)
    is_box = np.abs(picture - (0xDC, 0xE9, 0xF7)).max(-1) < 3
    starts = np.flatnonzero(np.diff(is_box.any(1).astype(int)))
    for top, bottom in starts.reshape(-1, 2):
        row = picture[(top + bottom) // 2 - 2 : (top + bottom) // 2 + 4].min((0, 2)) < 250
        places = np.flatnonzero(row)
        assert np.diff(places).max() < 10, "from the box of the skip to that which it joins there is a dashed line"


@pytest.mark.slow
def test_the_settings_of_a_user_for_matplotlib_do_not_matter(tmp_path):
    curves = {"loss": ([3.0, 2.0], [None, None]), "IoU": ([0.1, 0.2], [0.1, 0.2])}
    draw_learning_curve(tmp_path / "a.png", [1, 2], curves)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "svg.fonttype": "path"}):
        draw_learning_curve(tmp_path / "b.png", [1, 2], curves)
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_signs_that_no_font_has_are_told_of_once(tmp_path, caplog, recwarn):
    find_fonts.cache_clear()
    table = ClassTable.from_names(["\U0001f30a\U000e0fff sea", "sand"])
    confusion = count_confusion(np.array([0, 1]), np.array([0, 1]), table)
    for name in ("a.png", "b.pdf", "c.svg"):
        draw_confusion(tmp_path / name, confusion, title="")
    assert len(caplog.records) <= 1 and not recwarn.list
    assert find_fonts(frozenset("été вода")) == ["DejaVu Sans"]


def test_overview_of_scenes(tmp_path, coast):
    draw_scene_overview(tmp_path / "s.png", coast)
    assert read_image(tmp_path / "s.png").std() > 20
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingInput, match="no image with a label map"):
        draw_scene_overview(tmp_path / "x.png", tmp_path / "none")


def test_the_trend_is_no_mean_of_fewer_values_at_the_ends():
    from hybridseg.figures import _smooth

    noise = np.zeros(100)
    noise[-1] = 1
    assert len(_smooth(noise)) == len(_smooth(range(100))) == 96 and _smooth(noise)[-1] == pytest.approx(0.2)
    assert _smooth(range(100))[-1] == pytest.approx(97) and _smooth([3.0, 4.0]).tolist() == [3, 4]
