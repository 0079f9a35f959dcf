import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.io.images import read_image
from hybridseg.panels import PictureRow, fit_page, list_legend, show_errors, show_result
from hybridseg.sheets import draw_panel_rows, draw_panels, draw_picture_rows

TABLE = ClassTable(("water", "sand", "veg"), ((0, 0, 200), (240, 220, 100), (0, 150, 0)))


def make_panels(shape, *, table=TABLE, dpi=100, title=""):
    image = np.full((*shape, 3), 90, np.uint8)
    labels = (np.indices(shape).sum(axis=0) * len(table) // (shape[0] + shape[1])).astype(np.uint8)
    return show_errors(image, labels, labels[::-1], table, shape=fit_page(shape, 4, dpi=dpi), title=title)


def find_runs(is_blank):
    """The lengths of what is blank between what is not."""
    filled = np.flatnonzero(~is_blank)
    return np.diff(filled)[np.diff(filled) > 1] - 1


@pytest.mark.parametrize("shape", [
    (61, 92), (92, 61), (40, 800), (800, 40), (3, 4), (1, 2000), (2000, 1), (1500, 2100),
], ids=str)  # fmt: skip
def test_there_are_no_gaps_between_panels(tmp_path, shape):
    draw_panels(tmp_path / "a.png", make_panels(shape), dpi=100)
    picture = read_image(tmp_path / "a.png")[..., :3]
    is_blank = (picture == 255).all(axis=2)
    assert picture.shape[0] <= 600 and picture.shape[1] <= 726
    # Beside the panels only, where they are narrower than the legend; between them 0.06 inches.
    body = is_blank[is_blank.mean(axis=1) < 0.9] if shape[1] < shape[0] * 30 else is_blank
    rows = [row for row in body if (~row).mean() > 0.05]
    assert rows and max((find_runs(row).max(initial=0) for row in rows if (~row).mean() > 0.6), default=0) <= 7
    # Headings and the legend are between rows of panels, and never more than some lines are blank.
    assert find_runs(is_blank.all(axis=1)).max(initial=0) <= 14


def test_the_panels_of_several_photos_have_one_legend(tmp_path):
    """Each class once, in the order of the table, though the first photo lacks the first class."""
    late = show_errors(np.full((40, 60, 3), 90, np.uint8), *np.ones((2, 40, 60), np.uint8), TABLE, shape=(40, 60))
    draw_panel_rows(tmp_path / "a.svg", {"one: Dice 1.000": late, "two: Dice 0.300": make_panels((40, 60))}, TABLE)
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "a.svg").read_text())
    heads = ["truth", "result", "errors"]
    assert texts == ["one: Dice 1.000", *heads, "two: Dice 0.300", *heads, "water", "sand", "veg", "right", "wrong"]


def test_pictures_are_shown_pixel_by_pixel(tmp_path):
    """At the resolution of the figure nothing is resampled: each panel is in it, as it is."""
    image = np.random.default_rng(0).integers(0, 255, (614, 920, 3), dtype=np.uint8)
    labels = np.indices((614, 920)).sum(axis=0).astype(np.uint8) // 90
    panels = show_result(image, labels, TABLE, shape=fit_page((614, 920), 2, dpi=100), heads=("image", "result"))
    draw_panels(tmp_path / "a.png", panels, dpi=100)
    sheet = read_image(tmp_path / "a.png")[..., :3]
    for picture in panels.pictures:
        inner = picture[3:-3, 3:-3]
        corners = np.argwhere((sheet == inner[0, 0]).all(axis=2))
        places = [sheet[row : row + inner.shape[0], col : col + inner.shape[1]] for row, col in corners]
        assert any(np.array_equal(place, inner) for place in places)


@pytest.mark.slow
def test_pictures_of_other_files_are_as_fine_as_asked(tmp_path):
    sizes = []
    for dpi in (100, 300):
        panels = make_panels((1228, 1840), dpi=dpi)
        draw_panels(tmp_path / "a.svg", panels, dpi=dpi)
        draw_panels(tmp_path / "a.pdf", panels, dpi=dpi)
        pdf = (tmp_path / "a.pdf").read_bytes()
        rows, cols = panels.pictures[0].shape[:2]
        assert pdf.count(f"/Width {cols}".encode()) == pdf.count(f"/Height {rows}".encode()) == 4
        sizes.append(cols)
    assert sizes[1] == pytest.approx(3 * sizes[0], abs=2)


@pytest.mark.parametrize("name", ["zip:x.png", "two\nlines.png", "%s[1]$x$.png"])
def test_names_of_files_that_could_mean_something_else(tmp_path, name):
    draw_panels(tmp_path / name, make_panels((8, 8)))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_of_classes_are_drawn_as_they_are(tmp_path, recwarn):
    names = ["a$b$ c_d", "$x_1^2$", r"back\slash", "вода", "<b>&amp;"]
    draw_panels(tmp_path / "a.svg", make_panels((50, 80), table=ClassTable.from_names(names), title="cost $5_$ %"))
    svg = (tmp_path / "a.svg").read_text()
    for text in (
        "a$b$ c_d",
        "$x_1^2$",
        r"back\slash",
        "вода",
        "&lt;b&gt;&amp;amp;",
        "cost $5_$ %",
        "errors",
    ):
        assert f">{text}</text>" in svg, text
    assert not recwarn.list


@pytest.mark.slow
def test_many_and_long_names_stay_on_the_sheet(tmp_path):
    names = [f"class {i}" for i in range(200)] + [("very long name " * 13).strip()]
    table = ClassTable.from_names(names)
    labels = np.arange(201, dtype=np.uint8)[None].repeat(50, axis=0)
    panels = show_result(np.zeros((50, 201, 3), np.uint8), labels, table, shape=(50, 201), heads=("a" * 300, "b"))
    draw_panels(tmp_path / "a.svg", panels)
    draw_panels(tmp_path / "a.png", panels, dpi=60)
    svg = (tmp_path / "a.svg").read_text()
    assert all(f">{name}</text>" in svg for name in names[:200]) and "very long name very" in svg and "…</text>" in svg
    edge = read_image(tmp_path / "a.png")[:, -3:, :3]
    assert (edge == 255).all()


def test_picture_rows_show_the_pictures(tmp_path):
    red = np.zeros((50, 80, 3), np.uint8)
    red[..., 0] = 255
    legend = list_legend(TABLE, np.zeros((1, 1), np.uint8))
    for width in (4, 6):
        rows = [PictureRow("one", [red, red]), PictureRow("two", [red])]
        draw_picture_rows(tmp_path / f"{width}.png", rows, width=width, legend=legend)
        picture = read_image(tmp_path / f"{width}.png")[..., :3]
        assert 0.5 < (picture == (255, 0, 0)).all(axis=2).mean() < 0.75
        with Image.open(tmp_path / f"{width}.png") as opened:
            assert opened.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    assert ((picture == (0, 0, 200)).all(axis=2)).sum() > 100


def test_pictures_of_a_row_are_of_one_height(tmp_path):
    """Photos of different shapes fill their row together."""
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    shapes = ((40, 120), (40, 40), (80, 60))
    pictures = [np.full((*shape, 3), color, np.uint8) for shape, color in zip(shapes, colors, strict=True)]
    draw_picture_rows(tmp_path / "a.png", [PictureRow("", pictures)], width=6)
    sheet = read_image(tmp_path / "a.png")[..., :3]
    boxes = []
    for color in colors:
        rows, cols = np.nonzero((sheet == color).all(axis=2))
        boxes.append((rows.min(), rows.max(), cols.min(), cols.max()))
    assert len({box[:2] for box in boxes}) == 1
    assert [(c1 - c0) / (r1 - r0) for r0, r1, c0, c1 in boxes] == pytest.approx([3, 1, 0.75], rel=0.05)
    assert 10 <= boxes[1][2] - boxes[0][3] <= 16


def test_a_sheet_without_rare_signs_needs_no_matplotlib(tmp_path):
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from hybridseg.sheets import PictureRow, draw_picture_rows\n"
        "rows = [PictureRow('Küste', [np.zeros((30, 40, 3), np.uint8)], ('вода',))]\n"
        "draw_picture_rows(Path(sys.argv[1]), rows, width=4, legend=(('sand', (1, 2, 3)),), title='a')\n"
        "print('matplotlib' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False" and (read_image(tmp_path / "a.png")[..., :3] == (1, 2, 3)).all(axis=2).any()


def test_signs_that_our_font_lacks_are_found_in_others(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr("hybridseg.sheets.save_figure", lambda figure, path: used.append(path))
    for text in ("plain", "水"):
        draw_picture_rows(tmp_path / f"{text}.png", [PictureRow(text, [np.zeros((9, 9, 3), np.uint8)])], width=4)
    assert used == [tmp_path / "水.png"]


def test_both_ways_of_drawing_place_everything_alike(tmp_path, monkeypatch):
    rows = [PictureRow("one", [np.full((50, 80, 3), (255, 0, 0), np.uint8)] * 2, ("left", "right"))]
    legend = (("sand", (0, 0, 200)), ("veg", (0, 150, 0)))
    draw_picture_rows(tmp_path / "a.png", rows, width=5, legend=legend, title="a title")
    monkeypatch.setattr("hybridseg.sheets.can_paint", lambda texts: False)
    draw_picture_rows(tmp_path / "b.png", rows, width=5, legend=legend, title="a title")
    first, second = (read_image(tmp_path / name)[..., :3] for name in ("a.png", "b.png"))
    assert first.shape == second.shape
    for color in ((255, 0, 0), (0, 0, 200), (0, 150, 0)):
        edges = [np.argwhere((sheet == color).all(axis=2)) for sheet in (first, second)]
        assert np.abs(edges[0].min(axis=0) - edges[1].min(axis=0)).max() <= 4
        assert np.abs(edges[0].max(axis=0) - edges[1].max(axis=0)).max() <= 4
    assert abs((first < 128).all(axis=2).sum() / (second < 128).all(axis=2).sum() - 1) < 0.3, "as much text"
