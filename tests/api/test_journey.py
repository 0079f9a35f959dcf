"""From a folder to a map in Python: the same files as the commands write, and results that show themselves."""

import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

import hybridseg as hs
from hybridseg.classes import VOID
from hybridseg.errors import BadInput, BadUsage, OutputExists
from hybridseg.hybrid.tuning import read_tuning
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_made_by
from hybridseg.io.rasters import quiet_rasterio


@pytest.fixture(scope="module")
def model(tiny_model):
    return hs.open_model(tiny_model)


@pytest.fixture
def photo(paint_classes, tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, paint_classes("water", "sand", "veg"))
    return path


def test_a_model_shows_what_it_is(model, tiny_model):
    assert repr(model) == f"<Model: tile classifier {tiny_model}, tiles of 16 pixels; classes: sand, veg, water>"
    assert model._repr_html_().count("background:#") == 3
    same = pickle.loads(pickle.dumps(model))
    assert same == model and same.classes is model.classes
    assert hs.open_model(tiny_model.parent).paths == (tiny_model,)


def test_one_photo(model, photo, tmp_path, run):
    before = set(tmp_path.iterdir())
    found = hs.segment(str(photo), model)
    assert set(tmp_path.iterdir()) == before, "nothing is written"
    assert [found.classes.names[found.labels[24, col]] for col in (10, 48, 86)] == ["water", "sand", "veg"]
    assert found.confidence.shape == found.labels.shape == (48, 96) and 0.5 < found.confidence.min() <= 1
    assert list(found.shares) == sorted(found.shares, key=lambda name: -found.shares[name]) and len(found.shares) == 3
    assert repr(found).startswith("<SegmentedImage: 48 x 96 pixels, ")
    # The command gives the same.
    assert run("semseg", photo, model.paths[0], "--out", tmp_path / "out").exit_code == 0
    theirs = hs.read_labelmap(tmp_path / "out/photo_ares_16.mat")
    assert np.array_equal(found.labels, theirs.labels) and found.made_by == theirs.made_by
    with Image.open(photo) as picture:
        pixels = np.asarray(picture)
    again = hs.segment(pixels, model)
    assert np.array_equal(again.labels, found.labels) and again.made_by == found.made_by


def test_predictions_are_those_of_the_command(model, photo, tmp_path, run):
    done = hs.predict(photo, model, output=tmp_path / "mask.png", mask_threshold=0.9, scale=0.5, reports=tmp_path / "r")
    [image] = done.images
    assert {path.name for path in image.written} == {"mask.png", "image_pair_jet.png", "sample.png"}
    words = ["-t", 0.9, "-s", 0.5, "-o", tmp_path / "theirs.png"]
    assert run("predict", "-m", model.paths[0], "-i", photo, *words).exit_code == 0
    ours, theirs = (hs.read_labelmap(tmp_path / name) for name in ("mask.png", "theirs.png"))
    assert np.array_equal(ours.labels, theirs.labels) and ours.made_by == theirs.made_by
    assert '"mask_threshold": 0.9' in ours.made_by and '"scale": 0.5' in ours.made_by
    assert hs.predict([photo], model, output=[tmp_path / "mask.png"], resume=True).images[0].replaced, "other settings"
    with pytest.raises(BadUsage, match=r"^stack=True takes three files, red, green and blue"):
        hs.predict([photo, photo], model, stack=True)
    with pytest.raises(BadUsage, match=r"^output= names 2 masks for 1 image; name one"):
        hs.predict(photo, model, output=["a.png", "b.png"])


def test_a_result_is_saved_and_replaces_nothing_else(model, photo, tmp_path):
    found = hs.segment(photo, model)
    for _ in range(2):
        path = found.save(str(tmp_path / "map.png"))
    read = hs.read_labelmap(path)
    assert np.array_equal(read.labels, found.labels) and read.table == found.table and read.made_by == found.made_by
    content = photo.read_bytes()
    with pytest.raises(OutputExists, match=r"photo\.png is there and is no result of a model"):
        found.save(photo)
    assert photo.read_bytes() == content


def test_a_place_on_earth_is_kept(model, paint_classes, tmp_path):
    image = paint_classes("water", "sand", "veg")
    image[:20, :30] = 0
    profile = {"driver": "GTiff", "height": 48, "width": 96, "count": 3, "dtype": "uint8", "nodata": 0}
    profile |= {"crs": "EPSG:32611", "transform": from_origin(500_000, 4_000_000, 0.5, 0.5)}
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(image.transpose(2, 0, 1))
    found = hs.segment(tmp_path / "a.tif", model)
    assert (found.labels[:20, :30] == VOID).all() and np.isnan(found.confidence[:20, :30]).all()
    with quiet_rasterio(), rasterio.open(found.save(tmp_path / "map.tif")) as file:
        assert file.crs.to_epsg() == 32611 and file.transform.c == 500_000
        assert np.array_equal(file.read(1), found.labels)


def test_many_photos_become_files(model, photo, tmp_path, run):
    done = hs.segment(tmp_path, model.paths[0], out=tmp_path / "out", probabilities=True)
    [image] = done.images
    assert image.written[0] == tmp_path / "out/photo_ares_16.mat"
    assert (tmp_path / "out/photo_ares_16_confidence.tif").exists()
    assert repr(done) == "<BatchResult: 1 image done>" and "photo.png" in done._repr_html_()
    assert read_picture(image).size[0] > 96
    assert (tmp_path / "out/figures/photo_ares_16.png").exists()
    hs.segment(photo, model, out=tmp_path / "bare", figures=None)
    assert not (tmp_path / "bare/figures").exists()
    again = hs.segment([str(photo)], model, out=str(tmp_path / "out"), probabilities=True, resume=True)
    assert again.skipped == (photo,) and "1 skipped" in repr(again)
    for images in (tmp_path, str(tmp_path / "*.png"), [photo]):
        with pytest.raises(BadUsage, match="say where they go: out=DIR"):
            hs.segment(images, model)
    for array in (hs.read_image(photo), [hs.read_image(photo)]):
        with pytest.raises(BadUsage, match=r"an array has no name: leave out= out, then save"):
            hs.segment(array, model, out=tmp_path / "out")
    for settings in ({"resume": True}, {"figures": None}, {"n_jobs": 2}):
        with pytest.raises(BadUsage, match="are for files"):
            hs.segment(photo, model, **settings)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3, 1), np.uint8), r"not \(4, 4, 3, 1\) of uint8"),
        (np.zeros((3, 48, 96), np.uint8), r"3 x 48 x 96 looks like bands first.*image\.transpose\(1, 2, 0\)"),
        (np.zeros((13, 20, 20), np.uint16), r"looks like bands first"),
        (np.zeros((0, 4, 3), np.uint8), "an image is an array of numbers"),
        (np.full((32, 32, 3), np.nan), "NaN or infinite"),
        ("nowhere.jpg", "there is no file"),
    ],
)
def test_what_is_no_image(model, image, message):
    with pytest.raises(hs.HybridSegError, match=message):
        hs.segment(image, model)


def test_an_array_of_one_band_or_of_floats(model, photo):
    grey = hs.read_image(photo)[..., 0]
    assert hs.segment(grey, model).labels.shape == (48, 96)
    many = np.repeat(hs.read_image(photo), 3, axis=2)
    assert hs.segment(many, model).labels.shape == (48, 96), "of nine bands the first three are seen"
    floats = hs.segment(hs.read_image(photo) / 255, model)
    assert floats.labels.shape == (48, 96) and floats.image.dtype == np.uint8


def test_an_image_that_is_smaller_than_a_tile_is_told(model, photo):
    pixels = hs.read_image(photo)
    found = hs.segment(pixels[:10, :10], model)
    assert found.warnings[0].startswith("the image has 10 x 10 pixels, less than a tile of 16")
    assert repr(found).endswith("; warnings: 1, see .warnings>")
    assert hs.segment(pixels[:16, :16], model).warnings == ()


def read_picture(thing):
    import io

    return Image.open(io.BytesIO(thing._repr_png_()))


CLASSES = hs.ClassTable.from_names(["sand", "veg", "water"])


@pytest.fixture
def photos(paint_classes, tmp_path):
    """Four photos of three classes, each two tiles wide, and their masks in a folder of their own."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for i in range(4):
        image = paint_classes("sand", "veg", "water")
        write_image(tmp_path / f"photos/p{i}.jpg", np.roll(image, 32 * i, axis=1))
        labels = np.roll(np.repeat(np.arange(3, dtype=np.uint8), 32), 32 * i)[None].repeat(48, axis=0)
        hs.write_labelmap(tmp_path / f"masks/p{i}.png", hs.LabelMap(labels, CLASSES))
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.usefixtures("quick_panels")
def test_from_a_folder_to_scores(photos, tiny_module, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    sets = hs.split("photos", masks="masks")
    assert repr(sets) == "<SplitResult: train 2, test 2 in .>" and "<td>train</td><td>2</td>" in sets._repr_html_()
    assert sets.train_masks == sets.train_dir / "masks" and len(list(sets.test_masks.iterdir())) == 2
    tiles = hs.retile(sets.train_dir, tile_size=16)
    assert tiles.tiles_dir == sets.train_dir / "tile_16" and repr(tiles).startswith(
        f"<RetileResult: {len(list(tiles.tiles_dir.rglob('*.jpg')))} tiles of "
    )
    # A script, or the cell of a notebook, that is run again.
    assert hs.split("photos", masks="masks") == sets
    assert hs.retile(sets.train_dir, tile_size=16) == replace(tiles, was_there=True)
    result = hs.retrain(tiles.tiles_dir, tfhub_module=str(tiny_module), input_size=32, how_many_training_steps=50)
    assert result.model_path.resolve() == tmp_path / "model.pb" and (tmp_path / "model_training.png").exists()
    assert "model.pb" in repr(result) and "<table>" in result._repr_html_()
    done = hs.segment(sets.test_dir, result.model_path, out="results")
    scores = hs.evaluate("results", images=sets.test_dir)
    assert len(done.images) == 2
    assert scores.verdict.text in repr(scores)
    assert scores.verdict.text[:15] in scores._repr_html_().replace("&nbsp;", " ")
    assert scores.pooled.accuracy > 0.9
    assert hs.evaluate("results", images=sets.test_dir, ignore="veg").pooled.n_pixels < scores.pooled.n_pixels
    # The commands come to the same.
    words = ("split", "photos", "--masks", "masks", "--out", "theirs"), (
        "retile", "theirs/train", "-t", 16, "--jobs", 1
    ), (
        "retrain", "--image_dir", "theirs/train/tile_16", "--tfhub_module", tiny_module, "--input-size", 32,
        "--how_many_training_steps", 50, "--output_graph", "theirs/model.pb", "--bottleneck_dir", "theirs/bottlenecks",
    )  # fmt: skip
    assert [run(*given).exit_code for given in words] == [0, 0, 0]
    assert (tmp_path / "theirs/model.pb").read_bytes() == (tmp_path / "model.pb").read_bytes()
    # Errors speak Python.
    with pytest.raises(OutputExists, match="give overwrite=True to replace them, or out= for another place"):
        hs.split("photos", masks="masks", seed=5)
    with pytest.raises(BadInput, match="stratify=True"):
        hs.split("photos", masks="masks", labels=CLASSES)
    with pytest.raises(BadUsage, match="truth= needs prediction="):
        hs.evaluate("results", truth="*.png")
    with pytest.raises(BadUsage, match="colors= needs labels="):
        hs.evaluate("results", colors="colors.txt")


@pytest.mark.slow
def test_classes_in_any_form(photos, tmp_path):
    (tmp_path / "labels.txt").write_text("Sand\nVeg\nWater\n")
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(hs.read_labelmap(path).labels).save(path)
    with pytest.raises(hs.HybridSegError, match=r"the class file it was made with: labels='labels\.txt'"):
        hs.retile(photos, masks=tmp_path / "masks", tile_size=16)
    for labels in (tmp_path / "labels.txt", CLASSES, ["Sand", "Veg", "Water"]):
        tiles = hs.retile(photos, masks=tmp_path / "masks", tile_size=16, labels=labels, overwrite=True)
        assert [name.lower() for name in tiles.n_kept] == ["sand", "veg", "water"]


@pytest.mark.slow
def test_figures_as_they_are_wanted(photos, tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copy(tmp_path / "masks/p0.png", tmp_path / "results/p0_predseg.png")
    svg = hs.FigureOptions(figure_format="svg")
    for panels, n in (("none", 0), ("all", 1)):
        hs.evaluate(tmp_path / "results", masks=tmp_path / "masks", images=photos, panels=panels, figures=svg)
        assert len(list((tmp_path / "results/figures").glob("*_errors.svg"))) == n
        assert (tmp_path / "results/eval_pixels_confusion.svg").exists()


def test_masks_become_label_maps(photos, tmp_path):
    done = hs.convert(tmp_path / "masks", photos=photos, labels=["Water", "Sand", "Veg"], to="mat")
    assert done.out_dir == tmp_path / "masks_mat" and len(list(done.out_dir.iterdir())) == 4
    assert repr(done).startswith("<ConvertResult: 4 label maps written to ") and "masks_mat" in done._repr_html_()
    found = hs.read_labelmap(done.out_dir / "p0_mres.mat")
    assert [found.table.names[found.labels[0, col]] for col in (0, 40, 95)] == ["Sand", "Veg", "Water"]
    again = hs.convert(tmp_path / "masks", photos=photos, labels=["Water", "Sand", "Veg"], to="mat")
    assert repr(again) == repr(done).replace("4 label", "0 label").replace(">", ", 4 were there already>")
    with pytest.raises(BadInput, match=r"give threshold= or nearest_color=True"):
        hs.convert(tmp_path / "masks", photos=photos, threshold=9, nearest_color=True)


@pytest.mark.slow
def test_tiles_are_scored_and_the_crf_tuned(photos, tiny_model, tile_dir, tmp_path, run):
    model = shutil.copytree(tiny_model.parent, tmp_path / "model") / "model.pb"
    pdf = hs.FigureOptions(figure_format="pdf")
    scores = hs.evaluate_tiles(tile_dir, model, n_per_class=4, out=tmp_path / "scores", figures=pdf)
    assert len(list((tmp_path / "scores").glob("*.pdf"))) == 2
    assert repr(scores).startswith(f"<TilesResult: 12 tiles, accuracy {scores.confusion.accuracy:.3f}>\n")
    assert scores.verdict.text[:15] in scores._repr_html_().replace("&nbsp;", " ")
    assert run("eval-tiles", tile_dir, "--model", model, "-n", 4, "--out", tmp_path / "theirs").exit_code == 0
    name = "eval_tiles.json"
    assert (tmp_path / "scores" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    tuned = hs.tune_crf(photos, hs.open_model(model), masks=tmp_path / "masks", n_trials=1)
    assert tuned.path == model.with_name("model_crf.json") and "(the tiles alone" in repr(tuned)
    assert f"{tuned.best.score('iou'):.3f}" in tuned._repr_html_()
    record = tuned.path.read_bytes()
    assert read_tuning([model]) == hs.open_model(model).make_job().options
    words = ("--images", photos, "--masks", tmp_path / "masks", "--model", model, "--trials", 1)
    assert run("tune-crf", *words).exit_code == 0 and tuned.path.read_bytes() == record
    with pytest.raises(BadUsage, match=r"is a dense network; give a tile classifier"):
        hs.tune_crf(photos, hs.Model((tmp_path / "net.h5",)))
    with pytest.raises(BadInput, match="n_per_class=0 draws no tile"):
        hs.evaluate_tiles(tile_dir, model, n_per_class=0)


def test_a_study_is_checked_first(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    checked = hs.run("photos", masks="masks", tile_size=16, dry_run=True)
    assert repr(checked) == f"<StudyResult: {len(checked.steps)} steps, only checked>" and checked.verdict is None
    told = capsys.readouterr().out
    assert "checked 4 photos" in told and "hybridseg retile photos_run/train --masks photos_run/train/masks" in told
    hs.run("photos", masks="masks", tile_size=16, dry_run=True, quiet=True)
    assert capsys.readouterr().out == "" and set(tmp_path.rglob("*")) == before
    with pytest.raises(hs.HybridSegError, match="no JPEG, PNG or TIFF images"):
        hs.run(tmp_path)
    hs.run("photos", masks="masks", labels=["sand", "veg", "water"], tile_size=16, dry_run=True)
    assert "--labels photos_run/labeldefs.txt " in capsys.readouterr().out and set(tmp_path.rglob("*")) == before
    # As after a split: the masks need not be named again.
    (tmp_path / "masks").rename(tmp_path / "photos/gt")
    (tmp_path / "split.csv").write_text("set,masks_dir\nphotos,gt\n")
    hs.run("photos", tile_size=16, dry_run=True)
    assert "hybridseg split --images photos --masks photos/gt " in capsys.readouterr().out


def test_a_study_takes_the_names_of_photos_for_testing(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {"masks": "masks", "tile_size": 16, "test_list": ["p1", "p3.jpg"]}
    hs.run("photos", **settings, dry_run=True)
    assert "--test photos_run/test.txt" in capsys.readouterr().out and not (tmp_path / "photos_run").exists()

    def stop(console, words):
        raise BadInput(f"stopped at {words[0]}")

    monkeypatch.setattr("hybridseg.api.train.run_command", stop)
    with pytest.raises(BadInput, match="stopped at split"):
        hs.run("photos", **settings)
    assert (tmp_path / "photos_run/test.txt").read_text() == "p1.jpg\np3.jpg\n"
    with pytest.raises(BadInput, match=r"the list \(test_list=\) has names of images that are not there.*: p9"):
        hs.run("photos", masks="masks", test_list=["p9"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoder")
def test_a_dense_network(photos, tmp_path, run):
    out = tmp_path / "runs/one"
    result = hs.train_fcn(photos, masks=tmp_path / "masks", out=out, epochs=1, size=(32, 64))
    assert repr(result).startswith(f"<TrainingResult: {out / 'model.h5'}, trained on 3 images, accuracy")
    model = hs.open_model(out)
    assert "dense network" in repr(model) and model.classes.names == CLASSES.names
    photo = photos / "p0.jpg"
    assert result.model_path == out / "model.h5"
    found = hs.segment(photo, out / "model.h5", options=hs.DenseOptions(flips=True))
    words = ("--samples-dir", photo, "--output-dir", tmp_path / "out", "--runs-dir", tmp_path / "runs", "--flips")
    assert run("fcn", "infer", "--name", "one", *words).exit_code == 0
    theirs = tmp_path / f"out/{photo.stem}_predseg.png"
    assert np.array_equal(found.labels, hs.read_labelmap(theirs).labels) and found.made_by == read_made_by(theirs)
    with pytest.raises(BadUsage, match="are for tile classifiers"):
        hs.segment(photos, model, out=out, report=True)
    with pytest.raises(BadInput, match="give DenseOptions"):
        hs.segment(photo, model, options=hs.HybridOptions())


@pytest.mark.slow
def test_a_plain_program_prints_nothing_of_tensorflow(tiny_model, photo):
    script = f"import hybridseg as hs; print(hs.segment({str(photo)!r}, {str(tiny_model)!r}).shares)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == "" and "water" in done.stdout
