"""The labelling page in a real browser, on a real server: drawn with mouse, keys and fingers, checked in the files."""

import json
import re
import signal

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, read_strokes, write_strokes
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]

WATER, SAND, CLIFF = (0, 0, 255), (255, 255, 0), (139, 0, 139)
ON_SAND = (230, 40), (250, 150)
ON_WATER = (250, 520), (300, 580)

# What a person draws on the coast, by the key of the class, in steps of two thirds of a pixel.
COAST = ClassTable(
    ("water", "surf", "wet sand", "dry sand", "vegetation", "cliff", "road", "building", "sky"),
    ((28, 94, 150), (250, 250, 250), (150, 111, 76), (240, 214, 140), (26, 138, 60), (139, 90, 140), (88, 88, 96),
     (210, 58, 50), (151, 202, 235)),
)  # fmt: skip
COAST_STROKES = {
    "9": [[(30, 40), (40, 420), (30, 860)], [(95, 160), (100, 420)]],
    "1": [[(170, 700), (230, 830), (340, 870)], [(330, 760), (450, 880)]],
    "2": [[(560, 400), (500, 480), (420, 540)], [(330, 600), (230, 600)], [(570, 560), (500, 700), (580, 800)]],
    "3": [[(590, 40), (500, 180), (390, 290)], [(320, 330), (255, 440)]],
    "4": [[(520, 20), (420, 100), (330, 250)], [(260, 380), (190, 490)]],
    "5": [[(130, 20), (140, 180)], [(335, 20), (290, 150)]],
    "6": [[(280, 20), (240, 180)], [(215, 260), (185, 400)]],
    "8": [[(205, 15), (205, 55)]],
}
# The classes of the scenes in these: what is no class here is left out.
TRUE_CLASSES = (8, 0, 1, 255, 2, 3, 255, 5, 4, 255, 255)
DOT = Stroke("pen", 0, 5.0, ((50.0, 50.0),))


def test_from_scribbles_to_ground_truth(tab, beach, strokes):
    tab.slide("opacity", 100)
    tab.press("2")
    tab.scribble(*ON_SAND)
    tab.press("1")
    tab.scribble(*ON_WATER)
    tab.press("3")
    tab.scribble((20, 300), (20, 400))
    tab.shows(20, 350, CLIFF)
    tab.press("z")
    tab.saved()
    assert [stroke.class_id for stroke in strokes()] == [1, 0]
    # The result is seen while it is drawn, far from the scribbles too.
    for row, col, color in ((240, 100, SAND), (300, 60, SAND), (270, 545, WATER), (200, 560, WATER)):
        tab.shows(row, col, color)
    tab.page.reload()
    tab.ready().slide("opacity", 100)
    tab.shows(300, 60, SAND)
    tab.shows(200, 560, WATER)
    tab.press("y")
    tab.saved()
    assert [stroke.class_id for stroke in strokes()] == [1, 0, 2]
    tab.press("z")
    tab.accept()
    tab.says("done", where="#images")
    assert not list(beach.glob("*.tmp*")) and (beach / "coast_report.txt").exists()
    found = read_labelmap(beach / "coast_mres.mat")
    assert found.seeds[240, 95] == 2 and found.seeds[275, 550] == 1 and found.seeds[20, 350] == 0
    assert np.count_nonzero(found.seeds) == pytest.approx(12 * (112 + 78) + 2 * 113, rel=0.1)
    assert (found.labels[found.seeds > 0] == found.seeds[found.seeds > 0] - 1).all()
    assert found.labels[300, 60] == 1 and found.labels[200, 560] == 0


def test_seeds_lie_exactly_where_they_were_drawn(tab, beach):
    """A pen of one pixel, drawn at a large zoom: row and column are those under the pointer."""
    tab.page.mouse.move(*tab.at(200, 300))
    for _ in range(40):
        tab.press("i")
    tab.page.locator("#pen-size").fill("1")
    tab.page.locator("#pen-size").press("Enter")
    tab.click(200, 300)
    tab.scribble((203, 297), (203, 301))
    tab.accept()
    seeds = read_labelmap(beach / "coast_mres.mat").seeds
    assert sorted(map(tuple, np.argwhere(seeds).tolist())) == [(200, 300), *((203, col) for col in range(297, 302))]


def test_a_geotiff_keeps_its_place(label, scene, tmp_path):
    import rasterio

    from hybridseg.io.rasters import open_raster, quiet_rasterio

    place = rasterio.transform.from_origin(500000, 4000000, 2, 2)
    settings = {"driver": "GTiff", "height": 400, "width": 600, "count": 3, "dtype": "uint8"}
    path = tmp_path / "g.tif"
    with quiet_rasterio(), rasterio.open(path, "w", crs="EPSG:32611", transform=place, **settings) as out:
        out.write(scene.image.transpose(2, 0, 1))
    tab = label([path]).tab
    tab.press("2")
    tab.scribble(*ON_SAND)
    tab.press("1")
    tab.scribble(*ON_WATER)
    tab.accept()
    with open_raster(tmp_path / "g_mres_label.tif") as dataset:
        assert dataset.crs.to_epsg() == 32611 and dataset.transform == place
        labels = dataset.read(1)
    assert labels.shape == (400, 600) and labels[240, 95] == 1 and labels[275, 550] == 0


def test_by_keyboard_alone(tab, strokes, beach):
    """From the first Tab of the page to files: no mouse."""

    def tab_to(id_):
        for _ in range(60):
            tab.press("Tab")
            if tab.page.evaluate("document.activeElement.id") == id_:
                return
        raise AssertionError(f"Tab does not come to {id_}")

    tab_to("tool-erase")
    tab.press("Enter")
    tab_to("view")
    row, col = tab.point(*tab.page.evaluate(
        "(() => { const b = view.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()"
    ))  # fmt: skip
    assert (row, col) == pytest.approx((199.5, 299.5))
    step = 16 * (tab.point(1, 0)[1] - tab.point(0, 0)[1])
    tab.press("2", "p", "Space", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "Space")
    tab.saved()
    (pen,) = strokes()
    assert (pen.tool, pen.class_id) == ("pen", 1) and len(pen.points) == 5
    assert pen.points[0] == pytest.approx((row, col), abs=0.02)
    assert pen.points[-1] == pytest.approx((row + step, col + 3 * step), abs=0.02)
    tab.press("g", "1", *["ArrowRight"] * 8, "Shift+ArrowRight", "Space", *["ArrowDown"] * 4, "Space",
              *["ArrowRight"] * 4, "Space", "ArrowUp", "Space", "Backspace", "Enter")  # fmt: skip
    tab.saved()
    polygon = strokes()[1]
    assert (polygon.tool, polygon.class_id, len(polygon.points)) == ("polygon", 0, 3)
    corners = [(1, 11), (5, 11), (5, 15)]
    for point, (down, right) in zip(polygon.points, corners, strict=True):
        assert point == pytest.approx((row + down * step, col + 1 + right * step), abs=0.02)
    tab.press("p", "3", "Space", "ArrowUp", "Space")
    tab.saved()
    assert len(strokes()) == 3
    tab.press("z")
    tab.saved()
    assert len(strokes()) == 2
    tab.accept()
    found = read_labelmap(beach / "coast_mres.mat")
    assert set(np.unique(found.seeds)) == {0, 1, 2}


def test_two_tabs(desk, browse, strokes):
    """The tab that is behind is told, and nothing of the other one is overwritten."""
    browse.expected.append("status of 409")
    older, newer = desk.tab, browse(desk.served.address, beside=desk.tab).ready()
    newer.press("2")
    newer.scribble(*ON_SAND)
    older.page.bring_to_front()
    older.draw(*ON_WATER)
    older.says("changed in another tab", where="#banner")
    older.says("Not saved", where="#saved")
    assert [stroke.class_id for stroke in strokes()] == [1]
    older.slide("opacity", 100)
    older.shows(*(240, 95), SAND)
    older.page.get_by_role("button", name="Draw it again").click()
    older.saved()
    assert [stroke.class_id for stroke in strokes()] == [1, 0]
    newer.page.bring_to_front()
    newer.draw((20, 300), (20, 400))
    newer.page.get_by_role("button", name="Drop it").click()
    newer.says("All saved", where="#saved")
    newer.press("1")
    newer.scribble((30, 300), (30, 400))
    assert [stroke.class_id for stroke in strokes()] == [1, 0, 0]


def test_classes_in_another_order_in_another_tab(desk, browse, strokes):
    """A stroke that waits keeps its class, wherever that has gone in the list."""
    browse.expected.append("status of 409")
    older, newer = desk.tab, browse(desk.served.address, beside=desk.tab).ready()
    newer.page.click("#edit-classes")
    newer.page.locator("#class-rows li").first.get_by_label("Move down").click()
    newer.page.click("#class-save")
    newer.wait("!document.querySelector('dialog[open]')")
    older.page.bring_to_front()
    older.press("1")
    older.draw(*ON_WATER)
    older.page.get_by_role("button", name="Draw it again").click()
    older.saved()
    assert desk.session.album.table.names == ("sand", "water", "cliff")
    assert [stroke.class_id for stroke in strokes()] == [1]
    older.scribble((100, 300), (100, 400))
    assert [stroke.class_id for stroke in strokes()] == [1, 1]


@pytest.mark.slow
def test_a_server_that_is_killed_while_the_pen_is_down(start, browse, beach, strokes):
    browse.expected += ["ERR_CONNECTION", "status of 403", "status of 409"]
    (beach / "labels.txt").write_text("water\nsand\n")
    process, address = start(beach)
    tab = browse(address).ready()
    for row in (100, 150, 200):
        tab.scribble((row, 300), (row, 400))
    tab.draw((250, 300), (250, 400), lift=False)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    before = strokes()
    assert [round(stroke.points[0][0]) for stroke in before] == [100, 150, 200]
    tab.page.mouse.up()
    tab.says("does not answer", where="#banner")
    port = re.search(r":(\d+)/", address)[1]
    _, address = start(beach, "--port", port)
    # A new window finds all that was saved; not even the stroke in the air is lost, once the new address is open.
    fresh = browse(address, beside=tab).ready()
    tab.saved()
    tab.says("All saved", where="#saved")
    assert strokes()[:3] == before
    assert [round(stroke.points[0][0]) for stroke in strokes()] == [100, 150, 200, 250]
    tab.scribble((300, 300), (300, 400))
    fresh.page.reload()
    fresh.ready().press("z")
    fresh.saved()
    assert len(strokes()) == 4


def test_a_page_that_is_closed_keeps_what_was_not_sent(desk, browse, strokes):
    browse.expected.append("ERR_CONNECTION")
    desk.served.stop()
    desk.tab.draw(*ON_SAND)
    desk.tab.says("Your strokes are kept", where="#banner")
    desk.served.start()
    desk.tab.page.reload()
    desk.tab.ready().saved()
    assert len(strokes()) == 1 and len(browse.held) == 1
    # Even a stroke in the air is kept, and drawn once.
    desk.tab.draw(*ON_WATER, lift=False)
    desk.tab.page.reload()
    desk.tab.ready().saved()
    assert len(strokes()) == 2 and len(browse.held) == 1


def test_a_server_that_is_silent_for_a_while(desk, browse, strokes):
    browse.expected.append("ERR_CONNECTION")
    tab = desk.tab
    tab.scribble((100, 300), (100, 400))
    desk.served.stop()
    for row in (150, 200, 250):
        tab.draw((row, 300), (row, 400))
    tab.says("does not answer", where="#banner")
    assert tab.page.evaluate("document.body.dataset.unsent") == "3" and len(strokes()) == 1
    desk.served.start()
    tab.saved()
    tab.wait("document.querySelector('#banner').hidden")
    assert [round(stroke.points[0][0]) for stroke in strokes()] == [100, 150, 200, 250]


@pytest.mark.parametrize("act", ["strokes", "undo"])
def test_an_answer_that_is_lost(tab, browse, strokes, act):
    """The server has made the change; the page sends it again, and it is not made twice."""
    browse.expected.append("ERR_FAILED")
    sent, armed = [], []

    def lose(route):
        if armed:
            sent.append(route.request.post_data_json)
        if len(sent) != 1:
            return route.fallback()
        route.fetch()
        return route.abort()

    # Early: a request just after the routing began can slip past it.
    tab.page.route(f"**/{act}", lose)
    tab.scribble((100, 300), (100, 400))
    tab.scribble((150, 300), (150, 400))
    armed.append(True)
    if act == "undo":
        tab.press("z")
    else:
        tab.draw((200, 300), (200, 400))
    tab.says("does not answer", where="#banner")
    tab.saved()
    assert len(sent) == 2 and sent[0] == sent[1] and len(strokes()) == (1 if act == "undo" else 3)
    tab.scribble((250, 300), (250, 400))
    assert round(strokes()[-1].points[0][0]) == 250


def test_scripts_in_names_are_shown_as_text(label, browse, scene, tmp_path):
    evil = "<img src=x onerror=alert(1)><script>alert(2)<"
    path = tmp_path / f"{evil}.png"
    write_image(path, scene.image[:60, :90])
    desk = label([path], table=ClassTable((evil, "&lt;b&gt;"), ((1, 2, 3), (4, 5, 6))))
    tab = desk.tab
    assert evil in tab.page.locator("#images .row").text_content()
    tab.says(evil, "&lt;b&gt;", where="#classes")
    tab.says(evil)
    assert evil in tab.page.title()
    tab.scribble((20, 30), (30, 60))
    tab.accept()
    tab.says("is done. Written:")
    browse.expected.append("status of 409")
    tab.page.click("#edit-classes")
    assert tab.page.locator("#class-rows input[type=text]").first.input_value() == evil
    tab.page.locator("#class-rows input[type=text]").first.fill("<script>alert(3)</script>")
    tab.page.click("#class-save")
    tab.says(evil, where="#class-error")
    assert tab.page.locator("main img, aside img, dialog img, body script").count() == 0


def test_with_one_finger(label, beach, strokes, picture):
    table = ClassTable(("water", "sand", "cliff"), tuple(COAST.colors[i] for i in (0, 3, 5)))
    fingers = {"has_touch": True, "is_mobile": True, "viewport": {"width": 800, "height": 1100}}
    tab = label([beach / "coast.png"], table=table, **fingers).tab
    page, hand = tab.page, tab.page.context.new_cdp_session(tab.page)

    def touch(kind, *places):
        spots = [tab.at(*place) for place in places]
        hand.send("Input.dispatchTouchEvent", {
            "type": kind, "touchPoints": [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(spots)]})  # fmt: skip

    def swipe(*places):
        touch("touchStart", places[0])
        for place in places[1:]:
            touch("touchMove", place)
        touch("touchEnd")
        tab.saved()

    def tap(target, expression):
        # Of a tap that follows another touch at once, Chromium now and then makes no click when nobody's finger did it.
        for _ in range(4):
            target.tap()
            for _ in range(20):
                if page.evaluate(expression):
                    return
                page.wait_for_timeout(50)
        raise AssertionError(f"a tap does nothing: {expression}")

    def pick(name):
        chosen_is = f"document.querySelector('#classes [aria-pressed=true]').innerText === '{name}'"
        tap(page.get_by_role("button", name=name), chosen_is)

    pick("sand")
    swipe((230, 40), (240, 90), (250, 150))
    pick("water")
    swipe(*ON_WATER)
    assert [(stroke.tool, stroke.class_id) for stroke in strokes()] == [("pen", 1), ("pen", 0)]
    assert len(strokes()[0].points) == 3
    tab.wait("document.body.dataset.preview === 'shown'")
    picture(tab, "label_touch")
    # Two fingers move and zoom, and draw nothing.
    (left, _), (right, _), middle = tab.at(0, 0), tab.at(0, 1), tab.at(200, 300)
    touch("touchStart", (200, 250))
    touch("touchStart", (200, 250), (200, 350))
    touch("touchMove", (200, 200), (200, 400))
    touch("touchEnd")
    assert tab.at(0, 1)[0] - tab.at(0, 0)[0] == pytest.approx(2 * (right - left), rel=0.02)
    assert tab.at(200, 300) == pytest.approx(middle, abs=2) and len(strokes()) == 2
    # The list is a drawer here; all that is touched is large enough for a finger.
    assert not page.locator("#image-panel").is_visible()
    tap(page.locator("#images-toggle"), "document.querySelector('#image-panel').checkVisibility()")
    tap(page.locator("#images .row"), "!document.querySelector('#image-panel').checkVisibility()")
    for width, height in ((800, 1100), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert box["height"] >= 40 and box["width"] >= 40, button.inner_text()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.locator("#view").bounding_box()["height"] > 0.4 * height
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(tab, "phone")


@pytest.mark.slow
def test_a_whole_coast(label, scene, tmp_path, picture):
    """Two dozen strokes by hand; most of what becomes of them is what the coast really is."""
    write_image(tmp_path / "coast_04.jpg", scene.image)
    for k in (1, 2, 3, 5, 6):
        write_image(tmp_path / f"coast_{k:02d}.jpg", scene.image[:100, :150])
    write_strokes(tmp_path / "coast_02_doodles.json", StrokeLog("coast_02.jpg", (100, 150), COAST, (DOT,), done=True))
    write_strokes(tmp_path / "coast_03_doodles.json", StrokeLog("coast_03.jpg", (100, 150), COAST, (DOT,)))
    tab = label(sorted(tmp_path.glob("*.jpg")), table=COAST).tab
    tab.page.locator("#images .row", has_text="coast_04").click()
    tab.wait("document.title.startsWith('coast_04')")
    tab.ready().page.click("#live")
    for key, lines in COAST_STROKES.items():
        tab.press(key)
        for line in lines:
            tab.draw(*((row / 1.5, col / 1.5) for row, col in line))
    tab.saved()
    tab.page.click("#live")
    tab.wait("document.body.dataset.preview === 'shown'")
    tab.press("4")
    tab.page.mouse.move(*tab.at(220, 220))
    picture(tab, "label_page")
    tab.accept()
    truth = np.array(TRUE_CLASSES)[scene.labels]
    labels = read_labelmap(tmp_path / "coast_04_mres.mat").labels
    assert (labels == truth)[truth < 255].mean() > 0.75


def test_painting_on_the_result(tab, beach, strokes):
    tab.slide("opacity", 100)
    tab.press("2")
    tab.scribble(*ON_SAND)
    tab.press("1")
    tab.scribble(*ON_WATER)
    tab.page.click("#show-scribbles")
    tab.page.focus("#opacity")
    tab.press("Enter")
    tab.says("The whole image is labelled; accept it with S")
    tab.press("l", "3")
    tab.scribble((300, 60), (300, 80))
    tab.shows(300, 70, CLIFF)
    tab.shows(330, 70, SAND)
    tab.press("e", "-", "-")
    tab.click(300, 60)
    tab.saved()
    tab.shows(300, 60, SAND)
    tab.shows(300, 80, CLIFF)
    tab.press("b", "1")
    tab.click(300, 80)
    tab.saved()
    tab.shows(300, 80, WATER)
    assert [(s.tool, s.layer) for s in strokes()[2:]] == [("pen", "result"), ("erase", "result"), ("region", "result")]
    tab.accept()
    found = read_labelmap(beach / "coast_mres.mat")
    assert found.labels[300, [60, 80]].tolist() == [1, 0] and found.seeds[300, [60, 80]].tolist() == [0, 0]


def test_fill_polygon_and_eraser_by_mouse(tab, strokes):
    tab.slide("opacity", 100)
    tab.page.click("#live")
    tab.page.click("#tool-polygon")
    tab.press("3")
    for corner in ((100, 100), (100, 200), (200, 200), (200, 100)):
        tab.click(*corner)
    assert tab.page.evaluate("document.body.dataset.unsent") == "0"
    tab.click(100, 100)
    tab.saved()
    assert [(s.tool, len(s.points)) for s in strokes()] == [("polygon", 4)]
    tab.shows(150, 150, CLIFF)
    tab.page.click("#tool-erase")
    tab.scribble((150, 120), (150, 180))
    tab.shows(170, 150, CLIFF)
    assert tab.see(150, 150) != CLIFF
    tab.page.click("#tool-fill")
    tab.press("1")
    tab.click(170, 150)
    tab.saved()
    tab.shows(110, 110, WATER)
    assert [s.tool for s in strokes()] == ["polygon", "erase", "region"]
    # A double click closes a polygon too; Esc gives it up.
    tab.page.click("#tool-polygon")
    tab.click(300, 300)
    tab.click(300, 350)
    tab.page.mouse.dblclick(*tab.at(350, 350))
    tab.saved()
    assert [len(s.points) for s in strokes()[3:]] == [3]
    tab.click(20, 20)
    tab.press("Escape")
    tab.press("p")
    tab.saved()
    assert len(strokes()) == 4


def chosen(tab):
    return tab.page.locator("#classes [aria-pressed=true]").inner_text().split("\n")[0]


def test_keys_for_classes_and_tools(tab):
    assert chosen(tab) == "water"
    tab.press("3")
    assert chosen(tab) == "cliff"
    tab.press("Escape")
    assert chosen(tab) == "water"
    tab.press("Escape", "9")
    assert chosen(tab) == "sand"
    for key, id_ in zip("hpegb", ("hand", "pen", "erase", "polygon", "fill"), strict=True):
        tab.press(key)
        assert tab.page.locator(f"#tool-{id_}").get_attribute("aria-pressed") == "true"
    tab.page.keyboard.type("?")
    assert tab.page.locator("#help-dialog").is_visible()
    tab.press("1", "Escape")
    assert chosen(tab) == "sand" and not tab.page.locator("#help-dialog").is_visible()
    # Letters that are typed are no commands.
    tab.page.fill("#filter", "")
    tab.page.locator("#filter").press_sequentially("1s")
    assert chosen(tab) == "sand" and tab.page.evaluate("document.body.dataset.job") == "none"


def test_the_wheel(tab):
    mouse, size = tab.page.mouse, tab.page.locator("#pen-size")
    mouse.move(*tab.at(100, 200))
    before = int(size.input_value())
    mouse.wheel(0, -120)
    tab.wait("([n]) => Number(document.querySelector('#pen-size').value) > n", before)
    for _ in range(14):
        mouse.wheel(0, 400)
    tab.wait("document.querySelector('#pen-size').value === '1'")
    size.fill("900")
    size.press("Enter")
    tab.page.locator("#view").focus()
    for _ in range(2):
        mouse.wheel(0, -400)
    tab.wait("document.querySelector('#pen-size').value === '1000'")
    tab.press("1")
    # Events of the wheel come in whole pixels of the screen.
    place = [round(value) for value in tab.at(100, 200)]
    mouse.move(*place)
    below = tab.point(*place)
    tab.page.keyboard.down("Control")
    for _ in range(18):
        mouse.wheel(0, -400)
    tab.poll(lambda: tab.scale() == pytest.approx(64), "the largest zoom is 64")
    assert tab.point(*place) == pytest.approx(below, abs=0.02)
    for _ in range(18):
        mouse.wheel(0, 400)
    scales = [0.0, 1.0]
    tab.poll(lambda: scales.append(tab.scale()) or scales[-1] == scales[-2], "the zoom comes to rest")
    assert 0.5 < scales[-1] <= 1
    tab.page.keyboard.up("Control")
    # All of it is seen at the smallest scale.
    (left, top), (right, bottom) = tab.at(0, 0), tab.at(399, 599)
    box = tab.page.locator("#view").bounding_box()
    assert left > box["x"] and top > box["y"]
    assert right < box["x"] + box["width"] and bottom < box["y"] + box["height"]
    tab.press("h")
    before = tab.scale()
    mouse.wheel(0, -120)
    tab.poll(lambda: tab.scale() > before, "with the hand the wheel zooms")


def shows_ring(tab, row, col):
    """Wait until a white line passes near."""
    x, y = (round(value) for value in tab.at(row, col))
    spots = [tab.point(x + dx, y) for dx in range(-3, 4)]
    tab.poll(lambda: any(min(tab.see(*spot)) > 230 for spot in spots), "the ring of the pen")


def test_space_and_the_middle_button_move_the_image(tab, beach):
    mouse = tab.page.mouse
    # A button that was clicked lets go of the keys.
    tab.page.click("#tool-pen")
    for held in ("space", "middle"):
        x, y = tab.at(200, 300)
        mouse.move(x, y)
        if held == "space":
            tab.page.keyboard.down("Space")
        mouse.down(button="left" if held == "space" else "middle")
        mouse.move(x + 50, y + 30, steps=3)
        mouse.up(button="left" if held == "space" else "middle")
        tab.page.keyboard.up("Space")
        assert tab.at(200, 300) == pytest.approx((x + 50, y + 30))
        # The ring of the pen stands where the pointer is.
        shows_ring(tab, 200, 306)
    assert not (beach / "coast_doodles.json").exists()


def test_walking_over_an_image(label, beach, picture):
    tab = label([beach / "coast.png"], window=200).tab
    tab.press("i", "i")
    before = tab.at(0, 0), tab.at(399, 599)
    tab.press("w")
    tab.says("window 1 of 6", where="#walk-place")
    tab.ready()
    box = tab.page.locator("#view").bounding_box()
    (left, top), (right, bottom) = tab.at(0, 0), tab.at(199, 199)
    assert box["x"] < left and box["y"] < top and right < box["x"] + box["width"] and bottom < box["y"] + box["height"]
    assert bottom - top > 0.85 * box["height"]
    bright = sum(tab.see(20, 199))
    assert sum(tab.see(20, 205)) < 0.75 * bright
    tab.press(".")
    tab.page.click("#walk-on")
    tab.says("window 3 of 6", where="#walk-place")
    picture(tab, "walking_window")
    tab.press(",", *["."] * 4, ".")
    tab.says("window 6 of 6", where="#walk-place")
    tab.says("last window")
    assert tab.page.locator("#walk-on").is_disabled()
    tab.scribble((300, 500), (310, 550))
    tab.press("w")
    assert not tab.page.locator("#walk-bar").is_visible()
    assert tab.page.inner_text("#status") == "coast.png"
    assert (tab.at(0, 0), tab.at(399, 599)) == tuple(pytest.approx(place) for place in before)


def test_what_is_shown(tab):
    tab.slide("opacity", 100)
    photo, far = tab.see(240, 95), tab.see(320, 60)
    tab.press("2")
    tab.scribble(*ON_SAND)
    tab.shows(240, 95, SAND)
    tab.shows(320, 60, SAND)
    tab.press("t")
    tab.shows(240, 95, SAND)
    tab.press("r")
    tab.shows(240, 95, photo)
    tab.press("t", "t", "r")
    tab.shows(320, 60, SAND)
    tab.page.keyboard.down("x")
    tab.shows(320, 60, far)
    tab.shows(240, 95, photo)
    tab.page.keyboard.up("x")
    tab.shows(320, 60, SAND)
    tab.press("v")
    tab.wait("document.body.dataset.preview === 'none'")
    tab.shows(320, 60, far)
    tab.press("v", "t")
    tab.shows(320, 60, SAND)
    tab.press(*"[" * 5)
    assert tab.page.locator("#opacity").input_value() == "50"
    tab.shows(320, 60, tuple((a + b) / 2 for a, b in zip(far, SAND, strict=True)), within=3)
    tab.press(*"]" * 2)
    assert tab.page.locator("#opacity").input_value() == "70"


def test_labels_from_a_file(tab, beach, browse, table, tmp_path, strokes):
    labels = np.full((400, 600), 255, np.uint8)
    labels[:100, :50], labels[300:, 500:] = 1, 2
    write_labelpng(tmp_path / "other.png", LabelMap(labels, table))
    tab.slide("opacity", 100)
    tab.page.set_input_files("#import-file", tmp_path / "other.png")
    tab.says("other.png was read")
    tab.shows(50, 25, SAND)
    tab.shows(350, 550, CLIFF)
    assert {stroke.class_id for stroke in strokes()} == {1, 2}
    tab.accept()
    found = read_labelmap(beach / "coast_mres.mat").labels
    assert found[99, 49] == 1 and found[300, 500] == 2 and found[300, 499] != 2
    browse.expected.append("status of 400")
    (tmp_path / "wrong.png").write_bytes(b"no picture")
    tab.page.set_input_files("#import-file", tmp_path / "wrong.png")
    tab.wait("!document.querySelector('#banner').hidden")
    sentence = tab.page.locator("#banner p").inner_text()
    assert (sentence[0].isupper() or sentence.startswith("wrong.png ")) and str(tmp_path) not in sentence
    # What was refused is told until something goes well.
    assert tab.page.inner_text("#status") == "coast.png"
    tab.scribble((20, 300), (20, 400))
    tab.wait("document.querySelector('#banner').hidden")


def test_new_classes_from_a_file(tab, beach, tmp_path):
    """The page shows them at once, and can go on from them."""
    shape = {"label": "kelp", "shape_type": "polygon", "points": [[10, 10], [90, 10], [50, 80]]}
    record = {"version": "5.0.0", "shapes": [shape], "imagePath": "coast.png", "imageHeight": 400, "imageWidth": 600}
    (tmp_path / "new.json").write_text(json.dumps(record))
    tab.page.set_input_files("#import-file", tmp_path / "new.json")
    tab.says("kelp", where="#classes")
    tab.press("4")
    assert chosen(tab) == "kelp"
    tab.page.click("#edit-classes")
    names = tab.page.get_by_label("Name", exact=True)
    assert names.nth(3).input_value() == "kelp"
    names.nth(3).press("Enter")
    tab.page.keyboard.type("rock")
    # Enter goes on to the next row, Ctrl+Enter saves.
    tab.press("Enter")
    assert names.count() == 6 and tab.page.locator("#class-dialog").is_visible()
    tab.press("Control+Enter")
    tab.wait("!document.querySelector('dialog[open]')")
    assert (beach / "page_labels.txt").read_text() == "water\nsand\ncliff\nkelp\nrock\n"
    tab.says("rock", where="#classes")


def test_what_is_said_passes(label, photos, browse):
    browse.expected.append("status of")
    (photos / "c.png").write_bytes((photos / "b.png").read_bytes())
    tab = label([photos / name for name in ("a.png", "b.png", "c.png")]).tab
    (photos / "b.png").write_bytes(b"no photo")
    tab.press("PageDown")
    tab.says("b.png", where="#banner")
    assert tab.page.inner_text("#status") == "a.png"
    tab.press("PageDown")
    tab.wait("document.title.startsWith('c.png')")
    assert not tab.page.locator("#banner").is_visible()
    tab.page.clock.install()
    tab.press("z")
    tab.says("There is nothing to undo.")
    tab.page.clock.fast_forward(7000)
    tab.wait("document.querySelector('#status').innerText === 'c.png'")


def test_an_open_polygon_tells_how_to_close_it(tab, picture):
    tab.press("g")
    tab.click(100, 300)
    tab.says("Enter or a click on the first corner closes it")
    tab.press("Escape")
    assert tab.page.inner_text("#status") == "coast.png"
    tab.press("?")
    tab.says("Drop the polygon", "Fill: on Scribbles", where="#help-keys")
    picture(tab, "help")


def test_no_button_moves_when_work_begins(tab, picture):
    tab.scribble(*ON_SAND)
    tab.page.route("**/run", lambda route: None)
    before = tab.page.locator("#run").bounding_box()
    tab.page.click("#run")
    tab.wait("document.querySelector('#job').checkVisibility()")
    assert tab.page.locator("#run").bounding_box() == before
    picture(tab, "job")


def test_long_names(label, photos, picture):
    """They are cut in the middle, and the state is told beside them."""
    names = [f"2017_BL{k}_1000_{1226 + k}.jpg" for k in range(30, 36)]
    for name in names:
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    tab = label([photos / name for name in ("a.png", *names)]).tab
    picture(tab, "long_names")
    for row, name in zip(tab.page.locator("#images .row").all()[1:], names, strict=True):
        assert row.get_attribute("title") == name and row.locator(".note").is_visible()
        head, tail = (row.locator(part).evaluate("e => [e.scrollWidth, e.clientWidth]") for part in (".head", ".tail"))
        assert head[0] > head[1] > 20 and tail[0] == tail[1]


def test_the_first_tab_stop_leads_to_the_image(tab):
    tab.press("Tab")
    assert tab.page.locator("#skip").bounding_box()["y"] >= 0
    tab.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "view"


def test_naming_classes_from_nothing(label, beach, strokes, browse, picture):
    desk = label([beach / "coast.png"], table=None)
    tab, page = desk.tab, desk.tab.page
    rows = page.locator("#class-rows li")
    assert page.locator("#class-dialog").is_visible() and rows.count() == 1
    page.keyboard.type("kelp")
    page.select_option("#ready-set", "Land and water")
    assert rows.count() == 3
    rows.nth(2).get_by_label("Move up").click()
    rows.nth(1).get_by_label("Colour").fill("#00ff00")
    rows.nth(0).get_by_label("Name").fill("Water")
    browse.expected.append("status of 400")
    page.click("#class-save")
    page.wait_for_selector("#class-error:not(:empty)")
    assert page.locator("#class-error").inner_text()[0].isupper()
    rows.nth(0).get_by_label("Name").fill("kelp")
    assert page.inner_text("#class-error") == ""
    picture(tab, "class_dialog")
    page.click("#class-save")
    tab.wait("!document.querySelector('dialog[open]')")
    assert (beach / "page_labels.txt").read_text() == "kelp\nwater\nland\n"
    tab.press("2")
    tab.slide("opacity", 100)
    tab.scribble(*ON_WATER)
    tab.shows(275, 550, (0, 255, 0))
    # The class at hand stays, wherever it goes; one that was drawn with cannot be lost.
    page.click("#edit-classes")
    rows.nth(1).get_by_label("Move down").click()
    rows.nth(0).get_by_label("Remove").click()
    page.click("#class-save")
    tab.wait("!document.querySelector('dialog[open]')")
    assert chosen(tab) == "water" and (beach / "page_labels.txt").read_text() == "land\nwater\n"
    tab.shows(275, 550, (0, 255, 0))
    tab.scribble((200, 560), (220, 580))
    assert [stroke.class_id for stroke in strokes()] == [1, 1]
    browse.expected.append("status of 409")
    page.click("#edit-classes")
    rows.nth(1).get_by_label("Remove").click()
    page.click("#class-save")
    tab.says("coast.png is labelled with water", where="#class-error")
    page.click("#class-cancel")
    assert desk.session.album.table.names == ("land", "water")
    # One that was not may have another name.
    tab.press("1")
    page.click("#edit-classes")
    rows.nth(0).get_by_label("Name").fill("ground")
    rows.nth(0).get_by_label("Move down").click()
    page.click("#class-save")
    tab.wait("!document.querySelector('dialog[open]')")
    assert desk.session.album.table.names == ("water", "ground") and chosen(tab) == "ground"


def test_thousands_of_images(label, tmp_path):
    """Only the rows in view exist."""
    paths = [tmp_path / f"img_{i:05d}.png" for i in range(3000)]
    write_image(paths[0], np.zeros((20, 30, 3), np.uint8))
    for path in paths[1:]:
        path.hardlink_to(paths[0])
    tab = label(paths).tab
    rows = tab.page.locator("#images .row")
    assert 10 < rows.count() < 60 and tab.page.locator("#image-count").inner_text() == "0 of 3000 done"
    tab.page.evaluate("""async () => {
        const list = document.querySelector("#images");
        for (const share of [0.2, 0.9, 0.5, 1]) {
            list.scrollTop = share * list.scrollHeight;
            await new Promise(requestAnimationFrame);
        }
    }""")
    assert 10 < rows.count() < 60
    assert rows.last.get_attribute("title") == "img_02999.png"
    tab.page.fill("#filter", "_0177")
    tab.wait("document.querySelectorAll('#images .row').length === 10")
    rows.nth(7).click()
    tab.wait("document.title.startsWith('img_01777.png')")
    tab.ready().press("PageDown")
    tab.wait("document.title.startsWith('img_01778.png')")


def test_accept_and_next(label, browse, photos):
    browse.expected.append("status of 400")
    tab = label([photos / "a.png", photos / "b.png"]).tab
    tab.scribble((20, 20), (30, 20))
    tab.press("Shift+S")
    tab.wait("document.title.startsWith('b.png')")
    tab.ready().says("a.png is done. Written: a_mres.mat")
    tab.says("1 of 2 done", where="#image-count")
    tab.press("s")
    tab.says("Nothing was drawn on this image yet", where="#banner")
    tab.page.get_by_role("button", name="Close").click()
    tab.press("PageUp")
    tab.wait("document.title.startsWith('a.png')")
    assert read_strokes(photos / "a_doodles.json").done


@pytest.mark.slow
@pytest.mark.real
def test_on_a_real_photo(label, real_data, tmp_path):
    """Scribbled at the zoom of the whole image; what is drawn lies where it was drawn, at full size."""
    source = sorted((real_data / "obx" / "images").glob("*.jpg"))[0]
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    tab = label([path]).tab
    rows, cols = tab.point(*tab.at(0, 0)) and read_size(path)
    tab.page.fill("#pen-size", str(cols // 60))
    tab.page.locator("#pen-size").press("Enter")
    tab.press("1")
    tab.scribble((0.1 * rows, 0.2 * cols), (0.1 * rows, 0.8 * cols))
    tab.press("2")
    tab.scribble((0.9 * rows, 0.2 * cols), (0.9 * rows, 0.8 * cols))
    tab.wait("document.body.dataset.preview === 'shown'")
    tab.accept()
    found = read_labelmap(tmp_path / f"{path.stem}_mres.mat")
    assert found.labels.shape == (rows, cols)
    assert found.seeds[round(0.1 * rows), cols // 2] == 1 and found.seeds[round(0.9 * rows), cols // 2] == 2
    assert (found.labels[found.seeds > 0] == found.seeds[found.seeds > 0] - 1).all()


def read_size(path):
    from hybridseg.io.images import describe_image

    info = describe_image(path)
    return info.rows, info.cols
