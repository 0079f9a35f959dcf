"""From strokes to files in a real browser: drawn with mouse, keys and fingers, checked in the files."""

import re

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, read_stage, read_strokes, write_strokes
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.elsewhere import Elsewhere
from hybridseg.labelling.spreading import SpreadOptions

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]

WATER, SAND, CLIFF = (0, 0, 255), (255, 255, 0), (139, 0, 139)

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


def test_from_scribbles_to_ground_truth(tab, beach, strokes, on_sand, on_water):
    tab.slide("opacity", 100)
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
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
    tab.accept(among=1)
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
    tab.accept(among=1)
    seeds = read_labelmap(beach / "coast_mres.mat").seeds
    assert sorted(map(tuple, np.argwhere(seeds).tolist())) == [(200, 300), *((203, col) for col in range(297, 302))]


def test_a_geotiff_keeps_its_place(label, scene, tmp_path, on_sand, on_water):
    import rasterio

    from hybridseg.io.rasters import open_raster, quiet_rasterio

    place = rasterio.transform.from_origin(500000, 4000000, 2, 2)
    settings = {"driver": "GTiff", "height": 400, "width": 600, "count": 3, "dtype": "uint8"}
    path = tmp_path / "g.tif"
    with quiet_rasterio(), rasterio.open(path, "w", crs="EPSG:32611", transform=place, **settings) as out:
        out.write(scene.image.transpose(2, 0, 1))
    tab = label([path]).tab
    x, y = (round(value) for value in tab.at(100, 200))
    row, col = tab.point(x, y)
    tab.page.mouse.move(x, y)
    tab.says("row 100, col 200 ·", where="#where")
    east, north = re.search(r"x ([\d.]+), y ([\d.]+)", tab.page.inner_text("#where")).groups()
    assert float(east) == pytest.approx(500000 + 2 * (col + 0.5), abs=0.06)
    assert float(north) == pytest.approx(4000000 - 2 * (row + 0.5), abs=0.06)
    # An arrow points to the north: its tip is above, its notch below.
    box = tab.page.locator("#view").bounding_box()
    tip, beside = (tab.point(box["x"] + 34 + dx, box["y"] + box["height"] - 34 - 12) for dx in (0, 9))
    assert tab.see(*tip) == (255, 255, 255) and tab.see(*beside) != (255, 255, 255)
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
    tab.accept(among=1)
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
    tab.accept(among=1)
    found = read_labelmap(beach / "coast_mres.mat")
    assert set(np.unique(found.seeds)) == {0, 1, 2}


def test_with_one_finger(label, beach, strokes, picture, on_water):
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
    swipe(*on_water)
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
    # Hints speak of what a finger can do, and what does not apply to a tool is off.
    assert page.locator("#pen-size").is_enabled()
    tap(page.locator("#tool-polygon"), "document.querySelector('#tool-polygon').ariaPressed === 'true'")
    touch("touchStart", (200, 300))
    touch("touchEnd")
    tab.says("Tap the first corner to close it; Undo removes a corner.")
    assert all(page.locator(f"#pen-{part}").is_disabled() for part in ("size", "smaller", "larger"))
    page.locator("#undo").tap()
    tab.says("coast.png")
    tap(page.locator("#tool-pen"), "document.querySelector('#tool-pen').ariaPressed === 'true'")
    assert page.locator("#pen-larger").is_enabled()
    # The list is a drawer here; all that is touched is large enough for a finger.
    assert not page.locator("#image-panel").is_visible()
    tap(page.locator("#images-toggle"), "document.querySelector('#image-panel').checkVisibility()")
    assert page.evaluate("document.activeElement.id") != "filter", "a keyboard would cover the list"
    tap(page.locator("#images .row"), "!document.querySelector('#image-panel').checkVisibility()")
    tap(page.locator("#pick-class"), "document.querySelector('#pick-class').ariaPressed === 'true'")
    tab.says("Tap on the image to draw with the class")
    assert "Two fingers" in page.locator("#help-keys").text_content()
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
    tab.page.locator("#images .row[title='coast_04.jpg']").click()
    tab.wait("document.title.startsWith('coast_04')")
    tab.ready().page.click("#live")
    for key, lines in COAST_STROKES.items():
        tab.press(key)
        for line in lines:
            tab.draw(*((row / 1.5, col / 1.5) for row, col in line), steps=1)
    tab.saved()
    tab.page.click("#live")
    tab.wait("document.body.dataset.preview === 'shown'")
    tab.press("4")
    tab.page.mouse.move(*tab.at(220, 220))
    picture(tab, "label_page")
    tab.accept(among=1)
    truth = np.array(TRUE_CLASSES)[scene.labels]
    labels = read_labelmap(tmp_path / "coast_04_mres.mat").labels
    assert (labels == truth)[truth < 255].mean() > 0.75


def test_painting_on_the_result(tab, beach, strokes, on_sand, on_water):
    tab.slide("opacity", 100)
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
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
    tab.press("l", "p")
    tab.scribble((300, 70), (300, 90))
    tab.says("The result is painted here, and stays")
    tab.press("z")
    tab.saved()
    tab.accept()
    found = read_labelmap(beach / "coast_mres.mat")
    assert found.labels[300, [60, 80]].tolist() == [1, 0] and found.seeds[300, [60, 80]].tolist() == [0, 0]


def test_the_live_result_is_asked_for_until_all_was_looked_at(tab, monkeypatch, on_sand, on_water):
    asked, sample = [], Elsewhere.sample

    def look(self, *args, **settings):
        asked.append(args)
        return sample(self, *args, **settings)[0], len(asked) > 2

    monkeypatch.setattr(Elsewhere, "sample", look)
    tab.press("2")
    tab.scribble(*on_sand)
    tab.poll(lambda: len(asked) == 3, "the live result is asked for again")
    tab.wait("document.body.dataset.preview === 'shown'")
    tab.page.wait_for_timeout(600)
    assert len(asked) == 3
    tab.press("1")
    tab.scribble(*on_water)
    tab.poll(lambda: len(asked) == 4, "the live result of the next stroke")


def test_other_images_teach(label, scene, tmp_path, on_sand, on_water, picture):
    """The page says how many and which, of a later session too, until the image has strokes enough of its own."""
    for name in ("a one.png", "b.png", "c.png"):
        write_image(tmp_path / name, scene.image)
    crf = CrfOptions(theta=15.0, n_threads=1)
    options = SpreadOptions(0.25, crf, features="color")
    tab = label([tmp_path / "a one.png", tmp_path / "b.png"], options=options).tab
    for name in ("a one", "b"):
        tab.wait("([name]) => document.title.startsWith(name)", name)
        for number, stroke in (("2", on_sand), ("1", on_water)):
            tab.press(number)
            tab.scribble(*stroke)
        tab.accept(key="Shift+S", among=int(name != "b"))
        tab.poll(lambda name=name: read_stage(tmp_path / f"{name}_doodles.json") == "done", "accepted")
    # Of an accepted result, too.
    tab.says("Taught by 1 other image", where="#taught")
    assert tab.page.locator("#taught").is_visible()
    for settings in ({}, {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 844}}):
        (tmp_path / "c_doodles.json").unlink(missing_ok=True)
        tab = label([tmp_path / f"{name}.png" for name in ("c", "a one", "b")], options=options, **settings).tab
        taught, before = tab.page.locator("#taught"), tab.page.locator("#view").bounding_box()
        tab.press("2")
        tab.scribble(*on_sand)
        assert not taught.is_visible()
        tab.press("1")
        tab.scribble(*on_water)
        tab.says("Taught by 2 other images", where="#taught")
        tab.wait("document.body.dataset.preview === 'shown'")
        assert "a one.png, b.png" in taught.get_attribute("title")
        assert tab.page.locator("#view").bounding_box() == before, "the image does not move"
        picture(tab, f"taught_{before['width']:.0f}")
        taught.click()
        assert "a one.png, b.png" in tab.page.inner_text("#banner p")
        picture(tab, f"taught_which_{before['width']:.0f}")
        for number, stroke in (("2", ((350, 20), (360, 60))), ("1", ((380, 540), (390, 590)))):
            tab.press(number)
            tab.scribble(*stroke)
        tab.wait("document.querySelector('#taught').hidden && document.querySelector('#banner').hidden")


def test_accept_and_next(label, browse, photos):
    browse.expected.append("status of 400")
    tab = label([photos / "a.png", photos / "b.png"]).tab
    tab.scribble((20, 20), (30, 20))
    tab.press("Shift+S")
    tab.agree()
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
    tab.accept(among=1)
    found = read_labelmap(tmp_path / f"{path.stem}_mres.mat")
    assert found.labels.shape == (rows, cols)
    assert found.seeds[round(0.1 * rows), cols // 2] == 1 and found.seeds[round(0.9 * rows), cols // 2] == 2
    assert (found.labels[found.seeds > 0] == found.seeds[found.seeds > 0] - 1).all()


def read_size(path):
    from hybridseg.io.images import describe_image

    info = describe_image(path)
    return info.rows, info.cols
