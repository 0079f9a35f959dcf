"""What is rewritten gives the same result as before, at any size, and is left alone where it would not."""

from collections import Counter

import numpy as np
import pytest

from hybridseg.models.engines import LiteEngine
from hybridseg.models.graphs import freeze
from hybridseg.models.litegraphs import _code_of, _name_codes, _parse
from hybridseg.models.literewrites import rewrite_lite
from hybridseg.models.runtimes import _convert

SIZE = (16, 24)


def normalize(x, name):
    """A batch normalization as after a training: each channel has its own scale, some negative, and its own shift."""
    from tf_keras import layers

    norm = layers.BatchNormalization(name=name)
    y = norm(x)
    rng = np.random.default_rng(0)
    norm.set_weights([rng.normal(0, 1, values.shape) for values in norm.get_weights()[:3]] + [
        rng.uniform(0.5, 2, norm.get_weights()[3].shape)
    ])  # fmt: skip
    return y


def convert(build, n_bands=3):
    """The runtime graph of some layers, with random weights everywhere."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    pixels = tf_keras.Input((None, None, n_bands))
    network = tf_keras.Model(pixels, build(pixels))
    for layer in network.layers:
        if "conv" in layer.name:
            layer.set_weights([np.random.default_rng(1).normal(0, 0.3, v.shape) for v in layer.get_weights()])
    return _convert(freeze(network, (1, *SIZE, n_bands)))


def count_ops(content):
    model, names = _parse(content), _name_codes()
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(graph.Operators(i).OpcodeIndex()) for i in range(graph.OperatorsLength())]
    return Counter(names[_code_of(code)] for code in codes)


def check_same(content, rewritten, *, n_bands=3, step=8):
    before, after = LiteEngine(content), LiteEngine(rewritten)
    for n, rows, cols in ((1, *SIZE), (2, *SIZE), (1, SIZE[0] + step, SIZE[1] + step), (3, 2 * SIZE[0], step)):
        pixels = np.random.default_rng(rows).normal(size=(n, rows, cols, n_bands)).astype(np.float32)
        expected = before.classify(pixels)
        assert expected.std() > 0.05
        np.testing.assert_allclose(after.classify(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("relu", [True, False])
def test_a_normalization_is_one_operation(relu):
    from tf_keras import layers

    def build(pixels):
        x = normalize(layers.MaxPooling2D(2)(pixels), "norm")
        return layers.Concatenate()([layers.ReLU()(x) if relu else x, layers.AveragePooling2D(2)(pixels)])

    content = convert(build)
    rewritten = rewrite_lite(content, stride=8)
    assert count_ops(content)["MUL"] == 1 and count_ops(content)["ADD"] == 1
    found = count_ops(rewritten)
    assert found["DEPTHWISE_CONV_2D"] == 1 and "MUL" not in found and "ADD" not in found
    check_same(content, rewritten)


def test_a_product_that_something_else_needs_is_kept():
    import tensorflow as tf
    from tf_keras import layers

    factors, shifts = tf.constant([2.0, -1.0, 0.5]), tf.constant([1.0, 2.0, 3.0])

    def build(pixels):
        product = layers.Lambda(lambda x: x * factors)(pixels)
        return layers.Concatenate()([product, layers.Lambda(lambda x: tf.nn.relu(x + shifts))(product)])

    content = convert(build)
    rewritten = rewrite_lite(content, stride=8)
    assert count_ops(rewritten) == {"DEPTHWISE_CONV_2D": 1, "ADD": 1, "CONCATENATION": 1}
    check_same(content, rewritten)


@pytest.mark.parametrize("bias", [True, False])
def test_an_enlargement_without_overlap(bias):
    from tf_keras import layers

    def build(pixels):
        x = layers.Conv2DTranspose(5, 2, 2, "same", use_bias=bias, activation="relu", name="conv")(pixels)
        return layers.AveragePooling2D(2)(layers.Conv2DTranspose(4, 3, 2, "same", name="conv_wide")(x))

    content = convert(build)
    rewritten = rewrite_lite(content, stride=8)
    assert count_ops(content)["TRANSPOSE_CONV"] == 2
    found = count_ops(rewritten)
    assert (found["TRANSPOSE_CONV"], found["DEPTH_TO_SPACE"], found["CONV_2D"]) == (1, 1, 1), "that of 3 x 3 overlaps"
    check_same(content, rewritten)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [(3, 3), (1, 5), (5, 3)])
def test_two_pixels_at_once(kernel):
    from tf_keras import layers

    def build(pixels):
        x = layers.Conv2D(8, kernel, padding="same", activation="relu", name="conv1")(pixels)
        x = layers.Conv2D(4, kernel, padding="same", activation="relu", name="conv2")(x)
        return layers.Conv2D(9, kernel, padding="same", name="conv_wide")(x)

    content = convert(build)
    rewritten = rewrite_lite(content, stride=8)
    assert count_ops(content) == {"CONV_2D": 3} and count_ops(rewritten) == {"CONV_2D": 3, "RESHAPE": 2}
    check_same(content, rewritten)


def test_maps_that_may_have_odd_columns_stay():
    """The stride of the network is 8: columns of an eighth of the image may be 3, those of a quarter are even."""
    from tf_keras import layers

    def build(pixels):
        x = layers.Conv2D(6, 3, padding="same", name="conv1")(layers.AveragePooling2D(4)(pixels))
        return layers.Conv2D(6, 3, padding="same", name="conv2")(layers.AveragePooling2D(2)(x))

    content = convert(build)
    assert [count_ops(rewrite_lite(content, stride=stride))["RESHAPE"] for stride in (1, 4, 8, 16)] == [0, 0, 1, 2]
    check_same(content, rewrite_lite(content, stride=8))
