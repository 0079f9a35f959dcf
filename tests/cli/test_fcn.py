import csv
import json
import shutil
import warnings

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image
from rasterio.transform import from_origin

from hybridseg.batch.jobs import load_once
from hybridseg.classes import color_labels, hex_color
from hybridseg.cli.main import main
from hybridseg.dense.smoothing import FCN_SMOOTHING, smooth_probs
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.majority import filter_majority
from hybridseg.models.bundles import load_dense, save_dense
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.fcn import Fcn8s

# They share a training.
pytestmark = pytest.mark.slow

STEMS = [f"scene_{i:02}" for i in range(4)]


def invoke(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def train(folder, *more, name="coast"):
    words = ("--name", name, "--data-source", "data", "--data-dir", folder / "data", "--runs-dir", folder / "runs")
    return invoke("fcn", "train", *words, *more)


def lay_out(folder, originals):
    """Put scenes and their label maps where the classic program wants them."""
    data = folder / "data"
    samples, labels = data / "samples/RGB/train/data", data / "labels/gtFine/train/data"
    for place in (samples, labels):
        place.mkdir(parents=True)
    for stem in STEMS:
        shutil.copy(originals / f"{stem}.jpg", samples)
        shutil.copy(originals / f"{stem}_mres.mat", labels)
    table = read_labelmap(labels / f"{STEMS[0]}_mres.mat").table
    write_class_files(table, labeldefs_path=data / "labeldefs.txt")
    return samples, labels, table


def score_at_random(self, features, name):
    """Scores that start at 0 are of one class after so few epochs, and nothing could be seen in the maps."""
    from tf_keras import layers

    return layers.Conv2D(self.n_outputs, 1, name=name)(features)


@pytest.fixture(scope="module", autouse=True)
def _small(make_small_encoder):
    """Networks that are built in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "mobilenet_v2", make_small_encoder())
        patch.setattr(Fcn8s, "_score", score_at_random)
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, _coast_originals):
    """Four scenes of 64 x 96, painted and trained on for two epochs: the folder, its classes, and what was printed."""
    folder = tmp_path_factory.mktemp("fcn")
    _, labels, table = lay_out(folder, _coast_originals)
    made = invoke("fcn", "make-labels", labels, "--labeldefs", folder / "data/labeldefs.txt", "--radius", 2)
    fast = ("--epochs", 2, "--batch-size", 3, "--checkpoint-interval", 1, "--learning-rate", 0.001)
    trained = train(folder, *fast, "--tensorboard-dir", folder / "tb")
    return folder, table, made, trained


def infer(folder, out, *more, names=("coast",), samples=None):
    words = [word for name in names for word in ("--name", name)]
    samples = samples or folder / "data/samples/RGB/train/data"
    given = ("--runs-dir", folder / "runs", "--samples-dir", samples, "--output-dir", out)
    return invoke("fcn", "infer", *words, *given, *more)


def read_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def scene_of(folder, stem):
    # Two programs unpack a JPEG in two ways.
    return read_image(folder / f"data/samples/RGB/train/data/{stem}.jpg")


def predict(path, image):
    """The prediction for an image of the size that the network was trained at."""
    return load_once(load_dense, path).predict(image[None].astype(np.float32) / 255)[0]


def write_tiff(path, image, **more):
    more |= dict(zip(("height", "width", "count"), image.shape, strict=True))
    with warnings.catch_warnings(action="ignore"), rasterio.open(path, "w", dtype=image.dtype, **more) as file:
        file.write(image.transpose(2, 0, 1))


def test_painted_label_maps(project):
    folder, table, made, _ = project
    labels_dir = folder / "data/labels/gtFine/train/data"
    assert made.exit_code == 0 and made.stdout.count("wrote ") == 4
    for stem in STEMS:
        labels = read_labelmap(labels_dir / f"{stem}_mres.mat").labels
        painted = color_labels(filter_majority(labels, radius=2), table)
        assert np.array_equal(read_picture(labels_dir / f"{stem}_gtFine_color.png"), painted)
    again = invoke("fcn", "make-labels", labels_dir, "--labeldefs", folder / "data/labeldefs.txt")
    assert again.exit_code == 0 and "left alone (--overwrite): 4 pictures" in again.stdout


def test_what_a_training_prints_and_leaves(project):
    folder, table, _, trained = project
    assert trained.exit_code == 0, trained.output
    assert "random weights of a small encoder" in trained.stdout
    assert "Measured on one photo: too few to rely on.\nNext: " in trained.stdout
    assert "trained on 3 images, validated on 1" in trained.stdout and trained.stdout.count("epoch   ") == 2
    run_dir = folder / "runs/coast"
    plots = ("train_sample_batch", "val_sample_batch", "learning_rate", "training", "examples")
    for name in ("model.h5", "model.card.json", *(f"model_{plot}.png" for plot in plots)):
        assert (run_dir / name).stat().st_size > 1000 and f"wrote {run_dir / name}" in trained.stdout
    with (run_dir / "log.csv").open(newline="") as file:
        assert [float(row["rate"]) for row in csv.DictReader(file)] == pytest.approx([1e-4, 5.5e-4])
    card = load_dense(run_dir / "model.h5").card
    assert card.table == table and card.size == (64, 96), "the size of the first image, in multiples of 32"
    assert (card.normalization.kind, card.normalization.scale) == ("unit", 255)
    assert list((folder / "tb/validation").iterdir())


def test_segmented_images_pixel_by_pixel(project, tmp_path, cut_panel):
    folder, table, _, _ = project
    result = infer(folder, tmp_path)
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("*.png"))) == len(list(tmp_path.glob("figures/*"))) == 4
    assert result.stdout.count("wrote ") == 8
    for stem in STEMS:
        expected = predict(folder / "runs/coast/model.h5", scene_of(folder, stem)).argmax(axis=2)
        found = read_labelmap(tmp_path / f"{stem}_predseg.png")
        assert found.table == table and found.labels.shape == (64, 96) and found.labels.max() < len(table)
        assert (found.labels == expected).mean() > 0.999 and len(np.unique(found.labels)) > 1
        with Image.open(tmp_path / f"{stem}_predseg.png") as picture:
            assert picture.mode == "P"
            colors = np.asarray(picture.convert("RGB"))
        assert np.array_equal(colors, color_labels(found.labels, table))
        composite = cut_panel(tmp_path / f"figures/{stem}_predseg_composite.png", 1, 2, (64, 96)).astype(float)
        assert np.abs(composite - (0.4 * scene_of(folder, stem) + 0.6 * colors))[2:-2, 2:-2].max() < 2
    assert "skipped (--resume): 4" in infer(folder, tmp_path, "--resume").stdout


def test_numbered_checkpoints(project, tmp_path):
    folder, _, _, _ = project
    image = scene_of(folder, STEMS[0])
    one = folder / f"data/samples/RGB/train/data/{STEMS[0]}.jpg"
    found = {}
    for number in (1, 2):
        result = infer(folder, tmp_path / f"{number}", "--checkpoint", number, samples=one)
        assert result.exit_code == 0, result.output
        found[number] = read_labelmap(tmp_path / f"{number}" / f"{STEMS[0]}_predseg.png").labels
        expected = predict(folder / f"runs/coast/checkpoints/CP_epoch{number}.h5", image).argmax(axis=2)
        assert (found[number] == expected).mean() > 0.999
    assert not np.array_equal(found[1], found[2])
    result = infer(folder, tmp_path, "--checkpoint", 7, samples=one)
    assert result.exit_code == 1
    assert (
        "checkpoints/CP_epoch7.h5; there are the checkpoints 1, 2; train it with `hybridseg fcn train" in result.stderr
    )


def test_smoothed_by_the_crf(project, tmp_path):
    folder, _, _, _ = project
    one = folder / f"data/samples/RGB/train/data/{STEMS[1]}.jpg"
    out, other_dir, crf_name = tmp_path / "out", tmp_path / "other", f"{STEMS[1]}_predseg_crf"
    assert infer(folder, out, samples=one).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert infer(folder, out, "--crf", samples=one).exit_code == 0
    assert infer(folder, other_dir, "--crf", "--theta-color", 60, "--seed", 1, samples=one).exit_code == 0
    found = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert sorted(found.keys() - before.keys()) == [f"{crf_name}.png", f"{crf_name}_composite.png"]
    assert all(found[name] == content for name, content in before.items()), "plain results stay"
    for more in ((), ("--crf",)):
        assert "skipped (--resume): 1" in infer(folder, out, "--resume", *more, samples=one).stdout
    # Each is evaluated by itself, and never both together.
    truth = one.with_name(f"{STEMS[1]}.jpg").parents[4] / f"labels/gtFine/train/data/{STEMS[1]}_mres.mat"
    shutil.copy(truth, out)
    for pattern, exit_code in (("*_predseg.png", 0), (f"{crf_name}.png", 0), ("*_predseg*.png", 1)):
        words = ("--truth", "*_mres.mat", "--prediction", pattern, "--out", tmp_path / "scores")
        assert invoke("eval-pixels", out, *words).exit_code == exit_code
        assert len(json.loads((tmp_path / "scores/eval_pixels.json").read_text())["pairs"]) == 1
    plain, crf, other = (
        read_labelmap(path).labels
        for path in (out / f"{STEMS[1]}_predseg.png", out / f"{crf_name}.png", other_dir / f"{crf_name}.png")
    )
    image = scene_of(folder, STEMS[1])
    expected = smooth_probs(image, predict(folder / "runs/coast/model.h5", image), options=FCN_SMOOTHING)
    assert (crf == expected).mean() > 0.99 and not np.array_equal(crf, plain) and not np.array_equal(crf, other)
    borders = [np.count_nonzero(np.diff(labels.astype(int), axis=1)) for labels in (crf, plain)]
    assert borders[0] < borders[1]


def test_a_geotiff_stays_in_its_place(project, tmp_path):
    folder, table, _, _ = project
    image, place = np.tile(scene_of(folder, STEMS[2]), (2, 1, 1))[:100], from_origin(4e5, 4e6, 0.5, 0.5)
    write_tiff(tmp_path / "map.tif", image, crs="EPSG:25832", transform=place)
    result = infer(folder, tmp_path / "out", "--probabilities", samples=tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "figures", "map_predseg.png", "map_predseg.qml", "map_predseg.tif", "map_predseg.tif.aux.xml",
        "map_predseg_confidence.tif", "map_predseg_entropy.tif",
    ]  # fmt: skip
    for name in ("map_predseg.tif", "map_predseg_confidence.tif"):
        with rasterio.open(tmp_path / "out" / name) as file:
            assert file.crs.to_epsg() == 25832 and file.transform == place and file.shape == (100, 96)
    found = [read_labelmap(tmp_path / "out" / name) for name in ("map_predseg.png", "map_predseg.tif")]
    assert np.array_equal(found[0].labels, found[1].labels) and found[0].labels.max() < len(table)


def test_several_networks_vote(project, tmp_path):
    folder, _, _, _ = project
    first = load_dense(folder / "runs/coast/model.h5")
    layer = first.network.get_layer("score32")
    kernel, bias = layer.get_weights()
    layer.set_weights([-kernel, bias + np.linspace(-0.2, 0.2, len(bias))])
    save_dense(folder / "runs/other/model.h5", first.network, first.card)
    one = folder / f"data/samples/RGB/train/data/{STEMS[0]}.jpg"
    result = infer(folder, tmp_path, names=("coast", "other"), samples=one)
    assert result.exit_code == 0, result.output
    both = [predict(folder / f"runs/{name}/model.h5", scene_of(folder, STEMS[0])) for name in ("coast", "other")]
    found = read_labelmap(tmp_path / f"{STEMS[0]}_predseg.png").labels
    assert (found == (both[0] + both[1]).argmax(axis=2)).mean() > 0.999
    assert all((found != probs.argmax(axis=2)).any() for probs in both)


def test_what_is_not_there(project, tmp_path):
    folder, _, _, _ = project
    result = infer(folder, tmp_path / "out", names=("none",))
    assert (
        result.exit_code == 1 and "none/model.h5; train it with `hybridseg fcn train --name none ...`" in result.stderr
    )
    (tmp_path / "empty").mkdir()
    result = infer(folder, tmp_path / "out", samples=tmp_path / "empty")
    assert result.exit_code == 1 and f"{tmp_path}/empty matches no image" in result.stderr
    assert not (tmp_path / "out").exists()
    # A run that was stopped has checkpoints and no result yet; other files do not matter.
    shutil.copytree(folder / "runs/coast", tmp_path / "runs/half")
    for path in (tmp_path / "runs/half").glob("model*"):
        path.unlink()
    (tmp_path / "runs/half/epoch_final.h5").touch()
    shutil.copytree(folder / "data/samples", tmp_path / "data/samples")
    result = infer(tmp_path, tmp_path / "out", names=("half",))
    assert result.exit_code == 1
    assert "half is not finished; there are the checkpoints 1, 2; continue it" in result.stderr


def test_a_run_that_is_there_is_kept(project):
    folder = project[0]
    before = (folder / "runs/coast/model.h5").read_bytes()
    result = train(folder, "--epochs", 1)
    assert result.exit_code == 1 and "--resume continues" in result.stderr and "--overwrite" in result.stderr
    result = train(folder, "--epochs", 3, "--resume", "--batch-size", 2)
    assert result.exit_code == 1 and "holds a run with other settings (batch_size=" in result.stderr
    assert (folder / "runs/coast/model.h5").read_bytes() == before


@pytest.mark.parametrize(("words", "message"), [
    (["--size", "60x96"], "--size=60x96: give ROWSxCOLS, each a whole number of 32 or more, a multiple of 32"),
    (["--learning-rate", 0], "--learning-rate=0.0: give a number above 0 and below 1"),
    (["--epochs", 0], "epochs=0: give a whole number of 1 or more"), (["--batch-size", 0], "--batch-size=0: give"),
    (["--labeldefs", "none.txt"], "there is no file none.txt"),
])  # fmt: skip
def test_what_cannot_be_trained(project, words, message):
    result = train(project[0], "--epochs", 1, *words, name="refused")
    assert result.exit_code == 1 and message in result.stderr, result.output
    assert not list((project[0] / "runs/refused").glob("*.*")), "and nothing is left"


def test_masks_in_any_form_beside_the_classic_folders(project, tmp_path):
    folder, table, _, _ = project
    samples, labels_dir = folder / "data/samples/RGB/train/data", folder / "data/labels/gtFine/train/data"
    truth = [read_labelmap(labels_dir / f"{stem}_mres.mat") for stem in STEMS]
    (tmp_path / "masks").mkdir()
    Image.fromarray(truth[0].labels).save(tmp_path / f"masks/{STEMS[0]}.png")
    write_image(tmp_path / f"masks/{STEMS[1]}_gt.png", color_labels(truth[1].labels, table))
    write_tiff(tmp_path / f"masks/{STEMS[2]}_mask.tif", truth[2].labels[..., None])
    shutil.copy(labels_dir / f"{STEMS[3]}_mres.mat", tmp_path / "masks")
    (tmp_path / "labels.txt").write_text("\n".join(table.names))
    (tmp_path / "colors.txt").write_text("\n".join(map(hex_color, table.colors)))
    given = ("--name", "any", "--images", samples, "--masks", tmp_path / "masks", "--runs-dir", tmp_path / "runs")
    classes = ("--labels", tmp_path / "labels.txt", "--colors", tmp_path / "colors.txt")
    result = invoke("fcn", "train", *given, *classes, "--epochs", 1)
    assert result.exit_code == 0 and "trained on 3 images, validated on 1" in result.stdout, result.output
    assert load_dense(tmp_path / "runs/any/model.h5").card.table == table
    words = ("--samples-dir", samples, "--output-dir", tmp_path / "out", "--data-source", "data")
    result = invoke("fcn", "infer", "--name", "any", "--runs-dir", tmp_path / "runs", *words)
    assert result.exit_code == 0, result.output
    assert read_labelmap(tmp_path / f"out/{STEMS[0]}_predseg.png").table.names == table.names


@pytest.mark.parametrize(("words", "message"), [
    ([], "give either --images with --masks, or --data-dir with --data-source"),
    (["--images", "i", "--data-dir", "d", "--data-source", "s"], "give either --images with --masks"),
    (["--data-dir", "d"], "give either"), (["--masks", "m", "--data-dir", "d", "--data-source", "s"], "give either"),
    (["--images", "i", "--labels", "l", "--labeldefs", "l"], "--labels and --labeldefs both name the classes"),
])  # fmt: skip
def test_what_to_train_on_must_be_clear(words, message):
    result = invoke("fcn", "train", "--name", "x", *words)
    assert result.exit_code == 2 and message in result.stderr


def test_images_of_other_bands(project, tmp_path):
    folder, _, _, _ = project
    write_image(tmp_path / "s/scene.png", scene_of(folder, STEMS[0]))
    four = np.full((64, 96, 4), 9, np.uint8)
    write_tiff(tmp_path / "s/four.tif", four, photometric="MINISBLACK")
    result = infer(folder, tmp_path / "out", samples=tmp_path / "s")
    assert result.exit_code == 1 and "four.tif: the image has 4 bands, and model.h5 takes 3" in result.stderr
    assert (tmp_path / "out/scene_predseg.png").exists(), "the others are done"
    shutil.copytree(folder / "data", tmp_path / "data")
    samples = tmp_path / "data/samples/RGB/train/data"
    for stem in STEMS:
        (samples / f"{stem}.jpg").unlink()
        write_tiff(samples / f"{stem}.tif", four, photometric="MINISBLACK")
    assert train(tmp_path, "--epochs", 1).exit_code == 0, "a backbone takes more bands than red, green and blue"
    assert load_dense(tmp_path / "runs/coast/model.h5").card.architecture.n_bands == 4
