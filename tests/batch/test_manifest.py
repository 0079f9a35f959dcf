"""A batch with a manifest: a second run does what is missing or changed, and failures are kept with their reasons."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from thresholdjob import Threshold

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.manifest import Manifest
from hybridseg.batch.plan import Plan, check_disk, make_plan
from hybridseg.batch.status import read_status
from hybridseg.batch.workers import Processes
from hybridseg.errors import BadInput, MissingInput, OutputExists, Problem, TooLittleMemory, WriteFailed
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap


@pytest.fixture
def photos(photo):
    for name in ("b", "c"):
        photo.with_name(f"{name}.png").write_bytes(photo.read_bytes())
    return [photo.with_name(f"{name}.png") for name in ("b", "c", "photo")]


@pytest.fixture
def survey(job, tmp_path):
    """Run the job on some images with the manifest of a folder, as `segment` does."""
    out = tmp_path / "out"

    def run(paths, job=replace(job, outputs=Outputs(out_dir=out, figures=None)), **settings):
        manifest = Manifest.read(out)
        with manifest.writing():
            manifest.begin(paths, job=job.fingerprint(), settings=job.describe(), engine="this process")
            return run_jobs(paths, job, manifest=manifest, **settings)

    run.out, run.job = out, run.__defaults__[0]
    return run


def list_done(result):
    return [image.image_path.name for image in result.images]


def test_a_second_run_does_what_is_missing_or_changed(survey, photos):
    assert list_done(survey(photos[:2])) == ["b.png", "c.png"]
    result = survey(photos)
    assert list_done(result) == ["photo.png"] and result.skipped == tuple(photos[:2])
    # A copy with another time is the same image; other pixels are not.
    os.utime(photos[0], (1, 1))
    assert list_done(survey(photos)) == []
    photos[1].write_bytes(photos[1].read_bytes() + b"\0")
    assert list_done(survey(photos)) == ["c.png"]
    (survey.out / "photo_threshold.png").unlink()
    assert list_done(survey(photos)) == ["photo.png"]
    assert list_done(survey(photos, replace(survey.job, options=Threshold(90)))) == ["b.png", "c.png", "photo.png"]
    assert list_done(survey(photos, replace(survey.job, options=Threshold(90)))) == []
    survey.job.model_paths[0].write_bytes(b"another")
    assert len(list_done(survey(photos))) == 3


def test_a_result_that_is_empty_is_missing(survey, photos):
    survey(photos)
    (survey.out / "photo_threshold.png").write_bytes(b"")
    assert list_done(survey(photos)) == ["photo.png"]
    assert read_labelmap(survey.out / "photo_threshold.png").labels.any()


def test_another_photo_of_the_same_name_does_not_replace_a_result(survey, photos, tmp_path):
    survey(photos)
    before = (survey.out / "b_threshold.png").read_bytes()
    other = tmp_path / "flight2" / "b.png"
    write_image(other, np.full((6, 8, 3), 90, np.uint8))
    [problem] = survey([other]).problems
    assert problem.message.startswith(f"has the same name as {photos[0]}; rename one of them")
    assert (survey.out / "b_threshold.png").read_bytes() == before
    # A copy, or what was moved, is no other photo.
    other.write_bytes(photos[0].read_bytes())
    assert not survey([other]).problems
    write_image(other, np.full((6, 8, 3), 200, np.uint8))
    photos[0].unlink()
    assert list_done(survey([other])) == ["b.png"]
    assert (read_labelmap(survey.out / "b_threshold.png").labels == 1).all()


def test_what_other_settings_made_and_these_do_not_is_removed(survey, photos, monkeypatch):
    def segment(job, image_path, *, progress):
        result = original(job, image_path, progress=progress)
        if job.options.value == 100:
            more = [path.with_name(path.name.replace("_threshold", "_more")) for path in result.written]
            more[0].write_bytes(result.written[0].read_bytes())
            result = replace(result, written=(*result.written, *more))
        return result

    original = type(survey.job).segment
    monkeypatch.setattr(type(survey.job), "segment", segment)
    survey(photos)
    (survey.out / "c_more.png").write_bytes(b"of the user")
    survey(photos, replace(survey.job, options=Threshold(90)))
    assert sorted(path.name for path in survey.out.glob("*_more.png")) == ["c_more.png"]
    assert len(list(survey.out.glob("*_threshold.png"))) == 3


@pytest.mark.parametrize(
    "error", [TooLittleMemory("give more"), MemoryError(), WriteFailed("the disk is full")], ids=repr
)
def test_what_lacked_memory_or_disk_is_tried_again(survey, photos, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(type(survey.job), "segment", Mock(side_effect=error))
        assert len(survey(photos).problems) == 3
    assert read_status(survey.out).n_left == 3
    assert len(list_done(survey(photos))) == 3


def test_an_image_is_the_same_from_another_folder(survey, photos, tmp_path, monkeypatch):
    survey(photos)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = [Path(os.path.relpath(path)) for path in photos]
    assert again[0].parts[0] == ".." and list_done(survey(again)) == []
    assert read_status(survey.out).n_images == 3


def test_what_is_known_of_each_image(survey, photos):
    photos[1].write_bytes(photos[1].read_bytes()[:60])
    survey(photos)
    start, *entries = map(json.loads, (survey.out / "manifest.jsonl").read_text().splitlines())
    assert start["images"] == list(map(str, photos)) and start["settings"]["options"] == {"value": 100}
    assert [entry["result"] for entry in entries] == ["done", "failed", "done"]
    assert entries[0]["written"] == ["b_threshold.png"]
    assert entries[0]["bytes_written"] == (survey.out / "b_threshold.png").stat().st_size
    assert entries[0]["facts"]["megapixels"] == 48e-6 and entries[0]["facts"]["size"] == photos[0].stat().st_size
    assert 10 < entries[0]["facts"]["peak_mb"] < 10_000
    assert "cut short" in entries[1]["reason"] and entries[1]["written"] == []


def test_what_failed_is_reported_and_tried_again_only_when_asked(survey, photos):
    whole = photos[1].read_bytes()
    photos[1].write_bytes(whole[:60])
    stamp = photos[1].stat()
    assert len(survey(photos).problems) == 1
    [problem] = survey(photos).problems
    assert problem.where == str(photos[1]) and "cut short" in problem.message
    assert "in an earlier run; --retry-failed tries again" in problem.message
    assert "earlier" not in survey(photos, retry_failed=True).problems[0].message
    # Another file in its place is another image.
    photos[1].write_bytes(whole)
    assert stamp.st_size != photos[1].stat().st_size
    result = survey(photos)
    assert list_done(result) == ["c.png"] and not result.problems


def test_the_status_is_that_of_all_calls(survey, photos, tmp_path):
    """Two calls on different sources, the first of which was stopped."""
    bad, other, gone = (tmp_path / "more" / name for name in ("bad.png", "other.png", "gone.png"))
    write_image(other, np.zeros((4, 4, 3), np.uint8))
    for path in (bad, gone):
        path.write_bytes(other.read_bytes()[:40])

    def stop(image):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey([photos[0], bad, gone, photos[1]], on_done=stop)
    found = read_status(survey.out)
    assert (found.n_images, found.n_done, found.n_left, found.n_left_now, found.failed) == (4, 1, 3, 3, ())
    survey([bad, other])
    gone.unlink()
    found = read_status(survey.out)
    assert (found.n_images, found.n_done, found.n_left, found.n_left_now) == (4, 2, 1, 0)
    assert [problem.where for problem in found.failed] == [str(bad)] and found.seconds_left is None
    # Asked for again with other settings, it is left until it is done with these.
    job = replace(survey.job, options=Threshold(90))
    with pytest.raises(KeyboardInterrupt):
        survey([other, photos[0], photos[1]], job, on_done=stop)
    found = read_status(survey.out)
    assert (found.n_images, found.n_done, found.n_left, found.n_left_now) == (4, 1, 2, 2)


def test_what_failed_and_is_asked_for_no_more_is_not_listed(survey, photos, tmp_path):
    """Unless it is still there."""
    typo, bad, twin = (tmp_path / "more" / name for name in ("phto.png", "bad.png", "b.png"))
    write_image(twin, np.zeros((4, 4, 3), np.uint8))
    bad.write_bytes(twin.read_bytes()[:40])
    manifest = Manifest.read(survey.out)
    with manifest.writing():
        refused = {twin: Problem(str(twin), "has the same name")}
        manifest.begin([twin], job="", settings={}, engine="this process", refused=refused)
    survey([photos[0], typo, bad])

    def list_failed():
        found = read_status(survey.out)
        assert found.n_images == found.n_done + len(found.failed) and found.n_left == 0
        return [Path(problem.where) for problem in found.failed]

    assert list_failed() == [typo, bad, twin]
    survey(photos)
    assert list_failed() == [bad, twin]
    bad.unlink()
    assert list_failed() == [twin]
    twin.unlink()
    assert list_failed() == []


@pytest.mark.slow
def test_an_image_that_ends_its_process(survey, photos, tmp_path):
    killer = tmp_path / "killer.png"
    killer.write_bytes(photos[0].read_bytes())
    result = survey([photos[0], killer, *photos[1:]], mapper=Processes(2))
    assert sorted(list_done(result)) == ["b.png", "c.png", "photo.png"]
    [problem] = result.problems
    assert problem.where == str(killer)
    assert "the process that worked on it was killed, probably because memory ran out, 3 times" in problem.message
    assert read_status(survey.out).failed[0].message == problem.message
    # That takes three processes: it is not done again unasked.
    [again] = survey([killer], mapper=Processes(2)).problems
    assert "in an earlier run; --retry-failed tries again" in again.message
    killer.write_bytes(photos[0].read_bytes() + b"\0")
    assert "earlier" not in survey([killer], mapper=Processes(2)).problems[0].message


@pytest.mark.slow
def test_what_was_finished_while_a_run_was_stopped_is_not_done_again(survey, photos, tmp_path):
    paths = [tmp_path / f"slow{i}.png" for i in range(8)]
    for path in paths:
        path.write_bytes(photos[0].read_bytes())

    def stop(image):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(paths, mapper=Processes(2), on_done=stop)
    there = {path.name for path in survey.out.glob("*.png")}
    entries = Manifest.read(survey.out).entries.values()
    assert there == {name for entry in entries for name in entry.written} and 2 <= len(there) < 8
    assert len(list_done(survey(paths))) == 8 - len(there)


@pytest.mark.slow
def test_processes_write_the_same(survey, photos, tmp_path):
    survey(photos, mapper=Processes(2))
    many = {path.name: path.read_bytes() for path in survey.out.glob("*.png")}
    run_jobs(photos, replace(survey.job, outputs=Outputs(out_dir=tmp_path / "one", figures=None)))
    assert many == {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.png")} and len(many) == 3
    assert read_labelmap(survey.out / "b_threshold.png").made_by


def test_a_line_that_was_cut_is_forgotten(survey, photos):
    survey(photos)
    path = survey.out / "manifest.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert list_done(survey(photos)) == ["photo.png"]
    lines = path.read_bytes().splitlines()
    assert len(lines) == 5 and all(json.loads(line) for line in lines)
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(BadInput, match=r"manifest\.jsonl: line 1: it is damaged .*move it away and run again"):
        Manifest.read(survey.out)


@pytest.mark.parametrize("time", ["", "2026-13-01T00:00:00+00:00", "2026-01-02T03:04:05", "soon"])
def test_a_time_that_is_none(survey, photos, time):
    survey(photos)
    path = survey.out / "manifest.jsonl"
    path.write_text(re.sub(r'"time": ?"[^"]*"', f'"time": "{time}"', path.read_text()))
    with pytest.raises(BadInput, match=r"manifest\.jsonl: line 1: it is damaged .*move it away and run again"):
        read_status(survey.out)


def test_two_at_once(survey, photos):
    with Manifest.read(survey.out).writing(), pytest.raises(OutputExists, match="another run is writing"):
        survey(photos)
    with pytest.raises(MissingInput, match=r"hybridseg segment --out"):
        read_status(survey.out)


def test_how_far_a_run_is(survey, photos):
    survey(photos[:1])
    manifest = Manifest.read(survey.out)
    with manifest.writing():
        manifest.begin(photos, job=survey.job.fingerprint(), settings={}, engine="this process")
        status = read_status(survey.out)
        assert status.is_running and (status.n_images, status.n_done, status.n_left) == (3, 1, 2)
    status = read_status(survey.out)
    assert not status.is_running and status.n_left == 2 and status.failed == ()
    survey(photos)
    assert read_status(survey.out).n_left == 0


def test_failures_are_not_in_the_pace(survey, photos, monkeypatch):
    times = iter(f"2026-01-02T03:04:{second:02}+00:00" for second in (0, 30, 59, 59))
    monkeypatch.setattr("hybridseg.batch.manifest._now", lambda: next(times))
    photos[1].write_bytes(b"")
    photos[2].write_bytes(b"")
    survey(photos)
    status = read_status(survey.out)
    assert (status.n_done, len(status.failed)) == (1, 2) and status.images_per_minute == 2.0


def test_what_a_run_will_take(survey, photos, monkeypatch):
    survey(photos[:1])
    manifest = Manifest.read(survey.out)
    [entry] = manifest.entries.values()
    known = replace(entry, seconds={"read": 1.0, "predict": 2.0}, facts=replace(entry.facts, peak_mb=300.0))
    manifest.entries[entry.image] = known
    bad = photos[0].with_name("bad.png")
    bad.write_bytes(b"")
    plan = make_plan([*photos[1:], bad], 1, manifest, job=survey.job.fingerprint(), n_workers=2)
    assert (plan.n_left, plan.n_done, plan.megapixels) == (3, 1, pytest.approx(96e-6))
    assert plan.seconds == pytest.approx(3.0) and plan.memory_mb == 600
    assert plan.n_unreadable == 1 and plan.unreadable.startswith(f"{bad}: ")
    assert plan.n_bytes == pytest.approx(2 * entry.bytes_written, abs=1)
    manifest.entries[entry.image] = replace(known, facts=replace(known.facts, n_workers=4))
    shared = make_plan(photos[1:], 1, manifest, job=survey.job.fingerprint(), n_workers=2)
    assert shared.seconds == pytest.approx(4 * plan.seconds), "four workers had shared it"
    manifest.entries[entry.image] = known
    other = make_plan(photos, 0, manifest, job="another", n_workers=2)
    assert other.seconds is None and not other.is_measured
    assert other.memory_mb == pytest.approx(500, abs=0.1) and other.n_bytes == pytest.approx(3 * 800_000, rel=0.01)
    plain = make_plan(photos, 0, manifest, job="another", n_workers=2, with_figures=False)
    assert plain.n_bytes == math.ceil(0.15 * 3 * 48)
    # A larger image than any before takes more than those.
    write_image(bad, np.zeros((2000, 1000, 3), np.uint8))
    assert make_plan([bad], 0, manifest, job=survey.job.fingerprint(), n_workers=1).memory_mb == pytest.approx(320)
    # Up to a size: then it is read part by part.
    monkeypatch.setattr("hybridseg.batch.plan.measure_megapixels", lambda path: 1000.0)
    assert make_plan([bad], 0, manifest, job=survey.job.fingerprint(), n_workers=1).memory_mb == 250 + 35 * 50
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": plan.n_bytes - 1}))
    with pytest.raises(
        WriteFailed, match=r"new has 0\.\d MB free, and the results need 0\.\d MB; choose another --out"
    ):
        check_disk(survey.out / "new", plan)
    check_disk(survey.out / "new", Plan(0, 0, 0, None, 0, 10**20, is_measured=False))


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(BadInput, match=r"photo\.png is a file; give a folder for the results, such as results"):
        Manifest.read(tmp_path / "photo.png")
