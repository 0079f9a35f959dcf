"""The tools of the labelling page, what it shows, and how one moves in it, in a real browser."""

import numpy as np
import pytest

from hybridseg.io.images import write_image

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]


def test_fill_polygon_and_eraser_by_mouse(tab, strokes, table):
    water, _, cliff = table.colors
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
    tab.shows(150, 150, cliff)
    tab.page.click("#tool-erase")
    tab.scribble((150, 120), (150, 180))
    tab.shows(170, 150, cliff)
    assert tab.see(150, 150) != cliff
    tab.page.click("#tool-fill")
    tab.press("1")
    tab.click(170, 150)
    tab.saved()
    tab.shows(110, 110, water)
    assert [s.tool for s in strokes()] == ["polygon", "erase", "region"]
    # Undo removes a corner of an open polygon, and takes nothing else back.
    tab.press("z", "y")
    tab.page.click("#tool-polygon")
    tab.click(300, 300)
    tab.click(300, 350)
    tab.press("z", "y")
    tab.says("Close the polygon (Enter) or drop it (Esc) first.")
    tab.press("z")
    tab.saved()
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


def test_keys_for_classes_and_tools(tab):
    assert tab.chosen() == "water"
    tab.press("3")
    assert tab.chosen() == "cliff"
    tab.press("Escape")
    assert tab.chosen() == "water"
    tab.press("Escape", "9")
    assert tab.chosen() == "sand"
    for key, id_ in zip("hpegb", ("hand", "pen", "erase", "polygon", "fill"), strict=True):
        tab.press(key)
        assert tab.page.locator(f"#tool-{id_}").get_attribute("aria-pressed") == "true"
    tab.page.keyboard.type("?")
    assert tab.page.locator("#help-dialog").is_visible()
    tab.press("1", "Escape")
    assert tab.chosen() == "sand" and not tab.page.locator("#help-dialog").is_visible()
    # Letters that are typed are no commands.
    tab.page.fill("#filter", "")
    tab.page.locator("#filter").press_sequentially("1s")
    assert tab.chosen() == "sand" and tab.page.evaluate("document.body.dataset.job") == "none"


def test_the_wheel(tab):
    mouse, size = tab.page.mouse, tab.page.locator("#pen-size")
    mouse.move(*tab.at(100, 200))
    tab.page.keyboard.down("Control")
    before = int(size.input_value())
    mouse.wheel(0, -120)
    tab.wait("([n]) => Number(document.querySelector('#pen-size').value) > n", before)
    tab.page.keyboard.up("Control")
    tab.page.keyboard.down("Alt")
    for _ in range(14):
        mouse.wheel(0, 400)
    tab.wait("document.querySelector('#pen-size').value === '1'")
    tab.page.keyboard.up("Alt")
    size.fill("900")
    size.press("Enter")
    tab.page.locator("#view").focus()
    tab.page.keyboard.down("Control")
    for _ in range(2):
        mouse.wheel(0, -400)
    tab.wait("document.querySelector('#pen-size').value === '1000'")
    tab.page.keyboard.up("Control")
    tab.press("1")
    # Events of the wheel come in whole pixels of the screen.
    place = [round(value) for value in tab.at(100, 200)]
    mouse.move(*place)
    below = tab.point(*place)
    for _ in range(18):
        mouse.wheel(0, -400)
    tab.poll(lambda: tab.scale() == pytest.approx(64), "the largest zoom is 64")
    assert tab.point(*place) == pytest.approx(below, abs=0.02)
    for _ in range(18):
        mouse.wheel(0, 400)
    scales = [0.0, 1.0]
    tab.poll(lambda: scales.append(tab.scale()) or scales[-1] == scales[-2], "the zoom comes to rest")
    assert 0.5 < scales[-1] <= 1
    # All of it is seen at the smallest scale.
    (left, top), (right, bottom) = tab.at(0, 0), tab.at(399, 599)
    box = tab.page.locator("#view").bounding_box()
    assert left > box["x"] and top > box["y"]
    assert right < box["x"] + box["width"] and bottom < box["y"] + box["height"]
    # Pinching on a touch pad comes as a wheel with Ctrl while no key is down.
    before = tab.scale(), size.input_value()
    tab.page.evaluate("""() => {
        const { x, y, width, height } = view.getBoundingClientRect();
        const at = { clientX: x + width / 2, clientY: y + height / 2 };
        view.dispatchEvent(new WheelEvent("wheel", { deltaY: -40, ctrlKey: true, cancelable: true, ...at }));
    }""")
    assert tab.scale() > before[0] and size.input_value() == before[1]


def test_the_wheel_the_other_way_round_is_remembered(tab):
    mouse, size = tab.page.mouse, tab.page.locator("#pen-size")
    for time in (1, 2):
        mouse.move(*tab.at(100, 200))
        scale, width = tab.scale(), int(size.input_value())
        if time == 1:
            tab.page.click("#settings-part summary")
            tab.page.select_option("#wheel", "pen")
            mouse.move(*tab.at(100, 200))
        mouse.wheel(0, -120)
        tab.wait("([n]) => Number(document.querySelector('#pen-size').value) > n", width)
        assert tab.scale() == scale
        tab.page.keyboard.down("Control")
        mouse.wheel(0, -120)
        tab.poll(lambda scale=scale: tab.scale() > scale, "Ctrl and the wheel zoom")
        tab.page.keyboard.up("Control")
        tab.page.reload()
        tab.ready()


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


def test_what_is_shown(tab, on_sand, table):
    sand = table.colors[1]
    tab.slide("opacity", 100)
    photo, far = tab.see(240, 95), tab.see(320, 60)
    tab.press("2")
    tab.scribble(*on_sand)
    tab.shows(240, 95, sand)
    tab.shows(320, 60, sand)
    tab.press("t")
    tab.shows(240, 95, sand)
    tab.press("r")
    tab.shows(240, 95, photo)
    tab.press("t", "t", "r")
    tab.shows(320, 60, sand)
    tab.page.keyboard.down("x")
    tab.shows(320, 60, far)
    tab.shows(240, 95, photo)
    tab.page.keyboard.up("x")
    tab.shows(320, 60, sand)
    tab.press("v")
    tab.wait("document.body.dataset.preview === 'none'")
    tab.shows(320, 60, far)
    tab.press("v", "t")
    tab.shows(320, 60, sand)
    tab.press(*"[" * 5)
    assert tab.page.locator("#opacity").input_value() == "50"
    tab.shows(320, 60, tuple((a + b) / 2 for a, b in zip(far, sand, strict=True)), within=3)
    tab.press(*"]" * 2)
    assert tab.page.locator("#opacity").input_value() == "70"


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


def test_no_button_moves_when_work_begins(tab, picture, on_sand):
    tab.scribble(*on_sand)
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


def test_a_thumbnail_leaves_its_row(label, photos):
    """A click that has begun before the picture came is heard."""
    for name in ("b.png", "c.png"):
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    tab = label([photos / name for name in ("a.png", "b.png", "c.png")]).tab
    all_here = "document.querySelectorAll('#images img.picture').length === 3"
    tab.wait(all_here)
    held = []
    tab.page.route("**/thumbnail*", lambda route: held.append(route))
    tab.page.reload()
    tab.page.locator("#image-row-2").hover(position={"x": 60, "y": 10})
    tab.page.mouse.down()
    while not tab.page.evaluate(all_here):
        tab.page.wait_for_timeout(20)
        while held:
            held.pop().continue_()
    tab.page.mouse.up()
    tab.wait("document.title.startsWith('c.png')")


def test_the_first_tab_stop_leads_to_the_image(tab):
    tab.press("Tab")
    assert tab.page.locator("#skip").bounding_box()["y"] >= 0
    tab.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "view"


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
