"""An accepted result is on disk only while it is that of the strokes; else it is in ``.trash``."""

import json
import shutil
import time

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, WriteFailed
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.accepted import clear, withdraw
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.opening import open_session

pytestmark = pytest.mark.usefixtures("quick_panels")
RESULT = ["a_mres.mat", "a_mres_label.png", "a_report.txt", "figures/a_mres.png"]


@pytest.fixture
def accepted(session, jobs, first, draw, wait_for_job):
    """The first photo with an accepted result; its version is 3."""
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(first, 2, draw(2, (10, 60), (50, 80)))
    jobs.start(first, 3, "accept")
    assert wait_for_job(session, first)["state"] == "done"
    return session


def list_trash(photos):
    """The files in each folder of ``.trash``."""
    folders = sorted((photos / ".trash").iterdir())
    return [sorted(p.relative_to(one).as_posix() for p in one.rglob("*") if p.is_file()) for one in folders]


def state_of(session, image_id):
    return session.describe(image_id)["state"]


def test_a_stroke_puts_the_result_aside_and_undo_brings_it_back(accepted, first, draw, photos, make_session):
    before = {name: (photos / name).read_bytes() for name in RESULT}
    for _ in range(2):
        version = accepted.describe(first)["version"]
        accepted.add_stroke(first, version, draw(1, (30, 40)))
        assert state_of(accepted, first) == "working"
        assert not any((photos / name).exists() for name in RESULT) and list_trash(photos) == [RESULT]
        assert make_session().album.list_images()[0]["state"] == "working"
        accepted.undo(first, version + 1)
        state = accepted.describe(first)
        assert state["state"] == "done" and not state["stale"]
        assert {name: (photos / name).read_bytes() for name in RESULT} == before
        assert not (photos / ".trash").exists()
    assert make_session().album.list_images()[0]["state"] == "done"


def test_withdrawn(accepted, first, photos, make_session, jobs, wait_for_job):
    (photos / "a_report.txt").write_text("mine")
    withdraw(accepted.album, first, 3)
    state = accepted.describe(first)
    assert state["state"] == "working" and state["version"] == 4 and state["n_strokes"] == 2 and not state["stale"]
    # What was not written here stays.
    assert list_trash(photos) == [[*RESULT[:2], RESULT[3]]] and (photos / "a_report.txt").read_text() == "mine"
    with pytest.raises(BadInput, match="no accepted result"):
        withdraw(accepted.album, first, 4)
    assert make_session().album.list_images()[0]["state"] == "working"
    (photos / "a_report.txt").unlink()
    jobs.start(first, 4, "accept")
    assert wait_for_job(accepted, first)["state"] == "done" and (photos / "a_mres.mat").exists()


def test_cleared(accepted, first, draw, photos):
    clear(accepted.album, first, 3)
    state = accepted.describe(first)
    assert (state["state"], state["n_strokes"], state["has_result"], state["can_undo"]) == (
        "untouched",
        0,
        False,
        False,
    )
    assert list_trash(photos) == [sorted(["a_doodles.json", *RESULT])]
    assert sorted(p.name for p in photos.glob("a*")) == ["a.png"]
    with pytest.raises(Conflict):
        accepted.add_stroke(first, 3, draw(0))
    accepted.add_stroke(first, state["version"], draw(0))
    clear(accepted.album, first, state["version"] + 1)
    assert len(list_trash(photos)) == 2


def test_what_cannot_be_saved_leaves_the_result_where_it_is(accepted, first, draw, photos, monkeypatch):
    def fail(*_):
        raise WriteFailed("no space left")

    monkeypatch.setattr(type(accepted.album.shelf), "save", fail)
    for change in (lambda: accepted.add_stroke(first, 3, draw(1)), lambda: withdraw(accepted.album, first, 3)):
        with pytest.raises(WriteFailed):
            change()
        assert state_of(accepted, first) == "done" and all((photos / name).exists() for name in RESULT)


def test_killed_between_the_files_and_the_strokes(accepted, photos, make_session, first):
    """Its strokes still say that it was accepted, but the result has gone."""
    accepted.album.shelf.put_aside(photos / "a.png")
    session = make_session()
    assert session.album.list_images()[0]["state"] == state_of(session, first) == "working"


def test_a_result_that_cannot_come_back_keeps_nobody_from_undoing(accepted, first, draw, photos):
    accepted.add_stroke(first, 3, draw(1))
    (photos / "a_report.txt").write_text("another")
    accepted.undo(first, 4)
    assert state_of(accepted, first) == "working" and (photos / "a_report.txt").read_text() == "another"


def test_shares_are_those_of_the_result_as_it_is_seen(accepted, first, draw, photos, session):
    labels = read_labelmap(photos / "a_mres.mat").labels
    assert accepted.measure_shares(first) == [np.count_nonzero(labels == k) for k in range(3)]
    accepted.add_stroke(first, 3, draw(1, (0, 0), (0, 9), layer="result", width=1.0))
    assert accepted.measure_shares(first)[1] == 10
    second = session.album.list_images()[1]["id"]
    assert session.measure_shares(second) is None


def test_an_import_is_undone_as_a_whole(session, first, draw, tmp_path, make_session):
    shapes = [
        {"label": "sand", "shape_type": "polygon", "points": [[k, k], [k + 9, k], [k + 9, k + 5]]} for k in range(4)
    ]
    shapes.append({"label": "water", "shape_type": "line", "points": [[50, 40], [60, 40]]})
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 60, "imageWidth": 90}))
    session.import_labels(first, 1, path)
    assert state_of(session, first) == make_session().album.list_images()[0]["state"] == "imported"
    session.add_stroke(first, 2, draw(0))
    assert state_of(session, first) == "working"
    session.import_labels(first, 3, path)
    seeds = session.album.open(first)[1].drawing.seeds
    both = {layer: seeds[layer].copy() for layer in seeds}
    counts = []
    for version in range(4, 7):
        session.undo(first, version)
        counts.append(session.describe(first)["n_strokes"])
    assert counts == [6, 5, 0] and not any(seeds[layer].any() for layer in seeds)
    # In a new session too.
    session = make_session()
    for version in range(1, 4):
        session.redo(first, version)
        counts.append(session.describe(first)["n_strokes"])
    assert counts[3:] == [5, 6, 11]
    found = session.album.open(first)[1].drawing.seeds
    assert all((found[layer] == both[layer]).all() for layer in both)


def test_a_change_is_recognised_by_the_next_program_too(session, first, draw, photos, make_session):
    """The answer was lost because the program was killed: the page sends the change to the restarted one."""
    session.add_stroke(first, 1, draw(0, key="one"))
    session.undo(first, 2, key="two")
    again = make_session()
    again.undo(first, 1, key="two")
    again.add_stroke(first, 1, draw(0, key="one"))
    state = again.describe(first)
    assert (state["n_strokes"], state["version"], state["can_redo"]) == (0, 1, True)
    assert read_strokes(photos / "a_doodles.json").keys == ("one", "two")


def test_two_people_work_apart_and_share_the_class_list(photos, table, draw):
    sessions = {}
    for name in ("Ann", "Bob"):
        session = sessions[name] = open_session([photos], table=table if name == "Ann" else None, annotator=name)[0]
        if name == "Ann":
            session.album.set_classes(1, ClassTable.from_names(["water", "sand", "cliff", "kelp"]))
        (image_id, *_) = session.album.entries
        session.add_stroke(image_id, session.describe(image_id)["version"], draw(0 if name == "Ann" else 3))
    drawn = {
        name: read_strokes(photos / "annotators" / name / "a_doodles.json").strokes[0].class_id for name in sessions
    }
    assert drawn == {"Ann": 0, "Bob": 3} and not (photos / "a_doodles.json").exists()
    assert (photos / "page_labels.txt").exists()
    for wrong in ("../x", "", "a/b", ".hidden", " a", "x" * 61):
        with pytest.raises(BadInput, match="--annotator"):
            open_session([photos], table=table, annotator=wrong)


def test_a_person_has_a_folder_beside_each_folder_of_images(photos, tmp_path, table, draw):
    others = tmp_path / "others"
    others.mkdir()
    shutil.copy(photos / "a.png", others)
    session = open_session([photos / "a.png", others], table=table, annotator="Ann")[0]
    for image_id in session.album.entries:
        session.add_stroke(image_id, 1, draw(0))
    jobs = JobRunner(session)
    jobs.start(image_id, 2, "accept")
    deadline = time.monotonic() + 60
    while session.album.entries[image_id].job is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    jobs.close()
    made = {path.name for path in (others / "annotators" / "Ann").iterdir()}
    assert {"a_doodles.json", "a_mres.mat", "a_mres_label.png"} <= made
    assert (photos / "annotators" / "Ann" / "a_doodles.json").exists() and not (others / "a_mres.mat").exists()


def test_images_of_one_name_are_refused_before_anything_is_made(photos, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    shutil.copy(photos / "a.png", others)
    with pytest.raises(BadInput, match="would both be saved as a_doodles"):
        open_session([photos / "a.png", others / "a.png"], out_dir=tmp_path / "out", annotator="Ann")
    assert not (tmp_path / "out").exists()
