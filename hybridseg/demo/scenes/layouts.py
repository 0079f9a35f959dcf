"""The kinds of coast that scenes show, and the random variation of each scene."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hybridseg.demo.scenes.camera import Camera
from hybridseg.demo.scenes.painting import Weather
from hybridseg.demo.scenes.site import Site

# A row for each kind of coast: the camera (height, horizon), then the lengths of a `Site`.
_COLUMNS = (
    *("height", "horizon", "heading", "inland", "surf", "swash", "wet", "dry", "dune", "cliff"),
    *("cliff_at", "road_at", "park", "village", "house", "forest_at", "park_ahead", "river"),
)
_TABLE = """
long_beach     40  0.23  72  -6 26 19 14 30 26 10 86 106  0 60  1.1 134 60 0
cliff_from_sea 54  0.24  18 -82 34 14 13 12  8 27 44  72  0 40  1.3  78 60 0
village        34  0.22 166 178 34 10 13 18 30  0  0  84 17 70  1.4 150 76 0
surf_close     50 -0.45  38 -30 22 15 16 20 14 17 66  96  0  0    1  80 60 0
headland       58  0.22  68  20 22 10 10 12  6 26 36  70  0 52  1.9  70 60 0
car_park       48 -0.12 152 178 30  9 11 14 26  0  0  82 24 40  1.4  84 84 0
estuary        42   0.2  64  -4 26 15 22 30 44  0 86 124  0 56  1.2 150 60 8
promenade      33  0.24  84  92 34 10 15 32 14  0  0  74 15 86  1.6 150 64 0
cliff_close    46  0.06 -24 -58 24 16 14 19 16 24 60  92  0  0  1.3  94 60 0
roofs          42 -0.14 142 146 34 10 13 18 22  0  0  66 18 70 1.45 130 84 0
high_road      50   0.2  74  52 22 15 10 12  6 20 36  70 11 70 1.85 100 62 0
beach_from_sea 40  0.17 -16 -54 20 22 22 22 34 17 92 114  0 52  1.3 124 60 0
"""


def _read_layout(row: str) -> tuple[str, Site]:
    name, *numbers = row.split()
    values: dict[str, Any] = dict(zip(_COLUMNS, map(float, numbers), strict=True))
    camera = Camera(height=values.pop("height"), horizon=values.pop("horizon"))
    return name, Site(camera=camera, **values)


LAYOUTS = dict(map(_read_layout, _TABLE.strip().splitlines()))

_LEAVES = np.array([[0.045, 0.085, 0.028], [0.060, 0.085, 0.022], [0.030, 0.065, 0.034]], np.float32)
_SCRUBS = np.array([[0.13, 0.16, 0.075], [0.17, 0.17, 0.09], [0.11, 0.16, 0.085]], np.float32)
_ROCKS = np.array([[0.34, 0.27, 0.20], [0.30, 0.28, 0.26], [0.40, 0.31, 0.21], [0.36, 0.24, 0.17]], np.float32)
_SANDS = np.array([[0.52, 0.42, 0.29], [0.47, 0.41, 0.33], [0.58, 0.45, 0.27]], np.float32)
_DEEPS = np.array([[0.018, 0.075, 0.105], [0.040, 0.075, 0.070], [0.012, 0.065, 0.125]], np.float32)
_SHALLOWS = np.array([[0.09, 0.27, 0.27], [0.17, 0.21, 0.16], [0.08, 0.30, 0.31]], np.float32)


def draw_site(rng: np.random.Generator, layout: Site) -> Site:
    """Draw one site of a layout: mirrored or not, every length a little different.

    Examples
    --------
    >>> draw_site(np.random.default_rng(0), LAYOUTS["village"]).house > 1
    True
    """
    lengths = ("surf", "swash", "wet", "dry")
    stretched = {name: getattr(layout, name) * float(rng.uniform(0.9, 1.15)) for name in lengths}
    camera = replace(
        layout.camera,
        height=layout.camera.height * float(rng.uniform(0.94, 1.08)),
        horizon=layout.camera.horizon + float(rng.uniform(-0.02, 0.02)),
    )
    mirrored = 1.0 if rng.random() < 0.5 else -1.0
    return replace(
        layout,
        camera=camera,
        heading=mirrored * layout.heading + float(rng.uniform(-9.0, 9.0)),
        river=layout.river * float(rng.uniform(0.7, 1.3)),
        shifts=tuple(float(shift) for shift in rng.random(8)),
        **stretched,
    )


def draw_weather(rng: np.random.Generator, site: Site) -> Weather:
    """Draw the light and the local colours of one scene.

    Parameters
    ----------
    site : Site
        The sun is placed so that the view of the camera is lit from a side.

    Examples
    --------
    >>> weather = draw_weather(np.random.default_rng(0), LAYOUTS["village"])
    >>> bool(np.isclose(np.linalg.norm(weather.sun), 1.0))
    True
    """
    side = 1.0 if rng.random() < 0.5 else -1.0
    offset = side * rng.uniform(25.0, 65.0)
    # a cliff faces the sea: with the sun elsewhere its face would always be in shadow
    azimuth = np.deg2rad(site.heading + 180.0 + offset if site.cliff else 90.0 * side + offset * 0.7)
    elevation = np.deg2rad(rng.uniform(26.0, 52.0))
    warmth = 1.0 - (elevation - 0.45) / 0.46  # a low sun is warmer
    level = np.cos(elevation)
    return Weather(
        sun=np.array([np.sin(azimuth) * level, np.cos(azimuth) * level, np.sin(elevation)], np.float32),
        sunshine=np.array([1.0, 0.95 - 0.06 * warmth, 0.86 - 0.16 * warmth], np.float32)
        * np.float32(rng.uniform(1.5, 1.8)),
        skylight=np.array([0.22, 0.28, 0.38], np.float32) * np.float32(rng.uniform(0.85, 1.1)),
        haze=np.array([0.52, 0.66, 0.80], np.float32) + np.float32(rng.uniform(-0.06, 0.08)),
        haze_range=float(rng.uniform(900.0, 2600.0)),
        zenith=np.array([0.08, 0.22, 0.54], np.float32)
        * rng.uniform([0.9, 0.9, 0.8], [1.6, 1.3, 1.1]).astype(np.float32),
        cloudiness=float(rng.uniform(0.05, 0.6)),
        sand=_blend(rng, _SANDS),
        deep=_blend(rng, _DEEPS),
        shallow=_blend(rng, _SHALLOWS),
        leaf=_blend(rng, _LEAVES),
        scrub=_blend(rng, _SCRUBS),
        rock=_blend(rng, _ROCKS),
    )


def _blend(rng: np.random.Generator, colors: np.ndarray) -> np.ndarray:
    """Mix the given colours in random proportions."""
    return (rng.dirichlet(np.full(len(colors), 0.7)) @ colors).astype(np.float32)
