"""The end of the work on an image in a real browser: accept with a warning, take back, start anew."""

import numpy as np
import pytest

from hybridseg.classes import labels_to_seeds
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.labels.formats import read_labelmap

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]


def shares(tab, *, where="#classes"):
    rows = {"#classes": ".class", "#question": ".shares dt, .shares dd"}[where]
    return [" ".join(text.split()) for text in tab.page.locator(f"{where} {rows}").all_inner_texts()]


def test_accept_asks_once_where_it_may_be_an_oversight(tab, beach, on_sand, on_water, picture):
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("s")
    tab.wait("document.querySelector('#question').open")
    assert "Only one class was drawn" in tab.page.inner_text("#question")
    assert shares(tab, where="#question") == ["sand", "100 %", "water", "none", "cliff", "none"]
    tab.press("Escape")
    tab.press("1")
    tab.scribble(*on_water)
    tab.press("s")
    tab.wait("document.querySelector('#question').open")
    picture(tab, "label_accept", "#question")
    assert "Not drawn on this image: cliff" in tab.page.inner_text("#question")
    asked = dict(zip(*[iter(shares(tab, where="#question"))] * 2, strict=True))
    tab.page.click("#question button:first-of-type")
    assert not list(beach.glob("coast_mres*"))
    tab.accept(among=1)
    labels = read_labelmap(beach / "coast_mres.mat").labels
    told = {name: round(100 * np.count_nonzero(labels == k) / labels.size) for k, name in enumerate(("water", "sand"))}
    assert asked == {**{name: f"{share} %" for name, share in told.items()}, "cliff": "none"}
    # The shares stay beside the classes; and nothing is asked again.
    tab.poll(lambda: f"{told['sand']} %" in shares(tab)[1], "the share of the sand")
    tab.press("z")
    tab.saved()
    tab.press("y")
    tab.saved()
    tab.accept()


def test_shares_of_the_view_while_it_is_live(tab, on_sand, on_water):
    tab.press("2")
    tab.scribble(*on_sand)
    tab.poll(lambda: "100 %" in shares(tab)[1], "all in view is sand")
    assert tab.page.get_attribute(".class:nth-child(2) .share", "title") == "Share of the pixels in view"
    tab.press("1")
    tab.scribble(*on_water)
    tab.poll(lambda: "%" in shares(tab)[0] and "100" not in shares(tab)[1], "both have a share")
    tab.press("v")
    tab.poll(lambda: "%" not in "".join(shares(tab)), "nobody knows")


def test_taken_back_and_cleared(desk, tab, beach, strokes, on_sand, on_water, browse):
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
    tab.accept(among=1)
    truth = beach / "coast_mres.mat"
    # A stroke on an accepted image takes its result away, undo brings it back.
    tab.scribble((20, 300), (20, 400))
    tab.says("its result was put into .trash")
    tab.says("in progress", where="#images")
    assert not truth.exists()
    tab.press("z")
    tab.saved()
    tab.says("done", where="#images")
    tab.says("The accepted result is back.")
    assert truth.exists()
    tab.page.click("#files-part summary")
    tab.page.click("#withdraw")
    tab.agree()
    tab.says("The result was taken back")
    assert not truth.exists() and len(strokes()) == 2
    assert tab.page.locator("#withdraw").is_disabled()
    tab.accept()
    assert truth.exists()
    tab.page.click("#clear")
    tab.page.keyboard.press("Escape")
    assert truth.exists()
    tab.page.click("#clear")
    tab.agree()
    tab.says("The image starts anew")
    tab.says("to do", where="#images")
    assert [path.name for path in beach.iterdir() if path.is_file()] == ["coast.png"]
    assert len(list(beach.glob(".trash/*/coast_doodles.json"))) == 1
    # It can be drawn on as before.
    tab.scribble(*on_sand)
    assert len(strokes()) == 1


def test_smoothing_is_seen_at_once(desk, tab, on_sand, on_water):
    tab.press("2")
    tab.scribble(*on_sand)
    tab.press("1")
    tab.scribble(*on_water)
    tab.wait("document.body.dataset.preview === 'shown'")
    tab.slide("opacity", 100)
    before = tab.page.locator("#view").screenshot()
    tab.page.click("#smooth-part summary")
    tab.page.fill("#specks", "5000")
    tab.slide("smoothness", 4)
    tab.poll(lambda: (desk.session.options.smoothness, desk.session.options.specks) == (4, 5000), "the server knows")
    tab.poll(lambda: tab.page.locator("#view").screenshot() != before, "the result is another one")
    tab.page.reload()
    tab.ready()
    assert tab.page.input_value("#smoothness") == "4" and tab.page.input_value("#specks") == "5000"
    # What is typed while an answer is on its way stays.
    tab.page.route("**/api/smoothing", lambda route: (tab.page.wait_for_timeout(400), route.continue_()))
    tab.page.focus("#specks")
    tab.page.keyboard.type("9")
    tab.page.wait_for_timeout(450)
    tab.page.keyboard.type("1")
    tab.poll(lambda: desk.session.options.specks == 500091, "the server knows all of it")
    assert tab.page.input_value("#specks") == "500091"
    tab.page.unroute("**/api/smoothing")
    # Enter ends typing: keys work again.
    tab.press("Enter", "p")
    assert tab.page.locator("#tool-pen").get_attribute("aria-pressed") == "true"
    tab.page.click("#smooth-part summary")
    # A value that is out of bounds becomes the nearest that is not.
    tab.page.click("#smooth-part summary")
    for typed, kept in (("-5", 0), ("99999999", 1_000_000), ("", 0)):
        tab.page.fill("#specks", typed)
        tab.poll(lambda kept=kept: desk.session.options.specks == kept, f"{typed} becomes {kept}")
        tab.poll(lambda kept=kept: tab.page.input_value("#specks") == str(kept), "the field shows what is used")


def test_the_result_is_downloaded(tab, beach, on_sand, on_water, browse, tmp_path, table):
    browse.expected.append("status of 400")
    tab.page.click("#files-part summary")
    tab.press("2")
    tab.scribble(*on_sand)
    tab.page.select_option("#export", "png")
    tab.says("no result to export", where="#banner")
    tab.press("1")
    tab.scribble(*on_water)
    tab.press("Enter")
    tab.says("The whole image is labelled")
    for to, name in (
        ("png", "coast_label.png"),
        ("labelme", "coast.json"),
        ("coco", "coast_coco.json"),
        ("doodler", "coast.npz"),
        ("gpkg", "coast.gpkg"),
    ):
        with tab.page.expect_download() as waiting:
            tab.page.select_option("#export", to)
        assert waiting.value.suggested_filename == name
        waiting.value.save_as(tmp_path / name)
    labels = read_labelmap(tmp_path / "coast_label.png").labels
    assert labels[240, 95] == 1 and labels[275, 550] == 0
    # Its areas are the result, pixel by pixel.
    found = paint_annotations(tmp_path / "coast.json", shape=labels.shape, image_name="coast.png", table=table)
    assert (found.areas == labels_to_seeds(labels)).all()
    with np.load(tmp_path / "coast.npz") as arrays:
        assert (arrays["label"].argmax(axis=2) == labels).all() and arrays["doodles"][240, 95] == 2


def test_shares_make_a_hundred(tab):
    """Two and a half percent of each of two classes would be rounded up twice."""
    code = """async (pixels) => (await import("/static/classes.js")).showShares(pixels)"""
    show = lambda *pixels: tab.page.evaluate(code, list(pixels))  # noqa: E731
    assert show(950, 25, 25) == ["95 %", "3 %", "2 %"] and show(1, 1, 1) == ["34 %", "33 %", "33 %"]
    assert show(100000, 3, 0) == ["100 %", "<1 %", ""] and show(0, 0) == ["", ""]
