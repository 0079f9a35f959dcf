"""The kinds of coast that scenes show, and the random variation of each scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridseg.demo.scenes.camera import Camera
from hybridseg.demo.scenes.painting import Weather
from hybridseg.demo.scenes.site import Site

LONG_BEACH = Site(
    camera=Camera(height=40.0, horizon=0.23),
    heading=72.0,
    inland=-6.0,
    surf=26.0,
    swash=19.0,
    wet=14.0,
    dry=30.0,
    dune=26.0,
    cliff=10.0,
    cliff_at=86.0,
    road_at=106.0,
    park=0.0,
    village=60.0,
    house=1.1,
    forest_at=134.0,
)
CLIFF_FROM_SEA = Site(
    camera=Camera(height=54.0, horizon=0.24),
    heading=18.0,
    inland=-82.0,
    surf=34.0,
    swash=14.0,
    wet=13.0,
    dry=12.0,
    dune=8.0,
    cliff=27.0,
    cliff_at=44.0,
    road_at=72.0,
    park=0.0,
    village=40.0,
    house=1.3,
    forest_at=78.0,
)
VILLAGE = Site(
    camera=Camera(height=34.0, horizon=0.22),
    heading=166.0,
    inland=178.0,
    surf=34.0,
    swash=10.0,
    wet=13.0,
    dry=18.0,
    dune=30.0,
    cliff=0.0,
    cliff_at=0.0,
    road_at=84.0,
    park=17.0,
    village=70.0,
    house=1.4,
    forest_at=150.0,
    park_ahead=76.0,
)
SURF_CLOSE = Site(
    camera=Camera(height=50.0, horizon=-0.45),
    heading=38.0,
    inland=-30.0,
    surf=22.0,
    swash=15.0,
    wet=16.0,
    dry=20.0,
    dune=14.0,
    cliff=17.0,
    cliff_at=66.0,
    road_at=96.0,
    park=0.0,
    village=0.0,
    house=1.0,
    forest_at=80.0,
)
HEADLAND = Site(
    camera=Camera(height=58.0, horizon=0.22),
    heading=68.0,
    inland=20.0,
    surf=22.0,
    swash=10.0,
    wet=10.0,
    dry=12.0,
    dune=6.0,
    cliff=26.0,
    cliff_at=36.0,
    road_at=70.0,
    park=0.0,
    village=52.0,
    house=1.9,
    forest_at=70.0,
)
CAR_PARK = Site(
    camera=Camera(height=48.0, horizon=-0.12),
    heading=152.0,
    inland=178.0,
    surf=30.0,
    swash=9.0,
    wet=11.0,
    dry=14.0,
    dune=26.0,
    cliff=0.0,
    cliff_at=0.0,
    road_at=82.0,
    park=24.0,
    village=40.0,
    house=1.4,
    forest_at=84.0,
    park_ahead=84.0,
)
ESTUARY = replace(
    LONG_BEACH,
    camera=Camera(height=42.0, horizon=0.2),
    heading=64.0,
    inland=-4.0,
    swash=15.0,
    dry=30.0,
    dune=44.0,
    cliff=0.0,
    road_at=124.0,
    village=56.0,
    house=1.2,
    forest_at=150.0,
    river=8.0,
    wet=22.0,
)
PROMENADE = replace(
    VILLAGE,
    camera=Camera(height=33.0, horizon=0.24),
    heading=84.0,
    inland=92.0,
    dune=14.0,
    road_at=74.0,
    park=15.0,
    village=86.0,
    house=1.6,
    forest_at=150.0,
    park_ahead=64.0,
    dry=32.0,
    wet=15.0,
)
CLIFF_CLOSE = replace(
    CLIFF_FROM_SEA,
    camera=Camera(height=46.0, horizon=0.06),
    heading=-24.0,
    inland=-58.0,
    surf=24.0,
    swash=16.0,
    wet=14.0,
    dune=16.0,
    cliff=24.0,
    cliff_at=60.0,
    road_at=92.0,
    village=0.0,
    forest_at=94.0,
    dry=19.0,
)
ROOFS = replace(
    VILLAGE,
    camera=Camera(height=42.0, horizon=-0.14),
    heading=142.0,
    inland=146.0,
    dune=22.0,
    road_at=66.0,
    park=18.0,
    village=70.0,
    house=1.45,
    forest_at=130.0,
    park_ahead=84.0,
)
HIGH_ROAD = replace(
    HEADLAND,
    camera=Camera(height=50.0, horizon=0.2),
    heading=74.0,
    inland=52.0,
    swash=15.0,
    cliff=20.0,
    road_at=70.0,
    park=11.0,
    village=70.0,
    house=1.85,
    forest_at=100.0,
    park_ahead=62.0,
)
BEACH_FROM_SEA = replace(
    LONG_BEACH,
    camera=Camera(height=40.0, horizon=0.17),
    heading=-16.0,
    inland=-54.0,
    surf=20.0,
    swash=22.0,
    wet=22.0,
    dune=34.0,
    cliff=17.0,
    cliff_at=92.0,
    road_at=114.0,
    village=52.0,
    house=1.3,
    forest_at=124.0,
    dry=22.0,
)
LAYOUTS: tuple[Site, ...] = (
    LONG_BEACH,
    CLIFF_FROM_SEA,
    VILLAGE,
    SURF_CLOSE,
    HEADLAND,
    CAR_PARK,
    ESTUARY,
    PROMENADE,
    CLIFF_CLOSE,
    ROOFS,
    HIGH_ROAD,
    BEACH_FROM_SEA,
)

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
    >>> draw_site(np.random.default_rng(0), VILLAGE).house > 1
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
    >>> weather = draw_weather(np.random.default_rng(0), VILLAGE)
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
