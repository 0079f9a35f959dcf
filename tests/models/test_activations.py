"""What the encoder gives in LiteRT is what the network of Keras gives, at any size."""

import numpy as np
import pytest

from hybridseg.models.activations import COARSEST, STRIDES, build_graph, compute_activations
from hybridseg.models.litegraphs import check_lite


def test_a_graph_of_plain_operations():
    check_lite(build_graph())


@pytest.mark.slow
def test_results_of_keras():
    import tf_keras

    from hybridseg.models.mobilenet import build_mobilenet

    network = build_mobilenet(input_size=64)
    names = [f"mobilenet_block{number:02}_expand_relu" for number in (2, 4, 7, 14)]
    reference = tf_keras.Model(network.input, [network.get_layer(name).output for name in names])
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    found = compute_activations(image)
    assert tuple(found) == STRIDES
    for stride, expected in zip(STRIDES, reference(image[None] / np.float32(255)), strict=True):
        assert expected.shape[1] == 64 // stride and float(np.std(expected)) > 0.05
        np.testing.assert_allclose(found[stride], expected[0], atol=1e-4)


def test_images_of_any_size_one_after_the_other():
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    first = compute_activations(image)
    assert {stride: values.shape[:2] for stride, values in first.items()} == {
        stride: (64 // stride, 96 // stride) for stride in STRIDES
    }
    other = compute_activations(image[:32, :COARSEST])
    assert other[16].shape[:2] == (2, 1)
    # Far from the edge, the finest features are those of the larger image.
    np.testing.assert_allclose(other[2][:4, :4], first[2][:4, :4], atol=1e-5)
    np.testing.assert_array_equal(compute_activations(image)[16], first[16])
