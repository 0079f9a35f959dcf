"""A labelled image, or a tile of one, as the bytes of a record that says by itself what it holds."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.io.rasters import check_pixel_count
from hybridseg.io.tfrecords import SAMPLE_TYPES

MASK_TYPES = ("uint8", "uint16", "int32")
"""What the class ids of a stored mask may be."""

_MAGIC = b"HSL1"
_MAX_HEADER_BYTES = 1 << 20
_ALIGNMENT = 8


@dataclass(frozen=True, eq=False)
class Sample:
    """A labelled image, or a tile of one.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) of one of `hybridseg.io.tfrecords.SAMPLE_TYPES`.
    mask : numpy.ndarray
        (rows, cols) class ids of one of `MASK_TYPES`; 255 is void in each of them.
    source : str
        The image that it comes from.
    row, col : int
        Where in it the tile begins.
    """

    image: np.ndarray
    mask: np.ndarray
    source: str
    row: int = 0
    col: int = 0
    classes: Mapping[int, int] = field(default_factory=dict)
    """Number of pixels of each id that occurs; counted when the sample is encoded."""


def encode_sample(sample: Sample) -> bytes:
    """Return a sample as the bytes of a record.

    Raises
    ------
    BadInput
        When its arrays cannot be stored.

    Examples
    --------
    >>> image, mask = np.zeros((2, 3, 5), np.int16), np.array([[0, 1, 1], [7, 255, 0]], np.uint16)
    >>> again = decode_sample(encode_sample(Sample(image, mask, "cell", 0, 64)))
    >>> again.image.shape, again.mask.dtype.name, again.source, again.col, again.classes
    ((2, 3, 5), 'uint16', 'cell', 64, {0: 2, 1: 2, 7: 1, 255: 1})
    """
    image, mask = sample.image, sample.mask
    if image.dtype.name not in SAMPLE_TYPES or mask.dtype.name not in MASK_TYPES:
        raise BadInput(
            f"{sample.source} has samples of type {image.dtype} and class ids of type {mask.dtype}; a record holds "
            f"{', '.join(SAMPLE_TYPES)} and {', '.join(MASK_TYPES)}"
        )
    if image.ndim != 3 or not image.size or mask.shape != image.shape[:2]:
        raise BadInput(
            f"{sample.source}: an image of shape {image.shape} and a mask of shape {mask.shape} do not fit; give "
            "(rows, cols, bands) and (rows, cols)"
        )
    ids, counts = np.unique(mask, return_counts=True)
    payload = _as_bytes(image) + _as_bytes(mask)
    header = {
        "source": sample.source, "row": sample.row, "col": sample.col,
        "image": {"shape": image.shape, "dtype": image.dtype.name},
        "mask": {"shape": mask.shape, "dtype": mask.dtype.name},
        "classes": dict(zip(ids.tolist(), counts.tolist(), strict=True)),
        "crc32": zlib.crc32(payload),
    }  # fmt: skip
    text = encode_json(header)
    text += b" " * (-(len(_MAGIC) + 4 + len(text)) % _ALIGNMENT)
    return _MAGIC + len(text).to_bytes(4, "little") + text + payload


def decode_sample(data: bytes | memoryview) -> Sample:
    """Decode a record; its arrays are copies.

    Raises
    ------
    BadInput
        When it is not such a record, or damaged; sizes are checked before memory is taken.
    """
    header, payload = _split_record(data)
    try:
        image, mask = (_read_array(header[name], types) for name, types in _ARRAYS)
        if len(image.shape) != 3 or mask.shape != image.shape[:2]:
            raise ValueError(f"shapes {image.shape} and {mask.shape}")
        check_pixel_count("the image", *mask.shape, pixel_bytes=image.shape[2] * image.dtype.itemsize)
        if image.n_bytes + mask.n_bytes != len(payload):
            raise ValueError("it is not as long as it says")
        found = _describe_sample(header)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadInput(f"the record is damaged ({error})") from error
    if zlib.crc32(payload) != header.get("crc32"):
        raise BadInput("the record is damaged (its checksum differs)")
    return Sample(image.read(payload, 0), mask.read(payload, image.n_bytes), **found)


def describe_sample(data: bytes | memoryview) -> Sample:
    """Return what the header of a record says, with empty arrays of its types."""
    header, _ = _split_record(data)
    try:
        image, mask = (np.empty(0, _read_array(header[name], types).dtype) for name, types in _ARRAYS)
        return Sample(image, mask, **_describe_sample(header))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadInput(f"the record is damaged ({error})") from error


_ARRAYS = (("image", SAMPLE_TYPES), ("mask", MASK_TYPES))


@dataclass(frozen=True)
class _Array:
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, payload: memoryview, offset: int) -> np.ndarray:
        stored = np.frombuffer(payload, self.dtype.newbyteorder("<"), math.prod(self.shape), offset)
        return stored.reshape(self.shape).astype(self.dtype)


def _read_array(record: Any, types: Sequence[str]) -> _Array:
    shape, name = record["shape"], record["dtype"]
    if name not in types or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(f"an array of shape {shape} and type {name}")
    return _Array(tuple(shape), np.dtype(name))


def _describe_sample(header: dict[str, Any]) -> dict[str, Any]:
    place = {name: header[name] for name in ("source", "row", "col")}
    if [type(value) for value in place.values()] != [str, int, int]:
        raise ValueError(f"its place is {place}")
    return {**place, "classes": {int(key): int(n) for key, n in header["classes"].items()}}


def _split_record(data: bytes | memoryview) -> tuple[dict[str, Any], memoryview]:
    view = memoryview(data)
    start = len(_MAGIC) + 4
    n_header = int.from_bytes(view[len(_MAGIC) : start], "little")
    if view[: len(_MAGIC)] != _MAGIC or n_header > min(_MAX_HEADER_BYTES, len(view) - start):
        raise BadInput("it is not a record of this version of hybridseg")
    return decode_json(view[start : start + n_header]), view[start + n_header :]


def _as_bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def encode_json(record: Any) -> bytes:
    """Return a JSON object as bytes; a name that is not UTF-8 keeps its own."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


def decode_json(data: bytes | memoryview) -> dict[str, Any]:
    """Return the JSON object that `encode_json` encoded; BadInput for anything else."""
    return parse_json_object(bytes(data), errors="surrogateescape", remedy="make it again with unet build-lmdb")
