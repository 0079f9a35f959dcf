import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.palette import NATURAL_COLORS, choose_colors, color_distance
from hybridseg.panels import Panels, fit_page, show_errors, show_result, shrink_to

TABLE = ClassTable(("water", "sand", "veg"), ((0, 0, 200), (240, 220, 100), (0, 150, 0)))


@pytest.mark.parametrize(("shape", "n_panels", "n_cols"), [
    ((614, 920), 4, 2), ((614, 920), 3, 3), ((614, 920), 2, 2), ((900, 600), 4, 4), ((100, 2000), 4, 1),
    ((2000, 100), 4, 4), ((1, 5000), 3, 1), ((5, 5), 4, 2), ((1080, 1920), 3, 3), ((1080, 1920), 2, 2),
])  # fmt: skip
def test_panels_leave_no_place_blank_and_fit_on_a_page(shape, n_panels, n_cols):
    picture = np.zeros((*shape, 3), np.uint8)
    rows, width = Panels(("a",) * n_panels, (picture,) * n_panels, ()).arrange()
    assert {len(row.pictures) for row in rows} == {n_cols} and len(rows) * n_cols == n_panels
    assert width <= 7.1 + 1e-9
    for dpi in (100, 300):
        panel = fit_page(shape, n_panels, dpi=dpi)
        assert panel[0] * len(rows) <= 4.5 * dpi + len(rows) and all(np.array(panel) <= shape)


def test_errors_are_where_truth_and_result_differ():
    image = np.full((4, 6, 3), 100, np.uint8)
    truth = np.zeros((4, 6), np.uint8)
    truth[0], truth[1], result = VOID, 1, truth.copy()
    result[:, :2], result[3, 5] = 2, VOID
    panels = show_errors(image, truth, result, TABLE, shape=(4, 6), ignored=[1])
    shown, painted_truth, painted_result, errors = panels.pictures
    assert panels.heads == ("image", "truth", "result", "errors") and np.array_equal(shown, image)
    colors = dict(panels.legend)
    assert list(colors) == ["water", "sand", "veg", "right", "wrong", "no class or not compared"]
    wrong = (errors == colors["wrong"]).all(axis=2)
    expected = np.zeros((4, 6), bool)
    expected[2:, :2] = expected[3, 5] = True
    assert np.array_equal(wrong, expected)
    assert (errors[:2] == 0).all(), "neither void nor an ignored class is compared"
    assert (errors[2:][~expected[2:]] == 190).all()
    assert tuple(painted_truth[1, 0]) == colors["sand"] and tuple(painted_result[0, 0]) == colors["veg"]


def test_whoever_looks_sees_the_errors():
    """The photo beneath is grey: of any tone, it is far from the colour of an error, and so are those of classes."""
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    truth, result = np.zeros((1, 256), np.uint8), np.zeros((1, 256), np.uint8)
    truth[0, 0] = 1
    panels = show_errors(image, truth, result, TABLE, shape=(1, 256))
    errors = panels.pictures[3][0]
    assert color_distance(errors[1:].astype(float), errors[0].astype(float)).min() > 20
    for color in ((0, 0, 0), *NATURAL_COLORS.values(), *choose_colors([f"c{i}" for i in range(7)])):
        assert color_distance(np.array(color), errors[0].astype(float)) > 20


def test_the_legend_has_what_occurs_and_nothing_else():
    image = np.zeros((2, 4, 3), np.uint8)
    labels = np.array([[2, 2, 2, VOID]] * 2, np.uint8)
    seeds = np.array([[1, 0, 0, 0]] * 2, np.uint8)
    panels = show_result(image, labels, TABLE, shape=(2, 4), heads=("a", "b", "c"), seeds=seeds)
    assert [name for name, _ in panels.legend] == ["water", "veg", "no seed (darkened)"] and len(panels.pictures) == 3
    assert [n for n, _ in show_result(image, labels, TABLE, shape=(2, 4), heads=("a", "b")).legend] == ["veg"]
    same = show_errors(image, labels * 0, labels * 0, TABLE, shape=(2, 4))
    assert [name for name, _ in same.legend] == ["water", "right"]
    unknown = show_errors(image, labels * 0 + VOID, labels * 0, TABLE, shape=(2, 4))
    assert [name for name, _ in unknown.legend] == ["water", "no class or not compared"]


def test_pictures_are_reduced_before_they_are_painted():
    image = np.zeros((400, 600, 3), np.uint8)
    image[:, ::2] = 200
    labels = np.zeros((400, 600), np.uint8)
    labels[:, 300:] = 2
    shape = shrink_to((400, 600), 60)
    panels = show_result(image, labels, TABLE, shape=shape, heads=("a", "b"))
    assert {picture.shape for picture in panels.pictures} == {(40, 60, 3)} and (panels.pictures[0] == 100).all()
    assert np.array_equal(panels.pictures[1][0, [0, 59]], [[40, 40, 160], [40, 130, 40]])
