"""Light, weather and pixels: the inputs of every painter of a land cover.

Colours are linear light, not display values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hybridseg.demo.scenes.noise import NoiseLibrary, NoiseTile
from hybridseg.demo.scenes.site import Site


@dataclass(frozen=True)
class Weather:
    """The light of one scene and the local colours; colours are (3,) float32 linear RGB.

    `sun` is the unit vector towards the sun: east, ahead, up. `haze_range` is in metres.
    """

    sun: np.ndarray
    sunshine: np.ndarray
    skylight: np.ndarray
    haze: np.ndarray
    haze_range: float
    zenith: np.ndarray
    cloudiness: float
    sand: np.ndarray
    deep: np.ndarray
    shallow: np.ndarray
    leaf: np.ndarray
    scrub: np.ndarray
    rock: np.ndarray


@dataclass(frozen=True)
class Patch:
    """Pixels to paint, as flat float32 arrays of one length.

    `along`, `inland` and `shore` are shore coordinates (`shore` with the waterline's fractal bends), `height`
    is metres above the sea, `below` metres beneath the top of a steep wall, `footprint` metres per pixel,
    `sunlight` the sun's cosine times `shadow`, the share of the sun that is not hidden, `grazing` the sine of
    the angle at which the camera looks down, and `azimuth` the direction of sight from the sun, in radians.
    """

    along: np.ndarray
    inland: np.ndarray
    shore: np.ndarray
    height: np.ndarray
    below: np.ndarray
    footprint: np.ndarray
    sunlight: np.ndarray
    shadow: np.ndarray
    grazing: np.ndarray
    azimuth: np.ndarray

    def sample(self, tile: NoiseTile, *, period: float, shift: tuple[float, float], stretch: float = 1.0) -> np.ndarray:
        """Look a tile up at the pixels, features drawn out along the shore by `stretch`."""
        along = self.along * np.float32(1.0 / stretch)
        return tile.sample(along, self.inland, period=period, footprint=self.footprint, shift=shift)

    def select(self, chosen: np.ndarray) -> Patch:
        """Keep the chosen pixels."""
        return Patch(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


@dataclass(frozen=True)
class Studio:
    """What every painter needs besides the pixels."""

    site: Site
    noise: NoiseLibrary
    weather: Weather


def mix(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Blend two colours, (3,) or (n, 3), by `part` (n,): 0 gives the first, 1 the second."""
    return first + (second - first) * part[:, None]


def light_up(albedo: np.ndarray, patch: Patch, weather: Weather) -> np.ndarray:
    """Return the light that a matt surface reflects from sun and sky."""
    return albedo * (weather.skylight + weather.sunshine * patch.sunlight[:, None])


def reflect_sky(patch: Patch, weather: Weather, tilt: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the sky's reflection in a water surface, and how strongly it reflects."""
    sine = np.clip(patch.grazing + tilt, 0.02, 1.0)
    strength = 0.03 + 0.75 * (1.0 - sine) ** 4
    return mix(weather.haze, weather.zenith, np.sqrt(sine)), strength.astype(np.float32)


def measure_light(weather: Weather) -> np.ndarray:
    """Return the light on a flat surface in the open."""
    return weather.skylight + weather.sunshine * np.float32(weather.sun[2])
