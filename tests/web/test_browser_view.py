"""How the photo and what is drawn on it are seen: outlines, brightness, bands, the size of the window."""

import numpy as np
import pytest
import rasterio

from hybridseg.io.images import write_image
from hybridseg.io.rasters import quiet_rasterio

pytestmark = pytest.mark.browser

WATER, SAND = (0, 0, 255), (255, 255, 0)


def test_a_stroke_on_its_own_result_has_an_outline(tab, on_sand):
    """Light inside and dark outside, while it is drawn and when it is on a tile; within it there is its class alone."""
    tab.slide("opacity", 100)
    tab.press("2")
    tab.draw((240, 60), (240, 160), lift=False)
    for lift in (False, True):
        if lift:
            tab.page.mouse.up()
            tab.saved()
            tab.shows(330, 60, SAND)
        x, top = tab.at(240 - 6, 100)
        colors = {tab.see(*tab.point(x, top + dy)) for dy in np.arange(-4, 2, 0.5)}
        assert min(map(max, colors)) < 90 and max(map(min, colors)) > 190
        assert tab.see(240, 100) == SAND


def test_the_class_under_the_pointer(tab, on_sand, on_water):
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
    tab.slide("opacity", 100)
    tab.shows(300, 60, SAND)
    # From the result while it is live, and from a scribble.
    tab.page.mouse.move(*tab.at(300, 60))
    tab.press("c")
    assert tab.chosen() == "sand"
    tab.page.mouse.move(*tab.at(275, 550))
    tab.press("c")
    assert tab.chosen() == "water"
    n_strokes = tab.page.evaluate("document.body.dataset.version")
    tab.page.click("#pick-class")
    tab.says("Click on the image")
    tab.click(240, 95)
    assert tab.chosen() == "sand" and tab.page.get_attribute("#pick-class", "aria-pressed") == "false"
    assert tab.page.evaluate("document.body.dataset.version") == n_strokes
    tab.press("v", "r", "t")
    tab.page.mouse.move(*tab.at(20, 300))
    tab.press("c")
    tab.says("Nothing is labelled here")


def test_the_picture_brighter_and_as_it_is(tab):
    tab.page.click("#picture-part summary")
    places = [(240, 95), (275, 550), (20, 300)]
    before = [tab.see(*place) for place in places]
    tab.slide("gamma", 200)
    expected = [tuple(round((v / 255) ** 0.5 * 255) for v in color) for color in before]
    for place, color in zip(places, expected, strict=True):
        tab.shows(*place, color, within=1)
    tab.slide("brightness", 20)
    tab.slide("contrast", 50)
    for place, color in zip(places, expected, strict=True):
        tab.shows(*place, tuple(min((v / 255 - 0.5) * 0.5 + 0.7, 1) * 255 for v in color), within=2)
    tab.page.click("#tone-reset")
    for place, color in zip(places, before, strict=True):
        tab.shows(*place, color, within=0)


@pytest.fixture
def dark(tmp_path):
    """An image of four bands of 16 bits, of which a few bright pixels leave the rest dark; each band is a ramp."""
    path, ramp = tmp_path / "dark.tif", np.linspace(100, 900, 300)[None].repeat(200, axis=0)
    bands = np.stack(
        [ramp, ramp[:, ::-1], np.full_like(ramp, 500), ramp.T.repeat(2, axis=0)[:200, :200].repeat(2, 1)[:, :300]]
    )
    bands[:, 0, 0] = 65535
    with (
        quiet_rasterio(),
        rasterio.open(path, "w", driver="GTiff", height=200, width=300, count=4, dtype="uint16") as out,
    ):
        out.write(bands.astype(np.uint16))
    return path


def test_a_dark_image_of_16_bits_and_its_bands(label, dark):
    tab = label([dark]).tab
    left, right = tab.see(100, 20), tab.see(100, 280)
    assert left[0] < 40 and right[0] > 215 and left[1] > 215 and right[1] < 40
    tab.page.click("#picture-part summary")
    for band in ("red", "green", "blue"):
        tab.page.select_option(f"#band-{band}", "2")
    tab.poll(lambda: max(np.ptp(tab.see(100, 20)), np.ptp(tab.see(100, 280))) < 6, "one band is grey")
    assert min(tab.see(100, 20)) > 215 and max(tab.see(100, 280)) < 40


def test_a_dark_photo_stretched(label, tmp_path):
    path = tmp_path / "dim.png"
    write_image(path, np.linspace(40, 60, 300)[None, :, None].repeat(200, 0).repeat(3, 2).round().astype(np.uint8))
    tab = label([path]).tab
    assert max(tab.see(100, 280)) < 65
    tab.page.click("#picture-part summary")
    tab.page.click("#tone-stretch")
    tab.poll(lambda: min(tab.see(100, 295)) > 230 and max(tab.see(100, 4)) < 25, "it is stretched")


def test_a_pen_that_keeps_its_size_on_the_screen(tab, strokes):
    tab.scribble((20, 300), (20, 310))
    tab.page.click("#settings-part summary")
    tab.page.select_option("#pen-unit", "screen")
    scale = tab.scale()
    assert int(tab.page.input_value("#pen-size")) == 12
    tab.press("i", "i", "i")
    tab.scribble((200, 300), (200, 310))
    first, second = strokes()
    assert first.width == 12 and second.width == pytest.approx(12 / tab.scale(), abs=0.01) and tab.scale() > 2 * scale


def test_a_large_photo_begins_with_a_pen_that_is_seen(label, tmp_path):
    write_image(tmp_path / "large.png", np.full((3000, 4000, 3), 90, np.uint8))
    tab = label([tmp_path / "large.png"]).tab
    size = int(tab.page.input_value("#pen-size"))
    assert size == pytest.approx(12 / tab.scale(), abs=1) and size > 40


def test_fit_follows_the_window(tab):
    def margins():
        box = tab.page.locator("#view").bounding_box()
        (left, top), (right, bottom) = tab.at(-0.5, -0.5), tab.at(399.5, 599.5)
        return left - box["x"], top - box["y"], box["x"] + box["width"] - right, box["y"] + box["height"] - bottom

    for size in ((1000, 500), (1400, 900)):
        tab.page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        tab.poll(lambda: min(margins()) == pytest.approx(16, abs=0.6), f"it fits a window of {size}")
    tab.press("i")
    scale = tab.scale()
    tab.page.set_viewport_size({"width": 1100, "height": 700})
    tab.page.wait_for_timeout(100)
    assert tab.scale() == scale


def test_a_small_window_has_room_for_classes(label, beach, browse, picture):
    tab = label([beach / "coast.png"], viewport={"width": 800, "height": 600}, color_scheme="light").tab
    box = tab.page.locator("#classes").bounding_box()
    assert box["height"] >= 5 * 30
    accept = tab.page.locator("#accept").bounding_box()
    assert accept["y"] + accept["height"] < 600
    ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    picture(tab, "small_light")


@pytest.mark.parametrize("width, height", [(390, 844), (800, 600), (1280, 800)])
def test_nothing_is_out_of_reach(label, beach, width, height):
    """With all parts open, Accept stays in view; what is focused does not move the page; a row of a class is whole."""
    phone = {"has_touch": True, "is_mobile": True} if width < 400 else {}
    tab = label([beach / "coast.png"], viewport={"width": width, "height": height}, **phone).tab
    page = tab.page

    def is_in_view(box):
        right, bottom = box["x"] + box["width"], box["y"] + box["height"]
        return min(box["x"], box["y"]) >= 0 and right <= width and bottom <= height

    page.evaluate("for (const one of document.querySelectorAll('.panel.right details')) one.open = true")
    assert all(is_in_view(page.locator(f"#{one}").bounding_box()) for one in ("run", "accept", "accept-next"))
    panel = "document.querySelector('.panel.right')"
    assert page.evaluate(f"{panel}.scrollWidth === {panel}.clientWidth")
    page.focus("#import-file")
    assert page.evaluate("scrollY === 0 && document.documentElement.scrollHeight === innerHeight")
    # No title of a part takes two lines, which its neighbour would hide.
    assert len({one.bounding_box()["height"] for one in page.locator(".panel.right summary").all()}) == 1
    page.click("#edit-classes")
    assert all(is_in_view(one.bounding_box()) for one in page.locator("#class-dialog button").all())
    rows = "document.querySelector('#class-rows')"
    assert page.evaluate(f"{rows}.scrollWidth === {rows}.clientWidth")
    save, all_rows = (page.locator(one).bounding_box() for one in ("#class-save", "#class-rows"))
    assert save["x"] + save["width"] == pytest.approx(all_rows["x"] + all_rows["width"], abs=5)
    page.click("#class-cancel")
    page.click("#help")
    assert is_in_view(page.locator("#help-dialog button").bounding_box())
    page.click("#help-dialog button")
    assert not page.locator("#help-dialog").is_visible()


def test_bands_hold_for_as_many_and_brightness_belongs_to_the_image(label, dark):
    """Whatever was opened in between, and after a reload; an image that is opened again looks as it was left."""
    for name in ("second.tif", "third.tif"):
        (dark.parent / name).write_bytes(dark.read_bytes())
    three = dark.parent / "three.png"
    write_image(three, np.full((200, 300, 3), 90, np.uint8))
    tab = label([dark, dark.parent / "second.tif", three, dark.parent / "third.tif"]).tab
    tab.page.click("#picture-part summary")
    for band in ("red", "green", "blue"):
        tab.page.select_option(f"#band-{band}", "2")
    tab.poll(lambda: np.ptp(tab.see(100, 280)) < 6, "one band is grey")
    tab.slide("brightness", 40)
    tab.poll(lambda: min(tab.see(100, 280)) > 90, "it is brighter")

    def turn(button, name):
        tab.page.click(button)
        tab.wait("([name]) => document.title.startsWith(name)", name)
        tab.ready()

    def bands():
        return [tab.page.input_value(f"#band-{band}") for band in ("red", "green", "blue")]

    turn("#next", "second.tif")
    assert bands() == ["2", "2", "2"] and tab.page.input_value("#brightness") == "0"
    assert tab.page.is_disabled("#tone-reset")
    tab.poll(lambda: np.ptp(tab.see(100, 280)) < 6 and max(tab.see(100, 280)) < 40, "the same band, as it is")
    turn("#previous", "dark.tif")
    assert tab.page.input_value("#brightness") == "40"
    tab.poll(lambda: min(tab.see(100, 280)) > 90, "as it was left")
    turn("#next", "second.tif")
    turn("#next", "three.png")
    assert bands() == ["1", "2", "3"]
    turn("#next", "third.tif")
    assert bands() == ["2", "2", "2"]
    tab.page.select_option("#band-green", "4")
    tab.page.reload()
    tab.ready()
    assert bands() == ["2", "4", "2"]
    turn("#previous", "three.png")
    turn("#previous", "second.tif")
    assert bands() == ["2", "4", "2"]


def test_a_reload_changes_nothing_that_is_seen(label, dark):
    """Picture, layers and open parts come back; the next run of the program begins anew, but for the parts."""
    second = dark.parent / "second.tif"
    second.write_bytes(dark.read_bytes())
    desk = label([dark, second])
    tab = desk.tab
    for part in ("picture", "show"):
        tab.page.click(f"#{part}-part summary")
    for band in ("red", "green", "blue"):
        tab.page.select_option(f"#band-{band}", "2")
    for slider, value in (("brightness", 40), ("contrast", 60), ("gamma", 150)):
        tab.slide(slider, value)
    tab.press("t", "v", "[")
    tab.poll(lambda: min(tab.see(100, 280)) > 170 and np.ptp(tab.see(100, 280)) < 6, "one band is grey, and brighter")

    def seen(tab):
        code = """() => [...document.querySelectorAll("#picture-part *, #show-part input, .panel.right details")]
            .map((one) => [one.id, one.type === "checkbox" ? one.checked : one.value, one.open])"""
        return tab.page.evaluate(code), tab.see(100, 20), tab.see(100, 280)

    before = seen(tab)
    tab.page.reload()
    tab.ready().poll(lambda: seen(tab) == before, "all is as before")
    assert not tab.page.is_checked("#show-scribbles") and not tab.page.is_checked("#live")
    # Brightness belongs to the first image, bands to both.
    tab.page.click("#next")
    tab.wait("document.title.startsWith('second.tif')")
    tab.page.reload()
    tab.ready()
    assert [tab.page.input_value(f"#{field}") for field in ("brightness", "band-red", "opacity")] == ["0", "2", "50"]
    desk.served.gate.key = "another"
    tab.page.goto(desk.served.address)
    tab.page.wait_for_url(lambda url: "token" not in url)
    tab.ready()
    assert [tab.page.input_value(f"#{field}") for field in ("brightness", "band-red", "opacity")] == ["0", "1", "60"]
    assert tab.page.is_checked("#show-scribbles") and tab.page.is_checked("#live")
    assert tab.page.evaluate("[...document.querySelectorAll('details[open]')].map(({ id }) => id)") == ["picture-part"]


def middle(tab):
    """The row and column in the middle of the canvas."""
    box = tab.page.locator("#view").bounding_box()
    return tab.point(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_the_overview(tab, picture, strokes):
    overview = tab.page.locator("#minimap")
    assert not overview.is_visible()
    tab.press("i", "i", "i", "i")
    overview.wait_for()
    box = overview.bounding_box()
    assert box["width"] == pytest.approx(160, abs=1) and box["height"] == pytest.approx(160 * 2 / 3, abs=1)
    assert middle(tab) == pytest.approx([199.5, 299.5], abs=1)
    picture(tab, "overview")
    scale, inner = tab.scale(), 160 / 600

    def place(row, col):
        return box["x"] + col * inner, box["y"] + row * inner

    tab.page.mouse.click(*place(100, 450))
    assert middle(tab) == pytest.approx([100, 450], abs=5) and tab.scale() == pytest.approx(scale)
    tab.page.mouse.move(*place(100, 450))
    tab.page.mouse.down()
    tab.page.mouse.move(*place(300, 150), steps=3)
    tab.page.mouse.up()
    tab.page.mouse.move(*place(20, 20))
    assert middle(tab) == pytest.approx([300, 150], abs=5)
    # A yellow frame shows the part in view.
    code = "([x, y]) => [...minimap.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"
    right = tab.page.locator("#view").bounding_box()
    row, col = 300, tab.point(right["x"] + right["width"] - 1, right["y"] + 50)[1]
    near = [tab.page.evaluate(code, [round(col * inner) + dx, round(row * inner)]) for dx in range(-4, 2)]
    assert any(red > 200 and blue < 160 for red, _, blue in near), near
    tab.press("m")
    tab.wait("document.querySelector('#minimap').hidden")
    tab.page.reload()
    tab.ready().press("i", "i", "i", "i")
    assert tab.page.input_value("#minimap-setting") == "hidden" and not overview.is_visible()
    tab.press("m")
    overview.wait_for()
    tab.press("f")
    tab.wait("document.querySelector('#minimap').hidden")


def test_the_overview_by_finger(label, beach):
    tab = label([beach / "coast.png"], has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}).tab
    tab.page.click("#zoom-in")
    tab.page.click("#zoom-in")
    box = tab.page.locator("#minimap").bounding_box()
    tab.page.touchscreen.tap(box["x"] + 100 * 160 / 600, box["y"] + 300 * 160 / 600)
    tab.poll(lambda: middle(tab) == pytest.approx([300, 100], abs=6), "the view is where the finger was")
