from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.results import ResultRows, read_confidence
from hybridseg.classes import VOID, ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import PIXEL_SECONDS
from hybridseg.dense import predict
from hybridseg.dense.predict import PredictJob, predict_file, predict_labels, predict_rows
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, MissingInput, MissingPackage
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, read_made_by
from hybridseg.io.lazyimages import as_lazy
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.models.views import View
from hybridseg.resample import resize_nearest

NATIVE = DenseOptions(native=True, window=64, overlap=16)


def expected_labels(rows, cols, border):
    labels = np.zeros((rows, cols), np.uint8)
    labels[:, border:] = 2
    return labels


@pytest.fixture
def photo(tmp_path, paint_coast):
    path = tmp_path / "photo.png"
    write_image(path, paint_coast(80, 120, border=50))
    return path


@pytest.fixture
def scene_tif(tmp_path, paint_coast):
    """A GeoTIFF with a corner that holds no picture."""
    image = np.maximum(paint_coast(80, 120, border=50), 1)
    image[:20, :30] = 0
    path = tmp_path / "ortho.tif"
    profile = {"driver": "GTiff", "height": 80, "width": 120, "count": 3, "dtype": "uint8", "nodata": 0}
    profile |= {"crs": "EPSG:32611", "transform": from_origin(500_000, 4_000_000, 0.5, 0.5)}
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as file:
        file.write(image.transpose(2, 0, 1))
    return path


@pytest.fixture
def job(fake_dense, monkeypatch):
    """A job whose network takes no TensorFlow."""
    network = fake_dense()
    monkeypatch.setattr(predict, "load_dense", lambda path, engine: network)
    return PredictJob((Path("net.h5"),), options=NATIVE)


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_written(photo, fake_dense):
    result = predict_file(photo, [fake_dense()], options=NATIVE)
    assert names_in(photo.parent) == ["figures/photo_predseg_composite.png", "photo.png", "photo_predseg.png"]
    assert [path.name for path in result.written] == ["photo_predseg.png", "photo_predseg_composite.png"]
    found = read_labelmap(photo.with_name("photo_predseg.png"))
    assert np.array_equal(found.labels, expected_labels(80, 120, 50))
    assert found.table == ClassTable.from_names(["cliff", "veg", "water"])
    assert result.shares == {"water": pytest.approx(70 / 120), "cliff": pytest.approx(50 / 120)}
    assert set(result.seconds) >= {"read", "predict", "write"} and result.image_path == photo


def test_the_composite_is_the_image_with_the_colours_of_its_classes(photo, fake_dense, cut_panel):
    table = ClassTable(("Cliff", "veg", "water"), ((0, 255, 0), (9, 9, 9), (255, 255, 255)))
    predict_file(photo, [fake_dense()], options=NATIVE, table=table)
    path, image = photo.parent / "figures/photo_predseg_composite.png", read_image(photo)
    composite = cut_panel(path, 1, 2, (80, 120)).astype(float)
    assert np.array_equal(cut_panel(path, 0, 2, (80, 120))[2:-2, 2:-2], image[2:-2, 2:-2])
    for cols, color in ((slice(4, 44), (0, 255, 0)), (slice(56, 116), (255, 255, 255))):
        mixed = 0.4 * image[:, cols].mean(axis=(0, 1)) + 0.6 * np.array(color)
        assert composite[:, cols].mean(axis=(0, 1)) == pytest.approx(mixed, abs=1)
    assert read_labelmap(photo.with_name("photo_predseg.png")).table == table


def test_a_geotiff_keeps_its_place_and_what_holds_no_picture_is_void(scene_tif, fake_dense):
    outputs = Outputs(figures=None, probabilities=True)
    result = predict_file(scene_tif, [fake_dense()], options=NATIVE, outputs=outputs)
    written = [f"ortho_predseg{end}" for end in (".png", ".tif", "_confidence.tif", "_entropy.tif")]
    assert sorted(path.name for path in result.written) == written and result.written[0].suffix == ".png"
    labels = expected_labels(80, 120, 50)
    labels[:20, :30] = VOID
    for name in written[:2]:
        found = read_labelmap(scene_tif.with_name(name))
        assert np.array_equal(found.labels, labels) and found.table.names == ("cliff", "veg", "water")
    found = {}
    for name in written[1:]:
        with quiet_rasterio(), rasterio.open(scene_tif.with_name(name)) as file:
            assert file.crs.to_epsg() == 32611 and file.transform == from_origin(500_000, 4_000_000, 0.5, 0.5)
            assert file.nodata == 255 and file.shape == (80, 120)
            found[name] = values = file.read(1)
        assert (values[:20, :30] == 255).all()
        assert (values[20:] <= 100).all()
    assert found[written[2]][20:].min() > 33
    assert result.measures == {"entropy": pytest.approx(values[values != 255].mean() / 100, abs=0.01)}
    assert result.shares["water"] == pytest.approx((labels == 2).sum() / (labels != VOID).sum())


def test_confidence_is_what_the_network_says_before_smoothing(photo, fake_dense):
    image = read_image(photo)
    smoothing = SmoothingOptions(radius=3)
    labels, confidence = predict_labels(
        image, [fake_dense()], options=NATIVE, smoothing=smoothing, want_confidence=True
    )
    scores = np.exp(10 * (image / np.float32(255)))
    probs = scores / scores.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(confidence, probs.max(axis=-1), atol=1e-5)
    settings = {"options": NATIVE, "smoothing": smoothing, "want_confidence": True}
    [rows] = predict_rows(as_lazy(image, None), [fake_dense()], **settings)
    np.testing.assert_allclose(rows.entropy, -(probs * np.log(probs)).sum(axis=-1) / np.log(3), atol=1e-4)
    assert labels.shape == (80, 120)
    assert predict_labels(image, [fake_dense()], options=NATIVE)[1] is None


@pytest.mark.slow
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("smoothing", [SmoothingOptions(), SmoothingOptions(radius=2)], ids=["plain", "smoothed"])
def test_how_far_networks_differ_is_measured_where_there_is_a_picture(
    scene_tif, fake_dense, tmp_path, smoothing, probabilities
):
    """Two take the right side for water, one takes it for veg: 2 of 3 pairs differ, before any smoothing."""
    outputs = Outputs(tmp_path / "out", probabilities=probabilities)
    models = [fake_dense(), fake_dense(order=(0, 2, 1)), fake_dense()]
    found = predict_file(scene_tif, models, options=NATIVE, smoothing=smoothing, outputs=outputs)
    assert found.measures["model_disagreement"] == pytest.approx(2 / 3 * 70 * 80 / (80 * 120 - 20 * 30), abs=1e-3)
    assert ("entropy" in found.measures) == probabilities
    alone = predict_file(scene_tif, models[:1], options=NATIVE, smoothing=smoothing, outputs=outputs)
    assert "model_disagreement" not in alone.measures
    _, second, third = models
    second.card = third.card = replace(second.card, size=(64, 96))
    found = predict_file(scene_tif, models, smoothing=smoothing, outputs=outputs)
    assert found.measures["model_disagreement"] == pytest.approx(0.41, abs=0.02), "also where they see it otherwise"


@pytest.mark.parametrize("options", [NATIVE, DenseOptions()], ids=["native", "whole"])
def test_smoothing_works_where_the_network_sees(photo, fake_dense, options):
    image = read_image(photo)
    image[40, 20] = (90, 0, 140)
    model = fake_dense(size=(40, 60))
    plain = predict_labels(image, [model], options=options)[0]
    for smoothing in (
        SmoothingOptions(radius=3),
        SmoothingOptions(crf_from="probabilities", crf=CrfOptions(theta=6, color_compat=0)),
    ):
        smooth = predict_labels(image, [model], options=options, smoothing=smoothing)[0]
        assert smooth.shape == (80, 120) and smooth.dtype == np.uint8 and smooth[40, 20] == 0
        assert (smooth != expected_labels(80, 120, 50)).mean() < 0.02
        if not options.native:
            assert np.array_equal(smooth, resize_nearest(resize_nearest(smooth, (40, 60)), (80, 120)))
    assert (plain[40, 20] == 2) or not options.native


@pytest.mark.parametrize(
    ("view", "n_pixels"),
    [(View(True, (0.5, 2.0), (80, 120)), 80 * 120), (View(True, (0.4, 0.4), (80, 120)), 32 * 48)],
    ids=["windows", "reduced windows"],
)
def test_the_crf_is_expected_to_take_as_long_as_the_network_sees_pixels(photo, fake_dense, view, n_pixels):
    model, seen = fake_dense(size=(16, 24)), []
    model.card = replace(model.card, view=view)

    def progress(items, *, label):
        seen.append(items.after)
        return items

    smoothing = SmoothingOptions(crf_from="probabilities", crf=CrfOptions(n_iterations=1))
    options = DenseOptions(window=32, overlap=0)
    predict_labels(read_image(photo), [model], options=options, smoothing=smoothing, progress=progress)
    assert seen[0] == pytest.approx(n_pixels * PIXEL_SECONDS)


def test_labels_are_the_same_whole_and_in_strips(tmp_path, paint_coast, fake_dense):
    image = paint_coast(700, 90, border=30)
    for options in (NATIVE, DenseOptions()):
        labels, _ = predict_labels(image, [fake_dense()], options=options)
        assert (labels != expected_labels(700, 90, 30)).mean() < (0.001 if options.native else 0.03)


def test_many_files_and_a_damaged_one(tmp_path, photo, scene_tif, job):
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:900])
    with quiet_rasterio():
        rasterio.open(tmp_path / "five.tif", "w", driver="GTiff", height=8, width=8, count=5, dtype="uint8").close()
    paths = [tmp_path / name for name in ("cut.png", "photo.png", "five.tif", "none.png", "ortho.tif")]
    result = run_jobs(paths, replace(job, outputs=Outputs(out_dir=tmp_path / "out")))
    assert [r.image_path.name for r in result.images] == ["photo.png", "ortho.tif"]
    assert [problem.where for problem in result.problems] == [str(paths[i]) for i in (0, 2, 3)]
    messages = [problem.message for problem in result.problems]
    assert "damaged or cut short" in messages[0] and "has 5 bands" in messages[1] and "there is no file" in messages[2]
    assert names_in(tmp_path / "out") == [
        "figures/ortho_predseg_composite.png", "figures/photo_predseg_composite.png",
        "ortho_predseg.png", "ortho_predseg.qml", "ortho_predseg.tif", "ortho_predseg.tif.aux.xml",
        "photo_predseg.png",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ortho_predseg.png", "ortho_predseg.tif", "figures/ortho_predseg_composite.png"])
def test_what_others_made_under_these_names_stays(photo, scene_tif, job, name):
    path = photo.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(mine := (photo if path.suffix == ".png" else scene_tif).read_bytes())
    result = run_jobs([scene_tif, photo], job)
    assert f"{name} is there and was not written by hybridseg" in str(result.problems[0]) and len(result.images) == 1
    assert path.read_bytes() == mine
    path.unlink()
    for _ in range(2):
        assert len(run_jobs([scene_tif, photo], job).images) == 2


def test_the_label_map_is_written_last(photo, job, monkeypatch):
    """Interrupted before, the image counts as not done, and is done again."""

    def stop(*args, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict, "write_labelmap", stop)
        run_jobs([photo], job)
    assert names_in(photo.parent) == ["figures/photo_predseg_composite.png", "photo.png"]
    assert len(run_jobs([photo], job, resume=True).images) == 1
    assert run_jobs([photo], job, resume=True).skipped == (photo,)
    assert len(run_jobs([photo], replace(job, outputs=Outputs(probabilities=True)), resume=True).images) == 1


def test_the_record_in_every_label_map(scene_tif, job):
    run_jobs([scene_tif], job)
    for name in ("ortho_predseg.png", "ortho_predseg.tif"):
        assert read_made_by(scene_tif.with_name(name)) == job.record(scene_tif)
    for other, reason in (
        (replace(job, options=replace(NATIVE, flips=True)), "made with other settings (flips)"),
        (replace(job, smoothing=SmoothingOptions(radius=2)), "made with other settings (flips, radius)"),
    ):
        assert run_jobs([scene_tif], other, resume=True).images[0].replaced == reason


def test_an_image_that_is_too_large_for_the_memory(photo, scene_tif, job, monkeypatch):
    answers = iter([MemoryError(), None])

    def predict_rows_once(image, models, **settings):
        if (error := next(answers)) is not None:
            raise error
        yield ResultRows(np.zeros(image.shape[:2], np.uint8))

    monkeypatch.setattr(predict, "predict_rows", predict_rows_once)
    result = run_jobs([photo, scene_tif], job)
    assert len(result.images) == 1
    assert "is too large for the memory of this machine; cut it into parts" in result.problems[0].message


def test_an_image_without_a_picture(tmp_path, fake_dense):
    profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 3, "dtype": "uint8", "nodata": 0}
    with quiet_rasterio(), rasterio.open(tmp_path / "empty.tif", "w", **profile) as file:
        file.write(np.zeros((3, 8, 8), np.uint8))
    for outputs in (Outputs(), Outputs(probabilities=True)):
        found = predict_file(tmp_path / "empty.tif", [fake_dense()], outputs=outputs)
        assert (found.remark, found.shares, found.measures, found.warnings) == ("no data", {}, {}, ())
        assert (read_labelmap(found.written[0]).labels == VOID).all()
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "empty.tif", *found.written}
    assert np.isnan(read_confidence(tmp_path / "empty_predseg_confidence.tif")).all()
    with pytest.raises(BadInput, match=r"has 3 bands, and cliff\.h5 takes 4"):
        predict_file(tmp_path / "empty.tif", [fake_dense(n_bands=4)])


def test_no_crf_engine_and_no_image(tmp_path, photo, fake_dense, job, monkeypatch):
    def lack(*args, **settings):
        raise MissingPackage("no engine")

    monkeypatch.setattr(predict, "smooth_strips", lack)
    with pytest.raises(MissingPackage):
        run_jobs([photo], replace(job, smoothing=SmoothingOptions(radius=2)))
    with pytest.raises(MissingInput):
        predict_file(tmp_path / "none.png", [fake_dense()])


@pytest.mark.parametrize(("mode", "note"), [
    ("RGBA", "its transparency (band 4) is left out: cliff.h5 takes 3 bands"),
    ("L", "it is grey, and cliff.h5 takes red, green and blue: its one band stands for all three"),
    ("LA", "it is grey, and cliff.h5 takes red, green and blue: its one band stands for all three"),
    ("RGB", None),
])  # fmt: skip
def test_a_picture_of_any_kind_is_segmented_as_the_network_takes_it(tmp_path, paint_coast, fake_dense, mode, note):
    picture = Image.fromarray(paint_coast(40, 60, border=20))
    changed = picture.convert(mode)
    if mode.endswith("A"):
        changed.putpixel((3, 2), (*changed.getpixel((3, 2))[:-1], 0))
    changed.save(tmp_path / "own.png")
    changed.convert(mode.removesuffix("A")).convert("RGB").save(tmp_path / "rgb.png")
    own, rgb = (predict_file(tmp_path / name, [fake_dense()]) for name in ("own.png", "rgb.png"))
    assert own.warnings == ((note,) if note else ()) and rgb.warnings == ()
    labels, wanted = (read_labelmap(result.written[0]).labels for result in (own, rgb))
    if mode.endswith("A"):
        assert labels[2, 3] == 255, "where it is transparent there is no picture"
    np.testing.assert_array_equal(labels[8:], wanted[8:])


def test_a_photo_that_is_far_from_the_training_is_told(photo, fake_dense, tmp_path):
    network = fake_dense()
    assert predict_file(photo, [network], outputs=Outputs(tmp_path)).warnings == ()
    object.__setattr__(network.card, "view", View(True, (1.0, 1.0), (20, 30)))
    [warning] = predict_file(photo, [network, network], outputs=Outputs(tmp_path)).warnings
    assert warning.startswith("has 80 x 120 pixels") and warning.endswith(
        "4.0 times larger than any that the network was trained on; try --native --scale 0.25"
    )
    near = predict_file(photo, [network], options=DenseOptions(scale=0.25), outputs=Outputs(tmp_path))
    assert near.warnings == ()


def test_options_that_do_not_suit_the_network_stop_the_job(job):
    with pytest.raises(BadInput, match="--scale is for windows"):
        replace(job, options=DenseOptions(scale=2.0)).load()
