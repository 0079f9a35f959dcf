"""The list of images in a real browser: names, pictures, its width, filters, and all that was imported accepted."""

import numpy as np
import pytest

from hybridseg.classes import VOID
from hybridseg.io.annotations.doodles import read_stage
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]


@pytest.fixture
def series(tmp_path):
    """Six small photos of one camera, each of one grey of its own."""
    paths = [tmp_path / f"2017_BL30_site-{k:02}_1000.png" for k in range(8, 14)]
    for k, path in enumerate(paths):
        write_image(path, np.full((40, 60, 3), 40 * k + 20, np.uint8))
    return paths


@pytest.fixture
def tab(label, series):
    return label(series).tab


def list_names(tab):
    return [row.locator(".name").inner_text().replace("\n", "") for row in tab.page.locator("#images .row").all()]


def test_names_show_what_differs_and_each_has_its_picture(tab, series, picture):
    assert list_names(tab) == ["08", "09", "10", "11", "12", "13"]
    assert [row.get_attribute("title") for row in tab.page.locator("#images .row").all()] == [p.name for p in series]
    tab.wait("document.querySelectorAll('#images img.picture').length === 6")
    code = """([k]) => {
        const canvas = document.createElement("canvas"), ctx = canvas.getContext("2d");
        ctx.drawImage(document.querySelectorAll("#images img.picture")[k], 0, 0);
        return [...ctx.getImageData(20, 20, 1, 1).data];
    }"""
    tab.wait("[...document.querySelectorAll('#images img.picture')].every((one) => one.complete)")
    for k in (0, 3, 5):
        assert tab.page.evaluate(code, [k])[0] == pytest.approx(40 * k + 20, abs=3)
    picture(tab, "image_list")
    tab.page.fill("#filter", "site-1")
    assert list_names(tab) == ["10", "11", "12", "13"]


def test_the_border_is_dragged_and_stays(tab):
    page = tab.page
    width = lambda: page.locator("#image-panel").bounding_box()["width"]  # noqa: E731
    assert width() == 232
    box = page.locator("#border").bounding_box()
    page.mouse.move(box["x"] + 4, 300)
    page.mouse.down()
    page.mouse.move(400, 300, steps=3)
    page.mouse.up()
    assert width() == pytest.approx(400, abs=1)
    # The image fits the room that is left.
    tab.poll(lambda: tab.at(0, 0)[0] > 400, "the image lies beside the list")
    page.focus("#border")
    page.keyboard.press("ArrowLeft")
    assert width() == pytest.approx(384, abs=1)
    page.reload()
    tab.ready()
    assert width() == pytest.approx(384, abs=1)


def test_an_image_that_cannot_be_opened(tab, series, browse):
    """The list names the image that is seen and drawn on; the keys go on beyond the other."""
    browse.expected.append("status of 400")
    series[1].write_bytes(b"broken")
    current = lambda: tab.page.get_attribute("#images [aria-selected=true]", "title")  # noqa: E731
    broken = f"#images .row[title^='{series[1].name}']"
    for open_next in (lambda: tab.press("PageDown"), lambda: tab.page.click(broken)):
        open_next()
        tab.says(series[1].name, where="#banner")
        assert current() == series[0].name and tab.page.title().startswith(series[0].name)
        tab.ready().scribble((20, 20), (20, 25))
        assert not series[1].with_name(f"{series[1].stem}_doodles.json").exists()
        assert read_stage(series[0].with_name(f"{series[0].stem}_doodles.json")) == "working"
    tab.press("PageDown")
    tab.poll(lambda: current() == series[2].name, "the next image is open")
    tab.ready()


def test_the_list_says_what_cannot_be_opened(label, series):
    """Before anyone tries, with the reason; and the console of the browser has no error."""
    series[1].write_bytes(b"broken")
    tab = label(series).tab
    row = tab.page.locator("#images .row").nth(1)
    tab.poll(lambda: "cannot be opened" in row.inner_text(), "the list tells")
    reason = row.get_attribute("title")
    assert series[1].name in reason and str(series[1].parent) not in reason and len(reason) > len(series[1].name) + 10
    tab.page.select_option("#state-filter", "broken")
    assert tab.page.locator("#images .row").count() == 1
    tab.page.select_option("#state-filter", "untouched")
    assert series[1].name not in tab.page.inner_text("#images")


def test_imported_labels_are_filtered_and_accepted_together(label, series, table, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    maps = {}
    for k, path in enumerate(series[:4]):
        labels = np.full((40, 60), VOID, np.uint8)
        labels[:, : 10 + k], labels[:, 30:] = 0, 1
        write_labelpng(folder / f"{path.stem}_label.png", LabelMap(labels, table))
        maps[path] = labels
    desk = label(series)
    desk.session.import_all(folder)
    tab = desk.tab
    tab.page.reload()
    tab.ready().scribble((20, 20), (20, 25))
    choose = lambda state: tab.page.select_option("#state-filter", state)  # noqa: E731
    choose("imported")
    assert list_names(tab) == ["09", "10", "11"]
    choose("working")
    assert list_names(tab) == ["08"]
    choose("untouched")
    assert list_names(tab) == ["12", "13"]
    choose("")
    tab.page.click("#accept-imported")
    tab.agree()
    tab.says("Accepted 3 of 3 imported images.")
    assert [read_stage(path.with_name(f"{path.stem}_doodles.json")) for path in series[:4]] == [
        "working",
        *["done"] * 3,
    ]
    for path in series[1:4]:
        found = read_labelmap(path.with_name(f"{path.stem}_mres.mat")).labels
        assert (found == maps[path]).all()
    assert not tab.page.locator("#accept-imported").is_visible()
    tab.says("3 of 6 done", where="#image-count")
