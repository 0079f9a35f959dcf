import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from scipy.io import loadmat

import hybridseg.hybrid.semseg as semseg
from hybridseg.batch import results
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.results import read_confidence
from hybridseg.classes import VOID
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, WriteFailed
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.segmentation import HybridOptions, classic_options
from hybridseg.hybrid.semseg import SemsegJob, segment_file
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, read_made_by
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.models.ensemble import Ensemble
from hybridseg.models.store import TileClassifier
from hybridseg.panels import tint_image
from tests.conftest import ByColor

CLASSIC = classic_options(16)
FAST = replace(
    CLASSIC,
    decimation=1,
    scale=0.5,
    crf=CrfOptions(n_threads=1, theta=6, color_scale=20, space_compat=3, color_compat=10),
)


@pytest.fixture
def photo(tmp_path, paint_coast):
    path = tmp_path / "photo.png"
    write_image(path, paint_coast(40, 64, border=32))
    return path


@pytest.fixture
def job(by_color, monkeypatch):
    """A job whose classifier takes no TensorFlow."""
    monkeypatch.setattr(semseg, "load_classifier", lambda path, **_: by_color)
    return SemsegJob((Path("model.pb"),), options=FAST)


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def save_tiff(path, image, **profile):
    rows, cols, bands = image.shape
    profile.update(driver="GTiff", height=rows, width=cols, count=bands, dtype=image.dtype)
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as file:
        file.write(image.transpose(2, 0, 1))


def test_what_is_written(photo, by_color, cut_panel):
    result = segment_file(photo, by_color, options=FAST)
    folder = photo.parent
    assert names_in(folder) == [
        "figures/photo_ares_16.png", "photo.png", "photo_ares_16.mat", "photo_ares_16_label.png"
    ]  # fmt: skip
    assert [path.name for path in result.written] == [
        "photo_ares_16.mat",
        "photo_ares_16_label.png",
        "photo_ares_16.png",
    ]
    mat = loadmat(folder / "photo_ares_16.mat")
    assert {"class", "sparse", "labels"} <= set(mat)
    assert mat["class"].dtype == mat["sparse"].dtype == np.uint8
    assert [name.strip() for name in mat["labels"]] == ["cliff", "veg", "water"]
    labels = np.zeros((40, 64), np.uint8)
    labels[:, 32:] = 2
    assert np.array_equal(mat["class"], labels) and np.array_equal(mat["sparse"], labels + 1)
    with Image.open(folder / "photo_ares_16_label.png") as picture:
        assert picture.mode == "P" and np.array_equal(np.asarray(picture), labels)
        assert picture.getpalette()[:9] == [200, 10, 20, 30, 210, 40, 50, 60, 220]
        assert picture.convert("RGB").getpixel((63, 0)) == (50, 60, 220)
    back = read_labelmap(folder / "photo_ares_16_label.png")
    assert np.array_equal(back.labels, labels) and back.table == by_color.table
    figure = folder / "figures/photo_ares_16.png"
    assert np.array_equal(cut_panel(figure, 0, 3, (40, 64))[4:-4, 4:-4], read_image(photo)[4:-4, 4:-4])
    tinted = tint_image(read_image(photo), labels, by_color.table)
    for place in (1, 2):
        assert np.array_equal(cut_panel(figure, place, 3, (40, 64))[4:-4, 4:-4], tinted[4:-4, 4:-4])
    assert result.shares == {"cliff": 0.5, "water": 0.5} and result.warnings == ()


def test_seeds_are_those_of_sure_tiles_alone(photo, by_color):
    segment_file(photo, by_color, options=replace(FAST, decimation=3))
    seeds = loadmat(photo.with_name("photo_ares_16.mat"))["sparse"]
    expected = np.zeros((48, 64), np.uint8)
    for number in range(0, 12, 3):
        row, col = divmod(number, 4)
        expected[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16] = 1 if col < 2 else 3
    assert np.array_equal(seeds, expected[:40])


def test_more_outputs(photo, by_color, tmp_path):
    figures = FigureOptions(dpi=100, figure_format="svg")
    outputs = Outputs(tmp_path / "a" / "b", figures, probabilities=True, report=True, keep_seeds=True)
    result = segment_file(photo, by_color, options=replace(FAST, decimation=2), outputs=outputs)
    figure = "figures/photo_ares_16.svg"
    others = [f"photo_{end}" for end in ("ares_16.mat", "ares_16_confidence.tif", "ares_16_entropy.tif",
                                         "ares_16_label.png", "ares_16_report.json", "atiles_16.mat")]  # fmt: skip
    assert names_in(tmp_path) == [*(f"a/b/{name}" for name in (figure, *others)), "photo.png"]
    assert sorted(path.relative_to(tmp_path / "a/b").as_posix() for path in result.written) == [figure, *others]
    assert "every pixel, by CRF</text>" in (tmp_path / "a/b" / figure).read_text()
    with quiet_rasterio(), rasterio.open(tmp_path / "a" / "b" / "photo_ares_16_confidence.tif") as dataset:
        percent = dataset.read(1)
        assert dataset.nodata == 255 and dataset.tags(1)["UNIT"] == "percent" and percent.shape == (40, 64)
    assert percent.min() >= 33 and 50 < percent.max() <= 100
    entropy = read_confidence(tmp_path / "a" / "b" / "photo_ares_16_entropy.tif")
    # Of tiles that are 80 % sure of one of three classes, where there is one.
    sure = -(0.8 * np.log(0.8) + 0.2 * np.log(0.1)) / np.log(3)
    assert result.measures["entropy"] == pytest.approx(sure) and np.nanmax(entropy) == pytest.approx(sure, abs=0.01)
    assert 0.3 < np.isnan(entropy).mean() < 0.6
    report = json.loads((tmp_path / "a" / "b" / "photo_ares_16_report.json").read_text(encoding="utf-8"))
    assert sum(report["class_shares"].values()) == pytest.approx(1) and report["image"] == "photo.png"
    assert report["settings"]["scale"] == 0.5 and report["settings"]["crf"]["theta"] == 6
    assert report["n_tiles"] == 6 and report["seeded_share"] == pytest.approx(6 / 12, abs=0.06)
    assert report["crf"]["size"] == [20, 32] and report["crf"]["n_blocks"] == 1
    assert {"read", "classify tiles", "spread by CRF", "write maps"} <= set(report["seconds"])
    tiles = read_labelmap(tmp_path / "a" / "b" / "photo_atiles_16.mat")
    ares = read_labelmap(tmp_path / "a" / "b" / "photo_ares_16.mat")
    assert result.measures["disagreement"] == np.mean(tiles.labels != ares.labels)
    assert np.array_equal(tiles.seeds, ares.seeds) and tiles.labels[0, 0] == 0 and tiles.labels[0, 63] == 2


def test_a_geotiff_gives_label_maps_in_the_same_place(tmp_path, by_color, paint_coast):
    image = paint_coast(40, 64, border=32)
    transform = from_origin(500_000, 4_000_000, 0.25, 0.25)
    save_tiff(tmp_path / "ortho.tif", image, crs="EPSG:32611", transform=transform)
    segment_file(tmp_path / "ortho.tif", by_color, options=FAST, outputs=Outputs(probabilities=True))
    for name in ("ortho_ares_16_label.tif", "ortho_ares_16_confidence.tif", "ortho_ares_16_entropy.tif"):
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.crs.to_epsg() == 32611 and dataset.transform == transform and dataset.shape == (40, 64)
            assert dataset.nodata == 255
    labels = read_labelmap(tmp_path / "ortho_ares_16_label.tif")
    assert np.array_equal(labels.labels, read_labelmap(tmp_path / "ortho_ares_16.mat").labels)
    assert labels.table == by_color.table and labels.labels[0, [0, 63]].tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["uint16", "float32", "rgba", "many"])
def test_images_of_other_kinds(tmp_path, by_color, paint_coast, kind):
    image = paint_coast(40, 64, border=32)
    if kind == "uint16":
        image = image.astype(np.uint16) * 257
    elif kind == "float32":
        image = image.astype(np.float32) / 255
    else:
        extra = np.full((40, 64, 1 if kind == "rgba" else 9), 255, np.uint8)
        image = np.concatenate([image, extra], axis=2)
    save_tiff(tmp_path / "a.tif", image)
    segment_file(tmp_path / "a.tif", by_color, options=FAST)
    labels = read_labelmap(tmp_path / "a_ares_16.mat").labels
    assert (labels[:, :31] == 0).all() and (labels[:, 33:] == 2).all()


@pytest.mark.parametrize(("n_bands", "used"), [(2, "its first one stands for all three"), (5, "its first three stand")])
def test_which_bands_are_used_is_told(tmp_path, by_color, paint_coast, n_bands, used):
    image = np.dstack([paint_coast(40, 64, border=32), np.zeros((40, 64, 2), np.uint8)])
    save_tiff(tmp_path / "a.tif", image[..., :n_bands])
    [told] = segment_file(tmp_path / "a.tif", by_color, options=FAST).warnings
    assert told.startswith(f"it has {n_bands} bands, and model.pb takes red, green and blue: {used}")


def test_a_grey_image(tmp_path, by_color):
    Image.fromarray(np.full((20, 24), 90, np.uint8)).save(tmp_path / "grey.png")
    segment_file(tmp_path / "grey.png", by_color, options=FAST)
    assert (read_labelmap(tmp_path / "grey_ares_16.mat").labels == 0).all(), "no colour is strongest: the first wins"


def test_a_photo_taken_upright(tmp_path, by_color, paint_coast):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(paint_coast(48, 64, border=32)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    segment_file(tmp_path / "a.jpg", by_color, options=FAST)
    labels = read_labelmap(tmp_path / "a_ares_16.mat").labels
    assert labels.shape == (64, 48) and (labels[:30] == 0).all() and (labels[34:] == 2).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (3, 700)])
def test_strips_and_dots_are_drawn_too(tmp_path, by_color, paint_coast, shape):
    write_image(tmp_path / "a.png", paint_coast(*shape, border=0))
    segment_file(tmp_path / "a.png", by_color, options=FAST)
    assert (read_labelmap(tmp_path / "a_ares_16.mat").labels == 2).all()
    assert max(read_image(tmp_path / "figures/a_ares_16.png").shape) < 4000


def test_a_class_that_vanishes_is_told_and_what_the_tiles_said_is_kept(tmp_path, by_color, paint_coast):
    image = paint_coast(96, 96, border=96)
    image[32:48, 32:64] = image[32:48, 32:64, ::-1]
    write_image(tmp_path / "a.png", image)
    hard = replace(CLASSIC, decimation=1, scale=0.25, crf=CrfOptions(n_threads=1, color_scale=200, space_compat=50))
    result = segment_file(tmp_path / "a.png", by_color, options=hard)
    assert result.shares == {"cliff": 1.0}
    assert result.warnings == ("water had 6% of the seeds and keeps 0% of them after the CRF; 100% became cliff",)
    assert np.unique(read_labelmap(tmp_path / "a_atiles_16.mat").labels).tolist() == [0, 2]


def test_pixels_far_from_every_seed_are_filled_and_told(tmp_path, by_color, paint_coast):
    write_image(tmp_path / "a.png", paint_coast(16, 800, border=400))
    far = replace(CLASSIC, decimation=40, scale=1, crf=CrfOptions(n_threads=1, theta=1, color_scale=20))
    result = segment_file(tmp_path / "a.png", by_color, options=far)
    assert (
        len(result.warnings) == 1 and "so far from every seed that the CRF knew nothing of them" in result.warnings[0]
    )
    assert set(np.unique(read_labelmap(tmp_path / "a_ares_16.mat").labels)) <= {0, 2}


@pytest.mark.parametrize("step", ["draw_panels", "write_labelmap", "writing_confidence"])
def test_an_interrupted_run_leaves_whole_files_and_is_continued(photo, job, monkeypatch, step):
    owner = results if step == "writing_confidence" else semseg
    folder, real = photo.parent, getattr(owner, step)

    def stop(*words, **_):
        if step == "write_labelmap" and not str(words[0]).endswith(".mat"):
            return real(*words)
        raise KeyboardInterrupt

    job = replace(job, outputs=Outputs(probabilities=True))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, step, stop)
        run_jobs([photo], job, resume=True)
    left = names_in(folder)
    assert "photo_ares_16.mat" not in left and not any("partial" in name for name in left)
    for name in left:
        assert read_image(folder / name).size
    assert len(run_jobs([photo], job, resume=True).images) == 1
    assert len(names_in(folder)) == 6
    assert run_jobs([photo], job, resume=True).skipped == (photo,)


def test_a_file_that_is_called_figures_is_told_of_before_the_work(photo, job):
    (photo.parent / "figures").touch()
    with pytest.raises(WriteFailed, match=r"cannot write in .*figures: .*figures is a file; choose another folder"):
        run_jobs([photo], job)
    assert names_in(photo.parent) == ["figures", "photo.png"]
    assert len(run_jobs([photo], replace(job, outputs=Outputs(figures=None))).images) == 1


def test_the_place_of_the_tiles_is_that_of_a_map_that_may_be_written_of_them(photo, job, monkeypatch):
    assert photo.with_name("photo_atiles_16.mat") in job.list_places(photo)
    monkeypatch.setattr(results, "MOST_WHOLE_PIXELS", 1000)
    assert photo.with_name("photo_atiles_16.tif") in job.list_places(photo)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["probabilities", "report", "keep_seeds", "figures"])
def test_what_is_asked_for_in_addition_is_made_on_resume(photo, job, wanted):
    run_jobs([photo], job)
    is_figure = wanted == "figures"
    more = replace(job, outputs=Outputs(**{wanted: FigureOptions(figure_format="pdf") if is_figure else True}))
    assert len(run_jobs([photo], more, resume=True).images) == 1
    assert run_jobs([photo], more, resume=True).skipped == run_jobs([photo], job, resume=True).skipped == (photo,)


def test_the_record_in_every_label_map(tmp_path, job, by_color, paint_coast):
    image = paint_coast(40, 64, border=32)
    save_tiff(tmp_path / "a.tif", image, crs="EPSG:32611", transform=from_origin(0, 0, 0.5, 0.5))
    run_jobs([tmp_path / "a.tif"], replace(job, outputs=Outputs(keep_seeds=True)))
    for name in ("a_ares_16.mat", "a_ares_16_label.png", "a_ares_16_label.tif", "a_atiles_16.mat"):
        assert read_made_by(tmp_path / name) == job.record(tmp_path / "a.tif")
    record = json.loads(job.record(tmp_path / "a.tif"))
    assert record["command"] == "semseg" and record["settings"]["options"]["crf"]["theta"] == 6
    segment_file(tmp_path / "a.tif", by_color, options=replace(FAST, scale=1))
    changed = run_jobs([tmp_path / "a.tif"], job, resume=True)
    assert changed.images[0].replaced == "made with other settings (scale)"


def test_settings_that_follow_from_the_size_are_recorded_as_if_they_were_given(photo, job):
    job = replace(job, options=HybridOptions(crf=FAST.crf))
    run_jobs([photo], job)
    settings = json.loads(read_made_by(photo.with_name("photo_ares_16.mat")))["settings"]["options"]
    assert (settings["scale"], settings["stride"], settings["pattern"]) == (1, 8, "raster")
    assert run_jobs([photo], job, resume=True).skipped == (photo,)
    given = replace(job, options=replace(job.options, scale=1.0, stride=8, crf=job.options.crf.widen(2.0)))
    assert run_jobs([photo], given, resume=True).skipped == (photo,)
    other = replace(job, options=replace(job.options, stride=16))
    assert run_jobs([photo], other, resume=True).images[0].replaced == "made with other settings (stride)"


def test_an_image_that_was_damaged_since_is_named_on_resume(photo, job):
    run_jobs([photo], job)
    photo.write_bytes(b"")
    assert "is empty" in str(run_jobs([photo], job, resume=True).problems[0])


def test_too_large_for_the_memory(photo, job, monkeypatch):
    def refuse(*words, **settings):
        raise MemoryError

    monkeypatch.setattr(semseg, "segment_image", refuse)
    assert "smaller --scale" in str(run_jobs([photo], job).problems[0])


def test_an_interrupted_write_leaves_nothing(photo, by_color, monkeypatch):
    def stop(*words, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        segment_file(photo, by_color, options=FAST)
    assert names_in(photo.parent) == ["photo.png"]


def test_other_colors(photo, by_color):
    table = replace(by_color.table, colors=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    segment_file(photo, by_color, options=FAST, table=table)
    with Image.open(photo.with_name("photo_ares_16_label.png")) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (1, 2, 3)


def test_unsure_images_are_named(photo, by_color):
    with pytest.raises(BadInput, match=r"0\.80, and the threshold is 0\.9"):
        segment_file(photo, by_color, options=replace(FAST, threshold=0.9))
    assert names_in(photo.parent) == ["photo.png"]


def test_how_far_classifiers_differ_is_measured(photo, by_color):
    class Turned(ByColor):
        def classify(self, tiles):
            return super().classify(tiles)[:, [0, 2, 1]]

    other = TileClassifier(Path("other.pb"), by_color.table, 16, Turned())
    same = segment_file(photo, Ensemble((by_color, by_color)), options=FAST)
    assert same.measures["model_disagreement"] == 0
    found = segment_file(photo, Ensemble((by_color, other)), options=FAST)
    assert found.measures["model_disagreement"] == pytest.approx(0.5), "the right half is water, or veg"
    assert "model_disagreement" not in segment_file(photo, by_color, options=FAST).measures


@pytest.mark.parametrize("kind", ["nodata", "transparent", "nan"])
def test_an_image_without_data_is_void(tmp_path, job, kind):
    image = np.zeros((40, 64, 4 if kind == "transparent" else 3), np.uint8)
    place = {"crs": "EPSG:32611", "transform": from_origin(1000, 2000, 0.5, 0.5)}
    if kind == "transparent":
        Image.fromarray(image).save(tmp_path / "a.png")
    elif kind == "nodata":
        save_tiff(tmp_path / "a.tif", image, nodata=0, **place)
    else:
        save_tiff(tmp_path / "a.tif", np.full(image.shape, np.nan, np.float32), **place)
    [path] = tmp_path.iterdir()
    job = replace(job, outputs=Outputs(tmp_path / "out", probabilities=True, report=True, keep_seeds=True))
    result = run_jobs([path], job)
    assert not result.problems
    [found] = result.images
    assert (found.remark, found.shares, found.measures, found.warnings) == ("no data", {}, {}, ())
    assert all(target in found.written and target.exists() for target in job.list_targets(path))
    for name in ("a_ares_16.mat", "a_ares_16_label.png", "a_atiles_16.mat"):
        assert (read_labelmap(tmp_path / "out" / name).labels == VOID).all()
    assert np.isnan(read_confidence(tmp_path / "out/a_ares_16_confidence.tif")).all()
    assert repr(result) == "<BatchResult: 1 image done, 1 of them with no data (void everywhere)>"
    assert run_jobs([path], job, resume=True).skipped == (path,)


def test_nodata_and_transparent_pixels_get_no_class(tmp_path, by_color, paint_coast):
    image = np.maximum(paint_coast(48, 80, border=60), 1)
    image[:, :20] = 0
    save_tiff(tmp_path / "a.tif", image, nodata=0, crs="EPSG:32611", transform=from_origin(1000, 2000, 0.5, 0.5))
    alpha = np.full((48, 80, 1), 255, np.uint8)
    alpha[:, :20] = 0
    Image.fromarray(np.dstack([image, alpha])).save(tmp_path / "b.png")
    outputs = Outputs(probabilities=True)
    results = [segment_file(tmp_path / name, by_color, options=FAST, outputs=outputs) for name in ("a.tif", "b.png")]
    for name in ("a", "b"):
        labels = read_labelmap(tmp_path / f"{name}_ares_16.mat").labels
        assert (labels[:, :20] == VOID).all() and (labels[:, 20:] != VOID).all()
        with quiet_rasterio(), rasterio.open(tmp_path / f"{name}_ares_16_confidence.tif") as file:
            percent = file.read(1)
        assert (percent[:, :20] == 255).all() and (percent[:, 20:] <= 100).all()
    # The 16 columns that are wholly empty are not even classified.
    report_shares = results[0].shares
    assert sum(report_shares.values()) == pytest.approx(1) and report_shares["cliff"] == pytest.approx(40 / 60)
