"""Shards of TFRecords: many images with their labels in one file, each found by its byte offset.

A record is a ``tf.train.Example``, so other programs can read it too. 8-bit images that a JPEG can hold are JPEG;
all others, and all labels, are stored without loss.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, HybridSegError, WriteFailed, located
from hybridseg.io.atomic import atomic_path
from hybridseg.io.pictures import open_picture, unpack_picture
from hybridseg.io.rasters import check_pixel_count, check_regular
from hybridseg.markup import count_of

SAMPLE_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
"""What the samples of a stored image may be."""

JPEG, ZLIB = "jpeg", "zlib"

_QUALITY = 95
_JPEG_MAX_SIDE = 65_500
# Higher levels take up to ten times as long and save one percent on photographs.
_ZLIB_LEVEL = 1
# The limit of protocol buffers is 2 GiB.
_MAX_RECORD_BYTES = (1 << 31) - (1 << 16)
# In the file each record lies between its length with a checksum (8 + 4 bytes) and a checksum of its own (4 bytes).
_HEAD_BYTES, _TAIL_BYTES = 12, 4
_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class Record:
    """An image with its labels.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) of one of `SAMPLE_TYPES`.
    labels : numpy.ndarray
        (rows, cols) uint8.
    source : str
        The photograph that it comes from.
    copy : int
        Which augmented copy this is.
    """

    image: np.ndarray
    labels: np.ndarray
    source: str
    copy: int


@dataclass(frozen=True)
class RecordPlace:
    """Position of a record in its shard: first byte, number of bytes, and their CRC-32."""

    offset: int
    length: int
    crc32: int


def choose_encoding(shape: tuple[int, int, int], dtype: Any) -> str:
    """Return how an image is stored: ``jpeg`` or, without loss, ``zlib``.

    Examples
    --------
    >>> choose_encoding((64, 96, 3), np.uint8), choose_encoding((64, 96, 5), np.uint8)
    ('jpeg', 'zlib')
    """
    fits = np.dtype(dtype) == np.uint8 and shape[2] in (1, 3, 4) and max(shape[:2]) <= _JPEG_MAX_SIDE
    return JPEG if fits else ZLIB


def write_shard(path: str | os.PathLike[str], records: Iterable[Record], *, durable: bool = True) -> list[RecordPlace]:
    """Write records into one file, whole or not at all; the same records give the same bytes.

    Parameters
    ----------
    records : iterable of Record
        Consumed one by one: they need not be in memory together.
    durable : bool
        See `hybridseg.io.atomic.atomic_path`.

    Returns
    -------
    list of RecordPlace
        In the order of the records.

    Raises
    ------
    BadInput
        When a record cannot be stored.
    WriteFailed
    """
    import tensorflow as tf

    try:
        with atomic_path(path, durable=durable) as temporary:
            # As bytes, for names that are not UTF-8.
            with tf.io.TFRecordWriter(os.fsencode(temporary)) as writer:
                for record in records:
                    writer.write(encode_record(record))
            return list(_list_places(temporary))
    except tf.errors.OpError as error:
        raise WriteFailed(f"could not write {path}: {error.message}; check the free space there") from error
    except WriteFailed as error:
        # An error while the records were made is not a failure to write.
        if isinstance(error.__cause__, HybridSegError):
            raise error.__cause__ from None
        raise


def read_record(path: str | os.PathLike[str], place: RecordPlace) -> Record:
    """Read one record of a shard.

    Parameters
    ----------
    place : RecordPlace
        From `write_shard` or `scan_shard`.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, it is damaged or cut short, or the record is not ours.
    """
    path = check_regular(path)
    try:
        with path.open("rb") as file:
            # Before memory is taken: the position may be wrong.
            n_bytes = os.fstat(file.fileno()).st_size
            if place.length < _HEAD_BYTES + _TAIL_BYTES or not 0 <= place.offset <= n_bytes - place.length:
                raise BadInput(f"{path} is cut short, or it is not the file that was written")
            file.seek(place.offset)
            frame = file.read(place.length)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if zlib.crc32(frame) != place.crc32:
        raise BadInput(f"{path} is damaged, or it is not the file that was written (a checksum differs)")
    with located(f"{path} (record at byte {place.offset})"):
        return decode_record(frame[_HEAD_BYTES:-_TAIL_BYTES])


def scan_shard(path: str | os.PathLike[str]) -> list[tuple[RecordPlace, str, int]]:
    """Check every record of a shard against the checksums in the file, and list them.

    Returns
    -------
    list of (RecordPlace, str, int)
        Place, source and copy of each. Of a file that was cut between two records the rest is missing.

    Raises
    ------
    MissingInput, BadInput
    """
    import tensorflow as tf

    path = check_regular(path)
    # Before TensorFlow sees it, which believes every length.
    places = list(_list_places(path))
    try:
        payloads = tf.data.TFRecordDataset(os.fsencode(path)).as_numpy_iterator()
        origins = [_read_origin(payload) for payload in payloads]
    except tf.errors.OpError as error:
        raise BadInput(f"{path} is damaged or cut short ({error.message})") from error
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    return [(place, *origin) for place, origin in zip(places, origins, strict=True)]


def encode_record(record: Record) -> bytes:
    """Return a record as the bytes of a ``tf.train.Example``.

    Raises
    ------
    BadInput
        When it cannot be stored.

    Examples
    --------
    >>> pixels, labels = np.zeros((2, 3, 5), np.uint16), np.full((2, 3), 255, np.uint8)
    >>> again = decode_record(encode_record(Record(pixels, labels, "photo", 1)))
    >>> again.image.shape, again.image.dtype, again.labels.max(), again.source, again.copy
    ((2, 3, 5), dtype('uint16'), np.uint8(255), 'photo', 1)
    """
    import tensorflow as tf

    image, labels = record.image, record.labels
    if image.dtype.name not in SAMPLE_TYPES:
        raise BadInput(
            f"{record.source} has samples of type {image.dtype}, which records cannot hold; convert it to one of "
            + ", ".join(SAMPLE_TYPES)
        )
    if image.ndim != 3 or not image.size or labels.shape != image.shape[:2] or labels.dtype != np.uint8:
        raise BadInput(
            f"{record.source}: an image of shape {image.shape} and labels of shape {labels.shape} and type "
            f"{labels.dtype} do not fit; give (rows, cols, bands) and (rows, cols) uint8"
        )
    encoding = choose_encoding(image.shape, image.dtype)
    parts = _encode_jpegs(image) if encoding == JPEG else [_deflate(image)]
    label = _save_picture(labels, format="PNG", compress_level=6)
    values: dict[str, list[bytes] | list[int]] = {
        "image": parts,
        "label": [label],
        "encoding": [encoding.encode()],
        "dtype": [image.dtype.name.encode()],
        "source": [record.source.encode("utf-8", "surrogateescape")],
        "rows": [image.shape[0]],
        "cols": [image.shape[1]],
        "bands": [image.shape[2]],
        "copy": [record.copy],
    }
    if sum(map(len, [*parts, label])) > _MAX_RECORD_BYTES:
        raise BadInput(f"{record.source} takes more than 2 GiB as a record; choose a smaller size of the images")
    example = tf.train.Example(features=tf.train.Features(feature={k: _to_feature(v) for k, v in values.items()}))
    # Otherwise the order of the fields would change from run to run.
    return example.SerializeToString(deterministic=True)


def decode_record(data: bytes) -> Record:
    """Decode a record that `encode_record` encoded.

    Raises
    ------
    BadInput
        When it is not such a record; sizes are checked before anything is decoded.
    """
    feature = _parse_features(data)
    rows, cols, bands, copy = (_take_number(feature, name) for name in ("rows", "cols", "bands", "copy"))
    type_name, encoding = (_take_bytes(feature, name)[0].decode("ascii", "replace") for name in ("dtype", "encoding"))
    if type_name not in SAMPLE_TYPES:
        raise BadInput(f"samples of type {type_name[:40]!r} are not among {', '.join(SAMPLE_TYPES)}")
    dtype = np.dtype(type_name)
    if bands < 1:
        raise BadInput(f"it has {count_of(bands, 'band')}")
    check_pixel_count("the image", rows, cols, pixel_bytes=bands * dtype.itemsize)
    shape, parts = (rows, cols, bands), _take_bytes(feature, "image")
    if encoding == JPEG:
        if dtype != np.uint8:
            raise BadInput(f"a JPEG cannot hold samples of type {dtype}")
        image = _decode_jpegs(parts, shape)
    elif encoding == ZLIB:
        image = _inflate(parts, shape, dtype)
    else:
        raise BadInput(f"its image is stored in an unknown way, {encoding[:40]!r}; known are {JPEG} and {ZLIB}")
    labels = _load_picture(_take_bytes(feature, "label")[0], (rows, cols), format="PNG", mode="L")
    return Record(image, labels, _decode_source(feature), copy)


def _list_places(path: Path) -> Iterator[RecordPlace]:
    """Walk through the records of a file; none is read that would end beyond it."""
    offset, n_bytes = 0, path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(_HEAD_BYTES):
            rest = int.from_bytes(head[:8], "little") + _TAIL_BYTES
            if offset + len(head) + rest > n_bytes:
                raise BadInput(f"{path} is damaged or cut short (a record would end after it); make the records again")
            frame = head + file.read(rest)
            yield RecordPlace(offset, len(frame), zlib.crc32(frame))
            offset += len(frame)


def _to_feature(values: list[bytes] | list[int]) -> Any:
    import tensorflow as tf

    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _parse_features(data: bytes) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(data).features.feature
    except DecodeError as error:
        raise BadInput("it is not a record (a tf.train.Example)") from error


def _take_bytes(feature: Any, name: str) -> list[bytes]:
    values = list(feature[name].bytes_list.value) if name in feature else []
    if not values:
        raise BadInput(f"the record has no {name!r}; it was not written by this program")
    return values


def _take_number(feature: Any, name: str) -> int:
    values = list(feature[name].int64_list.value) if name in feature else []
    if len(values) != 1:
        raise BadInput(f"the record has no single number {name!r}; it was not written by this program")
    return int(values[0])


def _decode_source(feature: Any) -> str:
    return _take_bytes(feature, "source")[0].decode("utf-8", "surrogateescape")


def _read_origin(data: bytes) -> tuple[str, int]:
    feature = _parse_features(data)
    return _decode_source(feature), _take_number(feature, "copy")


def _encode_jpegs(image: np.ndarray) -> list[bytes]:
    """Encode 8-bit bands as JPEG: three in colour, a single or a fourth one in grey."""
    n_bands = image.shape[2]
    planes = [image[..., :3]] if n_bands >= 3 else [image[..., 0]]
    planes += [image[..., 3]] if n_bands == 4 else []
    # No subsampling: colour distinguishes narrow things such as a wet edge.
    return [_save_picture(plane, format="JPEG", quality=_QUALITY, subsampling=0) for plane in planes]


def _decode_jpegs(parts: list[bytes], shape: tuple[int, int, int]) -> np.ndarray:
    modes = {1: ["L"], 3: ["RGB"], 4: ["RGB", "L"]}.get(shape[2])
    if modes is None or len(parts) != len(modes):
        raise BadInput(f"it has {count_of(len(parts), 'JPEG')} for {count_of(shape[2], 'band')}")
    planes = [_load_picture(p, shape[:2], format="JPEG", mode=m) for p, m in zip(parts, modes, strict=True)]
    return np.dstack(planes)


def _deflate(image: np.ndarray) -> bytes:
    stored = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    return zlib.compress(stored.tobytes(), _ZLIB_LEVEL)


def _inflate(parts: list[bytes], shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    image = np.empty(shape, dtype.newbyteorder("<"))
    room, filled, inflate = memoryview(image).cast("B"), 0, zlib.decompressobj()
    try:
        for start in range(0, len(parts[0]), _PIECE):
            packed = parts[0][start : start + _PIECE]
            # One byte more than expected, so that data that are too long are noticed but not unpacked.
            while packed and filled <= len(room):
                piece = inflate.decompress(packed, min(_PIECE, len(room) + 1 - filled))
                room[filled : filled + len(piece)] = piece[: len(room) - filled]
                filled, packed = filled + len(piece), inflate.unconsumed_tail
    except zlib.error as error:
        raise BadInput(f"its image is damaged ({error})") from error
    if len(parts) != 1 or filled != len(room) or not inflate.eof:
        raise BadInput("its image is not as long as its size says")
    return image.view(dtype) if sys.byteorder == "little" else image.astype(dtype)


def _save_picture(plane: np.ndarray, **settings: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(file, **settings)
    return file.getvalue()


def _load_picture(data: bytes, shape: tuple[int, int], *, format: str, mode: str) -> np.ndarray:
    """Decode a picture, after a check that its header has this format, size and mode."""
    told = {"where": f"its {format}", "remedy": "make the records again"}
    with open_picture(data, formats=(format,), **told) as picture:
        if picture.mode != mode or picture.size != (shape[1], shape[0]):
            raise BadInput(
                f"its {format} is {picture.size[1]} x {picture.size[0]} pixels of kind {picture.mode}, "
                f"not {shape[0]} x {shape[1]} of {mode}"
            )
        return unpack_picture(picture)
