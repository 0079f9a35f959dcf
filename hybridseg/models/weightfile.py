"""Weights in HDF5, laid out as Keras does: arrays by the name of their layer. Nothing in such a file can run."""

from __future__ import annotations

import io
import math
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.atomic import write_bytes
from hybridseg.io.rasters import check_regular

if TYPE_CHECKING:
    import h5py
    import tf_keras

MAX_FILE_BYTES = 4_000_000_000
# Weights hardly compress: arrays that claim to be much larger than their file are a decompression bomb.
_MAX_INFLATION = 8
_MAX_DEPTH, _MAX_ARRAYS = 8, 10_000
# As HDF5 numbers them: gzip, and the bytes of numbers in another order before it.
_GZIP, _SHUFFLE = 1, 2
_PACKINGS = ((), (_SHUFFLE,), (_GZIP,), (_SHUFFLE, _GZIP))


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return every numeric array of a file by its path inside, such as ``block1_conv1/block1_conv1/kernel:0``.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it is damaged, claims to be far too large, or links to other files.
    """
    import h5py

    path = Path(path)
    if not path.exists():
        raise MissingInput(f"there are no weights {path}")
    arrays: dict[str, np.ndarray] = {}
    try:
        if check_regular(path).stat().st_size > MAX_FILE_BYTES:
            raise BadInput("it is larger than the weights of any network; it is not a weight file")
        with h5py.File(path, "r") as file:
            _collect(file, "", arrays, max_bytes=_MAX_INFLATION * path.stat().st_size, depth=0)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    # h5py raises many kinds of errors for damage, RuntimeError and KeyError among them.
    except Exception as error:
        raise BadInput(f"{path} is damaged or not a weight file ({error}); copy it again or train again") from error
    return arrays


def _collect(group: h5py.Group, prefix: str, arrays: dict[str, np.ndarray], *, max_bytes: int, depth: int) -> None:
    import h5py

    if depth > _MAX_DEPTH:
        raise BadInput("its groups are nested too deep; it is not a weight file")
    for name in group:
        if len(arrays) > _MAX_ARRAYS:
            raise BadInput("it holds far more arrays than a network has; it is not a weight file")
        # Links of any other kind can lead to other files.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise BadInput(f"{prefix}{name} is a link; it is not a weight file")
        item = group[name]
        # Groups that hold one another would never end.
        if h5py.h5o.get_info(item.id).rc > 1:
            raise BadInput(f"{prefix}{name} has several names; it is not a weight file")
        if isinstance(item, h5py.Group):
            _collect(item, f"{prefix}{name}/", arrays, max_bytes=max_bytes, depth=depth + 1)
        elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            if item.external or item.is_virtual:
                raise BadInput(f"{prefix}{name} lies in another file; it is not a weight file")
            # Of each piece, HDF5 reserves all, however small the array in it.
            piece = math.prod(item.chunks or ()) * item.dtype.itemsize
            if max(item.nbytes, piece) + sum(array.nbytes for array in arrays.values()) > max_bytes:
                raise BadInput("it claims to hold far more numbers than it can; it is not a weight file")
            if item.chunks is not None:
                _check_pieces(item, piece, max_bytes=max_bytes)
            arrays[f"{prefix}{name}"] = item[()]


def _check_pieces(item: h5py.Dataset, piece: int, *, max_bytes: int) -> None:
    """Raise BadInput unless the pieces of an array unpack to their size.

    HDF5 unpacks all that there is, and reads and writes behind what is too short; so the file is read without it.
    """
    pipeline = item.id.get_create_plist()
    packing = tuple(pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters()))
    if packing not in _PACKINGS or item.file.userblock_size:
        raise BadInput(f"{item.name} is compressed as weights never are; it is not a weight file")
    with Path(item.file.filename).open("rb") as file:
        for number in range(item.id.get_num_chunks()):
            found = item.id.get_chunk_info(number)
            length = found.size
            max_bytes -= length
            if max_bytes < 0:
                raise BadInput("it claims to hold far more numbers than it can; it is not a weight file")
            # What gzip made no smaller is stored as it is.
            if _GZIP in packing and not found.filter_mask >> packing.index(_GZIP) & 1:
                file.seek(found.byte_offset)
                length = len(zlib.decompressobj().decompress(file.read(length), piece + 1))
            if length != piece:
                raise BadInput(f"{item.name} unpacks to more numbers than it has, or fewer; it is not a weight file")


def encode_weights(model: tf_keras.Model) -> bytes:
    """Return the bytes of a file that `read_weights` and the ``load_weights`` of Keras read."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.21.0"
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [weight.name.encode() for weight in layer.weights]
            for weight in layer.weights:
                group.create_dataset(weight.name, data=weight.numpy(), track_times=False)
    return buffer.getvalue()


def write_weights(path: str | os.PathLike[str], model: tf_keras.Model) -> None:
    """Write the weights of a network, whole or not at all."""
    write_bytes(path, encode_weights(model))


def load_weights(model: tf_keras.Model, path: str | os.PathLike[str]) -> None:
    """Load the weights of a file into a network with the same layers, all or none.

    Raises
    ------
    MissingInput, BadInput
        When the file cannot be read, or a weight is missing, unknown or of another shape.
    """
    arrays = read_weights(path)
    wanted = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
    wrong = sorted(wanted.keys() ^ arrays.keys())
    wrong = wrong or [name for name, weight in wanted.items() if arrays[name].shape != tuple(weight.shape)]
    if wrong:
        raise BadInput(
            f"{path} has weights of another network ({len(wrong)} differ, {wrong[0]} for one); "
            "give the settings with which it was trained"
        )
    for name, weight in wanted.items():
        weight.assign(arrays[name])
