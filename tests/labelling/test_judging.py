"""Automatic results accepted as ground truth, rejected, taken back, and mended by hand."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
from datetime import datetime

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, OutputExists
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.labelling import judging as judging_module
from hybridseg.labelling.accepted import withdraw
from hybridseg.labelling.decisions import COLUMNS, LIST_NAME
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.review import ReviewSession

LABELS = np.repeat(np.arange(3, dtype=np.uint8), 20)[:, None].repeat(90, axis=1)


@pytest.fixture
def results(photos, table):
    """`a` and `b` have an automatic result alone, `c` has one made by hand as well."""
    other = ClassTable.from_names(["sand", "kelp", "water"])
    shutil.copy(photos / "a.png", photos / "c.png")
    for name in "abc":
        write_matfile(photos / f"{name}_ares_96.mat", LabelMap(LABELS, other, made_by='{"command": "semseg"}'))
    write_matfile(photos / "c_mres.mat", LabelMap(np.zeros((60, 90), np.uint8), table))
    return photos


@pytest.fixture
def make(results):
    return lambda **settings: Judging(ReviewSession(results), **settings)


def ids(judging):
    return {row["name"][0]: row["id"] for row in judging.list_items()}


def decisions(judging):
    return {row["name"][0]: row["decision"] for row in judging.list_items()}


def read_list(path):
    with path.open(newline="") as file:
        return {row["image"][0]: row for row in csv.DictReader(file)}


def test_accept_writes_what_the_labelling_page_writes(make, results, table):
    (results / "labels.txt").write_text("water\nsand\ncliff\n")
    judging = make(annotator=None)
    judging.accept(ids(judging)["a"])
    found = read_labelmap(results / "a_mres.mat")
    # In the order of the class list, followed by what only the result has.
    assert found.table.names == ("water", "sand", "cliff", "kelp") and found.seeds is None
    assert [found.labels[row, 0] for row in (5, 25, 45)] == [1, 3, 0]
    made = json.loads(found.made_by)
    assert made["command"] == "label" and made["accepted"]["from"] == "a_ares_96.mat"
    assert made["accepted"]["made_by"] == '{"command": "semseg"}'
    for name in ("a_mres_label.png", "a_report.txt", "figures/a_mres.png"):
        assert (results / name).exists(), name
    assert decisions(judging) == {"a": "accepted", "b": None, "c": None}
    row = read_list(results / LIST_NAME)["a"]
    assert (row["decision"], row["by"], row["result"]) == ("accepted", "", "a_ares_96.mat") and row["when"] > "2020"
    assert judging.export() == (results / LIST_NAME).read_text() and set(row) == set(COLUMNS)


def test_nothing_of_the_user_is_replaced(make, results, draw):
    judging = make()
    with pytest.raises(Conflict, match="has ground truth already"):
        judging.accept(ids(judging)["c"])
    (results / "a_mres_label.png").write_bytes(b"mine")
    with pytest.raises(OutputExists):
        judging.accept(ids(judging)["a"])
    assert (results / "a_mres_label.png").read_bytes() == b"mine" and not (results / "a_mres.mat").exists()
    first = ids(judging)["b"]
    judging.session.add_stroke(first, judging.session.describe(first)["version"], draw(0))
    with pytest.raises(Conflict, match="has strokes already"):
        judging.accept(first)
    (results / LIST_NAME).write_text("my,own,list\n")
    with pytest.raises(BadInput, match="not written by this program"):
        make()


def test_both_decisions_are_remembered_and_can_be_taken_back(make, results):
    judging = make(annotator="Ann")
    home = results / "annotators" / "Ann"
    judging.accept(ids(judging)["a"])
    judging.reject(ids(judging)["b"])
    assert (home / "a_mres.mat").exists() and not (results / "a_mres.mat").exists()
    with pytest.raises(Conflict, match="take that back first"):
        judging.reject(ids(judging)["a"])
    again = make(annotator="Ann")
    assert decisions(again) == {"a": "accepted", "b": "rejected", "c": None}
    assert {row["by"] for row in again.list_items()} == {"Ann", None}
    for image_id in (ids(again)["a"], ids(again)["b"]):
        again.take_back(image_id)
    assert set(decisions(again).values()) == {None} and not (home / "a_mres.mat").exists()
    assert len(list((home / ".trash").rglob("a_mres.mat"))) == 1
    assert [row["decision"] for row in read_list(home / LIST_NAME).values()] == [""] * 3
    with pytest.raises(BadInput, match="there is no decision"):
        again.take_back(ids(again)["a"])
    # And once more.
    again.accept(ids(again)["a"])
    assert decisions(make(annotator="Ann"))["a"] == "accepted"


def test_mending_starts_from_the_automatic_result(make, results, draw):
    judging = make()
    image_id = ids(judging)["a"]
    judging.mend(image_id)
    judging.mend(image_id)
    assert decisions(judging)["a"] == "mending"
    session = judging.session
    [*base] = read_strokes(results / "a_doodles.json").strokes
    assert {stroke.layer for stroke in base} == {"result"} and len(base) == 3
    session.add_stroke(image_id, session.describe(image_id)["version"], draw(1, layer="result"))
    opened = session.album.open(image_id)[1]
    shown = opened.view("result", slice(0, 60), slice(0, 90))
    assert {opened.table.names[k - 1] for k in np.unique(shown[:, 80:])} == {"sand", "kelp", "water"}
    # What is there already is no base.
    judging.mend(ids(judging)["c"])
    assert not (results / "c_doodles.json").exists() and decisions(judging)["c"] is None


def test_mending_takes_no_tiles_for_scribbles(make, results, table, draw, wait_for_job):
    """The result of the hybrid method holds the seeds of its tiles, which would hide what a person draws."""
    write_matfile(results / "a_ares_96.mat", LabelMap(LABELS, table, LABELS + np.uint8(1)))
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    judging.mend(image_id)
    assert {stroke.layer for stroke in read_strokes(results / "a_doodles.json").strokes} == {"result"}
    session.add_stroke(image_id, session.describe(image_id)["version"], draw(1, layer="result"))
    jobs = JobRunner(session)
    jobs.start(image_id, session.describe(image_id)["version"], "accept")
    wait_for_job(session, image_id)
    jobs.close()
    assert not read_labelmap(results / "a_mres.mat").seeds.any()


def test_what_is_mended_has_the_time_of_its_acceptance(make, results, draw, wait_for_job):
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    judging.mend(image_id)
    jobs = JobRunner(session)
    jobs.start(image_id, session.describe(image_id)["version"], "accept")
    wait_for_job(session, image_id)
    jobs.close()

    def time_of(judging):
        (row,) = (row for row in judging.list_items() if row["id"] == image_id)
        assert row["decision"] == "mended" and read_list(results / LIST_NAME)["a"]["when"] == row["when"]
        return datetime.fromisoformat(row["when"]).timestamp()

    # As if it had been accepted at another time, and then once more.
    for seconds in (2_000_000_000, 2_000_000_060):
        os.utime(results / "a_mres.mat", (seconds, seconds))
        assert time_of(judging) == seconds
    # A copy of the folder has other times.
    os.utime(results / "a_mres.mat", (1, 1))
    assert time_of(make()) == 2_000_000_060
    withdraw(session.album, image_id, session.describe(image_id)["version"])
    assert decisions(judging)["a"] == "mending"


def test_mending_by_mistake_is_taken_back(make, results):
    """Also by rejecting; and the labelling page, open in another tab, sees that the base is gone."""
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    before = sorted(results.rglob("*"))
    for undo, left in ((judging.take_back, None), (judging.reject, "rejected")):
        judging.mend(image_id)
        version = session.describe(image_id)["version"]
        undo(image_id)
        assert decisions(judging)["a"] == left
        assert {path for path in results.rglob("*") if ".trash" not in path.parts} == {*before, results / LIST_NAME}
        now = session.describe(image_id)
        assert now["n_strokes"] == 0 and now["state"] == "untouched" and now["version"] > version
    judging.take_back(image_id)
    judging.accept(image_id)
    assert decisions(judging)["a"] == "accepted"


def test_what_was_drawn_to_mend_is_never_lost(make, results, draw):
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    judging.mend(image_id)
    session.add_stroke(image_id, session.describe(image_id)["version"], draw(1, layer="result"))
    # An undone stroke is one that redo brings back.
    for step in (session.redo, session.undo):
        step(image_id, session.describe(image_id)["version"])
        with pytest.raises(Conflict, match=r"you have already drawn on .*; to stop mending it, clear it"):
            judging.take_back(image_id)
    judging.reject(image_id)
    assert decisions(judging)["a"] == "rejected"
    log = read_strokes(results / "a_doodles.json")
    assert (len(log.strokes), len(log.undone)) == (3, 1) and not (results / ".trash").exists()


def test_what_was_imported_to_mend_goes_to_the_trash(make, results):
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    judging.mend(image_id)
    session.import_labels(image_id, session.describe(image_id)["version"], results / "b_ares_96.mat")
    judging.take_back(image_id)
    assert decisions(judging)["a"] is None and not (results / "a_doodles.json").exists()
    (kept,) = (results / ".trash").rglob("a_doodles.json")
    assert len(read_strokes(kept).strokes) == 6


def test_an_import_in_the_place_of_what_was_cleared_is_never_lost(make, results):
    judging = make()
    image_id, session = ids(judging)["a"], judging.session
    judging.mend(image_id)
    with session.album.hold(image_id) as (entry, _):
        session.album.shelf.put_aside(entry.path, strokes=True)
        judging._close(entry)
    session.import_labels(image_id, session.describe(image_id)["version"], results / "b_ares_96.mat")
    judging.take_back(image_id)
    assert len([*(results / ".trash").rglob("a_doodles.json")]) == 2


def test_what_cannot_be_mended_stays_rejected(make, results, monkeypatch):
    judging = make()
    image_id = ids(judging)["a"]
    judging.reject(image_id)

    def fail(*_):
        raise BadInput("the result is damaged")

    monkeypatch.setattr(judging.session, "import_labels", fail)
    with pytest.raises(BadInput, match="is damaged"):
        judging.mend(image_id)
    assert decisions(judging)["a"] == "rejected" == read_list(results / LIST_NAME)["a"]["decision"]


def test_ground_truth_that_is_changed_later_is_no_longer_accepted(make, results, draw):
    judging = make()
    image_id = ids(judging)["a"]
    judging.accept(image_id)
    session = judging.session
    session.add_stroke(image_id, session.describe(image_id)["version"], draw(1, layer="result"))
    # It lies in .trash, and the base is on disk as strokes: nothing is lost by a restart.
    assert decisions(judging)["a"] is None and not (results / "a_mres.mat").exists()
    assert len(read_strokes(results / "a_doodles.json").strokes) == 4
    assert read_list(results / LIST_NAME)["a"]["decision"] == ""
    session.undo(image_id, session.describe(image_id)["version"])
    assert decisions(judging)["a"] == "accepted"
    with pytest.raises(Conflict, match="withdraw it there"):
        judging.take_back(image_id)


def test_what_another_program_decides_meanwhile_stays(make, results):
    one, two = make(), make()
    one.reject(ids(one)["a"])
    two.accept(ids(two)["b"])
    assert decisions(one) == {"a": "rejected", "b": "accepted", "c": None} == decisions(two)
    # Also about images that are not there any more.
    for path in results.glob("a*"):
        path.unlink()
    third = make()
    third.take_back(ids(third)["b"])
    assert read_list(results / LIST_NAME)["a"]["decision"] == "rejected"


def _accept_and_die(results):
    judging = Judging(ReviewSession(results))
    judging_module.DecisionList.put = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
    judging.accept(ids(judging)["a"])


def test_a_kill_between_ground_truth_and_list_loses_no_decision(make, results):
    process = multiprocessing.get_context("fork").Process(target=_accept_and_die, args=(results,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL and not (results / LIST_NAME).exists()
    assert decisions(make()) == {"a": "accepted", "b": None, "c": None}
    assert read_list(results / LIST_NAME)["a"]["decision"] == "accepted"


def test_png_results_are_accepted_too(make, results, table):
    (results / "b_ares_96.mat").unlink()
    write_labelpng(results / "b_predseg.png", LabelMap(LABELS, table))
    judging = make()
    judging.accept(ids(judging)["b"])
    assert (read_labelmap(results / "b_mres.mat").labels_as(table.union(judging.session.album.table)) == LABELS).all()


def test_ground_truth_of_others_is_not_that_of_the_one_who_mends(make, results):
    judging = make(annotator="Cy O'Neil")
    judging.mend(ids(judging)["c"])
    assert decisions(judging)["c"] == "mending"
    strokes = read_strokes(results / "annotators" / "Cy O'Neil" / "c_doodles.json").strokes
    assert strokes and {stroke.layer for stroke in strokes} == {"result"}
