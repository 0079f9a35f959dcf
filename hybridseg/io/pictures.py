"""Pictures as Pillow decodes them: opened with every kind of damage in mind, unpacked without a second copy."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.damage import hush, refuse_damage
from hybridseg.io.labels.pngcheck import find_chunk

_STRIP_BYTES = 1 << 22
_ORIENTATION_TAG = 274

_cap_lock = threading.RLock()


@contextmanager
def open_picture(
    source: Path | bytes, *, formats: tuple[str, ...] | None = None, where: object = None, remedy: str | None = None
) -> Iterator[Any]:
    """Open a picture whose size was checked; damage is refused also while the caller reads from it.

    Parameters
    ----------
    source : pathlib.Path or bytes
        A file, or its content.
    where, remedy : object, str or None
        How the message begins (None: with the file) and ends.

    Raises
    ------
    BadInput
    """
    from PIL import Image

    given = io.BytesIO(source) if isinstance(source, bytes) else source
    more = {} if remedy is None else {"remedy": remedy}
    with refuse_damage(where or source, **more), hush(), _lift_cap(), Image.open(given, formats=formats) as picture:
        yield picture


def list_strips(picture: Any, mode: str | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the pixels from top to bottom, as they are or in another mode; Pillow copies twice what it hands over."""
    step = max(_STRIP_BYTES // (4 * picture.width), 1)
    for top in range(0, picture.height, step):
        bottom = min(top + step, picture.height)
        strip = picture.crop((0, top, picture.width, bottom))
        yield slice(top, bottom), np.asarray(strip.convert(mode) if mode else strip)


def unpack_picture(picture: Any) -> np.ndarray:
    """Return the pixels, (rows, cols) or (rows, cols, bands), of a palette in colours.

    Examples
    --------
    >>> from PIL import Image
    >>> unpack_picture(Image.new("LA", (3, 2), (7, 9))).tolist()
    [[[7, 9], [7, 9], [7, 9]], [[7, 9], [7, 9], [7, 9]]]
    """
    # Only now Pillow knows whether a palette is transparent.
    picture.load()
    mode = picture.palette.mode if picture.mode == "P" else None
    pixels = None
    for rows, strip in list_strips(picture, mode):
        if pixels is None:
            pixels = np.empty((picture.height, *strip.shape[1:]), strip.dtype)
        pixels[rows] = strip
    return np.zeros((0, 0), np.uint8) if pixels is None else pixels


def read_orientation(path: Path) -> int:
    """Return the EXIF orientation of a picture, 1 (upright) where there is none that can be read."""
    from PIL import Image

    try:
        with open_picture(path) as picture:
            # A PNG may have it behind its pixels. To find it Pillow would decode them, before their number is checked.
            if picture.format == "PNG" and "exif" not in picture.info and (late := find_chunk(path, b"eXIf")):
                picture.info["exif"] = b"Exif\0\0" + late
            return int(Image.Image.getexif(picture).get(_ORIENTATION_TAG, 1))
    except BadInput:
        # Also a TIFF that only rasterio can read: scientific rasters are upright.
        return 1


@contextmanager
def _lift_cap() -> Iterator[None]:
    """Lift Pillow's own pixel cap: ours was checked, and the user can raise it."""
    from PIL import Image

    with _cap_lock:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
