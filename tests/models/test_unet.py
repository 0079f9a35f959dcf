from __future__ import annotations

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.layers import count_settling_steps
from hybridseg.models.normalization import Normalization
from hybridseg.models.unet import Join, Unet, trace_joins

WIDTHS = (8, 6, 5, 4)


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize(("n_bands", "n_outputs", "encoder", "block"), [
    (7, 3, "none", "residual"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        (4, 1, "vgg16", "none"), (2, 4, "mobilenet_v2", "separable"),
        (1, 1, "none", "plain"), (3, 2, "vgg16", "plain-bilinear"),
        (3, 2, "mobilenet_v2", "plain"), (2, 5, "mobilenet_v2", "residual"), (5, 1, "vgg16", "separable"),
        (5, 3, "efficientnet_b0", "none"), (5, 3, "efficientnet_b4", "none"),
    )),
])  # fmt: skip
def test_every_shape_and_a_step_of_training(make_step, n_bands, n_outputs, encoder, block):
    block, *upsample = block.split("-")
    network = Unet(n_bands, n_outputs, encoder, block, WIDTHS, 0.1, *upsample).build()
    assert network.name == "unet" and network.input_shape == (None, None, None, n_bands)
    rng = np.random.default_rng(0)
    for rows, cols in ((32, 64), (33, 75)):
        pixels = rng.random((2, rows, cols, n_bands)).astype(np.float32)
        assert network(pixels).shape == (2, rows, cols, n_outputs), "no row is thrown away"
    labels = rng.integers(0, max(n_outputs, 2), (2, rows, cols)).astype(np.uint8)
    loss, size = make_step(network)(pixels, labels)
    assert np.isfinite(loss) and size > 0


@pytest.mark.slow
def test_an_image_of_any_size_is_continued_by_its_mirror_image():
    network = Unet(2, 3, "none", "plain", WIDTHS).build()
    pixels = np.random.default_rng(0).random((1, 50, 37, 2)).astype(np.float32)
    whole = network(np.pad(pixels, ((0, 0), (0, 14), (0, 27), (0, 0)), "symmetric")).numpy()
    assert whole.std() > 0.01
    np.testing.assert_allclose(network(pixels), whole[:, :50, :37], atol=1e-5)


@pytest.mark.slow
def test_the_network_of_ronneberger():
    """Ten convolutions down, four enlargements, eight convolutions up, and the scores: 31 million weights."""
    import tensorflow as tf

    with tf.Graph().as_default():
        network = Unet(1, 2, "none", "plain", (512, 256, 128, 64)).build()
    kernels = [tuple(w.shape) for w in network.trainable_weights if w.name.endswith("kernel:0")]
    found = {layer.name: layer.output_shape[-1] for layer in network.layers if "conv" in layer.name}
    assert [found[f"down{2**level}_conv2"] for level in range(5)] == [64, 128, 256, 512, 1024]
    assert [found[f"up{stride}_conv1"] for stride in (8, 4, 2, 1)] == [512, 256, 128, 64]
    assert len(found) == 18 and network.get_layer("scores").kernel.shape == (1, 1, 64, 2)
    assert sum(np.prod(kernel) for kernel in kernels) == pytest.approx(34.5e6, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("widths", "kernels"), [
    ((128, 64), [(3, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128),
                 (256, 128), (128, 64), (128, 64), (64, 64)]),
    pytest.param(
        (512, 256, 128, 64),
        [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512),
         (512, 512), (512, 512), (1024, 512), (512, 256), (512, 256), (256, 128),
         (256, 128), (128, 64), (128, 64), (64, 64)],
        marks=pytest.mark.slow,
    ),
], ids=["small", "deep"])  # fmt: skip
def test_the_networks_of_image_segmentation_pytorch(widths, kernels):
    """Channels in and out of every convolution, in order; what is enlarged bilinearly has no weights."""
    import tensorflow as tf

    with tf.Graph().as_default():
        network = Unet(3, 23, "none", "plain", widths, 0.0, "bilinear").build()
    found = [tuple(weight.shape) for weight in network.trainable_weights if weight.name.endswith("kernel:0")]
    assert found == [*((3, 3, *channels) for channels in kernels), (1, 1, 64, 23)]


@pytest.mark.parametrize(("n_steps", "block", "upsample"), [
    (1, "plain", "bilinear"), pytest.param(2, "plain", "transposed", marks=pytest.mark.slow),
    pytest.param(3, "residual", "bilinear", marks=pytest.mark.slow),
])  # fmt: skip
def test_how_far_a_network_of_any_depth_sees(n_steps, block, upsample):
    """A row that is changed changes the scores as far as the reach says, or a little less; a size that no stride
    divides is continued at every depth."""
    unet = Unet(1, 2, "none", block, (4,) * n_steps, 0.0, upsample)
    network = unet.build()
    for weight in network.weights:
        if "kernel" in weight.name:
            # No change may cancel another one.
            weight.assign(np.abs(weight.numpy()))
    n_rows = 2 * unet.reach // 32 * 32 + 96
    image = np.random.default_rng(0).random((1, n_rows, 32, 1)).astype(np.float32)
    before, farthest = network(image).numpy(), 0
    for row in range(n_rows // 2, n_rows // 2 + 2**n_steps):
        changed = image.copy()
        changed[:, row] += 5
        rows = np.flatnonzero(np.abs(network(changed).numpy() - before).max((0, 2, 3)) > 0)
        farthest = max(farthest, row - rows[0], rows[-1] - row)
    assert 0.8 * unet.reach <= farthest <= unet.reach
    assert network(image[:, :77, :31]).shape == (1, 77, 31, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_a_decoder_as_published():
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    network = Unet(3, 1, "mobilenet_v2", "none", WIDTHS, dropout=0.2).build()
    steps = ["enlarge", "enlarge_norm", "dropout", "swish", "join"]
    decoder = [layer for layer in network.layers if layer.name.startswith("up")]
    assert [layer.name for layer in decoder] == [f"up{stride}_{step}" for stride in (16, 8, 4, 2) for step in steps]
    kernels = np.concatenate([layer.kernel.numpy().ravel() for layer in decoder if layer.name.endswith("_enlarge")])
    assert abs(kernels.mean()) < 1e-3 and kernels.std() == pytest.approx(0.02, rel=0.03)
    for layer, width in zip(decoder[::5], WIDTHS, strict=True):
        assert (layer.kernel_size, layer.strides, layer.filters, layer.use_bias) == ((3, 3), (2, 2), width, False)
    last = network.get_layer("scores")
    assert (last.kernel_size, last.strides, last.filters, last.activation.__name__) == ((3, 3), (2, 2), 1, "linear")
    assert "up16_dropout" not in {layer.name for layer in Unet(3, 1, "none", "plain", WIDTHS, 0.0).build().layers}


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_a_decoder_of_few_numbers():
    network = Unet(3, 4, "mobilenet_v2", "separable", WIDTHS, 0.2).build()
    decoder = [layer for layer in network.layers if layer.name.startswith(("up", "scores"))]
    assert not any("Transpose" in type(layer).__name__ for layer in decoder)
    large = [layer.name for layer in decoder if layer.weights and layer.weights[0].shape[:2] == (3, 3)]
    assert large == [f"up{stride}_depthwise" for stride in (16, 8, 4, 2)]
    norm = network.get_layer("up2_norm")
    assert (norm.momentum, norm.epsilon) == (0.97, 1e-3) and "mobilenet_head_conv" not in {
        x.name for x in network.layers
    }


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize(("encoder", "block", "n_steps"), [
    ("none", "plain", 44),
    pytest.param("mobilenet_v2", "separable", 152, marks=pytest.mark.slow),
    pytest.param("vgg16", "none", 44, marks=pytest.mark.slow),
    pytest.param("efficientnet_b0", "none", 459, marks=pytest.mark.slow),
])  # fmt: skip
def test_steps_until_the_running_averages_have_settled(encoder, block, n_steps):
    """Of momentum 0.9, 0.97 and 0.99: the least power of it that is at most 0.01; MobileNetV2 keeps its averages."""
    network = Unet(3, 1, encoder, block, WIDTHS).build()
    assert count_settling_steps(network) == n_steps


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_shapes_of_the_skips():
    network = Unet(3, 1, "mobilenet_v2", "plain", WIDTHS).build()
    joins = trace_joins(network, (300, 64))
    assert joins[0] == Join(16, (10, 2, 10), (20, 4, 8), (20, 4, 8), (20, 4, 16), (20, 4, 8))
    assert [join.stride for join in joins] == [16, 8, 4, 2]
    assert joins[3] == Join(2, (80, 16, 5), (160, 32, 4), (160, 32, 4), (160, 32, 8), (160, 32, 4))
    assert joins[0].text == (
        "1/16 of the size: 10 x 2 x 10 is enlarged to 20 x 4 x 8 and joined with 20 x 4 x 8: 20 x 4 x 16"
    )
    separable = Unet(3, 1, "mobilenet_v2", "separable", WIDTHS).build()
    assert trace_joins(separable, (64, 64))[0] == Join(16, (2, 2, 10), (4, 4, 8), (4, 4, 8), (4, 4, 8), (4, 4, 8))
    bilinear = Unet(3, 1, "none", "plain", (8, 4), upsample="bilinear").build()
    joins = trace_joins(bilinear, (64, 64))
    assert joins[0] == Join(2, (16, 16, 8), (32, 32, 8), (32, 32, 8), (32, 32, 16), (32, 32, 4)) and len(joins) == 2
    published = Unet(3, 1, "mobilenet_v2", "none", WIDTHS).build()
    assert trace_joins(published, (64, 64))[3].result == (32, 32, 8), "without convolutions the joined goes on"


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_weights_to_start_from():
    unet = Unet(3, 2, widths=WIDTHS)
    network = unet.build()
    assert unet.start(network) == "U-Net on MobileNetV2 with the ImageNet weights that come with the package"
    assert unet.start(network, "none") == "U-Net on MobileNetV2 with random weights"
    assert (unet.choose_weights(), unet.choose_weights("none")) == ("imagenet", "none")
    assert unet.find_encoder(network) == ENCODERS["mobilenet_v2"].find_layers(network) != []
    own = Unet(3, 2, "none", "plain", WIDTHS)
    network = own.build()
    assert own.start(network) == "U-Net with random weights" and own.find_encoder(network) == []
    assert own.choose_weights() == "none"


@pytest.mark.parametrize(("values", "message"), [
    ({"widths": (8, 4)}, r"widths=\(8, 4\): give 4 whole numbers, such as"),
    ({"widths": (2,) * 6, "encoder": "none", "block": "plain"}, "widths=.*: give 1 to 5 whole numbers, such as"),
    ({"widths": (), "encoder": "none", "block": "plain"}, "widths=.*: give 1 to 5 whole numbers"),
    ({"upsample": "transposed"}, "upsample=transposed: with block separable it is bilinear; give plain or residual"),
    ({"upsample": "bilinear", "block": "none"}, "upsample=bilinear: with block none it is transposed"),
    ({"widths": (8, 4, 0, 2)}, "widths=.* from 1 to 4,096"),
    ({"dropout": 1.0}, "dropout=1.0: give a number from 0 to below 1"),
    ({"encoder": "resnet"}, "encoder='resnet': give one of none, mobilenet_v2"),
    ({"encoder": "none", "block": "none"}, "needs convolutions; give plain or residual"),
    ({"encoder": "none"}, "block=separable: a network without an encoder needs convolutions"),
])  # fmt: skip
def test_what_cannot_be_built(values, message):
    with pytest.raises(BadInput, match=message):
        Unet(**{"n_bands": 3, "n_outputs": 2, **values})


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "block", "least"), [
    ("none", "plain", 0.9), ("none", "residual", 0.9), ("mobilenet_v2", "none", 0.9),
    # Its scores are enlarged from half the size: it cannot have every edge.
    ("mobilenet_v2", "separable", 0.8),
])  # fmt: skip
def test_it_learns_a_scene_by_heart(overfit, scene, encoder, block, least):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    image, labels = scene
    unet = Unet(3, 11, encoder, block, (48, 32, 24, 16))
    network = unet.build()
    unet.start(network)
    for layer in unet.find_encoder(network):
        layer.trainable = False
    assert overfit(network, Normalization("unit").apply(image), labels, rate=5e-3, n_steps=300) > least
