"""Labelling pages beside one another, without an answer, and with other classes: nothing that was drawn is lost."""

import json
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]


def test_two_tabs(desk, browse, strokes, on_sand, on_water, table):
    """The tab that is behind is told, and nothing of the other one is overwritten."""
    sand = table.colors[1]
    browse.expected.append("status of 409")
    older, newer = desk.tab, browse(desk.served.address, beside=desk.tab).ready()
    newer.press("2")
    newer.scribble(*on_sand)
    older.page.bring_to_front()
    older.draw(*on_water)
    older.says("changed in another tab", where="#banner")
    older.says("Not saved", where="#saved")
    assert [stroke.class_id for stroke in strokes()] == [1]
    older.slide("opacity", 100)
    older.shows(*(240, 95), sand)
    older.page.get_by_role("button", name="Draw it again").click()
    older.saved()
    assert [stroke.class_id for stroke in strokes()] == [1, 0]
    newer.page.bring_to_front()
    newer.draw((20, 300), (20, 400))
    newer.page.get_by_role("button", name="Discard").click()
    newer.says("All saved", where="#saved")
    newer.press("1")
    newer.scribble((30, 300), (30, 400))
    assert [stroke.class_id for stroke in strokes()] == [1, 0, 0]


def test_the_page_opens_again_and_its_cookie_opens_nothing(desk, browse):
    """A reload and a second tab need no new address; who gets the cookie, on another port, cannot read anything."""
    browse.expected.append("status of 403")
    base, visits = desk.served.address.partition("?")[0], []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            visits.append(self.headers["Cookie"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    desk.tab.page.reload()
    desk.tab.ready()
    second = browse(base, beside=desk.tab).ready()
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        second.page.evaluate("port => { window.open(`http://127.0.0.1:${port}/`) }", server.server_port)
        second.poll(lambda: visits, "the other server is not asked")
    assert desk.served.gate.cookie_name in visits[0] and desk.served.gate.key not in visits[0]
    for path in ("api/session", f"api/images/{desk.session.album.list_images()[0]['id']}"):
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(base + path, headers={"Cookie": visits[0]}))
    second.page.evaluate("localStorage.clear()")
    second.page.reload()
    second.says("Open the address that the program printed", where="#banner")
    # It goes on by itself when the address is open in another tab.
    browse(desk.served.address, beside=second).ready()
    second.ready()


def test_classes_in_another_order_in_another_tab(desk, browse, strokes, on_water):
    """A stroke that waits keeps its class, wherever that has gone in the list."""
    browse.expected.append("status of 409")
    older, newer = desk.tab, browse(desk.served.address, beside=desk.tab).ready()
    newer.page.click("#edit-classes")
    newer.page.locator("#class-rows li").first.get_by_label("Move down").click()
    newer.page.click("#class-save")
    newer.wait("!document.querySelector('dialog[open]')")
    older.page.bring_to_front()
    older.press("1")
    older.draw(*on_water)
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


@pytest.mark.slow
@pytest.mark.parametrize("act", ["a stroke", "another shape"])
def test_a_server_that_is_killed_between_the_disk_and_its_answer(start, browse, beach, strokes, act):
    """The next one knows the change by its key, which is on disk with it, and does not make it twice."""
    browse.expected += ["ERR_FAILED", "ERR_CONNECTION", "status of 403", "status of 409"]
    (beach / "labels.txt").write_text("water\nsand\n")
    process, address = start(beach)
    tab = browse(address).ready()
    keys, armed = [], []

    def kill(route):
        keys.append(route.request.post_data_json["key"])
        if not armed or process.poll() is not None:
            return route.fallback()
        route.fetch()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return route.abort()

    tab.page.route("**/strokes", kill)
    tab.press("g")
    for corner in ((100, 300), (100, 400), (200, 400)):
        tab.click(*corner)
    tab.press("Enter")
    tab.saved()
    armed.append(True)
    if act == "a stroke":
        tab.press("p")
    tab.draw((200, 400), (250, 450))
    tab.says("does not answer", where="#banner")
    written = strokes()
    assert len(written) == 2 and written[1].replaces == (None if act == "a stroke" else 0)
    _, address = start(beach, "--port", re.search(r":(\d+)/", address)[1])
    browse(address, beside=tab).ready()
    tab.saved()
    tab.says("All saved", where="#saved")
    assert strokes() == written and len(keys) >= 3 and set(keys[1:]) == {keys[1]}
    # And the page goes on from there.
    tab.press("p")
    tab.scribble((300, 300), (300, 400))
    assert len(strokes()) == 3


def test_a_page_that_is_closed_keeps_what_was_not_sent(desk, browse, strokes, on_sand, on_water):
    browse.expected.append("ERR_CONNECTION")
    desk.served.stop()
    desk.tab.draw(*on_sand)
    desk.tab.says("Your strokes are kept", where="#banner")
    desk.served.start()
    desk.tab.page.reload()
    desk.tab.ready().saved()
    assert len(strokes()) == 1 and len(browse.held) == 1
    # Even a stroke in the air is kept, and drawn once.
    desk.tab.draw(*on_water, lift=False)
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
    tab.accept(among=1)
    tab.says("is done. Written:")
    browse.expected.append("status of 409")
    tab.page.click("#edit-classes")
    assert tab.page.locator("#class-rows input[type=text]").first.input_value() == evil
    tab.page.locator("#class-rows input[type=text]").first.fill("<script>alert(3)</script>")
    tab.page.click("#class-save")
    tab.says(evil, where="#class-error")
    assert tab.page.locator("main img, aside img:not(.picture), dialog img, body script").count() == 0


def test_labels_from_a_file(tab, beach, browse, table, tmp_path, strokes):
    _, sand, cliff = table.colors
    labels = np.full((400, 600), 255, np.uint8)
    labels[:100, :50], labels[300:, 500:] = 1, 2
    write_labelpng(tmp_path / "other.png", LabelMap(labels, table))
    tab.slide("opacity", 100)
    tab.page.set_input_files("#import-file", tmp_path / "other.png")
    tab.says("other.png was read")
    tab.shows(50, 25, sand)
    tab.shows(350, 550, cliff)
    assert {stroke.class_id for stroke in strokes()} == {1, 2}
    tab.press("z")
    tab.says("The import was undone: this image is now “to do”.")
    tab.press("y")
    tab.says("The import is back: this image is now “imported”.")
    tab.scribble((20, 300), (20, 400))
    tab.press("z")
    tab.saved()
    assert "undone" not in tab.page.inner_text("#status"), "a stroke is no import"
    tab.accept(among=1)
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
    assert tab.chosen() == "kelp"
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


def test_naming_classes_from_nothing(label, beach, strokes, browse, picture, on_water):
    desk = label([beach / "coast.png"], table=None)
    tab, page = desk.tab, desk.tab.page
    rows = page.locator("#class-rows li")
    assert page.locator("#class-dialog").is_visible() and rows.count() == 1
    tab.press("Escape")
    tab.says("Nothing can be drawn without classes")
    page.click("#edit-classes")
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
    picture(tab, "label_classes", "#class-dialog")
    page.click("#class-save")
    tab.wait("!document.querySelector('dialog[open]')")
    assert (beach / "page_labels.txt").read_text() == "kelp\nwater\nland\n"
    tab.press("2")
    tab.slide("opacity", 100)
    tab.scribble(*on_water)
    tab.shows(275, 550, (0, 255, 0))
    # The class at hand stays, wherever it goes; one that was drawn with cannot be lost.
    page.click("#edit-classes")
    rows.nth(1).get_by_label("Move down").click()
    rows.nth(0).get_by_label("Remove").click()
    page.click("#class-save")
    tab.wait("!document.querySelector('dialog[open]')")
    assert tab.chosen() == "water" and (beach / "page_labels.txt").read_text() == "land\nwater\n"
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
    assert desk.session.album.table.names == ("water", "ground") and tab.chosen() == "ground"
