import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.evaluation.errorpanels import PanelOptions, pick_extremes
from hybridseg.evaluation.pairs import find_result_pairs
from hybridseg.evaluation.pixels import evaluate_pixels
from hybridseg.figures import FigureOptions
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

TABLE = ClassTable(("water", "sand", "veg"), ((0, 0, 200), (240, 220, 100), (0, 150, 0)))
WRONG = (135, 0, 255)


@pytest.fixture
def results(tmp_path):
    """Eight results of 40 x 60 pixels with their photos: of p3, the left 3 tenths are wrong."""
    for i in range(8):
        truth = np.zeros((40, 60), np.uint8)
        result = truth.copy()
        result[:, : 6 * i] = 1
        write_labelmap(tmp_path / f"p{i}_mres.mat", LabelMap(truth, TABLE))
        write_labelmap(tmp_path / f"p{i}_ares_96.mat", LabelMap(result, TABLE))
        write_image(tmp_path / f"p{i}.png", np.full((40, 60, 3), 120, np.uint8))
    return tmp_path


def evaluate(folder, *, n=8, **settings):
    photos = [folder / f"p{i}.png" for i in range(n)]
    return evaluate_pixels(
        find_result_pairs(folder)[0],
        out_dir=folder / "out",
        image_paths=photos,
        figures=FigureOptions(dpi=100),
        **settings,
    )


def list_errors(folder):
    return sorted(path.name for path in (folder / "out/figures").glob("*_errors.*"))


@pytest.mark.parametrize("n", range(9))
def test_some_of_each_and_none_twice(n):
    worst, best = pick_extremes(range(n))
    assert worst == list(range(n))[: len(worst)] and best == list(range(n))[::-1][: len(best)]
    assert len(worst) == min(3, (n + 1) // 2) and len(best) == min(3, n // 2)


def test_the_worst_and_the_best_are_shown(results, quick_charts):
    result = evaluate(results)
    assert list_errors(results) == [f"p{i}_ares_96_errors.png" for i in (0, 1, 2, 5, 6, 7)]
    assert {path for path in result.written if "errors" in path.name} == set((results / "out/figures").glob("*errors*"))
    assert result.not_shown == ()
    for i in (0, 5):
        sheet = read_image(results / f"out/figures/p{i}_ares_96_errors.png")[..., :3]
        # One of four panels is of the errors; the legend has the colour too.
        share = (sheet == WRONG).all(axis=2).sum() / (sheet == TABLE.colors[0]).all(axis=2).sum()
        assert share == pytest.approx(i / 10 / (2 - i / 10), abs=0.01)


@pytest.mark.slow
def test_a_sheet_of_the_worst_photos_by_their_dice(results, quick_charts):
    """Of p1 fewer pixels are wrong than of p5, but a class is lost and another invented: its Dice is lower."""
    labels = np.zeros((40, 60), np.uint8)
    labels[:4] = 2
    write_labelmap(results / "p1_mres.mat", LabelMap(labels, TABLE))
    result = evaluate(results)
    worst = [f"p{i}_ares_96" for i in (7, 6, 1)]
    assert [image.image for image in result.images[:3]] == worst and result.images[2].accuracy == 0.81
    sheet = results / "out/eval_pixels_worst.png"
    assert sheet in result.written
    wrong = (read_image(sheet)[..., :3] == WRONG).all(axis=2)
    # Above the legend, errors are in the last of the four columns alone.
    assert not wrong[:-40, : wrong.shape[1] * 7 // 10].any()
    n_wrong = [rows.sum() for rows in np.array_split(wrong[:-40], 3)]
    assert n_wrong[0] > n_wrong[1] > 2 * n_wrong[2] > 0
    evaluate(results, panels=PanelOptions("none"))
    assert not sheet.exists(), "as the panels, it is of an earlier run"


@pytest.mark.parametrize(("panels", "n"), [("all", 8), ("none", 0)])
def test_all_or_none(results, quick_panels, panels, n):
    result = evaluate(results, panels=PanelOptions(panels))
    assert len(list_errors(results)) == n and result.not_shown == () and len(result.confusions) == 8


def test_the_title_says_how_much_is_right(results, quick_charts):
    pairs, photos = find_result_pairs(results)[0], [results / "p3.png"]
    result = evaluate_pixels(pairs, out_dir=results / "out", image_paths=photos, figures=FigureOptions(50, "svg"))
    svg = (results / "out/figures/p3_ares_96_errors.svg").read_text()
    for text in (
        "Dice 0.412, 70.0 % right: p3_ares_96",
        "image",
        "truth",
        "result",
        "errors",
        "water",
        "sand",
        "right",
        "wrong",
    ):
        assert f">{text}</text>" in svg
    assert ">veg<" not in svg and len(result.not_shown) == 7 and list_errors(results) == ["p3_ares_96_errors.svg"]


def test_photos_of_another_size_or_that_cannot_be_read(results, quick_panels):
    write_image(results / "p0.png", np.zeros((20, 30, 3), np.uint8))
    (results / "p1.png").write_bytes(b"")
    cut = (results / "p7.png").read_bytes()[:-30]
    (results / "p7.png").write_bytes(cut)
    result = evaluate(results)
    assert result.not_shown == ("p0_ares_96", "p1_ares_96")
    assert [problem.where for problem in result.problems] == [str(results / "p7.png")]
    assert all(path.exists() for path in result.written) and result.verdict is not None
    assert list_errors(results) == [f"p{i}_ares_96_errors.png" for i in (2, 3, 4, 5, 6)]


def test_ignored_classes_are_no_errors(results, quick_charts):
    labels = np.zeros((40, 60), np.uint8)
    labels[:20] = 2
    write_labelmap(results / "p0_mres.mat", LabelMap(labels, TABLE))
    evaluate(results, panels=PanelOptions("all"), ignore=("veg",))
    sheet = read_image(results / "out/figures/p0_ares_96_errors.png")[..., :3]
    assert not (sheet == WRONG).all(axis=2).any() and (sheet == TABLE.colors[2]).all(axis=2).sum() > 1000


@pytest.mark.slow
def test_the_command(results, run):
    for path in [path for i in range(2, 8) for path in results.glob(f"p{i}*")]:
        path.unlink()
    done = run("eval-pixels", results, "--panels", "all", "--dpi", 60, "--format", "pdf", "--out", results / "out")
    assert done.exit_code == 0 and f"wrote 4 figures into {results / 'out/figures'}" in done.stdout
    names = {path.name for path in (results / "out/figures").iterdir()}
    assert names == {f"p{i}_ares_96_{what}.pdf" for i in range(2) for what in ("confusion", "errors")}
    assert (results / "out/eval_pixels_confusion.pdf").read_bytes().startswith(b"%PDF")


def test_photos_that_lie_elsewhere(results, run, quick_panels):
    (results / "photos").mkdir()
    for i in range(8):
        (results / f"p{i}.png").rename(results / f"photos/p{i}.png")
    done = run("eval-pixels", results)
    assert f"errors of 8 results are not drawn, for their photos are not in {results}" in done.stdout
    words = ("--truth", "*_mres.mat", "--prediction", "*_ares_96.mat", "--images", results / "photos")
    done = run("eval-pixels", results, *words)
    assert done.exit_code == 0 and "are not drawn" not in done.stdout
    assert len(list((results / "figures").glob("*_errors.png"))) == 6
