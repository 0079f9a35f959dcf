"""The review page in a real browser, on a real server."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hybridseg.batch.manifest import ImageFacts, Manifest
from hybridseg.batch.results import ImageResult, write_confidence
from hybridseg.classes import ClassTable
from hybridseg.demo.scenes.scene import CLASS_COLORS, CLASS_NAMES
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.sources import as_source
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.review import ReviewSession
from hybridseg.web.reviewing import create_comparison_app, create_review_app

pytestmark = pytest.mark.browser

DIFFERS = (230, 30, 90)
SAND, GRASS = CLASS_COLORS[5], CLASS_COLORS[6]


def make_automatic(scene):
    """As coarse as tiles are; and in a corner all dry sand is taken for a dune."""
    labels = scene.labels[4::8, 4::8].repeat(8, axis=0).repeat(8, axis=1)
    labels[250:, :150][labels[250:, :150] == 5] = 6
    return labels


@pytest.fixture(scope="module")
def results(scene, tmp_path_factory):
    """Four results: that of `coast` is wrong here and there; `sure` and `unsure` are automatic only; `same` agrees."""
    folder, table = tmp_path_factory.mktemp("results"), ClassTable(CLASS_NAMES, CLASS_COLORS)
    automatic = make_automatic(scene)
    for name in ("coast", "same", "sure", "unsure"):
        write_image(folder / f"{name}.jpg", scene.image)
        if name in ("coast", "same"):
            write_matfile(folder / f"{name}_mres.mat", LabelMap(scene.labels, table))
        found = automatic if name == "coast" else scene.labels
        write_labelpng(folder / f"{name}_predseg.png", LabelMap(found, table))
        if name != "same":
            confidence = np.full(found.shape, {"coast": 0.7, "sure": 0.95, "unsure": 0.4}[name], np.float32)
            write_confidence(folder / f"{name}_predseg_confidence.tif", confidence, None)
    return folder


def judge(folder, **settings):
    """What makes the application of the review page on a folder."""
    judging = Judging(ReviewSession(folder), **settings)
    return lambda gate: create_review_app(judging, JobRunner(judging.session), gate)


@pytest.fixture(scope="module")
def served(results, serve_module):
    return serve_module(judge(results))


@pytest.fixture
def tab(served, browse):
    return browse(served.address).ready()


def names(tab):
    return [row.get_attribute("title") for row in tab.page.locator("#images .row").all()]


def test_the_most_telling_image_comes_first(tab):
    assert names(tab) == ["coast.jpg", "same.jpg", "unsure.jpg", "sure.jpg"]
    notes = tab.page.locator("#images .row .note").all_inner_texts()
    assert notes[1:] == ["0.0 %", "uncertainty 0.60", "uncertainty 0.05"]
    assert tab.page.inner_text("#title") == "coast.jpg"
    tab.page.select_option("#order", "uncertainty")
    assert names(tab) == ["unsure.jpg", "coast.jpg", "sure.jpg", "same.jpg"]
    tab.says("0.60", "0.30", where="#images")
    tab.page.select_option("#order", "name")
    assert names(tab) == ["coast.jpg", "same.jpg", "sure.jpg", "unsure.jpg"]
    tab.press("PageDown")
    assert tab.page.inner_text("#title") == "same.jpg"
    tab.says("None.", where="#no-confusions")
    tab.page.fill("#filter", "uns")
    assert names(tab) == ["unsure.jpg"]


def test_the_legend_and_what_cannot_be_asked(tab, results, serve, browse, tmp_path):
    tab.says("manual and automatic disagree", where="#classes")
    assert tab.page.locator("#order option:disabled").count() == 0
    for path in results.glob("same*"):
        shutil.copy(path, tmp_path)
    plain = browse(serve(judge(tmp_path)).address).ready()
    assert "--probabilities" in plain.page.locator("#order option:disabled").get_attribute("title")


def test_the_divider(tab, picture):
    """Left of it lies what a person labelled, right of it what the program made of it."""
    tab.slide("opacity", 100)
    sand_at = 300, 60
    tab.shows(*sand_at, SAND)
    picture(tab, "review_middle")
    tab.slide("swipe", 0)
    tab.shows(*sand_at, GRASS)
    tab.slide("swipe", 100)
    tab.shows(*sand_at, SAND)
    tab.page.locator("#view").focus()
    for _ in range(20):
        tab.press(",")
    tab.shows(*sand_at, GRASS)
    assert tab.page.locator("#swipe").input_value() == "0"
    for _ in range(10):
        tab.press(".")
    tab.shows(*sand_at, SAND)
    # It can be dragged over the image, too.
    mouse, (x, y) = tab.page.mouse, tab.at(150, 299.5)
    mouse.move(x, y)
    mouse.down()
    mouse.move(tab.at(0, 20)[0], y, steps=4)
    mouse.up()
    tab.shows(*sand_at, GRASS)
    tab.shows(300, 10, SAND)


def test_where_they_differ(tab, scene, picture):
    tab.page.fill("#opacity", "60")
    tab.slide("swipe", 40)
    tab.wait("document.querySelector('#confusions').rows.length > 1")
    picture(tab, "label_review")
    automatic = make_automatic(scene)
    told = tab.page.locator("#confusions tbody tr").all_inner_texts()
    shares = [float(row.split("\t")[1].removesuffix(" %")) for row in told]
    assert len(told) == 10 and shares == sorted(shares, reverse=True)
    share = np.count_nonzero((scene.labels == 5) & (automatic == 6)) / scene.labels.size
    assert f"drysand → dune\t{100 * share:.1f} %" in told
    tab.says(f"disagreement {100 * (scene.labels != automatic).mean():.1f} %")
    tab.slide("opacity", 100)
    tab.press("l")
    tab.press("d")
    tab.shows(300, 60, DIFFERS)
    assert automatic[100, 500] == scene.labels[100, 500] and tab.see(100, 500) != DIFFERS
    tab.page.keyboard.down("x")
    tab.shows(300, 60, scene.image[300, 60], within=25)
    tab.page.keyboard.up("x")
    tab.shows(300, 60, DIFFERS)
    tab.page.locator("#images .row[title='sure.jpg']").first.click()
    tab.ready()
    assert tab.page.locator("#show-disagreement").is_disabled() and tab.page.locator("#swipe").is_disabled()
    assert not tab.page.locator("#divider").is_visible()


def test_a_phone_has_all_buttons_in_one_row(served, browse):
    """Whatever the name of the image: it is cut."""
    settings = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = browse(served.address, **settings).ready().page
    for name in (page.inner_text("#title"), "a photo with a long name " * 4):
        page.evaluate("name => { document.querySelector('#title').textContent = name }", name)
        assert len({page.locator(f"#{one}").bounding_box()["y"] for one in ("images-toggle", "zoom-fit", "help")}) == 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_manual_maps_nothing_is_compared(results, serve, browse, tmp_path, tab):
    """No divider, no confusions, no disagreement: neither for one image among others, nor where no image has both."""
    compared = ("#swipe-bar", "#confusion-section", "#disagreement-check", "#divider")
    assert all(tab.page.locator(name).is_visible() for name in compared)
    tab.page.locator("#images .row[title='sure.jpg']").click()
    tab.page.wait_for_function("document.querySelector('#title').textContent == 'sure.jpg'")
    assert not any(tab.page.locator(name).is_visible() for name in compared)
    tab.page.locator("#images .row[title='coast.jpg']").click()
    tab.page.wait_for_function("document.querySelector('#title').textContent == 'coast.jpg'")
    assert all(tab.page.locator(name).is_visible() for name in compared)
    for path in results.glob("*sure*"):
        shutil.copy(path, tmp_path)
    alone = browse(serve(judge(tmp_path)).address).ready()
    assert not any(alone.page.locator(name).is_visible() for name in compared)
    assert alone.page.locator("#order option").all_inner_texts() == ["uncertainty", "name"]
    assert names(alone) == ["unsure.jpg", "sure.jpg"]
    assert "disagree" not in alone.page.inner_text("#classes")
    alone.page.click("#help")
    assert "ivider" not in alone.page.inner_text("#help-dialog")


@pytest.fixture
def own_results(results, tmp_path):
    """A copy to decide about: `sure` and `unsure` have automatic results alone."""
    return Path(shutil.copytree(results, tmp_path / "results"))


def see_list(tab):
    """The names and the marks in the list."""
    rows = tab.page.locator("#images .row").all()
    return {row.get_attribute("title").partition(".")[0]: row.locator(".mark").inner_text() for row in rows}


def test_decisions_by_the_keyboard_alone(own_results, serve, browse):
    served = serve(judge(own_results, annotator="Ann"))
    tab = browse(served.address).ready()
    home = own_results / "annotators" / "Ann"
    assert tab.page.locator("#accept").is_disabled()  # Ground truth of `coast` stays.
    tab.press("PageDown", "PageDown")
    tab.poll(lambda: tab.page.inner_text("#title") == "unsure.jpg", "the least certain of the others is open")
    tab.press("r")
    tab.says("rejected", "by Ann", where="#decision")
    tab.press("n")
    tab.poll(lambda: tab.page.inner_text("#title") == "sure.jpg", "the next one without a decision")
    tab.ready().press("a")
    tab.says("accepted as ground truth", where="#decision")
    assert see_list(tab) == {"coast": "", "same": "", "unsure": "✗", "sure": "✓"}
    assert (home / "sure_mres.mat").exists() and not (own_results / "sure_mres.mat").exists()
    # Both results are the same now, and seen on two sides.
    tab.poll(lambda: tab.page.locator("#divider").is_visible(), "there is something to divide")
    tab.says("None.", where="#no-confusions")
    with tab.page.expect_download() as waiting:
        tab.press("e")
    assert waiting.value.suggested_filename == "review_decisions.csv"
    tab.says("Downloaded review_decisions.csv.")
    assert Path(waiting.value.path()).read_text() == (home / "review_decisions.csv").read_text()
    tab.page.select_option("#state-filter", "rejected")
    assert list(see_list(tab)) == ["unsure"]
    # A program that is started again shows them.
    again = browse(serve(judge(own_results, annotator="Ann")).address).ready()
    assert see_list(again) == {"coast": "", "same": "", "unsure": "✗", "sure": "✓"}
    again.page.click("#images .row[title='sure.jpg']")
    again.poll(lambda: again.page.inner_text("#title") == "sure.jpg", "it is open")
    again.press("z")
    again.says("none yet", where="#decision")
    assert not (home / "sure_mres.mat").exists() and list((home / ".trash").rglob("sure_mres.mat"))
    assert not again.page.locator("#divider").is_visible()
    again.press("?")
    for words in ("Accept the automatic result", "Reject it", "Mend it", "Take the decision back", "Export the list"):
        again.says(words, where="#help-keys")


def test_mending_and_back(own_results, serve, browse, scene):
    """One click; the automatic result is the base that strokes correct; the result is the image's ground truth."""
    tab = browse(serve(judge(own_results)).address).ready()
    tab.page.click("#images .row[title='sure.jpg']")
    tab.poll(lambda: tab.page.inner_text("#title") == "sure.jpg", "it is open")
    tab.page.click("#mend")
    tab.page.wait_for_url(lambda url: "index.html?review#" in url)
    tab.ready()
    assert "sure.jpg" in tab.page.title() and tab.page.get_attribute("#layer-result", "aria-pressed") == "true"
    water = CLASS_NAMES.index("water") + 1
    tab.press(str(water))
    tab.scribble((300, 40), (300, 80))
    tab.accept()
    labels = read_labelmap(own_results / "sure_mres.mat")
    assert labels.table.names[labels.labels[300, 60]] == "water"
    kept = np.ones(scene.labels.shape, bool)
    kept[280:320, 20:100] = False
    names = np.array([*labels.table.names, *[""] * 256])[:256]
    assert (names[labels.labels] == np.array(CLASS_NAMES)[scene.labels])[kept].all()
    tab.press("q")
    tab.page.wait_for_url(lambda url: "index.html" not in url)
    tab.ready()
    assert tab.page.inner_text("#title") == "sure.jpg" and see_list(tab)["sure"] == "✎"
    tab.says("mended", where="#decision")
    tab.says("→", where="#confusions")
    assert tab.page.locator("#accept").is_disabled() and tab.page.locator("#take-back").is_disabled()


def test_mending_by_mistake(own_results, serve, browse):
    """One key takes it back, and leaves nothing behind; a key that does nothing says why."""
    tab = browse(serve(judge(own_results)).address).ready()
    tab.press("a")
    tab.says("coast.jpg has ground truth already")
    tab.press("z")
    tab.says("There is no decision about coast.jpg yet")
    tab.page.click("#images .row[title='sure.jpg']")
    tab.poll(lambda: tab.page.inner_text("#title") == "sure.jpg", "it is open")
    tab.press("m")
    tab.page.wait_for_url(lambda url: "index.html?review#" in url)
    tab.ready().press("q")
    tab.page.wait_for_url(lambda url: "index.html" not in url)
    tab.ready()
    tab.says("being mended", where="#decision")
    tab.press("a")
    tab.says("sure.jpg is being mended: accept it on the labelling page (M), or stop mending it (Z).")
    assert (own_results / "sure_doodles.json").exists()
    tab.press("z")
    tab.says("none yet", where="#decision")
    assert see_list(tab)["sure"] == "" and not list(own_results.glob("*_doodles.json"))
    tab.press("a")
    tab.says("accepted as ground truth", where="#decision")
    tab.press("r")
    tab.says("sure.jpg is accepted already.")


def test_an_image_that_cannot_be_fetched(own_results, serve, browse, tmp_path):
    """It is told once, whatever is pressed; and opened again once it is there."""
    archive = tmp_path / "all.zip"
    source, kept = as_source(f"/vsizip/{archive}/in/far.png"), tmp_path / "kept.zip"
    with zipfile.ZipFile(kept, "w") as file:
        file.write(own_results / "sure.jpg", "in/far.png")
    manifest = Manifest.read(own_results)
    manifest.begin([source], job="", settings={}, engine="")
    target = own_results / "far_predseg.png"
    shutil.copy(own_results / "sure_predseg.png", target)
    manifest.add(source, ImageResult(source, (target,), {}, (), {}), ImageFacts(), job="")
    judging = Judging(ReviewSession(own_results, fetch=True))
    tab = browse(serve(lambda gate: create_review_app(judging, JobRunner(judging.session), gate)).address).ready()
    browse.expected.append("status of 4")
    tab.page.click("#images .row[title='far.png']")
    tab.says("far.png cannot be shown; open it again to retry.")
    told = tab.page.locator("#banner .notice")
    for key in ("a", "m", "l", "l", "f"):
        tab.press(key)
        tab.says("far.png cannot be shown")
        assert told.count() == 1 and "cannot be fetched" in told.inner_text()
    assert tab.page.locator("#accept").is_disabled() and tab.page.locator("#mend").is_disabled()
    assert tab.page.locator("#images .row[data-state=broken]").count() == 1
    kept.rename(archive)
    tab.page.click("#images .row[data-state=broken]")
    tab.ready().says("far.png")
    tab.press("a")
    tab.says("accepted as ground truth", where="#decision")
    assert told.count() == 0 and tab.page.locator("#images .row[data-state=broken]").count() == 0


def test_two_people_side_by_side(results, scene, serve, browse, tmp_path, picture):
    """The most different image first, with its kappa; and nothing to decide."""
    from sklearn.metrics import cohen_kappa_score

    folders = [tmp_path / name for name in ("Ann", "Bob")]
    table = ClassTable(CLASS_NAMES, CLASS_COLORS)
    for folder, coast in zip(folders, (scene.labels, make_automatic(scene)), strict=True):
        folder.mkdir()
        write_matfile(folder / "coast_mres.mat", LabelMap(coast, table))
        write_matfile(folder / "same_mres.mat", LabelMap(scene.labels, table))
    review = ReviewSession(*folders, images_dir=results)
    tab = browse(serve(lambda gate: create_comparison_app(review, gate)).address).ready()
    assert names(tab) == ["coast.jpg", "same.jpg"]
    kappa = cohen_kappa_score(scene.labels.ravel(), make_automatic(scene).ravel())
    tab.says(f"kappa {kappa:.3f}")
    assert (tab.page.inner_text("#left-side"), tab.page.inner_text("#right-side")) == ("Ann", "Bob")
    tab.says("Ann → Bob", where="#confusions")
    tab.slide("opacity", 100)
    picture(tab, "compare_swipe")
    tab.slide("swipe", 0)
    tab.shows(300, 60, GRASS)
    tab.slide("swipe", 100)
    tab.shows(300, 60, SAND)
    tab.press("d")
    tab.shows(300, 60, DIFFERS)
    assert not any(tab.page.locator(name).is_visible() for name in ("#decision-section", "#state-filter"))
    tab.press("?")
    assert "Accept" not in tab.page.inner_text("#help-dialog")
