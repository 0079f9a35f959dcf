import threading
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, Conflict, MissingInput, WriteFailed
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import open_raster
from hybridseg.labelling import shelf
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SpreadOptions
from hybridseg.progress import checkpoint

pytestmark = pytest.mark.usefixtures("quick_panels")


@pytest.fixture
def label_first(session, jobs, first, draw, wait_for_job):
    """Scribble on both sides of the first photo, and accept what comes of it."""

    def label() -> dict:
        session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
        session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
        jobs.start(first, 3, "accept")
        return wait_for_job(session, first)

    return label


def test_a_stroke_is_on_disk_when_it_is_drawn(session, first, draw, photos):
    bounds = session.add_stroke(first, 1, draw(1, (10, 5), (10, 20)))
    (stroke,) = read_strokes(photos / "a_doodles.json").strokes
    assert (stroke.tool, stroke.class_id, stroke.points) == ("pen", 1, ((10.0, 5.0), (10.0, 20.0)))
    assert stroke.time > 1.7e9
    assert bounds[0].start <= 9 and bounds[0].stop >= 12 and bounds[1].stop >= 22
    state = session.describe(first)
    assert (state["version"], state["state"], state["can_undo"], state["n_strokes"]) == (2, "working", True, 1)


def test_a_stroke_of_an_older_version_is_refused(session, first, draw, photos):
    session.add_stroke(first, 1, draw())
    before = (photos / "a_doodles.json").read_bytes()
    for act in (
        lambda: session.add_stroke(first, 1, draw(1)),
        lambda: session.undo(first, 1),
        lambda: session.redo(first, 3),
    ):
        with pytest.raises(Conflict, match="changed in another tab"):
            act()
    assert (photos / "a_doodles.json").read_bytes() == before


def test_two_programs_that_save_at_the_same_moment(session, make_session, first, draw, photos, monkeypatch):
    """One of them waits until the other has written, and is told then."""
    other, told, write = make_session(), [], shelf.write_strokes
    other.describe(first)

    def save_too() -> None:
        try:
            other.add_stroke(first, 1, draw(1))
        except Conflict as error:
            told.append(str(error))

    thread = threading.Thread(target=save_too)

    def write_slowly(path, log):
        monkeypatch.undo()
        thread.start()
        thread.join(0.5)
        write(path, log)

    monkeypatch.setattr(shelf, "write_strokes", write_slowly)
    session.add_stroke(first, 1, draw(0))
    thread.join(10)
    assert len(told) == 1 and "changed by another program" in told[0]
    assert [s.class_id for s in read_strokes(photos / "a_doodles.json").strokes] == [0]


def test_another_program_wrote_the_strokes(session, make_session, first, draw, photos):
    """Two servers on one folder: the second to save is told, and sees what the first one drew."""
    other = make_session()
    other.describe(first)
    session.add_stroke(first, 1, draw(0))
    with pytest.raises(Conflict, match="changed by another program"):
        other.add_stroke(first, 1, draw(1))
    state = other.describe(first)
    assert state["n_strokes"] == 1
    other.add_stroke(first, state["version"], draw(2))
    assert [s.class_id for s in read_strokes(photos / "a_doodles.json").strokes] == [0, 2]


def test_a_change_that_comes_again_is_not_made_again(session, first, draw, photos):
    """Its answer was lost: the page sends it once more, with the version of which it was made."""
    session.add_stroke(first, 1, draw(0, key="one"))
    session.add_stroke(first, 2, draw(1, key="two"))
    before = (photos / "a_doodles.json").read_bytes()
    assert session.add_stroke(first, 1, draw(0, key="one")) == (slice(0, 60), slice(0, 90))
    assert session.describe(first)["version"] == 3 and (photos / "a_doodles.json").read_bytes() == before
    session.undo(first, 3, key="three")
    session.undo(first, 3, key="three")
    session.redo(first, 4, key="four")
    session.redo(first, 4, key="four")
    assert session.describe(first)["n_strokes"] == 2 and session.describe(first)["version"] == 5
    # One that was refused was not made: it may come again, of the present version.
    with pytest.raises(Conflict):
        session.add_stroke(first, 1, draw(0, key="five"))
    session.add_stroke(first, 5, draw(0, key="five"))
    assert session.describe(first)["n_strokes"] == 3
    # The same key on another image is another change.
    second = session.album.list_images()[1]["id"]
    session.add_stroke(second, 1, draw(0, key="one"))
    assert session.describe(second)["n_strokes"] == 1


def test_keys_are_short_texts_and_the_last_ones_are_remembered(session, first, draw):
    for key in ("x" * 41, 5, ["a"], {}):
        with pytest.raises(BadInput, match="key of a change"):
            session.add_stroke(first, 1, draw(0, key=key))
    session.add_stroke(first, 1, draw(0, key="0"))
    session.add_stroke(first, 2, draw(0, key="1"))
    drawing = session.album.open(first)[1].drawing
    for i in range(198):
        drawing.mark(key=f"x{i}")
    session.add_stroke(first, 3, draw(0, key="2"))
    session.add_stroke(first, 3, draw(0, key="1"))
    with pytest.raises(Conflict):
        session.add_stroke(first, 3, draw(0, key="0"))


def test_undo_and_redo_last_over_a_new_session(session, make_session, first, draw):
    session.add_stroke(first, 1, draw(0, (10, 5), (10, 20)))
    session.add_stroke(first, 2, draw(1, (30, 5), (30, 20)))
    session.undo(first, 3)
    again = make_session()
    state = again.describe(first)
    assert (state["n_strokes"], state["can_undo"], state["can_redo"], state["state"]) == (1, True, True, "working")
    again.redo(first, state["version"])
    assert again.album.open(first)[1].drawing.seeds["scribbles"][30, 10] == 2
    assert again.redo(first, 2) is None
    assert again.undo(first, 2) and again.undo(first, 3) and again.undo(first, 4) is None


def test_a_change_that_cannot_be_saved_is_taken_back(session, first, draw, monkeypatch):
    session.add_stroke(first, 1, draw(0, (10, 5), (10, 20)))

    def fail(*_):
        raise WriteFailed("could not write: No space left on device")

    monkeypatch.setattr("hybridseg.labelling.shelf.write_strokes", fail)
    with pytest.raises(WriteFailed, match="No space"):
        session.add_stroke(first, 2, draw(1, (30, 5), (30, 20)))
    monkeypatch.undo()
    state = session.describe(first)
    assert (state["version"], state["n_strokes"]) == (2, 1)
    assert not session.album.open(first)[1].drawing.seeds["scribbles"][30].any()


def test_accepted_files_are_what_the_command_makes(label_first, session, first, photos, run, tmp_path):
    state = label_first()
    names = [f"a_{ending}" for ending in ("mres.mat", "mres_label.png", "report.txt")]
    assert (state["state"], state["written"], state["message_kind"]) == (
        "done", [*names[:2], "figures/a_mres.png", names[2]], "good"
    )  # fmt: skip
    listed = {path.relative_to(photos).as_posix() for path in session.album.shelf.list_results(photos / "a.png")}
    assert listed == {"a_doodles.json", "figures/a_mres.png", *names}
    found = read_labelmap(photos / "a_mres.mat")
    assert found.labels[0, 0] == 0 and found.labels[59, 89] == 2 and (found.labels[:, 50:] == 2).all()
    assert found.seeds[10, 5] == 1 and found.seeds[30, 45] == 0
    done = run("crf", photos / "a.png", photos / "a_doodles.json", "--out", tmp_path / "out", "-s", "0.5",
               "--features", "none", "--theta", "8", "--color-scale", "10", "--threads", "1")  # fmt: skip
    assert done.exit_code == 0
    same = read_labelmap(tmp_path / "out" / "a_mres.mat")
    assert (same.labels == found.labels).all() and (same.seeds == found.seeds).all()
    assert "minutes: 0.0" in (photos / "a_report.txt").read_text()


def test_accepted_work_opens_again(label_first, make_session, first, draw, photos):
    label_first()
    again = make_session()
    assert [image["state"] for image in again.album.list_images()] == ["done", "untouched"]
    state = again.describe(first)
    assert (state["has_result"], state["stale"], state["n_strokes"]) == (True, False, 2)
    again.add_stroke(first, state["version"], draw(1, (30, 40), (30, 44)))
    state = again.describe(first)
    assert (state["state"], state["stale"], state["has_result"]) == ("working", True, True)
    assert make_session().album.list_images()[0]["state"] == "working"


def test_a_mask_made_by_hand_is_not_replaced(label_first, session, jobs, first, photos, table, wait_for_job):
    """Neither before there is a label map, nor beside one; what an earlier version made has no record, and is."""
    mask = photos / "a_mres_label.png"
    mask.write_bytes(before := (photos / "a.png").read_bytes())
    state = label_first()
    assert state["message_kind"] == "bad" and "a_mres_label.png is there and was not written by" in state["message"]
    assert mask.read_bytes() == before and not (photos / "a_mres.mat").exists() and state["state"] == "working"
    mask.unlink()
    for content, kind in ((None, "good"), (before, "bad"), (table, "good")):
        if isinstance(content, bytes):
            mask.write_bytes(content)
        elif content is not None:
            write_labelmap(mask, LabelMap(np.zeros((60, 90), np.uint8), content))
        jobs.start(first, session.describe(first)["version"], "accept")
        assert wait_for_job(session, first)["message_kind"] == kind, content


def test_painting_on_the_result(label_first, session, jobs, first, draw, photos, wait_for_job):
    version = label_first()["version"]
    session.add_stroke(first, version, draw(1, (30, 70), layer="result", width=9.0))
    assert session.describe(first)["stale"] is False
    view = session.album.open(first)[1].view("result", slice(0, 60), slice(0, 90))
    assert view[30, 70] == 2 and view[30, 80] == 3
    session.add_stroke(first, version + 1, draw(0, (30, 70), layer="result", tool="erase", width=3.0))
    assert session.album.open(first)[1].view("result", slice(30, 31), slice(68, 73)).tolist() == [[2, 3, 3, 3, 2]]
    jobs.start(first, version + 2, "accept")
    wait_for_job(session, first)
    found = read_labelmap(photos / "a_mres.mat")
    assert found.labels[30, 67] == 1 and found.labels[30, 70] == 2 and found.seeds[30, 67] == 0
    assert "painted:" in (photos / "a_report.txt").read_text()


def test_filling_the_result_takes_one_area(label_first, session, first, draw):
    version = label_first()["version"]
    session.add_stroke(first, version, draw(1, (3, 80), layer="result", tool="fill"))
    view = session.album.open(first)[1].view("result", slice(0, 60), slice(0, 90))
    assert (view[:, 60:] == 2).all() and view[30, 10] == 1
    with pytest.raises(BadInput, match="outside of the image"):
        session.add_stroke(first, version + 1, draw(1, (99, 5), layer="result", tool="fill"))


def test_filling_scribbles_takes_what_they_enclose(session, first, draw):
    session.add_stroke(first, 1, draw(0, (10, 10), (10, 30), (30, 30), (30, 10), (10, 10)))
    session.add_stroke(first, 2, draw(1, (20, 20), tool="fill"))
    seeds = session.album.open(first)[1].drawing.seeds["scribbles"]
    assert seeds[20, 20] == seeds[12, 12] == 2 and seeds[10, 20] == 1 and not seeds[40:].any() and not seeds[:8].any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tool": "spray"}, "tool 'spray'"),
        ({"class": 3}, "has the class 3"),
        ({"class": "x"}, "malformed"),
        ({"points": []}, "has 0 points"),
        ({"points": [[1]]}, "malformed"),
        ({"points": [[float("nan"), 1]]}, "not a position in an image"),
        ({"width": -1}, "pixels wide"),
        ({"layer": "picture"}, "layer 'picture'"),
        ({"points": [[1, 1]] * 20_001}, "more than 20000 points"),
        ({"points": 5}, "malformed"),
    ],
)
def test_strokes_that_are_none(session, first, draw, photos, change, message):
    with pytest.raises(BadInput, match=message):
        session.add_stroke(first, 1, {**draw(), **change})
    assert session.describe(first)["version"] == 1 and not (photos / "a_doodles.json").exists()


def test_nothing_to_spread(session, jobs, first):
    for kind in ("run", "accept"):
        with pytest.raises(BadInput, match="nothing was drawn"):
            jobs.start(first, 1, kind)
    with pytest.raises(MissingInput, match="no such image"):
        jobs.start("0" * 16, 1, "run")


def test_work_on_an_image_is_done_once(session, jobs, first, draw, wait_for_job):
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    with jobs._working:
        jobs.start(first, 2, "run")
        with pytest.raises(Conflict, match="already running"):
            jobs.start(first, 2, "run")
        jobs.cancel(first)
    state = wait_for_job(session, first)
    assert state["message"] == "Stopped, as you asked." and not state["has_result"]
    with pytest.raises(Conflict, match="changed in another tab"):
        jobs.start(first, 1, "run")


def test_a_stroke_while_the_result_is_made(session, jobs, first, draw, wait_for_job, photos):
    """What was written is what was there: it is put aside, because there is more now."""
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    windows, drawn = session.album.open(first)[1].windows, []
    read = windows.read

    def read_while_drawing(*part):
        if not drawn:
            drawn.append(session.add_stroke(first, 3, draw(1, (30, 40))))
        return read(*part)

    object.__setattr__(windows, "read", read_while_drawing)
    jobs.start(first, 3, "accept")
    state = wait_for_job(session, first)
    assert drawn and state["n_strokes"] == 3
    assert state["state"] == "working" and "accept it again" in state["message"] and state["stale"]
    # A file that is not of this state is not left beside the image.
    assert not (photos / "a_mres.mat").exists()
    (aside,) = photos.glob(".trash/*/a_mres.mat")
    assert read_labelmap(aside).seeds[30, 40] == 0


def test_a_geotiff_keeps_its_place(photos, table, draw, near, wait_for_job):
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    image = np.full((3, 60, 90), 30, np.uint8)
    image[:, :, 45:] = 200
    place = rasterio.transform.from_origin(500000, 4000000, 2, 2)
    settings = {"driver": "GTiff", "height": 60, "width": 90, "count": 3, "dtype": "uint8"}
    with quiet_rasterio(), rasterio.open(photos / "g.tif", "w", crs="EPSG:32611", transform=place, **settings) as out:
        out.write(image)
    session = LabelSession(Album([photos / "g.tif"], table=table), options=near)
    jobs, image_id = JobRunner(session), session.album.list_images()[0]["id"]
    session.add_stroke(image_id, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(image_id, 2, draw(2, (10, 60), (50, 80)))
    jobs.start(image_id, 3, "accept")
    assert wait_for_job(session, image_id)["written"][-1] == "g_mres_label.tif"
    with open_raster(photos / "g_mres_label.tif") as dataset:
        assert dataset.crs.to_epsg() == 32611 and dataset.transform == place
        assert dataset.read(1)[30, [5, 80]].tolist() == [0, 2]


@pytest.fixture
def endless(session, first, draw):
    """A session whose CRF takes minutes, and an image with strokes."""
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    session.options = SpreadOptions(crf=CrfOptions(n_iterations=10_000, tolerance=0, n_threads=1), features="none")
    with pytest.MonkeyPatch.context() as patch:
        begun = threading.Event()
        patch.setattr("hybridseg.crf.engines.checkpoint", lambda: (checkpoint(), begun.set()))
        yield begun


def test_the_thread_of_a_cancelled_job_ends(session, jobs, first, endless):
    jobs.start(first, 3, "run")
    (thread,) = (one for one in threading.enumerate() if one.name == "run a.png")
    assert endless.wait(30)
    jobs.cancel(first)
    thread.join(5)
    assert not thread.is_alive() and session.describe(first)["message"] == "Stopped, as you asked."


def test_a_newer_preview_ends_an_older_one(session, first, endless):
    previewer, opened, found = Previewer(), session.album.open(first)[1], []

    def ask(options) -> None:
        found.append(previewer.preview(opened, (0, 0, 60, 90), options))

    older = threading.Thread(target=ask, args=(session.options,))
    older.start()
    assert endless.wait(30)
    ask(replace(session.options, crf=CrfOptions()))
    older.join(5)
    assert not older.is_alive() and found[0] is None and found[1].picture


def test_cancel_is_heard_within_the_crf(session, jobs, first, draw, wait_for_job, monkeypatch):
    """The person goes on at once; what the dropped job finds is thrown away, and the next one is done."""
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    begun, go_on, n_calls = threading.Event(), threading.Event(), []

    def spread(windows, drawn, **more):
        n_calls.append(len(n_calls))
        begun.set()
        assert go_on.wait(30)
        return np.full(windows.shape, len(n_calls) - 1, np.uint8)

    monkeypatch.setattr("hybridseg.labelling.jobs.spread_over", spread)
    jobs.start(first, 3, "run")
    assert begun.wait(30)
    jobs.cancel(first)
    state = session.describe(first)
    assert state["job"] is None and state["message"] == "Stopped, as you asked." and not state["has_result"]
    jobs.start(first, 3, "run")
    assert session.describe(first)["job"]["kind"] == "run"
    go_on.set()
    assert not wait_for_job(session, first)["stale"] and n_calls == [0, 1]
    assert (session.album.open(first)[1].labels == 1).all()
