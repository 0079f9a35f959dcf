import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.hybrid.evaltiles import evaluate_tiles
from hybridseg.hybrid.tilefolder import ClassList, write_class_list
from hybridseg.io.images import read_image, write_image
from hybridseg.models.store import TileClassifier


class ByGrey:
    """An engine that tells three classes by the grey of a tile, and is 80 % sure."""

    name = "test"

    def classify(self, tiles):
        winner = np.clip((tiles.mean(axis=(1, 2, 3)) * 3).astype(int), 0, 2)
        return np.where(np.arange(3) == winner[:, None], 0.8, 0.1).astype(np.float32)


@pytest.fixture
def classifier():
    return TileClassifier(Path("model.pb"), ClassTable.from_names(["dark", "middle", "bright one"]), 4, ByGrey())


@pytest.fixture
def tiles(tmp_path):
    for folder, grey, n in (("Bright_One", 250, 9), ("dark", 10, 5), ("middle", 120, 3)):
        for i in range(n):
            # One bright tile is really of middle grey: it will be taken wrongly.
            value = 120 if folder == "Bright_One" and i == 0 else grey
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / f"{i}.png", np.full((4, 4, 3), value, np.uint8))
    return tmp_path


@pytest.mark.slow
def test_folders_are_matched_by_name_and_scored(tiles, classifier):
    result = evaluate_tiles(tiles, classifier, n_per_class=100)
    assert result.confusion.counts.tolist() == [[5, 0, 0], [0, 3, 0], [0, 1, 8]]
    assert result.mean_probability == pytest.approx({"dark": 0.8, "middle": 0.8, "bright one": 0.8})
    assert result.calibration.error == pytest.approx(abs(16 / 17 - 0.8), abs=1e-6)
    with (tiles / "eval_tiles.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert float(rows["bright one"]["accuracy"]) == pytest.approx(8 / 9) and rows["dark"]["support"] == "5"
    assert float(rows["(all classes)"]["accuracy"]) == pytest.approx(16 / 17)
    record = json.loads((tiles / "eval_tiles.json").read_text())
    assert record["names"] == ["dark", "middle", "bright one"] and record["expected_calibration_error"] > 0
    for path in result.written[2:]:
        assert read_image(path).std() > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eval_tiles.csv", "eval_tiles.json", "eval_tiles_confusion.png"])
def test_what_the_user_wrote_stays(tiles, classifier, name):
    evaluate_tiles(tiles, classifier)
    (tiles / name).write_text("class,mine")
    before = {path: path.read_bytes() for path in tiles.glob("eval*")}
    with pytest.raises(OutputExists, match=rf"{name} is there and was not written by hybridseg; .* give --out"):
        evaluate_tiles(tiles, classifier, n_per_class=1)
    assert before == {path: path.read_bytes() for path in tiles.glob("eval*")}


@pytest.mark.parametrize("grey", [10, 250])
def test_a_tile_taken_for_any_other_class_counts_as_wrong(tiles, classifier, grey, quick_charts):
    """The class before its own, and the one after."""
    write_image(tiles / "middle" / "0.png", np.full((4, 4, 3), grey, np.uint8))
    result = evaluate_tiles(tiles, classifier, n_per_class=100)
    assert result.calibration.error == pytest.approx(abs(15 / 17 - 0.8), abs=1e-6)


@pytest.mark.slow
def test_the_calibration_is_drawn(tiles, classifier, monkeypatch):
    drawn, save = [], Figure.savefig

    def keep(figure, *words, **settings):
        drawn.append(figure)
        save(figure, *words, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    calibration = evaluate_tiles(tiles, classifier).calibration
    [axes] = [axes for figure in drawn for axes in figure.axes if "calibration" in axes.get_title("left")]
    curves = [line.get_xydata() for line in axes.lines]
    filled = calibration.counts > 0
    expected = np.stack([calibration.confidence, calibration.accuracy], axis=1)[filled]
    assert any(xy.shape == expected.shape and np.allclose(xy, expected) for xy in curves), "the curve of the model"
    assert any(np.array_equal(xy, [[0, 0], [1, 1]]) for xy in curves), "and the line of a perfect one"
    bars = [bar.get_height() for other in axes.figure.axes for bar in other.patches]
    assert bars == calibration.counts.tolist()


def test_n_random_tiles_of_each_class(tiles, classifier, quick_charts):
    result = evaluate_tiles(tiles, classifier, n_per_class=4, seed=1, out_dir=tiles / "out")
    assert result.confusion.support.tolist() == [4, 3, 4]
    assert all(path.parent.name == "out" for path in result.written)
    with pytest.raises(BadInput, match="--n-per-class 0 draws no tile"):
        evaluate_tiles(tiles, classifier, n_per_class=0)


def test_strange_folders_and_damaged_tiles_are_named(tiles, classifier, quick_charts):
    (tiles / "lava").mkdir()
    write_image(tiles / "lava" / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tiles / "dark" / "0.png").write_bytes(b"no")
    result = evaluate_tiles(tiles, classifier)
    told = "\n".join(map(str, result.problems))
    assert "lava: is not a class of this model (dark, middle, bright one); left out with 1 tile" in told
    assert "0.png: is not a JPEG" in told and result.confusion.support.tolist() == [4, 3, 9]


def test_nothing_to_classify(tmp_path, classifier):
    with pytest.raises(MissingInput, match="there is no folder"):
        evaluate_tiles(tmp_path / "none", classifier)
    with pytest.raises(BadInput, match="has no tile of a class that the model knows"):
        evaluate_tiles(tmp_path, classifier)


def test_folders_without_a_class_of_the_model_show_both_lists(tmp_path, classifier):
    for name in ("sand", "sea_water"):
        write_image(tmp_path / name / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(
        BadInput, match=r"\(its folders\) has sand, sea_water; the model has dark, middle, bright one\."
    ):
        evaluate_tiles(tmp_path, classifier)


def test_the_verdict_counts_the_photos_of_the_tiles(tmp_path, classifier, quick_charts):
    for name, level in (("dark", 0), ("middle", 128)):
        for photo in range(3):
            for row in range(4):
                write_image(tmp_path / name / f"p{photo}_r{row}_c0.png", np.full((4, 4, 3), level, np.uint8))
    result = evaluate_tiles(tmp_path, classifier)
    assert result.verdict.n_photos == 3 and result.verdict.grade == "very good"
    assert "100 % of the tiles are right; the same answer everywhere would get 50 %" in result.verdict.text
    record = json.loads((tmp_path / "eval_tiles.json").read_text())
    assert record["verdict"] == result.verdict.to_record()
    assert record["left_out"] == ["bright one"]


def test_folders_have_the_names_of_the_class_list(tiles, classifier, quick_charts):
    (tiles / "Bright_One").rename(tiles / "b")
    table = ClassTable.from_names(["Bright one", "lava", "MIDDLE"])
    write_class_list(tiles, ClassList(table, {"b": 0, "middle": 2}))
    result = evaluate_tiles(tiles, classifier)
    assert result.confusion.counts.tolist() == [[5, 0, 0], [0, 3, 0], [0, 1, 8]] and result.problems == ()
