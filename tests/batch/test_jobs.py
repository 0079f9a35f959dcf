"""What every batch shares, with a job that is no more than a threshold."""

import errno
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from thresholdjob import TABLE, Threshold, ThresholdJob

from hybridseg.batch import jobs
from hybridseg.batch.jobs import Outputs, load_once, run_jobs
from hybridseg.batch.manifest import Manifest
from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, MissingInput, MissingPackage, WriteFailed
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.io.atomic import explain_writing
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.locks import lock_output


def test_one_bad_image_does_not_stop_the_others(photo, job):
    folder = photo.parent
    (folder / "bad.png").write_bytes(photo.read_bytes()[:60])
    (folder / "other.png").write_bytes(photo.read_bytes())
    done = []
    paths = [folder / "bad.png", photo, folder / "none.png", folder / "other.png"]
    result = run_jobs(paths, job, on_done=done.append)
    assert done == list(result.images)
    assert [image.image_path.name for image in done] == ["photo.png", "other.png"]
    assert done[0].shares == {"bright": 0.75, "dark": 0.25}
    assert [problem.where for problem in result.problems] == [str(paths[0]), str(paths[2])]
    assert "cut short" in result.problems[0].message and "no file" in result.problems[1].message
    assert not list(folder.glob("bad_*"))


def test_an_image_that_another_run_works_on_is_left_to_it(photo, job, tmp_path):
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    with lock_output(tmp_path / "photo_threshold.png"):
        result = run_jobs([photo, tmp_path / "other.png"], job)
    assert [image.image_path.name for image in result.images] == ["other.png"]
    [problem] = result.problems
    assert problem.where == str(photo) and problem.message.startswith("another run is writing")
    assert not (tmp_path / "photo_threshold.png").exists() and not list(tmp_path.glob(".*"))


def test_two_images_of_one_name_are_not_mixed(photo, job, tmp_path):
    other = tmp_path / "more" / "photo.jpg"
    other.parent.mkdir()
    write_image(other, np.zeros((6, 8, 3), np.uint8))
    together = replace(job, outputs=Outputs(out_dir=tmp_path / "out"))
    result = run_jobs([photo, other], together)
    assert len(result.images) == 1 and str(result.problems[0]).startswith(f"{other}: has the same name as {photo}")
    assert read_labelmap(tmp_path / "out" / "photo_threshold.png").labels[0, 7] == 1
    assert len(run_jobs([photo, other], job).images) == 2, "each in its own folder"
    assert len(run_jobs([photo, photo], job).problems) == 1


def test_a_file_beside_an_image_does_not_take_its_name(photo, job, tmp_path):
    """A shell names it first, where a pattern has both."""
    header = photo.with_suffix(".hdr")
    header.write_text("no image")
    result = run_jobs([header, photo], replace(job, outputs=Outputs(out_dir=tmp_path / "out")))
    assert [image.image_path for image in result.images] == [photo]
    [problem] = result.problems
    assert problem.where == str(header) and "is not a JPEG, PNG or TIFF image" in problem.message


def test_resume_leaves_out_what_is_done(photo, job, tmp_path):
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    run_jobs([photo], job)
    target = tmp_path / "photo_threshold.png"
    before = target.stat().st_mtime_ns
    result = run_jobs([photo, tmp_path / "other.png"], job, resume=True)
    assert result.skipped == (photo,) and [one.image_path.name for one in result.images] == ["other.png"]
    assert target.stat().st_mtime_ns == before
    run_jobs([photo], job)
    assert target.stat().st_mtime_ns > before


def change_model(job):
    job.model_paths[0].write_bytes(b"another")
    return job


def drop_record(job):
    path = job.list_targets(job.model_paths[0].with_name("photo.png"))[0]
    write_labelmap(path, replace(read_labelmap(path), made_by=None))
    return job


def cut_short(job):
    path = job.list_targets(job.model_paths[0].with_name("photo.png"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    return job


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda job: replace(job, options=Threshold(90)), "made with other settings (value)"),
        (change_model, "made by another model"),
        (lambda job: replace(job, model_paths=job.model_paths * 2), "made by another model"),
        (lambda job: replace(job, table=ClassTable(TABLE.names, ((1, 2, 3), (4, 5, 6)))), "other classes or colours"),
        (cut_short, "damaged"),
    ],
    ids=["setting", "model", "models", "colours", "damage"],
)
def test_resume_makes_again_what_was_made_otherwise(photo, job, change, reason):
    run_jobs([photo], job)
    changed = change(job)
    result = run_jobs([photo], changed, resume=True)
    assert not result.skipped and reason in result.images[0].replaced
    assert run_jobs([photo], changed, resume=True).skipped == (photo,), "made again once"
    assert run_jobs([photo], changed).images[0].replaced == "", "nothing is compared without --resume"


@pytest.mark.parametrize("resume", [True, False])
def test_what_somebody_else_made_is_left_alone(photo, job, tmp_path, resume):
    """It has no record: a mask made by hand, say."""
    other = tmp_path / "b.png"
    other.write_bytes(photo.read_bytes())
    run_jobs([photo], job)
    drop_record(job)
    [target] = job.list_targets(photo)
    before = target.read_bytes()
    result = run_jobs([photo, other], job, resume=resume)
    assert "was not written by hybridseg; move it away, or let the results go" in str(result.problems[0])
    assert [image.image_path for image in result.images] == [other] and target.read_bytes() == before


def test_progress_of_the_images_and_of_each(photo, job, tmp_path):
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    seen = []

    def progress(items, *, label):
        for item in items:
            yield item
            seen.append(label)

    run_jobs([photo, tmp_path / "other.png"], job, progress=progress)
    assert seen == ["halves", "halves", "images"] * 2
    seen.clear()
    run_jobs([photo], job, progress=progress)
    assert seen == ["halves", "halves"], "a single image needs no bar of images"


def test_what_stops_everything(photo, job, tmp_path, monkeypatch):
    monkeypatch.setattr(ThresholdJob, "segment", None)
    for out_dir in (photo, photo / "below"):
        with pytest.raises(WriteFailed, match=r"cannot write in .*photo\.png"):
            run_jobs([photo], replace(job, outputs=Outputs(out_dir=out_dir)))
    with pytest.raises(FileNotFoundError):
        run_jobs([photo], replace(job, model_paths=(tmp_path / "none.bin",)))
    with pytest.raises(BadInput, match="number of jobs"):
        run_jobs([photo], job, n_jobs=0)


@pytest.mark.parametrize(
    ("error", "is_problem"),
    [
        (BadInput("is bad"), "is bad"),
        (MissingInput("is gone"), "is gone"),
        (MemoryError(), "too large for the memory of this machine; buy memory"),
        (MissingPackage("no engine"), None),
        (KeyboardInterrupt(), None),
        (ZeroDivisionError(), None),
    ],
)
def test_errors(photo, job, monkeypatch, error, is_problem):
    def fail(self, path, *, progress):
        raise error

    monkeypatch.setattr(ThresholdJob, "segment", fail)
    if is_problem is None:
        with pytest.raises(type(error)):
            run_jobs([photo], job)
    else:
        assert is_problem in str(run_jobs([photo], job).problems[0])


@pytest.mark.parametrize(("has_manifest", "mark"), [(True, ""), (False, " with --resume")])
def test_a_full_disk_ends_the_run(photo, job, tmp_path, monkeypatch, has_manifest, mark):
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths:
        path.write_bytes(photo.read_bytes())
    segment, tried = ThresholdJob.segment, []

    def write(self, path, *, progress):
        tried.append(path)
        if len(tried) > 1:
            with explain_writing(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return segment(self, path, progress=progress)

    monkeypatch.setattr(ThresholdJob, "segment", write)
    manifest = Manifest.read(tmp_path) if has_manifest else None
    told = rf"b\.png: No space .*; free some space there, then give the same command again{mark} to continue$"
    with pytest.raises(WriteFailed, match=told):
        run_jobs(paths, job, manifest=manifest)
    assert tried == paths[:2]
    monkeypatch.undo()
    found = run_jobs(paths, job, manifest=Manifest.read(tmp_path), resume=not has_manifest)
    assert found.skipped == tuple(paths[:1]) and len(found.images) == 3 and not found.problems


def test_a_model_is_loaded_once_until_its_files_change(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_loaded", {})
    path, labels = tmp_path / "model.pb", tmp_path / "labels.txt"
    path.write_bytes(b"one")
    loads = []

    def load(path, **settings):
        loads.append(settings)
        return path.read_bytes()

    assert load_once(load, path) is load_once(load, path) and len(loads) == 1
    assert load_once(load, path, size=3) == b"one" and loads[1:] == [{"size": 3}]
    path.write_bytes(b"other")
    assert load_once(load, path) == b"other"
    n_loads = len(loads)
    labels.write_text("sand\n")
    load_once(load, path)
    path.with_suffix(".json").write_text("{}")
    load_once(load, path)
    path.with_name("model_labels_2.txt").write_text("sand\n")
    load_once(load, path)
    assert len(loads) == n_loads + 3, "the card and the class files belong to the model"
    for size in range(20):
        load_once(load, path, size=size)
    assert len(jobs._loaded) == jobs._MAX_LOADED, "memory is bounded"


@pytest.mark.slow
def test_a_job_of_a_network_can_be_sent_to_another_process(tmp_path, tiny_model):
    options = HybridOptions(decimation=1, scale=0.5, crf=CrfOptions(theta=6, color_scale=20))
    job = SemsegJob((tiny_model,), Outputs(out_dir=tmp_path), options=options)
    assert job.load().table.names == ("sand", "veg", "water")
    assert pickle.loads(pickle.dumps(job)) == job


@pytest.mark.slow
def test_in_several_processes(photo, job, tmp_path):
    for name in ("b", "c"):
        (tmp_path / f"{name}.png").write_bytes(photo.read_bytes())
    (tmp_path / "bad.png").write_bytes(photo.read_bytes()[:60])
    paths = [tmp_path / f"{name}.png" for name in ("bad", "c", "b", "photo")]
    job = replace(job, outputs=Outputs(out_dir=tmp_path / "many"))
    done = []
    many = run_jobs(paths, job, n_jobs=2, on_done=done.append)
    assert [image.image_path for image in many.images] == paths[1:] and len(done) == 3
    assert [problem.where for problem in many.problems] == [str(paths[0])]
    one = run_jobs(paths, replace(job, outputs=Outputs(out_dir=tmp_path / "one")))
    for result, same in zip(many.images, one.images, strict=True):
        found, expected = read_labelmap(result.written[0]), read_labelmap(same.written[0])
        assert np.array_equal(found.labels, expected.labels) and found.made_by == expected.made_by
        assert np.unique(found.labels).tolist() == [0, 1]
    assert run_jobs(paths, job, resume=True).skipped == tuple(paths[1:])
