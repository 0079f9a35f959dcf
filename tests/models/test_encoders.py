from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models import mobilenet, vgg16
from hybridseg.models.architectures import architecture_record
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.fcn import BACKBONES, Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet


def test_they_are_chosen_by_name():
    assert list(ENCODERS) == list(BACKBONES) == ["mobilenet_v2", "vgg16"]
    assert all(encoder.name == name for name, encoder in ENCODERS.items())
    assert Fcn8s(3, 2).encoder is ENCODERS["mobilenet_v2"]
    assert Fcn8s(3, 2, "vgg16").encoder is ENCODERS["vgg16"]


@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize("name", ENCODERS)
def test_features_of_every_stride(name):
    import tf_keras

    pixels = tf_keras.Input((64, 96, 3))
    features = ENCODERS[name].add_features(pixels, wide_channels=4)
    assert {8, 16, 32} <= features.keys()
    for stride, tensor in features.items():
        assert tuple(tensor.shape[1:3]) == (64 // stride, 96 // stride)
    assert features[32].shape[3] == {"mobilenet_v2": 1280, "vgg16": 4}[name]


def test_bands_that_an_encoder_takes():
    for n_bands in (1, 3):
        ENCODERS["mobilenet_v2"].check_bands(n_bands)
    for n_bands in (1, 4, 255):
        ENCODERS["vgg16"].check_bands(n_bands)
    with pytest.raises(BadInput, match=r"MobileNetV2 takes images of 1 or 3 bands, not 2; give --backbone vgg16$"):
        ENCODERS["mobilenet_v2"].check_bands(2)


@pytest.mark.parametrize("name", ENCODERS)
def test_they_want_photographs(name):
    encoder = ENCODERS[name]
    assert encoder.choose_normalization(np.dtype(np.uint8)) == Normalization("unit", 255.0)
    for dtype in (np.uint16, np.int16, np.float32):
        assert encoder.choose_normalization(np.dtype(dtype)) == Normalization("photo")


def test_mobilenet_has_the_weights_of_the_package():
    architecture = Fcn8s(3, 5)
    network = architecture.build()
    assert "ImageNet weights that come with the package" in architecture.start(network)
    stored, found = mobilenet.read_weights(), mobilenet.list_weights(network)
    assert stored.keys() == found.keys() and len(stored) > 250
    assert all(np.array_equal(found[name].numpy(), values.astype(np.float32)) for name, values in stored.items())
    with pytest.raises(BadInput, match="comes with its weights; --weights is for --backbone vgg16"):
        architecture.start(network, Path("vgg.h5"))


# Names and shapes of the weights, as the bundles on disk have them: other ones make these unreadable.
SAVED = {
    Fcn8s(3, 5): (269, "907afe44611d74352b196805cd6acaf4dc11e6b27f17026110b3782ff79508b3"),
    Fcn8s(4, 3, "vgg16", 16): (41, "aeb56c91d58dd967e6baaee8d196365a59dfb0227710b443dae010d776fccf27"),
    ResUnet(2, 3, filters=1): (195, "ec3250c42197623c4ef1645b47fdf4850b526118ac163ba46cdfc5b87d9d3db8"),
}


@pytest.mark.parametrize("architecture", SAVED, ids=str)
def test_saved_networks_can_still_be_loaded(architecture):
    import tensorflow as tf

    with tf.Graph().as_default():  # Without values for the weights.
        weights = [(layer, weight) for layer in architecture.build().layers for weight in layer.weights]
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
