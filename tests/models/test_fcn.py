import h5py
import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models.fcn import Fcn8s, bilinear_kernel
from hybridseg.models.vgg16 import assign_weights

# Of the small VGG-16: the channels in and out of every convolution, and of the last one.
BLOCKS = ((3, 4, 2), (4, 5, 2), (5, 6, 3), (6, 7, 3), (7, 8, 3))
CONVOLUTIONS = {
    f"block{block}_conv{number}": (before if number == 1 else channels, channels)
    for block, (before, channels, n) in enumerate(BLOCKS, 1)
    for number in range(1, n + 1)
}
DEEPEST, WIDE = 8, 4

pytestmark = pytest.mark.usefixtures("small_encoders")


@pytest.fixture(scope="module")
def vgg(shrink_encoders):
    with shrink_encoders():
        return Fcn8s(n_bands=3, n_outputs=5, backbone="vgg16", wide_channels=WIDE).build()


@pytest.fixture(scope="module")
def mobile(shrink_encoders):
    with shrink_encoders():
        return Fcn8s(n_bands=3, n_outputs=5).build()


def write_vgg(path, *, naming="new", top=True, channels=CONVOLUTIONS):
    """A file as Keras writes it, or wrote it in 2016; the k-th layer holds k and k + 0.5, the first one is random."""
    rng = np.random.default_rng(0)
    kernels = {name: (3, 3, *sides) for name, sides in channels.items()}
    if top:
        kernels |= {"fc1": (7 * 7 * DEEPEST, WIDE), "fc2": (WIDE, WIDE), "predictions": (WIDE, 1000)}
    with h5py.File(path, "w") as file:
        for number, (layer, shape) in enumerate(kernels.items()):
            group = file.create_group(layer)
            names = ("W_1:0", "b_1:0") if naming == "old" else ("kernel:0", "bias:0")
            names = [f"{layer}_{name}" if naming == "old" else f"{layer}/{name}" for name in names]
            random = layer in ("block1_conv1", "fc1")
            group.create_dataset(names[0], data=np.full(shape, number, np.float32))
            if random:
                group[names[0]][...] = rng.normal(size=shape)
            group.create_dataset(names[1], data=np.full(shape[-1:], number + 0.5, np.float32))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("n_bands", "n_outputs", "backbone"), [
    (1, 1, "mobilenet_v2"), (4, 5, "vgg16"),
])  # fmt: skip
def test_every_shape_and_a_step_of_training(make_step, n_bands, n_outputs, backbone):
    network = Fcn8s(n_bands=n_bands, n_outputs=n_outputs, backbone=backbone, wide_channels=WIDE).build()
    assert network.name == "fcn8s" and network.input_shape == (None, None, None, n_bands)
    rng = np.random.default_rng(0)
    pixels = rng.random((2, 32, 64, n_bands)).astype(np.float32)
    scores = network(pixels).numpy()
    assert scores.shape == (2, 32, 64, n_outputs) and scores.dtype == np.float32
    # As in the paper, every class begins as likely as the others.
    assert (scores == 0).all()
    labels = rng.integers(0, max(n_outputs, 2), (2, 32, 64)).astype(np.uint8)
    loss, gradient = make_step(network)(pixels, labels)
    assert np.isfinite(loss) and 0 < gradient < 1e4
    assert np.abs(network(pixels).numpy()).max() > 0


def test_any_size_that_the_stride_divides(mobile):
    assert mobile(np.zeros((1, 32, 96, 3), np.float32)).shape == (1, 32, 96, 5)
    assert Fcn8s.stride == 32


@pytest.mark.parametrize("fixture", ["mobile", "vgg"])
def test_scores_come_from_three_depths(request, fixture):
    import tf_keras

    network = request.getfixturevalue(fixture)
    depths = tf_keras.Model(network.input, [network.get_layer(f"score{d}").output for d in (32, 16, 8)])
    shapes = [tuple(scores.shape) for scores in depths(np.zeros((1, 64, 96, 3), np.float32))]
    assert shapes == [(1, 2, 3, 5), (1, 4, 6, 5), (1, 8, 12, 5)]


@pytest.mark.parametrize(("name", "factor"), [("scores", 8), ("score16_enlarge", 2), ("score8_enlarge", 2)])
def test_enlarging_begins_bilinear(vgg, name, factor):
    """Between the centres of pixels a ramp goes on as a ramp; the border, where pixels are missing, does not count."""
    rows, cols, _ = np.mgrid[:6, :7, :5].astype(np.float32)
    ramps = 3 * rows + 2 * cols + np.arange(5)
    large = vgg.get_layer(name)(ramps[None]).numpy()[0]
    assert large.shape == (6 * factor, 7 * factor, 5)
    rows, cols, _ = np.mgrid[: 6 * factor, : 7 * factor, :5]
    place = [(index + 0.5) / factor - 0.5 for index in (rows, cols)]
    inside = slice(factor, -factor)
    expected = (3 * place[0] + 2 * place[1] + np.arange(5))[inside, inside]
    np.testing.assert_allclose(large[inside, inside], expected, atol=1e-4)


def test_kernel_by_hand():
    assert bilinear_kernel(1, 1)[..., 0, 0].tolist() == [[0.25, 0.25], [0.25, 0.25]]
    kernel = bilinear_kernel(8, 2)
    assert kernel.shape == (16, 16, 2, 2) and kernel.dtype == np.float32
    assert kernel[..., 0, 1].max() == kernel[..., 1, 0].max() == 0, "classes do not mix"
    assert kernel[..., 0, 0].sum() == pytest.approx(64), "a plain map stays what it is"


@pytest.mark.slow
def test_grey_images_are_red_green_and_blue(mobile):
    """One band in place of all three gives what three equal bands give."""
    import tf_keras

    architecture = Fcn8s(n_bands=1, n_outputs=5)
    grey = architecture.build()
    for network in (grey, mobile):
        assert "ImageNet" in architecture.start(network)
    pixels = np.random.default_rng(0).random((1, 64, 64, 1)).astype(np.float32)
    features = [
        tf_keras.Model(network.input, network.get_layer("mobilenet_block04_add").output)(bands).numpy()
        for network, bands in ((grey, pixels), (mobile, pixels.repeat(3, axis=-1)))
    ]
    assert features[0].std() > 0.1
    np.testing.assert_allclose(*features, atol=1e-4)


@pytest.mark.parametrize("naming", ["old", "new"])
def test_weights_of_keras_are_taken(vgg, tmp_path, naming):
    path = write_vgg(tmp_path / "vgg16.h5", naming=naming)
    vgg.get_layer("block5_conv3").bias.assign(np.full(DEEPEST, -1, np.float32))
    words = Fcn8s(n_bands=3, n_outputs=5, backbone="vgg16", wide_channels=WIDE).start(vgg, path)
    assert words == "VGG-16 with 15 layers from vgg16.h5"
    for number, layer in enumerate([*CONVOLUTIONS, "fc1", "fc2"]):
        kernel, bias = vgg.get_layer(layer).get_weights()
        assert (bias == number + 0.5).all(), layer
        assert (kernel == number).all() or layer in ("block1_conv1", "fc1"), layer
    rng = np.random.default_rng(0)
    first = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
    assert np.array_equal(vgg.get_layer("block1_conv1").get_weights()[0], first)
    # A row for every pixel and channel of 7 x 7 x 8, in this order.
    wide = rng.normal(size=(7 * 7 * DEEPEST, WIDE)).astype(np.float32)
    kernel = vgg.get_layer("fc1").get_weights()[0]
    assert np.array_equal(kernel[2, 5, 6], wide[(2 * 7 + 5) * DEEPEST + 6])


def test_weights_without_the_top_leave_it_as_it_is(vgg, tmp_path):
    before = vgg.get_layer("fc1").get_weights()[0]
    architecture = Fcn8s(n_bands=3, n_outputs=5, backbone="vgg16", wide_channels=WIDE)
    words = architecture.start(vgg, write_vgg(tmp_path / "notop.h5", top=False))
    assert words == "VGG-16 with 13 layers from notop.h5"
    assert np.array_equal(vgg.get_layer("fc1").get_weights()[0], before)
    assert architecture.start(vgg) == "VGG-16 with random weights; --weights FILE gives it those of ImageNet"


def test_other_weights_are_refused(vgg, tmp_path):
    architecture = Fcn8s(n_bands=3, n_outputs=5, backbone="vgg16", wide_channels=WIDE)
    lacking = {name: sides for name, sides in CONVOLUTIONS.items() if name != "block4_conv2"}
    five_bands = write_vgg(tmp_path / "five.h5", channels=CONVOLUTIONS | {"block1_conv1": (5, 4)})
    lacking = write_vgg(tmp_path / "lacking.h5", channels=lacking)
    # As many numbers, but in the order of another program.
    with h5py.File(write_vgg(tmp_path / "turned.h5"), "a") as turned:
        del turned["block2_conv1/block2_conv1/kernel:0"]
        turned.create_dataset("block2_conv1/block2_conv1/kernel:0", (5, 4, 3, 3), "f4")
    for path, layer in (
        (five_bands, r"block1_conv1 of shape \(3, 3, 3, 4\)"),
        (lacking, "block4_conv2 of"),
        (tmp_path / "turned.h5", "block2_conv1 of"),
    ):
        message = rf"{path.name}: there is no layer {layer}.*VGG-16 from Keras"
        with pytest.raises(BadInput, match=message):
            architecture.start(vgg, path)
    with pytest.raises(MissingInput, match=r"there are no weights .*none\.h5"):
        architecture.start(vgg, tmp_path / "none.h5")
    with pytest.raises(BadInput, match="there is no layer block1_conv1"):
        assign_weights(vgg, {})


@pytest.mark.parametrize(("values", "message"), [
    ({"n_bands": 0}, "n_bands=0: .* from 1 to 255"),
    ({"n_bands": 256, "backbone": "vgg16"}, "n_bands=256"),
    ({"n_outputs": 0}, "n_outputs=0: .* from 1 to 255"),
    ({"n_outputs": 256}, "n_outputs=256"),
    ({"backbone": "resnet"}, "backbone='resnet': .* mobilenet_v2, vgg16"),
    ({"wide_channels": 0}, "wide_channels=0: .* from 1 to 4,096"),
    ({"wide_channels": 4097}, "wide_channels=4097"),
])  # fmt: skip
def test_what_cannot_be_built(values, message):
    with pytest.raises(BadInput, match=message):
        Fcn8s(**{"n_bands": 3, "n_outputs": 2, **values})
