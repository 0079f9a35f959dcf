"""The smart wand of the labelling page, in a real browser."""

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.io.images import write_image

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]

SHAPE = (300, 400)
# A pond with an island, the land around it, and a road.
POND, ISLAND, ROAD = (
    (slice(60, 180), slice(60, 200)),
    (slice(105, 135), slice(110, 150)),
    (slice(0, 300), slice(300, 330)),
)


@pytest.fixture
def truth():
    """1 in the pond, 2 on the road, 0 elsewhere."""
    found = np.zeros(SHAPE, np.uint8)
    found[POND], found[ISLAND], found[ROAD] = 1, 0, 2
    return found


@pytest.fixture
def wand(label, truth, tmp_path):
    """A tab on that picture, with the wand and no live result."""
    path = tmp_path / "pond" / "pond.png"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(-4, 5, (*SHAPE, 3))
    image = np.array([[90, 120, 60], [40, 60, 140], [200, 200, 190]])[truth] + noise
    write_image(path, image.astype(np.uint8))
    tab = label([path], table=ClassTable.from_names(["land", "water", "road"])).tab
    tab.page.click("#live")
    tab.press("2", "a")
    ready(tab)
    return tab


@pytest.fixture
def drawn(tmp_path):
    """Read what is on disk: the strokes, and the seeds that they make."""
    from hybridseg.io.annotations.doodles import read_strokes

    def read():
        strokes = read_strokes(tmp_path / "pond" / "pond_doodles.json").strokes
        return strokes, draw_strokes(SHAPE, strokes)

    return read


def ready(tab) -> None:
    tab.page.wait_for_timeout(250)
    tab.wait("document.body.dataset.wand === 'ready'")


def area(tab) -> int:
    """The number of pixels that are selected, of the map of what is in view."""
    return int(tab.page.evaluate("document.body.dataset.area"))


def share(mask, of) -> float:
    return float((mask & of).sum() / mask.sum())


def test_a_click_selects_and_a_second_one_applies(wand, drawn, truth):
    wand.click(80, 80)
    first = area(wand)
    assert first > 100 and wand.page.evaluate("document.body.dataset.unsent") == "0"
    wand.says("press Enter to apply")
    wand.click(80, 80)
    wand.saved()
    strokes, seeds = drawn()
    assert [(s.tool, s.class_id, s.layer) for s in strokes] == [("polygon", 1, "scribbles")]
    assert area(wand) == 0 and seeds[80, 80] == 2
    # Seen larger than it is, so that each pixel is one of the image.
    assert (seeds > 0).sum() == first and wand.scale() > 1
    assert share(seeds > 0, truth == 1) > 0.97
    wand.press("z")
    wand.saved()
    assert drawn()[0] == ()
    wand.press("y")
    wand.saved()
    assert len(drawn()[0]) == 1


def test_from_nothing_nothing_is_removed(wand):
    wand.click(80, 80)
    wand.page.click("#wand-remove")
    wand.press("Escape")
    assert wand.page.get_attribute("#wand-new", "aria-pressed") == "true"
    wand.click(80, 80)
    assert area(wand) > 0


def test_dragging_grows_shift_adds_alt_removes(wand, drawn, truth):
    wand.draw((70, 70), (70, 190), (170, 190))
    grown = area(wand)
    wand.page.keyboard.down("Shift")
    wand.draw((80, 80), (160, 80))
    wand.page.keyboard.up("Shift")
    added = area(wand)
    assert added > grown > 0
    wand.page.keyboard.down("Alt")
    wand.click(80, 80)
    wand.page.keyboard.up("Alt")
    assert grown < area(wand) < added
    wand.press("Enter")
    wand.saved()
    strokes, seeds = drawn()
    assert [s.tool for s in strokes] == ["polygon"] and not seeds[80, 80]
    assert share(seeds > 0, truth == 1) > 0.97 and (seeds[70, 100:180] == 2).all()
    # The page draws it as the server does, before and after a reload.
    wand.slide("opacity", 100)
    color = (0, 0, 0)
    wand.poll(lambda: wand.see(70, 120) != color, "nothing is seen")
    color = wand.see(70, 120)
    wand.page.reload()
    wand.ready().slide("opacity", 100)
    wand.shows(70, 120, color, within=6)


# Whether an element is seen as a whole.
UNCOVERED = """(one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect(), [x, y] = [(left + right) / 2, (top + bottom) / 2];
    const spots = [[left + 1, y], [right - 1, y], [x, top + 1], [x, bottom - 1]];
    return spots.every((spot) => one.contains(document.elementFromPoint(...spot)));
}"""


@pytest.mark.parametrize("width, height", [(360, 640), (400, 800), (800, 600), (1280, 800)])
def test_its_controls_lie_beside_the_image(label, beach, picture, width, height):
    """They neither cover the image nor move it, and all are in view, as Accept is."""
    phone = {"has_touch": True, "is_mobile": True} if width <= 400 else {}
    tab = label([beach / "coast.png"], viewport={"width": width, "height": height}, **phone).tab
    image = tab.page.locator("#view").bounding_box()
    tab.press("a")
    tab.page.locator("#wand-bar").wait_for()
    assert tab.page.locator("#view").bounding_box() == image
    for id_ in ("wand-scale", "wand-new", "wand-add", "wand-remove", "wand-drop", "wand-apply", "run", "accept"):
        assert tab.page.locator(f"#{id_}").evaluate(UNCOVERED), id_
    assert tab.page.locator("#wand-bar").get_by_text("Area size").is_visible()
    assert tab.page.locator("#wand-scale").bounding_box()["width"] > 120
    assert tab.page.evaluate("view.contains(document.elementFromPoint(...view.hybridseg.toScreen(399, 300)))")
    ready(tab)
    tab.draw((260, 420), (250, 540), (330, 480))
    assert area(tab) > 0
    # What it says then takes two lines on a phone.
    assert tab.page.locator("#view").bounding_box() == image
    if (width, height) == (800, 600):
        picture(tab, "label_wand")


@pytest.mark.parametrize("width, height", [(360, 640), (400, 800), (1280, 800)])
def test_tab_goes_through_its_controls_as_they_are_seen(label, beach, width, height):
    """On a phone they come before the classes, none of which they cover; elsewhere after."""
    phone = {"has_touch": True, "is_mobile": True} if width <= 400 else {}
    table = ClassTable.from_names([f"class {k}" for k in range(9)])
    tab = label([beach / "coast.png"], table=table, viewport={"width": width, "height": height}, **phone).tab
    tab.press("a")
    tab.page.locator("#view").focus()

    def focused(key):
        tab.press(key)
        one = tab.page.locator(":focus")
        assert one.evaluate(UNCOVERED), one.inner_text()
        return one.get_attribute("id") or one.inner_text().split("\n")[0]

    controls = ["wand-scale", "wand-new", "wand-add", "wand-remove"]
    classes = ["pick-class", "edit-classes", *table.names]
    order = controls + classes if phone else ["border", *classes, *controls]
    assert [focused("Tab") for _ in order] == order
    assert [focused("Shift+Tab") for _ in order[1:]] == order[-2::-1]


def test_dropping_and_leaving(wand, drawn):
    wand.click(80, 80)
    wand.press("Escape")
    assert area(wand) == 0 and wand.chosen() == "water"
    wand.press("Escape")
    assert wand.chosen() == "road"
    # A click elsewhere selects anew; another tool applies what is selected, as it closes a polygon.
    wand.click(80, 80)
    wand.click(150, 315)
    wand.press("p")
    wand.saved()
    strokes, seeds = drawn()
    assert len(strokes) == 1 and seeds[150, 315] == 3 and seeds[80, 80] == 0
    # Undo drops what is only selected, and redo draws it no more than undo does.
    wand.press("z", "a")
    ready(wand)
    wand.click(80, 80)
    wand.press("z")
    assert area(wand) == 0
    wand.click(80, 80)
    wand.press("y")
    wand.saved()
    strokes, seeds = drawn()
    assert area(wand) == 0 and len(strokes) == 1 and seeds[150, 315] == 3


def test_the_size_of_areas(wand):
    wand.click(150, 315)
    small = area(wand)
    wand.press("Escape", "+", "+", "+")
    ready(wand)
    wand.click(150, 315)
    assert area(wand) > 1.5 * small
    wand.press("Escape")
    before = wand.page.locator("#wand-scale").input_value()
    wand.page.keyboard.down("Control")
    wand.page.mouse.wheel(0, 120)
    wand.page.keyboard.up("Control")
    wand.wait("([n]) => Number(document.querySelector('#wand-scale').value) < n", int(before))


def test_what_is_selected_stays_when_the_view_moves(wand, drawn):
    wand.click(80, 80)
    before = area(wand)
    wand.press("i", "i")
    ready(wand)
    assert area(wand) == before
    wand.press("Enter")
    wand.saved()
    assert drawn()[1][80, 80] == 2
    # Superpixels of the new view are finer on the ground.
    ready(wand)
    wand.click(140, 180)
    wand.press("Enter")
    wand.saved()
    strokes, _ = drawn()
    assert (
        len(strokes) == 2
        and 0 < (draw_strokes(SHAPE, strokes[1:]) > 0).sum() < (draw_strokes(SHAPE, strokes[:1]) > 0).sum()
    )


def test_keyboard_alone(wand, drawn):
    wand.page.mouse.move(5, 5)
    wand.page.locator("#skip").focus()
    wand.press("Enter", " ")
    wand.says("press Enter to apply")
    first = area(wand)
    assert first > 0
    for _ in range(4):
        wand.press("ArrowRight")
    wand.press("Shift+ ")
    assert area(wand) > first
    wand.press("Enter")
    wand.saved()
    assert [s.tool for s in drawn()[0]] == ["polygon"]


def test_by_touch(label, truth, tmp_path, strokes, beach):
    tab = label([beach / "coast.png"], has_touch=True, viewport={"width": 820, "height": 1100}).tab
    tab.page.click("#live")
    tab.page.click("#tool-wand")
    ready(tab)
    tab.page.touchscreen.tap(*tab.at(260, 550))
    first = area(tab)
    assert first > 0
    tab.page.click("#wand-add")
    tab.page.touchscreen.tap(*tab.at(330, 550))
    assert area(tab) > first
    tab.page.click("#wand-apply")
    tab.saved()
    assert [s.tool for s in strokes()] == ["polygon"]


def test_a_proposal_is_outlined_under_the_pointer(wand, picture):
    before = wand.see(150, 10)
    code = "view.getContext('2d').getImageData(0, 0, view.width, view.height).data.reduce((sum, n) => sum + n, 0)"
    wand.page.mouse.move(*wand.at(80, 80))
    wand.page.wait_for_timeout(100)
    here = wand.page.evaluate(code)
    wand.page.mouse.move(*wand.at(250, 100))
    wand.page.wait_for_timeout(100)
    assert wand.page.evaluate(code) != here and wand.see(150, 10) == before
    assert wand.page.get_by_role("button", name="Smart wand").get_attribute("aria-pressed") == "true"
    assert wand.page.get_by_role("slider", name="Area size").is_visible()
    wand.page.keyboard.type("?")
    assert "Smart wand" in wand.page.inner_text("#help-keys")


def test_points_and_boxes_for_networks(label, truth, tmp_path, strokes, drawn, picture):
    from samnetworks import save_decoder, save_encoder

    from hybridseg.models.sam import Sam

    (tmp_path / "pond").mkdir()
    path = tmp_path / "pond" / "pond.png"
    write_image(path, np.array([[90, 120, 60], [40, 60, 140], [200, 200, 190]], np.uint8)[truth])
    sam = Sam(save_encoder(tmp_path / "E.onnx"), save_decoder(tmp_path / "D.onnx"))
    tab = label([path], table=ClassTable.from_names(["land", "water", "road"]), sam=sam).tab
    tab.page.click("#live")
    tab.press("2", "a")
    tab.click(80, 80)
    tab.says("press Enter to apply")
    picture(tab, "wand_sam")
    # A point that does not belong to it takes all away, with this network; the one after begins anew.
    tab.page.keyboard.down("Alt")
    tab.click(20, 20)
    tab.page.keyboard.up("Alt")
    tab.says("finds nothing")
    assert area(tab) == 0
    tab.press("Escape")
    assert tab.chosen() == "water"
    tab.click(80, 80)
    tab.says("press Enter to apply")
    tab.click(80, 80)
    tab.saved()
    (stroke,), seeds = drawn()
    covered = seeds == 2
    assert stroke.tool == "polygon" and share(covered, truth == 1) > 0.9 and share(truth == 1, covered) > 0.85
    # Without the network, superpixels.
    tab.page.uncheck("#wand-network")
    ready(tab)
    tab.click(150, 315)
    assert 0 < area(tab) < 5000
