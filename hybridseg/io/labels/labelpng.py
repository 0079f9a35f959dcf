"""Label maps as PNG: class INDICES in the pixels, class colours as the palette, class names in a text chunk."""

from __future__ import annotations

import io
import os

import numpy as np

from hybridseg.classes import ClassTable, seeds_to_labels
from hybridseg.errors import BadInput, located
from hybridseg.io.atomic import atomic_path
from hybridseg.io.images import describe_image, pillow_cap_lifted, read_image
from hybridseg.io.labels.labelmaps import LabelMap, decode_names, encode_names, match_painted, narrow_labels
from hybridseg.io.labels.pngcheck import check_png
from hybridseg.io.rasters import check_pixel_count

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
    values, own_table, made_by = _read_indices(path)
    table = own_table or table
    if values is not None:
        return LabelMap(narrow_labels(values, table, where=path), table, made_by=made_by)
    image = read_image(path)
    if image.dtype != np.uint8 or image.shape[2] < 3:
        raise BadInput(f"{path} is not a label map: {image.shape[2]} bands of {image.dtype}; save it with a palette")
    return LabelMap(match_painted(image[..., :3], table, where=path), table)


def _read_indices(path: str | os.PathLike[str]) -> tuple[np.ndarray | None, ClassTable | None, str | None]:
    """Return the raw pixel values (None for a colour picture), the classes that the file names, and its record."""
    from PIL import Image

    try:
        with pillow_cap_lifted(), Image.open(path) as picture:
            if picture.mode not in ("P", "L", "1", "I;16", "I"):
                return None, None, None
            spread = _SPREAD.get(str(picture.tile[0][3]), 1)
            values = np.asarray(picture) // spread if spread > 1 else np.asarray(picture)
            names, palette = picture.info.get(_NAMES_KEY), picture.getpalette()
            made_by = picture.info.get(_MADE_BY_KEY)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise BadInput(f"{path} is damaged or cut short ({error}); copy it again from its source") from error
    with located(path):
        table = _make_table(decode_names(str(names)), palette) if names else None
    return values, table, None if made_by is None else str(made_by)


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
