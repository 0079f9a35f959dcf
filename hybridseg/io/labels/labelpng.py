"""Label maps as PNG: class INDICES in the pixels, class colours as the palette, class names in a text chunk."""

from __future__ import annotations

import io
import os

import numpy as np

from hybridseg.classes import ClassTable, seeds_to_labels
from hybridseg.errors import BadInput, located
from hybridseg.io.atomic import atomic_path
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.labels.labelmaps import (
    Ids,
    LabelMap,
    decode_names,
    encode_names,
    gather_ids,
    match_painted,
    narrow_labels,
)
from hybridseg.io.labels.pngcheck import check_png
from hybridseg.io.pictures import list_strips, open_picture
from hybridseg.io.rasters import check_pixel_count, open_raster, read_strips
from hybridseg.markup import count_of

_NAMES_KEY, _MADE_BY_KEY = "hybridseg:classes", "hybridseg:made_by"
# Grey pictures of 2 and 4 bits are decoded scaled to a byte; these factors undo it.
_SPREAD = {"L;2": 85, "L;4": 17}


def write_labelpng(path: str | os.PathLike[str], labelmap: LabelMap, *, durable: bool = True) -> None:
    """Write a label map as a paletted PNG, whole or not at all. VOID (255) is black."""
    from PIL import Image, PngImagePlugin

    table = labelmap.require_table(path)
    picture = Image.fromarray(labelmap.labels)
    # The palette is attached, not converted to: the bytes stay the class ids.
    picture = picture.convert("L")
    picture.putpalette(table.palette().tobytes())
    text = PngImagePlugin.PngInfo()
    text.add_itxt(_NAMES_KEY, encode_names(table))
    if labelmap.made_by is not None:
        text.add_itxt(_MADE_BY_KEY, labelmap.made_by)
    with atomic_path(path, durable=durable) as temporary:
        picture.save(temporary, format="PNG", pnginfo=text, compress_level=6)


def read_labelpng(path: str | os.PathLike[str], *, table: ClassTable | None = None) -> LabelMap:
    """Read a PNG label map: palette or grey pixels are class ids, a colour picture is matched to class colours.

    Parameters
    ----------
    table : ClassTable or None
        The classes of a file that does not name them; needed for a colour picture.

    Raises
    ------
    MissingInput, BadInput
        When the file is not a PNG, damaged, or holds ids or colours without a class.
    """
    info = describe_image(path)
    if info.format != "PNG":
        raise BadInput(f"{path} is a {info.format} file named .png; give the original label map")
    if info.orientation != 1:
        raise BadInput(f"{path} carries an EXIF orientation, which a label map must not have; save it again without")
    check_pixel_count(path, info.rows, info.cols)
    check_png(info.path)
    if info.bands > 1:
        return LabelMap(_read_painted(info, table), table)
    ids, own_table, made_by = _read_indices(info)
    table = own_table or table
    return LabelMap(narrow_labels(ids, table, where=path), table, made_by=made_by)


def _read_painted(info: ImageInfo, table: ClassTable | None) -> np.ndarray:
    if info.dtype != "uint8" or info.bands < 3:
        raise BadInput(
            f"{info.path} is not a label map: {count_of(info.bands, 'band')} of {info.dtype}; save it with a palette"
        )
    with open_raster(info.path) as dataset:
        return match_painted(read_strips(dataset, (1, 2, 3)), table, shape=info.shape, where=info.path)


def _read_indices(info: ImageInfo) -> tuple[Ids, ClassTable | None, str | None]:
    """Return the raw pixel values, the classes that the file names, and its record."""
    path = info.path
    if info.dtype != "uint8":
        # Pillow makes four bytes of two.
        with open_raster(path) as dataset:
            return gather_ids(info.shape, read_strips(dataset, 1), where=path), None, None
    with open_picture(path) as picture:
        # Before it is loaded.
        spread = _SPREAD.get(str(picture.tile[0][3]), 1)
        parts = ((rows, strip // spread if spread > 1 else strip) for rows, strip in list_strips(picture))
        ids = gather_ids(info.shape, parts, where=path)
        names, palette = picture.info.get(_NAMES_KEY), picture.getpalette()
        made_by = picture.info.get(_MADE_BY_KEY)
    with located(path):
        table = _make_table(decode_names(str(names)), palette) if names else None
    return ids, table, None if made_by is None else str(made_by)


def _make_table(names: list[str], palette: list[int] | None) -> ClassTable:
    if not palette or len(palette) < 3 * len(names):
        return ClassTable.from_names(names)
    colors = tuple((palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]) for i in range(len(names)))
    return ClassTable(tuple(names), colors)


def encode_overlay(seeds: np.ndarray, table: ClassTable) -> bytes:
    """Encode seeds, (rows, cols) uint8, as a PNG to be laid over a picture; unlabelled pixels are transparent."""
    from PIL import Image

    picture = Image.fromarray(seeds).convert("L")
    picture.putpalette(table.palette()[seeds_to_labels(np.arange(256, dtype=np.uint8))].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", transparency=0, compress_level=1)
    return buffer.getvalue()
