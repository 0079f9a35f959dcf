"""Mosaics as `gdalbuildvrt` lists them, VRT files, which are put together without the driver that GDAL has for them.

That one opens whatever a VRT names, by any driver: other files, addresses, programs. Here a VRT is only a list of
places, and each image in it is opened as one that the user names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

# What could make it read another file, or grow, is refused first.
from xml.etree import ElementTree  # nosec B405

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.rasters import GeoReference, advise_conversion
from hybridseg.io.textfiles import read_whole

_MAX_BYTES = 64 << 20
_MAX_BANDS, _MAX_SIDE, _MAX_CRS = 256, (1 << 31) - 1, 100_000
# How much an image may be shrunk.
_MAX_SHRUNK = 4.0
_TYPES = {
    "Byte": "uint8", "Int8": "int8", "UInt16": "uint16", "Int16": "int16", "UInt32": "uint32", "Int32": "int32",
    "Float32": "float32", "Float64": "float64",
}  # fmt: skip
_COLORS = ("undefined", "gray", "red", "green", "blue", "alpha")
# What says nothing about pixels and their place.
_OF_MOSAIC = {"Metadata", "OverviewList"}
_OF_BAND = {"Metadata", "Description", "UnitType", "CategoryNames", "Histograms", "Offset", "Scale", "Overview"}
_OF_SOURCE = {"SourceProperties"}
_SOURCES = {"SimpleSource", "ComplexSource"}
_RECT = ("xOff", "yOff", "xSize", "ySize")


@dataclass(frozen=True)
class Piece:
    """What one image gives to a mosaic.

    Parameters
    ----------
    bands, origins : tuple of int
        Bands of the mosaic, from 0; and those of the image, from 1, that become them.
    taken, place : tuple of 4 floats
        Of the image, and of the mosaic: the first column and row, and how many.
    nodata : float or None
        Where the image has this value, it gives nothing.
    is_masked : bool
        Nor where it is masked out.
    value : float or None
        Given instead of what is in the image.
    from_mask : bool
        It gives the mask of these bands.
    """

    path: Path
    bands: tuple[int, ...]
    origins: tuple[int, ...]
    taken: tuple[float, ...]
    place: tuple[float, ...]
    nodata: float | None
    is_masked: bool
    value: float | None
    from_mask: bool


@dataclass(frozen=True)
class Mosaic:
    """What a VRT says: size, samples, place on the Earth, and which images lie where, the later over the earlier.

    Parameters
    ----------
    colors : tuple of str
        What each band shows, as GDAL calls it.
    nodata, fill : float or None
        What pixels have without a value, as it is declared; and what they are given where no image is.
    has_mask : bool
        The pieces also have a band behind the last, which is the mask of the others.
    """

    path: Path
    rows: int
    cols: int
    dtype: str
    colors: tuple[str, ...]
    nodata: float | None
    fill: float | None
    has_mask: bool
    georeference: GeoReference | None
    pieces: tuple[Piece, ...]

    @property
    def n_bytes(self) -> int:
        """That its pixels take."""
        return self.rows * self.cols * (len(self.colors) * np.dtype(self.dtype).itemsize + self.has_mask)

    @property
    def sources(self) -> list[Path]:
        """The images, each once."""
        return list(dict.fromkeys(piece.path for piece in self.pieces))


def read_mosaic(path: Path) -> Mosaic:
    """Read what a VRT says, and open nothing that it names.

    Raises
    ------
    MissingInput, BadInput
        Also for all that `gdalbuildvrt` does not write of images that are put together as they are.
    """
    content = read_whole(path, most=_MAX_BYTES, remedy="give a mosaic that gdalbuildvrt wrote")
    try:
        text = content.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text or "\0" in text:
            raise BadInput(f"{path} is more than a list of images, which may be dangerous; {_advise(path)}")
        root = ElementTree.fromstring(text)  # nosec B314 # without a DTD it is no more than text
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise BadInput(f"{path} is not a mosaic (VRT) of GDAL, or damaged ({error}); {_advise(path)}") from error
    try:
        return _parse_mosaic(path, root)
    except _Unknown as error:
        raise BadInput(f"{path} has {error}, and only mosaics of images are read; {_advise(path)}") from error


def _advise(path: Path) -> str:
    return f"if you trust it, {advise_conversion(path)}"


class _Unknown(ValueError):
    """Something in a VRT that is not read here."""


class _Band(NamedTuple):
    """What a VRT says of a band; its pieces each with the band of the image."""

    dtype: str
    color: str
    nodata: float | None
    fill: float | None
    pieces: list[tuple[int, Piece]]


def _parse_mosaic(path: Path, root: ElementTree.Element) -> Mosaic:
    if root.tag != "VRTDataset":
        raise _Unknown(f"{root.tag[:40]!r} as its root")
    _check_attributes(root, {"rasterXSize", "rasterYSize"})
    parts = _sort_children(root, {"SRS", "GeoTransform", "MaskBand", "VRTRasterBand"}, _OF_MOSAIC)
    rows, cols = (_parse_whole(root.get(f"raster{axis}Size"), 1, _MAX_SIDE) for axis in "YX")
    bands = [_parse_band(band, path) for band in parts["VRTRasterBand"]]
    if not 0 < len(bands) <= _MAX_BANDS:
        raise _Unknown(f"{len(bands)} bands instead of 1 to {_MAX_BANDS}")
    first = bands[0]
    # As texts, for NaN equals nothing.
    if len({f"{band.dtype} {band.nodata} {band.fill}" for band in bands}) > 1:
        raise _Unknown("bands of several types, or with several nodata values")
    masks = _take_one(parts["MaskBand"], "masks")
    inner = [band for mask in masks for band in _sort_children(mask, {"VRTRasterBand"}, set())["VRTRasterBand"]]
    mask_stacks = [_parse_band(band, path).pieces for band in _take_one(inner, "masks")]
    pieces = _merge([band.pieces for band in bands]) + (_merge(mask_stacks, len(bands)) if mask_stacks else ())
    for piece in pieces:
        _check_place(piece, rows, cols)
    return Mosaic(
        path, rows, cols, first.dtype, tuple(band.color for band in bands), first.nodata, first.fill,
        bool(mask_stacks), _parse_georeference(parts), pieces,
    )  # fmt: skip


def _check_attributes(element: ElementTree.Element, known: set[str]) -> None:
    for name, value in element.attrib.items():
        if name not in known:
            raise _Unknown(f"{name[:40]}={value[:40]!r} of a {element.tag}")


def _sort_children(
    element: ElementTree.Element, known: set[str], ignored: set[str]
) -> dict[str, list[ElementTree.Element]]:
    found: dict[str, list[ElementTree.Element]] = {tag: [] for tag in known}
    for child in element:
        if child.tag in known:
            found[child.tag].append(child)
        elif child.tag not in ignored:
            raise _Unknown(f"{child.tag[:40]!r} in a {element.tag}")
    return found


def _take_one(found: list[ElementTree.Element], what: str) -> list[ElementTree.Element]:
    if len(found) > 1:
        raise _Unknown(f"several {what}")
    return found


def _take_text(parts: dict[str, list[ElementTree.Element]], tag: str) -> str | None:
    found = _take_one(parts[tag], f"elements {tag}")
    return (found[0].text or "").strip() if found else None


def _parse_number(text: str | None, *, is_finite: bool = True) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.inf
    if is_finite and not math.isfinite(number):
        raise _Unknown(f"{(text or '')[:40]!r} instead of a number")
    return number


def _parse_whole(text: str | None, least: int, most: int) -> int:
    number = _parse_number(text)
    if number != int(number) or not least <= number <= most:
        raise _Unknown(f"{(text or '')[:40]!r} instead of a whole number from {least} to {most}")
    return int(number)


def _parse_band(band: ElementTree.Element, path: Path) -> _Band:
    _check_attributes(band, {"dataType", "band", "blockXSize", "blockYSize"})
    order = {"NoDataValue", "HideNoDataValue", "ColorInterp"}
    parts = _sort_children(band, order | _SOURCES, _OF_BAND)
    dtype = _TYPES.get(band.get("dataType", "Byte"))
    if dtype is None:
        raise _Unknown(f"samples of the type {band.get('dataType', '')[:40]!r}")
    color = (_take_text(parts, "ColorInterp") or "undefined").lower()
    if color not in _COLORS:
        raise _Unknown(f"a band of the kind {color[:40]!r}")
    fill = _take_text(parts, "NoDataValue")
    value = None if fill is None else _fit(_parse_number(fill, is_finite=False), dtype)
    is_hidden = _take_text(parts, "HideNoDataValue") not in (None, "0")
    pieces = [_parse_source(source, path, dtype) for source in band if source.tag in _SOURCES]
    return _Band(dtype, color, None if is_hidden else value, value, pieces)


def _fit(value: float, dtype: str) -> float | None:
    """Return a value if samples can have it."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return float(kind.type(value))
    limits = np.iinfo(kind)
    return value if math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max else None


def _parse_source(source: ElementTree.Element, path: Path, dtype: str) -> tuple[int, Piece]:
    if source.get("resampling", "nearest").lower() not in ("near", "nearest"):
        raise _Unknown(f"resampling by {source.get('resampling', '')[:40]!r}")
    _check_attributes(source, {"resampling"})
    more = {"NODATA", "UseMaskBand", "ScaleOffset", "ScaleRatio"} if source.tag == "ComplexSource" else set()
    parts = _sort_children(source, {"SourceFilename", "SourceBand", "SrcRect", "DstRect"} | more, _OF_SOURCE)
    name, value, nodata = _take_text(parts, "SourceFilename"), None, None
    if not name:
        raise _Unknown("a source without the name of a file")
    _check_attributes(parts["SourceFilename"][0], {"relativeToVRT", "shared"})
    is_beside = parts["SourceFilename"][0].get("relativeToVRT") == "1"
    number, is_masked = _take_text(parts, "SourceBand") or "1", False
    if more:
        given, is_masked = _take_text(parts, "NODATA"), _take_text(parts, "UseMaskBand") == "true"
        nodata = None if given is None else _fit(_parse_number(given, is_finite=False), dtype)
        offset, ratio = _take_text(parts, "ScaleOffset"), _take_text(parts, "ScaleRatio")
        # As `gdalbuildvrt -addalpha` has what is opaque.
        if offset is not None or ratio is not None:
            if _parse_number(ratio) != 0:
                raise _Unknown("values that are scaled")
            value = _fit(_parse_number(offset), dtype)
    taken, place = (_parse_rect(_take_one(parts[tag], tag)) for tag in ("SrcRect", "DstRect"))
    band = _parse_whole(number.removeprefix("mask,"), 1, 5_000)
    home = path.parent / name if is_beside else Path(name)
    return band, Piece(home, (), (), taken, place, nodata, is_masked, value, number.startswith("mask,"))


def _parse_rect(found: list[ElementTree.Element]) -> tuple[float, ...]:
    if not found:
        raise _Unknown("a source without SrcRect or DstRect")
    left, top, width, height = (_parse_number(found[0].get(name)) for name in _RECT)
    if not (width > 0 and height > 0):
        raise _Unknown("a source without an extent")
    return left, top, width, height


def _check_place(piece: Piece, rows: int, cols: int) -> None:
    if not is_within(piece.place, rows, cols):
        raise _Unknown("an image that lies outside")
    if max(piece.taken[2] / piece.place[2], piece.taken[3] / piece.place[3]) > _MAX_SHRUNK:
        raise _Unknown(f"an image that is shrunk more than {_MAX_SHRUNK:.0f} times")


def is_within(rect: tuple[float, ...], rows: int, cols: int) -> bool:
    """Return whether a part lies within so many rows and columns, or less than a pixel outside."""
    left, top, width, height = rect
    return left > -1 and top > -1 and left + width < cols + 1 and top + height < rows + 1


def _merge(stacks: list[list[tuple[int, Piece]]], first: int = 0) -> tuple[Piece, ...]:
    """Return the pieces of some bands; where all have the same ones, each image is opened once for all of them."""
    images = [[piece for _, piece in stack] for stack in stacks]
    if all(stack == images[0] for stack in images):
        bands = tuple(range(first, first + len(stacks)))
        origins = zip(*([origin for origin, _ in stack] for stack in stacks), strict=True)
        return tuple(replace(one, bands=bands, origins=two) for one, two in zip(images[0], origins, strict=True))
    return tuple(
        replace(piece, bands=(band,), origins=(origin,))
        for band, stack in enumerate(stacks, first)
        for origin, piece in stack
    )


def _parse_georeference(parts: dict[str, list[ElementTree.Element]]) -> GeoReference | None:
    crs, text = _take_text(parts, "SRS") or None, _take_text(parts, "GeoTransform")
    if crs is not None and len(crs) > _MAX_CRS:
        raise _Unknown("an endless reference system")
    if text is None:
        return GeoReference(crs, None) if crs else None
    numbers = [_parse_number(part) for part in text.split(",")]
    if len(numbers) != 6:
        raise _Unknown(f"{len(numbers)} numbers instead of 6 that place it on the Earth")
    c, a, b, f, d, e = numbers
    return GeoReference(crs, (a, b, c, d, e, f))
