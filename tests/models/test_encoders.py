from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models import mobilenet, vgg16
from hybridseg.models.architectures import architecture_record
from hybridseg.models.encoders import ENCODERS, STRIDES, download_imagenet
from hybridseg.models.fcn import BACKBONES, Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet

KERAS = [f"efficientnet_b{number}" for number in range(8)]


def test_they_are_chosen_by_name():
    assert list(ENCODERS) == list(BACKBONES) == ["mobilenet_v2", "vgg16", *KERAS]
    assert all(encoder.name == name for name, encoder in ENCODERS.items())
    assert Fcn8s(3, 2).encoder is ENCODERS["mobilenet_v2"]
    assert Fcn8s(3, 2, "vgg16").encoder is ENCODERS["vgg16"]


def features_of(name, n_bands=3):
    """A network of an encoder alone: its features, from the first stride to the last."""
    import tf_keras

    pixels = tf_keras.Input((None, None, n_bands))
    features = ENCODERS[name].add_features(pixels)
    assert tuple(features) == STRIDES
    return tf_keras.Model(pixels, list(features.values()))


@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize("name", [
    "vgg16", pytest.param("mobilenet_v2", marks=pytest.mark.slow),
    *(pytest.param(f"efficientnet_b{number}", marks=pytest.mark.slow) for number in range(8)),
])  # fmt: skip
def test_features_of_five_strides(name):
    network = features_of(name)
    found = network.compute_output_shape((1, 64, 96, 3))
    assert [shape[1:3] for shape in found] == [(64 // stride, 96 // stride) for stride in (2, 4, 8, 16, 32)]
    # Of B4 they are those of the published program.
    channels = {"efficientnet_b0": [96, 144, 240, 672, 1280], "efficientnet_b4": [144, 192, 336, 960, 1792]}
    assert [shape[3] for shape in found] == channels.get(name, [shape[3] for shape in found])
    assert ENCODERS[name].find_layers(network)


@pytest.mark.usefixtures("small_encoders")
def test_layers_that_were_fully_connected():
    import tf_keras

    pixels = tf_keras.Input((64, 96, 3))
    assert ENCODERS["vgg16"].add_features(pixels, wide_channels=4)[32].shape[3] == 4
    assert ENCODERS["vgg16"].add_features(pixels)[32].name.startswith("block5_pool")


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize("n_bands", [2, 5])
def test_more_bands_enter_beside_those_of_a_photograph(n_bands):
    """At first only the bands of a photograph count, though the others can be trained, with the encoder or alone."""
    name, shape = "mobilenet_v2", (1, 32, 32, n_bands)
    plain, wide = features_of(name), features_of(name, n_bands)
    for network in (plain, wide):
        ENCODERS[name].load_pretrained(network)
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    colors = pixels[..., :3] if n_bands > 3 else np.stack([*np.moveaxis(pixels, -1, 0), pixels.mean(-1)], -1)
    np.testing.assert_allclose(wide(pixels)[2], plain(colors)[2], rtol=1e-4, atol=1e-4)
    stem = wide.get_layer("bands_to_colors")
    assert stem.trainable and stem not in ENCODERS[name].find_layers(wide)
    if n_bands > 3:
        kernel = stem.get_weights()[0]
        kernel[..., 3:, :] = 1
        stem.set_weights([kernel])
        assert np.abs(wide(pixels)[2] - plain(colors)[2]).max() > 1e-3


@pytest.mark.usefixtures("small_encoders")
def test_vgg_takes_the_weights_of_three_bands_for_more():
    three, five = features_of("vgg16"), features_of("vgg16", 5)
    weights = {f"{layer.name}/{weight.name}": weight.numpy() for layer in three.layers for weight in layer.weights}
    assert vgg16.assign_weights(five, weights) == 13
    kernel = five.get_layer("block1_conv1").get_weights()[0]
    assert (
        np.array_equal(kernel[:, :, :3], weights["block1_conv1/block1_conv1/kernel:0"]) and not kernel[:, :, 3:].any()
    )
    # The bands that it does not know must be learned even where all else stays as it is.
    names = [{layer.name for layer in ENCODERS["vgg16"].find_layers(network)} for network in (three, five)]
    assert names[0] - names[1] == {"block1_conv1"}


@pytest.fixture(scope="module")
def _shallow():
    """EfficientNets of Keras with one block where they have several: they are built in a third of the time."""
    from tf_keras.src.applications import efficientnet

    blocks = [{**block, "repeats": 1} for block in efficientnet.DEFAULT_BLOCKS_ARGS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet, "DEFAULT_BLOCKS_ARGS", blocks)
        yield


@pytest.fixture(scope="module")
def b0(_shallow, tmp_path_factory):
    """EfficientNet-B0 as Keras has it, with random weights: the network, a file of them, and what it says of photos."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    whole = tf_keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 64, 3))
    rng = np.random.default_rng(0)
    for layer in whole.layers:
        if layer.name.endswith("bn"):
            layer.set_weights([rng.uniform(0.5, 1.5, values.shape) for values in layer.get_weights()])
    path = tmp_path_factory.mktemp("b0") / "notop.h5"
    whole.save_weights(path)
    names = ["block3a_expand_activation", "top_activation"]
    features = tf_keras.Model(whole.get_layer("stem_conv_pad").input, [whole.get_layer(n).output for n in names])
    return whole, path, features


@pytest.fixture(scope="module")
def b0_features(_shallow):
    """Ours, which takes seconds to build."""
    return features_of("efficientnet_b0")


@pytest.mark.slow
def test_efficientnet_is_that_of_keras(b0, b0_features):
    _, path, reference = b0
    network = b0_features
    assert ENCODERS["efficientnet_b0"].load_pretrained(network, path) == (
        "EfficientNet-B0 with 58 layers from notop.h5"
    )
    pixels = np.random.default_rng(1).random((1, 32, 64, 3)).astype(np.float32)
    standard = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    found, expected = network(pixels), reference(standard.astype(np.float32))
    np.testing.assert_allclose(found[1], expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[4], expected[1], rtol=1e-3, atol=1e-4)
    # Small batches would spoil the statistics: neither they nor their factors are trained.
    trained = {weight.name for weight in network.trainable_weights}
    assert "stem_conv/kernel:0" in trained and not any("bn" in name for name in trained)


@pytest.mark.slow
def test_weights_of_another_efficientnet_are_refused(b0, b0_features, tmp_path):
    encoder = ENCODERS["efficientnet_b0"]
    other = shutil.copy(b0[1], tmp_path / "b1.h5")
    with h5py.File(other, "a") as file:
        del file["top_conv/top_conv/kernel:0"]
        file.create_dataset("top_conv/top_conv/kernel:0", (1, 1, 320, 1408), "f4")
    message = r"b1.h5: there is no weight top_conv/kernel of shape \(1, 1, 320, 1280\).*EfficientNetB0 from Keras"
    with pytest.raises(BadInput, match=message):
        encoder.load_pretrained(b0_features, other)
    with pytest.raises(MissingInput, match="there are no weights"):
        encoder.load_pretrained(b0_features, tmp_path / "none.h5")


@pytest.mark.slow
def test_weights_of_imagenet_from_keras(b0, monkeypatch):
    """They are what Keras downloads; without a connection the message says what else can be done."""
    import tf_keras

    def download(**settings):
        assert settings == {"include_top": False, "weights": "imagenet"}
        return b0[0]

    monkeypatch.setattr(tf_keras.applications, "EfficientNetB0", download)
    weights = download_imagenet("EfficientNetB0")
    assert np.array_equal(weights["stem_conv/stem_conv/kernel:0"], b0[0].get_layer("stem_conv").get_weights()[0])

    def fail(**settings):
        raise Exception("URL fetch failure on https://... : None -- no route to host")

    monkeypatch.setattr(tf_keras.applications, "VGG16", fail)
    with pytest.raises(
        MissingInput, match=r"VGG16 cannot be downloaded \(URL fetch .* no route.*notop.h5.*random weights"
    ):
        ENCODERS["vgg16"].load_pretrained(None, "imagenet")


def test_random_weights_when_they_are_wanted():
    assert ENCODERS["mobilenet_v2"].load_pretrained(None, "none") == "MobileNetV2 with random weights"
    assert ENCODERS["efficientnet_b3"].load_pretrained(None, "none") == "EfficientNet-B3 with random weights"


@pytest.mark.parametrize("name", ENCODERS)
def test_they_want_photographs(name):
    encoder = ENCODERS[name]
    assert encoder.choose_normalization(np.dtype(np.uint8)) == Normalization("unit", 255.0)
    for dtype in (np.uint16, np.int16, np.float32):
        assert encoder.choose_normalization(np.dtype(dtype)) == Normalization("photo")


@pytest.fixture(scope="module")
def fcn():
    """The architecture that most bundles on disk have, and its network at full size."""
    return Fcn8s(3, 5), Fcn8s(3, 5).build()


@pytest.mark.slow
def test_mobilenet_has_the_weights_of_the_package(fcn):
    architecture, network = fcn
    assert "ImageNet weights that come with the package" in architecture.start(network)
    stored, found = mobilenet.read_weights(), mobilenet.list_weights(network)
    assert stored.keys() == found.keys() and len(stored) > 250
    assert all(np.array_equal(found[name].numpy(), values.astype(np.float32)) for name, values in stored.items())
    with pytest.raises(BadInput, match=r"comes with its weights; leave out the file vgg\.h5"):
        architecture.start(network, Path("vgg.h5"))


# Names and shapes of the weights, as the bundles on disk have them: other ones make these unreadable.
SAVED = {
    Fcn8s(3, 5): (269, "907afe44611d74352b196805cd6acaf4dc11e6b27f17026110b3782ff79508b3"),
    Fcn8s(4, 3, "vgg16", 16): (41, "aeb56c91d58dd967e6baaee8d196365a59dfb0227710b443dae010d776fccf27"),
    ResUnet(2, 3, filters=1): (195, "ec3250c42197623c4ef1645b47fdf4850b526118ac163ba46cdfc5b87d9d3db8"),
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", SAVED, ids=str)
def test_saved_networks_can_still_be_loaded(fcn, architecture):
    import tensorflow as tf

    with tf.Graph().as_default():  # Without values for the weights.
        network = fcn[1] if architecture == fcn[0] else architecture.build()
    weights = [(layer, weight) for layer in network.layers for weight in layer.weights]
    text = "\n".join(f"{layer.name}/{weight.name} {tuple(weight.shape)}" for layer, weight in weights)
    assert (len(weights), hashlib.sha256(text.encode()).hexdigest()) == SAVED[architecture]


def test_cards_name_the_backbone():
    assert architecture_record(Fcn8s(4, 3, "vgg16", 16)) == {
        "name": "fcn8s", "n_bands": 4, "n_outputs": 3, "backbone": "vgg16", "wide_channels": 16,
    }  # fmt: skip


@pytest.mark.slow
def test_mobilenet_learns_a_scene_by_heart(overfit, scene):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    image, labels = scene
    architecture = Fcn8s(n_bands=3, n_outputs=11)
    network = architecture.build()
    architecture.start(network)
    # What the first half knows of photographs is enough; its gradients would take seconds to trace.
    for layer in network.layers:
        layer.trainable = not layer.name.startswith(("mobilenet_stem", "mobilenet_block0", "mobilenet_block1"))
    assert overfit(network, Normalization("unit").apply(image), labels, rate=3e-3, n_steps=120) > 0.95


@pytest.mark.slow
def test_vgg_learns_a_scene_by_heart(overfit, scene, monkeypatch):
    import tf_keras

    # A narrow one, which needs no pretrained weights for this.
    monkeypatch.setattr(vgg16, "_BLOCKS", ((8, 1), (16, 1), (32, 1), (32, 1), (32, 1)))
    tf_keras.utils.set_random_seed(0)
    image, labels = scene
    # Sky, water and land: shapes that scores at an 8th of the size can tell without knowing the place.
    coarse = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2], np.uint8)[labels]
    network = Fcn8s(n_bands=3, n_outputs=3, backbone="vgg16", wide_channels=32).build()
    assert overfit(network, Normalization("unit").apply(image), coarse, rate=1e-3, n_steps=200) > 0.95
