import io

import numpy as np
from PIL import Image

from hybridseg.classes import VOID, ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.picture import draw_labels
from hybridseg.markup import render_table, render_text, short_path

TABLE = ClassTable(("water", "<sand>"), ((0, 0, 255), (255, 255, 0)))


def open_picture(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_class_list_shows_its_colours():
    assert repr(TABLE) == "<ClassTable: water, <sand>>"
    shown = TABLE._repr_html_()
    assert "background:#0000ff'></span>water" in shown and "background:#ffff00'></span>&lt;sand&gt;" in shown


def test_a_label_map_is_drawn_above_its_legend():
    labels = np.zeros((40, 60), np.uint8)
    labels[:, 30:], labels[:4, :4] = 1, VOID
    found = LabelMap(labels, TABLE)
    assert repr(found) == "<LabelMap: 40 x 60 pixels, <sand> 50%, water 50%>"
    picture = open_picture(found._repr_png_())
    # In the middle, with a thin edge.
    assert np.array_equal(picture[10:48, 220:278], TABLE.palette()[labels[1:-1, 1:-1]])
    legend = picture[56:].reshape(-1, 3)
    for color in ((0, 0, 255), (255, 255, 0), (0, 0, 0)):
        assert (legend == color).all(axis=1).sum() > 80
    image = np.full((40, 60, 3), 77, np.uint8)
    both = open_picture(draw_labels(labels, TABLE, image=image))
    # What has no class is named last, however much it is.
    labels[:, :50] = VOID
    assert open_picture(draw_labels(labels, TABLE))[69, 15].tolist() == [255, 255, 0]
    assert (both[10:48, 186:244] == 77).all() and np.array_equal(both[10:48, 253:311], picture[10:48, 220:278])


def test_large_maps_are_drawn_small_and_ids_without_names_too():
    labels = np.zeros((2000, 1000), np.uint8)
    labels[:1000] = 3
    found = LabelMap(labels)
    assert repr(found) == "<LabelMap: 2000 x 1000 pixels, 2 ids without names>" and found.shares == {}
    picture = open_picture(found._repr_png_())
    assert picture.shape[1] == 498 and 960 < picture.shape[0] < 1020
    assert LabelMap(np.full((2, 2), VOID, np.uint8), TABLE)._repr_png_()[:4] == b"\x89PNG"
    tiny = open_picture(LabelMap(np.array([[0, 1]], np.uint8), TABLE)._repr_png_())
    assert (tiny[:40] == (0, 0, 255)).all(axis=2).sum() > 800, "large enough to be seen"


def test_a_legend_of_many_classes_takes_several_lines():
    table = ClassTable.from_names(f"class number {i}" for i in range(40))
    picture = open_picture(draw_labels(np.arange(40, dtype=np.uint8).reshape(4, 10), table))
    # Nothing is cut off: below and to the right of the last entry it is white.
    assert picture.shape[0] > 200 and (picture[-2:] == 255).all() and (picture[10:, -2:] == 255).all()


def test_scores_are_a_table():
    confusion = count_confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), TABLE)
    assert repr(confusion) == "<Confusion: 2 classes, 4 compared, accuracy 0.750, mean F1 0.733>"
    assert "<td>water</td><td>1.000</td><td>0.500</td><td>0.667</td><td>0.500</td><td>2</td>" in confusion._repr_html_()


def test_pieces(tmp_path, monkeypatch):
    assert render_table(("a",), [(1,), ("<",)], strong=[1]).endswith(
        "<tr><td>1</td></tr><tr class='strong'><td>&lt;</td></tr></tbody></table>"
    )
    assert render_text("a", None, "", "b", kind="lead") == "<p class='lead'>a</p><p class='lead'>b</p>"
    kept = "<span style='white-space:nowrap'>--group-by</span>"
    assert render_text("9 % with --group-by x, not a--b") == f"<p>9&nbsp;% with {kept} x, not a--b</p>"
    monkeypatch.chdir(tmp_path)
    assert str(short_path(tmp_path / "a")) == "a" and short_path(tmp_path.parent) == tmp_path.parent
