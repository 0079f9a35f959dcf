"""One stretch of coast in numbers, the land covers, and the coordinates that follow the shore."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hybridseg.demo.scenes.camera import Camera


class Cover(IntEnum):
    """Land cover, in the order of the class ids."""

    SKY = 0
    WATER = 1
    FOAM = 2
    SWASH = 3
    WETSAND = 4
    DRYSAND = 5
    DUNE = 6
    CLIFF = 7
    FOREST = 8
    ROAD = 9
    BUILDING = 10


@dataclass(frozen=True)
class Site:
    """One stretch of coast and where the camera stands; lengths in metres, `heading` in degrees.

    `heading` is the direction in which the land rises: 0 straight ahead, 90 to the right, 180 behind the
    camera. `inland` is where the camera stands. `surf`, `swash`, `wet`, `dry` and `dune` are widths of belts,
    from the sea inland; `cliff` and `cliff_at` are the height and the foot of a cliff (height 0: none).
    `road_at`, `park` (depth of a car park beside the road, `park_ahead` of the camera), `village` (depth of
    the built-up belt behind the road) and `forest_at` lie farther inland. `house` scales the houses, `river`
    is half the width of a river (0: none), `bend` is how far the bay swings, and `shifts` are eight numbers
    0..1 that make a site differ from all others of its layout.
    """

    camera: Camera
    heading: float
    inland: float
    surf: float
    swash: float
    wet: float
    dry: float
    dune: float
    cliff: float
    cliff_at: float
    road_at: float
    park: float
    village: float
    house: float
    forest_at: float
    park_ahead: float = 60.0
    river: float = 0.0
    bend: float = 12.0
    shifts: tuple[float, ...] = (0.0,) * 8


def locate_on_shore(site: Site, east: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn camera-relative ground positions into shore coordinates.

    Parameters
    ----------
    east, ahead : numpy.ndarray
        Metres to the right of and ahead of the camera, float32.

    Returns
    -------
    tuple of numpy.ndarray
        `along` and `inland` (following the bay's smooth bend, without fractal bends), metres.

    Examples
    --------
    >>> from hybridseg.demo.scenes.layouts import LAYOUTS
    >>> here = np.zeros(1, np.float32)
    >>> along, inland = locate_on_shore(LAYOUTS["promenade"], here, here)
    >>> float(inland[0]) == LAYOUTS["promenade"].inland
    True
    """
    turn = np.deg2rad(site.heading)
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    along = east * cosine - ahead * sine
    inland = east * sine + ahead * cosine + np.float32(site.inland)
    # The bend is zero in front of the camera, so that a layout shows what it is meant to show.
    wave = np.sin(along * np.float32(1 / 95.0) + np.float32(site.shifts[0] * 6.28))
    return along, inland + np.float32(site.bend) * (wave - np.float32(np.sin(site.shifts[0] * 6.28)))
