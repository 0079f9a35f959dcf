import csv
import json
import shutil

import h5py
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image
from rasterio.transform import from_origin

from hybridseg.batch.jobs import load_once
from hybridseg.classes import ClassTable
from hybridseg.cli.main import main
from hybridseg.confusion import count_confusion
from hybridseg.crf.refine import refine_probs
from hybridseg.dense.smoothing import PROBS_SMOOTHING
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.majority import filter_majority
from hybridseg.models import resunet
from hybridseg.models.bundles import load_dense
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.resunet import ResUnet
from hybridseg.models.unet import Unet

# They share a training.
pytestmark = pytest.mark.slow

SIZE = (32, 64)
# JPEG keeps brightness well, and the colours of noise badly.
PLACE = from_origin(5e5, 5e6, 2, 2)
COAST = ClassTable(("null", "water", "sand"), ((0, 0, 0), (20, 60, 200), (240, 220, 120)))
BINARY = {
    "TARGET_SIZE": list(SIZE), "NCLASSES": 1, "N_DATA_BANDS": 3, "USEMASK": True, "MAX_EPOCHS": 2, "AUG_COPIES": 2,
    "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.25, "BATCH_SIZE": 4,
}  # fmt: skip
# Every key of the training and of the result is another one here.
OTHER = {
    "TARGET_SIZE": list(SIZE), "NCLASSES": 2, "N_DATA_BANDS": 4, "MAX_EPOCHS": 3, "AUG_COPIES": 2, "PATIENCE": 3,
    "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.5, "BATCH_SIZE": 2, "DOPLOT": False,
    "RAMPUP_EPOCHS": 1, "SUSTAIN_EPOCHS": 1, "EXP_DECAY": 0.5, "START_LR": 1e-4, "MIN_LR": 1e-5, "MAX_LR": 4e-3,
    "KERNEL_SIZE": [3, 5], "ROOT_STRING": "coast",
}  # fmt: skip


def invoke(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_config(path, record):
    path.write_text(json.dumps(record))
    return path


def paint(number, *, n_bands=3, rows=SIZE[0]):
    """A photograph that brightens towards the right, where it has another class."""
    image = np.random.default_rng(number).integers(0, 60, (rows, SIZE[1], n_bands)).astype(np.uint8)
    image[:, (border := 20 + 6 * number) :] += 120
    return image, (np.arange(SIZE[1]) >= border).repeat(rows).reshape(SIZE[1], rows).T.astype(np.uint8)


def work(folder, record, *train):
    """Make records and train a network of the fewest filters."""
    # As the published program names it: after the weights.
    config = write_config(folder / "net.json", record)
    records = ("--images", folder / "images", "--labels", folder / "masks", "--out", folder / "records")
    made = invoke("resunet", "make-tfrecords", "--config", config, *records)
    assert made.exit_code == 0, made.output
    words = ("--data", folder / "records", "--weights-out", folder / "net.h5", "--filters", 1, *train)
    return made, invoke("resunet", "train", "--config", config, *words)


@pytest.fixture(scope="module", autouse=True)
def _small():
    """A network of few levels, which is built in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resunet, "_N_LEVELS", 2)
        yield


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """Water or not in photographs of three bands: a folder with everything, and what was printed."""
    folder = tmp_path_factory.mktemp("binary")
    for number in range(4):
        image, labels = paint(number)
        write_image(folder / f"images/p{number}.png", image)
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(labels).save(folder / f"masks/p{number}_mask.png")
    return folder, *work(folder, BINARY, "--tensorboard-dir", folder / "tb")


@pytest.fixture(scope="module")
def coast4(tmp_path_factory):
    """Two classes on images of four bands in their place on Earth; the training was stopped once and resumed."""
    folder = tmp_path_factory.mktemp("coast4")
    for number in range(4):
        image, labels = paint(number, n_bands=4, rows=40)
        (folder / "images").mkdir(exist_ok=True)
        profile = {"driver": "GTiff", "height": 40, "width": SIZE[1], "count": 4, "dtype": "uint8", "crs": "EPSG:32633"}
        # Else the fourth band would be taken for the transparency.
        profile |= {"photometric": "MINISBLACK", "transform": PLACE}
        with rasterio.open(folder / f"images/p{number}.tif", "w", **profile) as file:
            file.write(image.transpose(2, 0, 1))
        labels[:4, :9] = 255
        write_labelmap(folder / f"masks/p{number}_label.png", LabelMap(np.where(labels == 255, 255, labels + 1), COAST))
    import hybridseg.dense.fit as fit

    def stop(*args, **settings):
        if len(args[1]) == 2:
            raise KeyboardInterrupt
        return save(*args, **settings)

    save = fit._Run.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit._Run, "save", stop)
        _, stopped = work(folder, OTHER, "--upsample", "bilinear", "--loss", "combo")
    left = {path.name for path in (folder / "net_run").iterdir()}
    assert not (folder / "net.h5").exists()
    return folder, stopped, left, work(folder, OTHER, "--upsample", "bilinear", "--loss", "combo", "--resume")[1]


def read_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def read_log(folder):
    with (folder / "net_run/log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_a_training_prints_and_leaves(binary):
    folder, made, trained = binary
    assert trained.exit_code == 0, trained.output
    assert json.loads((folder / "net.json").read_text()) == BINARY, "the config has the stem of the weights, and stays"
    assert f"wrote 8 images in 1 shard, and {folder}/records/index.json" in made.stdout
    best = min(read_log(folder), key=lambda row: float(row["val_loss"]))["epoch"]
    assert f"trained on 6 images, validated on 2; best epoch {best} (lowest validation loss), " in trained.stdout
    verdict, next_step = trained.stdout.splitlines()[-2:]
    assert "of the pixels are right; " in verdict and "Measured on one photo: too few to rely on." in verdict
    assert next_step.startswith("Next: ")
    assert trained.stdout.count("epoch   ") == 2 and "foreground" in trained.stdout
    plots = ("train_sample_batch", "val_sample_batch", "learning_rate", "training", "examples", "worst")
    for name in ("net.h5", "net.card.json", "net_by_image.csv", *(f"net_{name}.png" for name in plots)):
        assert f"wrote {folder}/{name}" in trained.stdout and (folder / name).stat().st_size > 90
    assert [row["epoch"] for row in read_log(folder)] == ["1", "2"] and list((folder / "tb/train").iterdir())
    model = load_dense(folder / "net.h5")
    assert model.card.architecture == ResUnet(3, 1, (3, 3), 1) and model.table.names == ("null", "foreground")


def test_on_a_pretrained_encoder(binary, make_small_encoder, monkeypatch, tmp_path):
    folder = binary[0]
    monkeypatch.setitem(ENCODERS, "mobilenet_v2", make_small_encoder())
    config, weights = write_config(tmp_path / "net.json", BINARY), tmp_path / "net.h5"
    words = ("--config", config, "--data", folder / "records", "--weights-out", weights, "--filters", 1)
    trained = invoke("resunet", "train", *words, "--encoder", "mobilenet_v2")
    assert "U-Net on random weights of a small encoder" in trained.stdout
    card = load_dense(weights).card
    assert card.architecture == Unet(3, 1, "mobilenet_v2", "residual", (16, 8, 4, 2))
    assert card.normalization.kind == "unit" and card.training["options"]["encoder_rate"] == 0.1
    given = ("--config", config, "--weights", weights, "--out", tmp_path)
    scored = invoke("resunet", "evaluate", *given, "--data", folder / "records")
    assert f"pixel accuracy {card.scores['accuracy']:.3f}" in scored.stdout, "normalized as in training"
    refused = invoke("resunet", "train", *words, "--encoder-rate", 0.5)
    assert "--encoder-rate is for an encoder, and this is --encoder=none" in refused.stderr


def test_the_same_scores_on_the_records(binary, tmp_path):
    folder, _, trained = binary
    words = ("--config", folder / "net.json", "--weights", folder / "net.h5", "--data", folder / "records")
    result = invoke("resunet", "evaluate", *words, "--out", tmp_path)
    scores = json.loads((tmp_path / "net_scores.json").read_text())
    assert scores == json.loads((folder / "net.card.json").read_text())["scores"]
    assert result.stdout.splitlines()[-2] == scores["verdict"]["text"] == trained.stdout.splitlines()[-2]
    assert f",{scores['image_dice']}," in (tmp_path / "net_scores_by_image.csv").read_text(), "there is one image"
    assert scores["n_pixels"] == 2 * 32 * 64 and f"pixel accuracy {scores['accuracy']:.3f}" in trained.stdout
    assert read_picture(tmp_path / "net_confusion.png").std() > 10
    result = invoke("resunet", "evaluate", *words, "--seed", 5, "--out", tmp_path)
    assert scores == json.loads((tmp_path / "net_scores.json").read_text()), "the card says what was held out"
    (tmp_path / "net_scores_by_image.csv").write_text("mine")
    assert (
        "image.csv is there and was not written by" in invoke("resunet", "evaluate", *words, "--out", tmp_path).stderr
    )


def test_the_same_scores_in_tensorflow_which_needs_no_runtime_graph(binary, tmp_path):
    folder, _, _ = binary
    for name in ("net.h5", "net.card.json"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "net.tflite").write_bytes(b"damaged")
    words = ("resunet", "evaluate", "--config", folder / "net.json", "--weights", tmp_path / "net.h5")
    words += ("--data", folder / "records")
    assert "is not the runtime graph of net.h5" in invoke(*words).stderr
    result = invoke(*words, "--engine", "tensorflow")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "net_scores.json").read_text())
    assert scores == json.loads((folder / "net.card.json").read_text())["scores"]


def test_masks_are_not_remapped_otherwise_than_in_the_training(binary, tmp_path):
    folder, _, _ = binary
    (tmp_path / "other.json").write_text(json.dumps({**BINARY, "REMAP_CLASSES": {"0": 1, "1": 0}}))
    words = ("--weights", folder / "net.h5", "--images", folder / "images", "--masks", folder / "masks")
    result = invoke("resunet", "evaluate", "--config", tmp_path / "other.json", *words, "--out", tmp_path)
    assert result.exit_code == 1 and "was trained with REMAP_CLASSES {} and not {'0': 1, '1': 0}" in result.stderr


def predict(path, image):
    """The prediction, by hand: every band with a mean of 0 and a standard deviation of 1."""
    pixels = image.astype(np.float64)
    pixels = (pixels - pixels.mean((0, 1))) / pixels.std((0, 1))
    return load_once(load_dense, path).predict(pixels[None].astype(np.float32))[0]


def test_segmented_images_pixel_by_pixel(binary, tmp_path, cut_panel):
    folder = binary[0]
    given = ("--config", folder / "net.json", "--weights", folder / "net.h5", "--images", folder / "images")
    result = invoke("resunet", "segment", *given, "--out", tmp_path, "--probabilities")
    assert result.exit_code == 0, result.output
    truths, maps = [], []
    for number in range(4):
        image, truth = paint(number)
        probs = predict(folder / "net.h5", image)
        found = read_labelmap(tmp_path / f"p{number}_predseg.png")
        assert (found.labels == probs.argmax(axis=2)).mean() > 0.999 and found.table.names == ("null", "foreground")
        confidence = read_picture(tmp_path / f"p{number}_predseg_confidence.tif")
        assert np.abs(confidence / 100 - probs.max(axis=2)).max() < 0.011
        tinted = image * 0.4 + np.array(found.table.colors)[found.labels] * 0.6
        composite = cut_panel(tmp_path / f"figures/p{number}_predseg_composite.png", 1, 2, (32, 64))
        assert np.abs(composite - tinted)[2:-2, 2:-2].max() < 2
        truths.append(truth)
        maps.append(found.labels)
    assert not list(tmp_path.glob("*.partial*")) and not (tmp_path / "p0_predseg.tif").exists()
    # Evaluated on the very same: whole images, smoothed as the config says.
    result = invoke("resunet", "evaluate", *given, "--labels", folder / "masks", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "net_scores.json").read_text())
    assert scores["accuracy"] == pytest.approx(np.mean(np.array(truths) == maps)) and scores["n_pixels"] == 4 * 2048
    rates = [np.mean(truth == labels) for truth, labels in zip(truths, maps, strict=True)]
    assert scores["verdict"]["interval"] == pytest.approx([min(rates), max(rates)])
    again = invoke("resunet", "segment", *given, "--out", tmp_path, "--resume")
    assert "skipped (--resume): 4" in again.stdout


def test_keys_of_the_result(binary, tmp_path):
    folder = binary[0]
    found = {}
    for name, keys in {"plain": {}, "median": {"MEDIAN_FILTER_VALUE": 4}, "crf": {"DO_CRF_REFINE": True}}.items():
        config = write_config(tmp_path / f"{name}.json", BINARY | keys)
        given = ("--config", config, "--weights", folder / "net.h5", "--images", folder / "images/p2.png")
        assert invoke("resunet", "segment", *given, "--out", tmp_path / name).exit_code == 0
        found[name] = read_labelmap(tmp_path / name / "p2_predseg.png").labels
    assert np.array_equal(found["median"], filter_majority(found["plain"], radius=4))
    assert not np.array_equal(found["median"], found["plain"])
    image = paint(2)[0]
    refined = refine_probs(image, predict(folder / "net.h5", image), options=PROBS_SMOOTHING.crf).labels
    assert (found["crf"] == refined).mean() > 0.999 and (found["crf"] != found["plain"]).mean() > 0.01


def test_the_crf_is_tried_on_the_images_that_were_held_out(binary, tmp_path):
    folder, _, trained = binary
    words = ("--labels", folder / "masks", "--weights", folder / "net.h5", "--out", tmp_path / "tried.json")
    assert f"hybridseg resunet init-config --images IMAGES --masks MASKS --weights {folder}/net.h5" in trained.stdout
    result = invoke("resunet", "init-config", folder / "images", *words)
    assert result.exit_code == 0, result.output
    [stem] = json.loads((folder / "net.card.json").read_text())["training"]["held_out"]
    image, truth = paint(int(stem[1:]))
    probs = predict(folder / "net.h5", image)
    maps = probs.argmax(axis=2), refine_probs(image, probs, options=PROBS_SMOOTHING.crf).labels
    scores = [count_confusion(truth, labels.astype(np.uint8), ClassTable.from_names("ab")) for labels in maps]
    figures = [f"accuracy {c.accuracy:.3f} and mean IoU {c.macro('iou'):.3f}" for c in scores]
    helps = scores[1].macro("iou") > scores[0].macro("iou")
    reason = f"On 1 image that the network was not trained on: {figures[0]} without, {figures[1]} with it."
    assert f"DO_CRF_REFINE = {json.dumps(helps)}: {reason}" in result.stdout
    # The config is one for this network.
    record = json.loads((tmp_path / "tried.json").read_text())
    assert record["DO_CRF_REFINE"] is helps and record["TARGET_SIZE"] == list(SIZE)
    given = ("--config", tmp_path / "tried.json", "--weights", folder / "net.h5", "--images", folder / "images/p0.png")
    assert invoke("resunet", "segment", *given, "--out", tmp_path).exit_code == 0


def test_nothing_but_images_that_were_held_out_decides_on_the_crf(binary, tmp_path):
    folder = binary[0]
    for part, ending in (("images", ""), ("masks", "_mask")):
        (tmp_path / part).mkdir()
        shutil.copy(folder / f"{part}/p0{ending}.png", tmp_path / part / f"another{ending}.png")
    words = ("--labels", tmp_path / "masks", "--weights", folder / "net.h5", "--out", tmp_path / "tried.json")
    result = invoke("resunet", "init-config", tmp_path / "images", *words)
    assert result.exit_code == 1 and "none of the images in" in result.stderr and "not trained on" in result.stderr
    assert not (tmp_path / "tried.json").exists()
    result = invoke("resunet", "init-config", tmp_path / "images", *words[2:])
    assert result.exit_code == 1 and "images has no mask of the images to try" in result.stderr


def test_class_names_are_kept_from_a_list_to_the_results(binary, tmp_path):
    """`--labels` is the class list when it is a file; the masks of this folder name nothing."""
    folder = binary[0]
    (tmp_path / "labels.txt").write_text("dry land\nwater\n")
    config = write_config(tmp_path / "water.json", BINARY | {"MAX_EPOCHS": 1, "DOPLOT": False})
    given = ("--images", folder / "images", "--masks", folder / "masks", "--labels", tmp_path / "labels.txt")
    made = invoke("resunet", "make-tfrecords", "--config", config, *given, "--out", tmp_path / "records")
    assert made.exit_code == 0, made.output
    weights = tmp_path / "water.h5"
    words = ("--data", tmp_path / "records", "--weights-out", weights, "--filters", 1)
    trained = invoke("resunet", "train", "--config", config, *words)
    assert trained.exit_code == 0 and "dry land  " in trained.stdout, trained.output
    network = ("--config", config, "--weights", weights, "--images", folder / "images")
    assert invoke("resunet", "segment", *network, "--out", tmp_path).exit_code == 0
    found = [read_labelmap(tmp_path / f"p{number}_predseg.png") for number in range(4)]
    assert {labelmap.table.names for labelmap in found} == {("dry land", "water")}
    # A list in another order: the same ids then have the other names.
    scores = []
    for names in ("dry land\nwater\n", "water\ndry land\n"):
        (tmp_path / "labels.txt").write_text(names)
        result = invoke("resunet", "evaluate", *network, *given[2:], "--out", tmp_path)
        assert result.exit_code == 0, result.output
        scores.append(json.loads((tmp_path / "water_scores.json").read_text())["accuracy"])
    right = np.mean([(labelmap.labels == paint(number)[1]).mean() for number, labelmap in enumerate(found)])
    assert scores == pytest.approx([right, 1 - right])


def test_the_first_shard_is_called_as_the_help_says(binary):
    text = invoke("resunet", "make-tfrecords", "--help").stdout
    [first] = [path.name for path in (binary[0] / "records").glob("*.tfrec")]
    assert first == "images-0001-of-0001.tfrec" and "DIR/ROOT_STRING-0001-of-NNNN.tfrec" in text


def test_stopped_by_ctrl_c_it_can_resume(coast4):
    folder, stopped, left, resumed = coast4
    assert stopped.exit_code == 130 and "Stopped. Every file that was written is" in stopped.stderr
    assert "--resume" in stopped.stderr and left == {"best.npz", "checkpoint.npz", "log.csv"}
    assert resumed.exit_code == 0, resumed.output
    assert "epoch   1" not in resumed.stdout and "epoch   2" in resumed.stdout and "epoch   3" in resumed.stdout
    assert [row["epoch"] for row in read_log(folder)] == ["1", "2", "3"]


def test_keys_of_the_training(coast4):
    folder, _, _, resumed = coast4
    card = json.loads((folder / "net.card.json").read_text())
    assert card["architecture"]["kernel_size"] == [3, 5] and card["architecture"]["upsample"] == "bilinear"
    with h5py.File(folder / "net.h5") as file:
        shapes = []
        file.visititems(lambda name, item: shapes.append(item.shape[:2]) if getattr(item, "ndim", 0) == 4 else None)
    assert (3, 5) in shapes and (3, 3) not in shapes
    assert card["training"]["batch_size"] == 2 and card["training"]["options"]["loss"]["loss"] == "combo"
    assert "trained on 4 images, validated on 4" in resumed.stdout, "half of them, and copies stay together"
    rates = [float(row["rate"]) for row in read_log(folder)]
    assert rates == pytest.approx([1e-4, 4e-3, 4e-3])
    assert not list(folder.glob("*.png")) and "_training.png" not in resumed.stdout
    assert [c["name"] for c in card["classes"]] == ["null", "water", "sand"] and card["size"] == [32, 64]
    assert [p.name for p in (folder / "records").glob("*.tfrec")] == ["coast-0001-of-0001.tfrec"]


def test_four_bands_in_their_place_on_earth(coast4, tmp_path):
    folder = coast4[0]
    given = ("--config", folder / "net.json", "--weights", folder / "net.h5", "--images", folder / "images")
    result = invoke("resunet", "segment", *given, "--out", tmp_path, "--native", "--flips")
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "p1_predseg.tif") as file:
        assert file.crs.to_epsg() == 32633 and file.transform == PLACE and file.shape == (40, 64)
        labels = file.read(1)
    found = read_labelmap(tmp_path / "p1_predseg.png")
    assert np.array_equal(found.labels, labels) and found.table == COAST and labels.max() <= 2
    write_image(tmp_path / "rgb.png", paint(0)[0])
    result = invoke("resunet", "segment", *given[:4], "--images", tmp_path / "rgb.png")
    assert result.exit_code == 1 and "rgb.png: the image has 3 bands, and net.h5 takes 4" in result.stderr


def test_the_config_of_another_network(binary, coast4, tmp_path):
    config = write_config(tmp_path / "c.json", OTHER | {"TARGET_SIZE": [64, 64]})
    result = invoke("resunet", "segment", "--config", config, "--weights", binary[0] / "net.h5", "--images", tmp_path)
    assert result.exit_code == 1
    images = binary[0] / "images"
    result = invoke("resunet", "segment", "--config", config, "--weights", binary[0] / "net.h5", "--images", images)
    for text in ("TARGET_SIZE (32, 64) and not (64, 64)", "KERNEL_SIZE (3, 3) and not (3, 5)",
                 "N_DATA_BANDS 3 and not 4", "NCLASSES 1 and not 2", "give the config of its training"):  # fmt: skip
        assert text in result.stderr
    words = ("--config", coast4[0] / "net.json", "--data", binary[0] / "records", "--weights-out", tmp_path / "x.h5")
    result = invoke("resunet", "train", *words)
    assert result.exit_code == 1 and "have 2 label ids, but NCLASSES=2 means 3" in result.stderr
    assert not (tmp_path / "x.h5").exists() and not (tmp_path / "x_run").exists()
    config = write_config(tmp_path / "d.json", BINARY | {"TARGET_SIZE": [64, 64]})
    result = invoke("resunet", "train", "--config", config, *words[2:])
    assert result.exit_code == 1 and "are of 32 x 64 pixels, but TARGET_SIZE is [64, 64]" in result.stderr
    result = invoke("resunet", "train", "--config", config, *words[2:4], "--weights-out", tmp_path / "x.pb")
    assert result.exit_code == 2 and "must end in .h5" in result.stderr
