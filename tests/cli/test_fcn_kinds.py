"""FCN-8s on other backbones, other images and a validation set of its own: each is a training."""

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest
import rasterio

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models import mobilenet, vgg16
from hybridseg.models.bundles import load_dense

# Layers of every kind of the two encoders, but few channels.
BLOCKS = ((4, 2), (5, 2), (6, 3), (7, 3), (8, 3))
STAGES = ((1, 6, 1, 2), (6, 8, 1, 2), (6, 8, 1, 2), (6, 10, 1, 2))


@pytest.fixture
def data(tmp_path):
    """Three photographs of 32 x 64 whose right half is sand, two for training and one for validation, as pictures."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/labeldefs.txt").write_text("water, 0, 0, 255\nsand, 255, 255, 0\n")
    painted = np.zeros((32, 64, 3), np.uint8)
    painted[:, :32], painted[:, 32:] = (0, 0, 255), (255, 255, 0)
    for part, stems in (("train", "ab"), ("val", "c")):
        for stem in stems:
            write_image(tmp_path / f"data/labels/gtFine/{part}/data/{stem}_gtFine_color.png", painted)
    return tmp_path


def write_tiff(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = dict(zip(("height", "width", "count"), image.shape, strict=True))
    shape |= {"dtype": image.dtype, "photometric": "MINISBLACK"}
    # It has no place on Earth.
    with warnings.catch_warnings(action="ignore"), rasterio.open(path, "w", **shape) as file:
        file.write(image.transpose(2, 0, 1))


def add_samples(data, n_bands, dtype):
    for part, stems in (("train", "ab"), ("val", "c")):
        for stem in stems:
            image = np.random.default_rng(ord(stem)).integers(0, 90, (32, 64, n_bands)).astype(dtype)
            image[:, 32:] += 120
            image *= 257 if dtype == np.uint16 else 1
            write_tiff(data / f"data/samples/RGB/{part}/data/{stem}.tif", image)


def train(run, data, *more):
    words = ("--name", "n", "--data-source", "data", "--data-dir", data / "data", "--runs-dir", data / "runs")
    return run("fcn", "train", *words, "--epochs", 1, *more)


def infer(run, data, out="out"):
    samples = ("--samples-dir", data / "data/samples/RGB/val/data", "--output-dir", data / out)
    return run("fcn", "infer", "--name", "n", "--runs-dir", data / "runs", *samples)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Encoders that are built in no time; the weights of the package do not fit one of them."""
    monkeypatch.setattr(vgg16, "_BLOCKS", BLOCKS)
    monkeypatch.setattr(mobilenet, "STAGES", STAGES)
    monkeypatch.setattr(mobilenet, "assign_weights", lambda network, weights: None)


@pytest.mark.slow
def test_grey_images_of_16_bits_and_a_validation_set(run, data):
    add_samples(data, 1, np.uint16)
    result = train(run, data)
    assert "MobileNetV2 with the ImageNet weights that come with the package" in result.stdout
    assert result.exit_code == 0 and "trained on 2 images, validated on 1" in result.stdout, result.output
    card = json.loads((data / "runs/n/model.card.json").read_text())
    assert card["architecture"]["n_bands"] == 1 and card["normalization"]["kind"] == "photo"
    assert card["scores"]["n_pixels"] == 32 * 64 and card["training"]["n_pairs"] == 2
    result = infer(run, data)
    assert result.exit_code == 0, result.output
    found = read_labelmap(data / "out/c_predseg.png")
    assert found.labels.shape == (32, 64) and found.table.names == ("water", "sand") and found.labels.max() <= 1
    # The same picture with another exposure is the same to the network.
    samples = data / "data/samples/RGB/val/data"
    image = np.random.default_rng(ord("c")).integers(0, 90, (32, 64, 1)).astype(np.uint16)
    image[:, 32:] += 120
    write_tiff(samples / "c.tif", image * 60 + 500)
    assert infer(run, data, "bright").exit_code == 0
    assert (read_labelmap(data / "bright/c_predseg.png").labels == found.labels).mean() > 0.99


def test_one_photograph_in_both_sets(run, data):
    add_samples(data, 3, np.uint8)
    for folder in ("samples/RGB", "labels/gtFine"):
        for path in (data / f"data/{folder}/train/data").glob("a*"):
            shutil.copy(path, data / f"data/{folder}/val/data")
    result = train(run, data)
    assert result.exit_code == 1 and "a are in the training set and in the validation set" in result.stderr
    assert not list((data / "runs").rglob("*.*"))


def write_vgg(path, *, n_blocks=5):
    """Weights as Keras names them, each layer of a value of its own."""
    n_in, number = 4, 0
    with h5py.File(path, "w") as file:
        for block, (channels, n_layers) in enumerate(BLOCKS[:n_blocks], 1):
            for layer in range(1, n_layers + 1):
                name, number = f"block{block}_conv{layer}", number + 1
                group = file.create_group(f"{name}/{name}")
                kernel = np.full((3, 3, n_in, channels), number * 1e-4, np.float32)
                group.create_dataset("kernel:0", data=kernel)
                group.create_dataset("bias:0", data=np.full(channels, number, np.float32))
                n_in = channels


@pytest.mark.slow
def test_vgg16_with_four_bands_starts_from_the_weights_that_are_given(run, data):
    add_samples(data, 4, np.uint8)
    vgg = ("--backbone", "vgg16", "--wide-channels", 4, "--learning-rate", 1e-9)
    write_vgg(data / "part.h5", n_blocks=3)
    result = train(run, data, *vgg, "--weights", data / "part.h5")
    assert result.exit_code == 1 and "part.h5: there is no layer block4_conv1 of shape (3, 3, 6, 7)" in result.stderr
    result = train(run, data, *vgg, "--weights", data / "none.h5")
    assert result.exit_code == 1 and "there are no weights" in result.stderr
    write_vgg(data / "vgg.h5")
    result = train(run, data, *vgg, "--weights", data / "vgg.h5")
    assert result.exit_code == 0 and "VGG-16 with 13 layers from vgg.h5" in result.stdout, result.output
    network = load_dense(data / "runs/n/model.h5").network
    # It was trained with a learning rate of next to nothing.
    for number, name in ((1, "block1_conv1"), (7, "block3_conv3"), (13, "block5_conv3")):
        kernel, bias = network.get_layer(name).get_weights()
        assert np.allclose(kernel, number * 1e-4, atol=1e-6) and np.allclose(bias, number, atol=1e-4)
    assert network.get_layer("fc1").get_weights()[0].shape == (7, 7, 8, 4)
