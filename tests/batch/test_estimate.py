"""What a survey takes, from trials that a person can add up."""

import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio.shutil

from hybridseg.batch.estimate import (
    DRIVER,
    ONE_IMAGE,
    PROCESSORS,
    SurveyOptions,
    Trial,
    choose_images,
    estimate_survey,
    scale_up,
)
from hybridseg.errors import BadInput
from hybridseg.io import remote
from hybridseg.io.images import write_image
from hybridseg.io.sources import as_source
from hybridseg.progress import StopWatch


def test_a_survey_of_one_size_takes_its_number_of_images():
    trials = [Trial(2.0, 4.0, 6.0, 300.0, 5000)]
    found = scale_up(trials, np.full(10, 2.0), 70_000_000, n_jobs=3, survey=SurveyOptions())
    [one] = found.scenarios
    assert one.hours * 3600 == pytest.approx(10 * 6 / 3 + 4) and one.machine_hours == one.hours
    assert (found.memory_mb, found.written_bytes, found.n_images, found.megapixels) == (900.0, 50_000.0, 10, 20.0)
    assert one.read_mb_per_second == pytest.approx(70 / 24) and one.price is None and one.limit == PROCESSORS


def test_a_sample_stands_for_a_survey_that_several_machines_share():
    trials = [Trial(2.0, 4.0, 6.0, 300.0, 5000)]
    survey = SurveyOptions(megapixels=2e6, machines=(1, 10), price=0.5)
    found = scale_up(trials, np.full(10, 2.0), 70_000_000, n_jobs=3, survey=survey)
    alone, shared = found.scenarios
    assert alone.hours * 3600 == pytest.approx(1e6 * 6 / 3 + 4) and shared.processes == 30
    assert shared.hours * 3600 == pytest.approx(1e6 * 6 / 3 / 10 + 4)
    assert shared.machine_hours == pytest.approx(10 * shared.hours) and shared.price == pytest.approx(5 * shared.hours)
    assert found.n_images == pytest.approx(1e6) and found.read_bytes == pytest.approx(7e12)


def test_more_machines_help_until_one_image_or_the_driver_decides():
    trials = [Trial(2.0, 4.0, 6.0, 300.0, 5000)]
    few = scale_up(trials, np.full(10, 2.0), 1, n_jobs=2, survey=SurveyOptions(machines=(1, 5, 500)))
    assert [one.limit for one in few.scenarios] == [PROCESSORS, PROCESSORS, ONE_IMAGE]
    assert few.scenarios[2].hours * 3600 == pytest.approx(6 + 4)
    survey = SurveyOptions(megapixels=2e6, machines=(500,))
    found = scale_up(trials, np.full(10, 2.0), 1, n_jobs=2, survey=survey)
    [many] = found.scenarios
    assert many.limit == DRIVER and many.images_per_second == pytest.approx(100) and many.hours * 3600 == 1e6 / 100
    # What is assumed is said where it decides.
    assert [note.partition(":")[0] for note in few.notes + found.notes] == [ONE_IMAGE, DRIVER]
    assert "100 a second, which was not measured here" in found.notes[0]
    assert not replace(few, scenarios=few.scenarios[:2]).notes


def test_the_work_is_told_by_what_it_goes_into():
    """Of seconds of a processor, which several threads take at once."""
    steps = [{"read": 1.0, "crf": 3.0}, {"read": 2.0, "crf": 4.0, "write": 1.0}]
    trials = [Trial(m, 1.0, 2.0, 1.0, 1, 4.0 + 3 * i, 8.0, steps[i]) for i, m in enumerate((2.0, 4.0))]
    found = scale_up(trials, np.array([2.0, 3.0, 4.0, 11.0]), 1, n_jobs=1, survey=SurveyOptions(megapixels=2000))
    assert found.core_hours * 3600 == pytest.approx(100 * (4 + 5.5 + 7 + 17.5)) and found.waiting == 4
    assert found.steps == pytest.approx({"read": 10 / 20, "crf": 18 / 20, "write": 6 / 20})


def test_beyond_what_was_tried_time_grows_as_before():
    """Most of the work on the smaller part is done once, whatever the size."""
    trials = [Trial(64.0, 0.0, 14.0, 900.0, 400), Trial(16.0, 0.0, 11.0, 500.0, 100)]
    found = scale_up(trials, np.array([1024.0]), 1, n_jobs=1, survey=SurveyOptions())
    assert found.scenarios[0].hours * 3600 == pytest.approx(14 + (1024 - 64) * 3 / 48) and found.memory_mb == 900
    # A larger one that was quicker by chance: no less.
    trials = [Trial(16.0, 0.0, 11.0, 500.0, 100), Trial(64.0, 0.0, 10.0, 900.0, 400)]
    found = scale_up(trials, np.array([1024.0]), 1, n_jobs=1, survey=SurveyOptions())
    assert found.scenarios[0].hours * 3600 == pytest.approx(10)


def test_the_images_that_are_tried():
    assert choose_images(np.array([5.0, 1.0, 3.0, 2.0, 4.0])) == [1, 2, 0]
    assert choose_images(np.zeros(3)) == []


def test_a_trial_segments_and_leaves_nothing(job, photo, tmp_path):
    write_image(tmp_path / "large.png", np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes((tmp_path / "large.png").read_bytes()[:40])
    before = sorted(tmp_path.iterdir())
    images = [photo, tmp_path / "large.png", tmp_path / "bad.png"]
    found = estimate_survey(images, job, n_jobs=1)
    assert [trial.megapixels for trial in found.trials] == [48 / 1e6, 4800 / 1e6] and found.n_images == 2
    assert all(trial.seconds > 0 and trial.bytes_written > 50 for trial in found.trials) and found.problems == ()
    # Of a processor: the job sleeps, too, and says how it spent its time.
    assert all(trial.seconds <= trial.clock_seconds for trial in found.trials)
    assert all(sum(trial.steps.values()) == pytest.approx(trial.core_seconds) for trial in found.trials)
    assert sorted(tmp_path.iterdir()) == before


def test_what_segment_copies_first_is_tried_too(job, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(photo, "in/b.png")
    rasterio.shutil.copy(photo, tmp_path / "c.vrt", driver="VRT")
    write_image(tmp_path / "large.png", np.zeros((60, 80, 3), np.uint8))
    rasterio.shutil.copy(tmp_path / "large.png", tmp_path / "d.bmp", driver="BMP")
    names = f"/vsizip/{tmp_path}/all.zip/in/b.png", tmp_path / "c.vrt", f"gdal:{tmp_path}/d.bmp", "gdal:/gone.nc"
    found = estimate_survey([as_source(str(name)) for name in names], job, n_jobs=1)
    assert [trial.megapixels for trial in found.trials] == [48 / 1e6, 4800 / 1e6] and found.problems == ()
    # Of a mosaic its image; no copy is left.
    assert found.n_images == 3 and found.read_bytes == 2 * photo.stat().st_size + (tmp_path / "d.bmp").stat().st_size
    assert not list((tmp_path / "tmp").iterdir())


def test_of_a_file_that_is_copied_the_file_is_read_and_named(job, tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((600, 800, 3), np.uint8))
    rasterio.shutil.copy(tmp_path / "a.png", tmp_path / "a.jp2", driver="JP2OpenJPEG")
    rasterio.shutil.copy(tmp_path / "a.png", tmp_path / "a.dat", driver="ENVI")
    found = estimate_survey([tmp_path / "a.jp2"], job, n_jobs=1)
    assert found.read_bytes == (tmp_path / "a.jp2").stat().st_size < 20_000
    found = estimate_survey([tmp_path / "a.dat"], job, n_jobs=1)
    assert 600 * 800 * 3 < found.read_bytes < 600 * 800 * 3 + 1000

    def refuse(self, image_path):
        raise BadInput(f"{image_path} is odd")

    # What is wrong is said of it, too, and not of the temporary copy.
    monkeypatch.setattr(type(job), "segment", refuse)
    with pytest.raises(BadInput, match=rf"^no image could be tried: {tmp_path}/a\.jp2: is odd; give others$"):
        estimate_survey([tmp_path / "a.jp2"], job, n_jobs=1)


def test_of_many_images_elsewhere_some_stand_for_all(job, photo, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for i in range(150):
            archive.write(photo, f"{i}.png")
    asked, measure = set(), remote._measure_source
    monkeypatch.setattr(remote, "_measure_source", lambda path: asked.add(path) or measure(path))
    paths = [as_source(f"/vsizip/{tmp_path}/all.zip/{i}.png") for i in range(150)]
    found = estimate_survey([photo, *paths], job, n_jobs=1)
    assert found.n_images == 151 and found.read_bytes == 151 * photo.stat().st_size
    assert found.megapixels == pytest.approx(151 * 48 / 1e6) and 30 < len(asked) <= 64


def test_what_waits_takes_no_processor(job, photo, monkeypatch):
    """Other programs on the machine, or a slow disk, change nothing but what the clock shows."""
    original = type(job).segment

    def segment(self, image_path):
        watch = StopWatch()
        time.sleep(0.1)
        watch.lap("wait")
        return replace(original(self, image_path), seconds=watch.seconds)

    monkeypatch.setattr(type(job), "segment", segment)
    found = estimate_survey([photo], job, n_jobs=1)
    [trial] = found.trials
    assert trial.steps["wait"] < 0.05 and trial.seconds < 0.1 <= trial.clock_seconds and found.waiting > 1


def test_nothing_that_could_be_tried(job, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbad")
    with pytest.raises(BadInput, match="no image could be tried"):
        estimate_survey([tmp_path / "bad.png"], job, n_jobs=1)


@pytest.mark.slow
def test_a_process_that_dies_is_told(job, photo):
    killer = photo.rename(photo.with_name("killer.png"))
    with pytest.raises(
        BadInput,
        match=r"its process was killed, .*; give a smaller --jobs",
    ):
        estimate_survey([killer], job, n_jobs=2)


def test_of_a_large_raster_two_parts_are_tried(job, tmp_path, monkeypatch):
    from hybridseg.batch import estimate
    from hybridseg.io.cog import write_band

    monkeypatch.setattr(estimate, "_PART_SIDES", (40, 80))
    write_band(tmp_path / "mosaic.tif", np.zeros((300, 60), np.uint8), None, nodata=255)
    found = estimate_survey([tmp_path / "mosaic.tif"], job, n_jobs=1)
    assert [trial.megapixels for trial in found.trials] == [1600 / 1e6, 4800 / 1e6]
    assert found.megapixels == 18_000 / 1e6
