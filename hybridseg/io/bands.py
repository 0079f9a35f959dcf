"""The bands of images: those that a model takes, and one image of several files of one band each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo, describe_image
from hybridseg.io.lazyimages import ROOM, LazyImage, open_lazily
from hybridseg.io.rasters import GeoReference
from hybridseg.markup import count_of

_N_COLORS = 3


AnyImage = TypeVar("AnyImage", np.ndarray, LazyImage)


def match_bands(image: AnyImage, n_bands: int, *, model: object, has_alpha: bool = False) -> tuple[AnyImage, str]:
    """Return an image with the bands that a model takes, and in words what that left out or repeated.

    Parameters
    ----------
    image : numpy.ndarray or LazyImage
        (rows, cols, bands).
    model : object
        The name of the model.
    has_alpha : bool
        See `ImageInfo`.

    Raises
    ------
    BadInput
        When the bands mean something else than those of the model.

    Examples
    --------
    >>> match_bands(np.zeros((4, 6, 1)), 3, model="net.h5")[0].shape
    (4, 6, 3)
    """
    found = image.shape[2]
    if found == n_bands:
        return image, ""
    n_colors = found - has_alpha
    if n_colors == n_bands:
        return _see(image, lambda pixels: pixels[..., :n_bands], n_bands), (
            f"its transparency (band {found}) is left out: {model} takes {count_of(n_bands, 'band')}"
        )
    if (n_colors, n_bands) == (1, _N_COLORS):
        return _see(image, lambda pixels: pixels[..., :1].repeat(n_bands, axis=2), n_bands), (
            f"it is grey, and {model} takes red, green and blue: its one band stands for all three"
        )
    raise BadInput(
        f"the image has {count_of(found, 'band')}, and {model} takes {n_bands}: give images with the {n_bands} of its "
        "training in a file (in QGIS: Raster > Conversion > Translate), or train a network on such images, as with "
        f"`hybridseg unet train`, which takes any number of bands"
    )


def describe_colors(n_bands: int, *, model: object, has_alpha: bool = False) -> str:
    """Return in words which bands a model of photos sees of an image, see `as_rgb8`; empty for grey and for colours.

    Examples
    --------
    >>> describe_colors(5, model="model.pb")
    'it has 5 bands, and model.pb takes red, green and blue: its first three stand for them'
    >>> describe_colors(4, model="model.pb", has_alpha=True)
    ''
    """
    n_colors = n_bands - has_alpha
    if n_colors in (1, _N_COLORS):
        return ""
    shown = "its first three stand for them" if n_bands >= _N_COLORS else "its first one stands for all three"
    return f"it has {count_of(n_bands, 'band')}, and {model} takes red, green and blue: {shown}"


def _see(image: AnyImage, view: Callable[[np.ndarray], np.ndarray], n_bands: int) -> AnyImage:
    return image.see(view, n_bands) if isinstance(image, LazyImage) else view(image)


def stack_bands(paths: Sequence[str | os.PathLike[str]], *, room: int = ROOM) -> tuple[LazyImage, ImageInfo]:
    """Open files of one band each as the bands of one image of any size, in this order.

    Parameters
    ----------
    room : int
        Bytes that may be taken.

    Returns
    -------
    image : LazyImage
        With a picture where all bands have one.
    info : ImageInfo
        The header of the first, with the bands of all.

    Raises
    ------
    MissingInput, BadInput
        As `open_lazily`, and when a file has more bands, another size or another place on Earth than the first.
    """
    infos = [describe_image(path) for path in paths]
    first = infos[0]
    for info in infos:
        _check_single(info, info.bands)
        if info.shape != first.shape:
            raise BadInput(
                f"{info.path} has {info.rows} x {info.cols} pixels, and {first.path} has {first.rows} x {first.cols}; "
                "give bands of one size"
            )
        if not _lie_together(info.georeference, first.georeference):
            raise BadInput(f"{info.path} lies elsewhere on Earth than {first.path}; give bands of one place")
    dtype = np.result_type(*(info.dtype for info in infos))
    bands = [open_lazily(path, room=room // len(paths)) for path in paths]
    for info, band in zip(infos, bands, strict=True):
        # A palette has become three.
        _check_single(info, band.shape[2])
    return LazyImage.stack(bands), replace(first, bands=len(paths), dtype=str(dtype), has_alpha=False)


def _check_single(info: ImageInfo, n_bands: int) -> None:
    if n_bands != 1:
        n_found = count_of(n_bands, "band")
        raise BadInput(f"{info.path} has {n_found}; give files of one band each as the bands of one image")


def _lie_together(one: GeoReference | None, other: GeoReference | None) -> bool:
    """Return whether two rasters of one size may show the same place: as far as they say where they lie."""
    if one is None or other is None:
        return True
    if one.transform is not None and other.transform is not None:
        # A hundredth of a pixel.
        near = 0.01 * max(map(abs, other.transform[:2] + other.transform[3:5]))
        if not np.allclose(one.transform, other.transform, rtol=0, atol=near):
            return False
    return one.crs is None or other.crs is None or one.crs == other.crs
