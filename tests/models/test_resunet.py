import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.weightfile import write_weights


@pytest.fixture(scope="module")
def network():
    return ResUnet(n_bands=3, n_outputs=2, filters=2).build()


@pytest.mark.slow
@pytest.mark.parametrize(("n_bands", "n_outputs", "kernel_size", "upsample"), [
    (1, 1, (7, 7), "bilinear"), (4, 5, (3, 5), "transposed"),
])  # fmt: skip
def test_every_shape_and_a_step_of_training(make_step, monkeypatch, n_bands, n_outputs, kernel_size, upsample):
    # Four levels are as good as six, and built in less time.
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 4)
    architecture = ResUnet(n_bands=n_bands, n_outputs=n_outputs, kernel_size=kernel_size, filters=2, upsample=upsample)
    network = architecture.build()
    assert network.name == "resunet" and network.input_shape == (None, None, None, n_bands)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 32, 64, n_bands)).astype(np.float32)
    scores = network(pixels).numpy()
    assert scores.shape == (2, 32, 64, n_outputs) and scores.dtype == np.float32 and scores.std() > 0
    kernel = network.get_layer("down3_conv1").kernel
    assert tuple(kernel.shape[:2]) == kernel_size
    assert network.get_layer("down4_conv2").kernel.shape[-1] == 2 * 2**3
    labels = rng.integers(0, max(n_outputs, 2), (2, 32, 64)).astype(np.uint8)
    loss, gradient = make_step(network)(pixels, labels)
    assert np.isfinite(loss) and 0 < gradient < 1e4
    assert np.abs(network(pixels).numpy() - scores).max() > 0
    kinds = {layer.__class__.__name__ for layer in network.layers}
    assert ("UpSampling2D" in kinds, "Conv2DTranspose" in kinds) == (upsample == "bilinear", upsample == "transposed")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(32, 32), (64, 160)])
def test_any_size_that_the_stride_divides(network, shape):
    assert network(np.zeros((1, *shape, 3), np.float32)).shape == (1, *shape, 2)
    assert ResUnet.stride == 32


@pytest.mark.slow
def test_it_starts_from_random_weights_or_from_a_file(network, tmp_path):
    architecture = ResUnet(n_bands=3, n_outputs=2, filters=2)
    trained = architecture.build()
    import tf_keras

    before = [weight.numpy() for weight in network.weights]
    assert "random weights" in architecture.start(network)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.weights, strict=True))
    write_weights(tmp_path / "earlier.h5", trained)
    assert "earlier.h5" in architecture.start(network, tmp_path / "earlier.h5")
    assert all(np.array_equal(a, b) for a, b in zip(trained.weights, network.weights, strict=True))
    write_weights(tmp_path / "other.h5", tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,))]))
    with pytest.raises(BadInput, match=r"other\.h5 has weights of another network"):
        architecture.start(network, tmp_path / "other.h5")


@pytest.mark.slow
def test_skips_carry_what_is_fine(network, scene):
    """A pixel of the image moves the scores of its own pixel, also where all of the deepest level is cut off."""
    deepest = network.get_layer("up5_enlarge")
    weights = deepest.get_weights()
    deepest.set_weights([np.zeros_like(values) for values in weights])
    pixels = Normalization("image").apply(scene[0])[None]
    changed = pixels.copy()
    changed[0, 30, 40] += 5
    difference = np.abs(network(changed).numpy() - network(pixels).numpy())[0].max(axis=-1)
    deepest.set_weights(weights)
    assert difference[30, 40] > 1e-4


@pytest.mark.parametrize(("values", "message"), [
    ({"n_bands": 0}, "n_bands=0: .* from 1 to 255"),
    ({"n_bands": 256}, "n_bands=256: .* from 1 to 255"),
    ({"n_outputs": 0}, "n_outputs=0: .* from 1 to 255"),
    ({"n_outputs": 256}, "n_outputs=256"),
    ({"kernel_size": (4, 3)}, r"kernel_size=\(4, 3\): .* from 3 to 31, odd"),
    ({"kernel_size": (1, 3)}, "kernel_size"),
    ({"kernel_size": (3, 33)}, "kernel_size"),
    ({"kernel_size": (3,)}, r"kernel_size=\(3,\): give \[rows, cols\]"),
    ({"filters": 0}, "filters=0: .* from 1 to 512"),
    ({"filters": 513}, "filters=513"),
    ({"filters": 512, "kernel_size": (31, 31)}, r"filters=512 of kernel_size=\(31, 31\) are too large; give fewer or"),
    ({"upsample": "nearest"}, "upsample='nearest': .* transposed, bilinear"),
])  # fmt: skip
def test_what_cannot_be_built(values, message):
    with pytest.raises(BadInput, match=message):
        ResUnet(**{"n_bands": 3, "n_outputs": 2, **values})


@pytest.fixture
def _shallow(monkeypatch):
    """Fewer levels, whose gradients take less time to trace."""
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("_shallow")
def test_it_learns_a_scene_by_heart(overfit, scene):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    image, labels = (array[16:48, :64] for array in scene)
    network = ResUnet(n_bands=3, n_outputs=11).build()
    assert overfit(network, Normalization("image").apply(image), labels, rate=1e-2, n_steps=180) > 0.95


@pytest.mark.slow
@pytest.mark.usefixtures("_shallow")
def test_one_output_learns_one_class_against_the_rest(overfit, scene):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    image, labels = scene
    is_land = (labels >= 4).astype(np.uint8)
    network = ResUnet(n_bands=3, n_outputs=1, filters=4, upsample="bilinear").build()
    assert overfit(network, Normalization("image").apply(image), is_land, rate=1e-2, n_steps=120) > 0.95
