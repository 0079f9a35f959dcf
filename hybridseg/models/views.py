"""At which scale a network saw the world: what its card says, and how far an image is from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo, measure_resolution
from hybridseg.options import Span

# Objects may be larger or smaller by this factor than any that a network was trained on.
_TOLERANCE = 1.5
# What a card may say: of windows, no more than a training or --scale may ask for; of whole images, what their sizes
# can give.
_WINDOW_SCALES, _FITTED_SCALES = Span(1e-4, 16), Span(1e-6, 1e6)
_SIDES, _METRES = Span(1, 10_000_000), Span(1e-9, 1e9)


@dataclass(frozen=True)
class View:
    """How the photographs of a training were presented to a network.

    Parameters
    ----------
    windows : bool
        Windows of them at their own resolution; False: all of each, resized.
    scale : (float, float)
        Smallest and largest scale: the side of a pixel of the photographs, in pixels of the network.
    photo : (int, int)
        Median rows and columns of the photographs.
    resolution : float or None
        Median of the metres that a side of their pixels covers; None where that is not known.

    Raises
    ------
    BadInput
        When a value is not possible.
    """

    windows: bool
    scale: tuple[float, float]
    photo: tuple[int, int]
    resolution: float | None = None

    def __post_init__(self) -> None:
        for name, values, span in (
            ("scale", self.scale, _WINDOW_SCALES if self.windows else _FITTED_SCALES),
            ("photo", self.photo, _SIDES),
            ("resolution", () if self.resolution is None else (self.resolution,), _METRES),
        ):
            if wrong := [value for value in values if value not in span]:
                raise BadInput(f"its view has {name}={wrong[0]!r:.20}, which is not {span.text}")
        if self.scale[0] > self.scale[1]:
            raise BadInput(f"its view has scale={self.scale}, of which the smaller one comes first")

    @classmethod
    def of(cls, infos: Sequence[ImageInfo], *, size: tuple[int, int], scale: tuple[float, float] | None) -> View:
        """Return the view of photographs that are resized to `size`, or cut into windows at a range of scales."""
        photo = _find_median([info.shape for info in infos])
        resolutions = [measure_resolution(info.georeference) for info in infos]
        known = [resolution for resolution in resolutions if resolution is not None]
        resolution = float(np.median(known)) if len(known) == len(infos) else None
        fitted = _relate(size, photo)
        return cls(scale is not None, scale or (fitted, fitted), photo, resolution)

    @property
    def usual_scale(self) -> float:
        """The scale at which images are predicted: their own, unless the network never saw that."""
        low, high = self.scale
        return 1.0 if low <= 1 <= high else round(math.sqrt(low * high), 4)

    def judge(self, info: ImageInfo, scale: float | None, *, size: tuple[int, int]) -> str:
        """Return a warning about an image whose objects are far from the scale of the training; empty if it is near.

        Without a georeference an image is assumed to show as much as the photographs of the training.

        Parameters
        ----------
        scale : float or None
            At which it is presented; None: all of it is resized to `size`.

        Examples
        --------
        >>> from pathlib import Path
        >>> view = View(True, (0.5, 2.0), (600, 900))
        >>> photo = ImageInfo(Path("a.jpg"), "JPEG", 4800, 7200, 3, "uint8", 1, None)
        >>> view.judge(photo, 1.0, size=(256, 384)).partition(":")[0]
        'has 4800 x 7200 pixels, the photos of the training about 600 x 900'
        >>> view.judge(photo, 0.125, size=(256, 384))
        ''
        """
        resolution = measure_resolution(info.georeference)
        if resolution is not None and self.resolution is not None:
            ratio = resolution / self.resolution
            what = f"has pixels of {resolution:.3g} m, the photos of the training {self.resolution:.3g} m"
            condition = ""
        else:
            ratio = _relate(self.photo, info.shape)
            what = (
                f"has {info.rows} x {info.cols} pixels, the photos of the training about {self.photo[0]} x "
                f"{self.photo[1]}"
            )
            condition = "if it does not show a larger area, "
        seen = (_relate(size, info.shape) if scale is None else scale) / ratio
        low, high = self.scale
        if low / _TOLERANCE <= seen <= high * _TOLERANCE:
            return ""
        usual = self.usual_scale if self.windows else math.sqrt(low * high)
        word = "larger" if seen > high else "smaller"
        factor = seen / high if seen > high else low / seen
        return (
            f"{what}: {condition}its objects look {factor:.1f} times {word} than any that the network was trained on; "
            f"try --native --scale {usual * ratio:.2g}"
        )


def _find_median(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    rows, cols = np.median(np.array(shapes), axis=0).round().astype(int).tolist()
    return rows, cols


def _relate(shape: tuple[int, int], other: tuple[int, int]) -> float:
    """Return how many times the sides of a shape are as long as those of another, in the mean of both sides."""
    return math.sqrt(shape[0] * shape[1] / (other[0] * other[1]))
