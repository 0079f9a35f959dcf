"""Synthetic aerial photographs of coasts, with the exact class of every pixel.

The pictures are computed, not taken: a landscape of belts along a shore (`terrain`) is seen through an
oblique camera (`camera`), painted class by class (`materials`) and then degraded slightly, as by lenses
and sensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hybridseg.demo.scenes.camera import View, build_ray_grid, cast_shadows, find_visible, measure_sunlight
from hybridseg.demo.scenes.layouts import LAYOUTS, draw_site, draw_weather
from hybridseg.demo.scenes.materials import PAINTERS
from hybridseg.demo.scenes.noise import build_noise_library, smooth_step
from hybridseg.demo.scenes.painting import Patch, Studio, Weather, mix
from hybridseg.demo.scenes.scribbles import draw_scribbles
from hybridseg.demo.scenes.site import Cover, Site, locate_on_shore
from hybridseg.demo.scenes.terrain import Ground, survey

CLASS_NAMES: tuple[str, ...] = tuple(cover.name.lower() for cover in Cover)
CLASS_COLORS: tuple[tuple[int, int, int], ...] = (
    (151, 202, 235),
    (28, 94, 150),
    (250, 250, 250),
    (88, 196, 190),
    (150, 111, 76),
    (240, 214, 140),
    (160, 190, 80),
    (190, 84, 44),
    (26, 96, 48),
    (88, 88, 96),
    (240, 90, 130),
)


@dataclass(frozen=True)
class Scene:
    """One synthetic photograph.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, 3) uint8.
    labels : numpy.ndarray
        (rows, cols) uint8 class ids from 0, exact for every pixel.
    seeds : numpy.ndarray
        (rows, cols) uint8 sparse strokes: 0 = unlabelled, class k is stored as k+1.
    """

    image: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray


def make_scene(seed: int, *, rows: int = 768, cols: int = 1152) -> Scene:
    """Make one oblique aerial photograph of a coast, its label map and a few scribbles.

    Parameters
    ----------
    seed : int
        Which scene; the layouts take turns from seed to seed.
    rows, cols : int
        Size in pixels. The same seed gives the same scene at every size.

    Examples
    --------
    >>> scene = make_scene(0, rows=48, cols=64)
    >>> scene.image.shape, bool((scene.labels < len(CLASS_NAMES)).all())
    ((48, 64, 3), True)
    """
    site = draw_site(np.random.default_rng((seed, 1)), list(LAYOUTS.values())[seed % len(LAYOUTS)])
    weather = draw_weather(np.random.default_rng((seed, 2)), site)
    radiance, labels = render(site, weather, rows=rows, cols=cols)
    image = expose(radiance, rng=np.random.default_rng((seed, 3)))
    seeds = draw_scribbles(labels, rng=np.random.default_rng((seed, 4)))
    return Scene(image=image, labels=labels, seeds=seeds)


def render(site: Site, weather: Weather, *, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a site.

    Parameters
    ----------
    rows, cols : int
        Size of the picture.

    Returns
    -------
    tuple of numpy.ndarray
        (rows, cols, 3) float32 linear light and (rows, cols) uint8 class ids.

    Examples
    --------
    >>> weather = draw_weather(np.random.default_rng(0), LAYOUTS["long_beach"])
    >>> radiance, labels = render(LAYOUTS["long_beach"], weather, rows=48, cols=64)
    >>> radiance.shape, labels.shape
    ((48, 64, 3), (48, 64))
    """
    studio = Studio(site=site, noise=build_noise_library(), weather=weather)
    over_land = abs(site.heading) > 45.0  # else high ground is far ahead, well within the picture
    highest = site.cliff + 10.0 if over_land else 3.0
    grid = build_ray_grid(site.camera, rows=rows, cols=cols, highest=highest)
    along, inland = locate_on_shore(site, grid.east, grid.ahead)
    ground = survey(site, studio.noise, along, inland, grid.footprint)
    view = find_visible(site.camera, grid, ground.height, rows=rows)
    sunlight = measure_sunlight(grid, ground.height, view, weather.sun)
    shadows = cast_shadows(grid, ground.height, weather.sun)
    sky = view.step >= len(grid.ahead)
    at = np.minimum(view.step, len(grid.ahead) - 1), np.arange(cols)[None, :]
    labels = np.where(sky, np.uint8(Cover.SKY), ground.cover[at])
    patch = _gather_patch(studio, view, ground, at, sunlight, shadows[at])
    radiance = _paint_sky(studio, rows, cols)
    for cover, paint in PAINTERS.items():
        chosen = labels == cover
        if chosen.any():
            seen = patch.select(chosen)
            radiance[chosen] = _add_haze(paint(seen, studio), view.ahead[chosen], weather)
    return radiance, labels


def _gather_patch(
    studio: Studio,
    view: View,
    ground: Ground,
    at: tuple[np.ndarray, np.ndarray],
    sunlight: np.ndarray,
    shadow: np.ndarray,
) -> Patch:
    """Collect what the painters need to know of every pixel."""
    camera = studio.site.camera
    along, inland = locate_on_shore(studio.site, view.east, view.ahead)
    distance = np.sqrt(view.ahead**2 + view.east**2 + np.float32(camera.height**2))
    sun = studio.weather.sun
    # a wall stands where the sample before is something else; within one thing the ground only slopes
    rises = ground.cover[np.maximum(at[0] - 1, 0), at[1]] != ground.cover[at]
    return Patch(
        along=along,
        inland=inland,
        shore=ground.shore[at],
        height=view.height,
        below=np.where(rises, ground.height[at] - view.height, np.float32(0.0)),
        footprint=view.ahead / np.float32(camera.focal * view.ahead.shape[0]),
        sunlight=sunlight * shadow,
        shadow=shadow,
        grazing=np.float32(camera.height) / distance,
        azimuth=np.arctan2(view.east, view.ahead) - np.float32(np.arctan2(sun[0], sun[1])),
    )


def _add_haze(color: np.ndarray, distance: np.ndarray, weather: Weather) -> np.ndarray:
    """Veil far things in the colour of the air."""
    return mix(color, weather.haze, 1.0 - np.exp(-((distance * np.float32(1 / weather.haze_range)) ** 1.25)))


def _paint_sky(studio: Studio, rows: int, cols: int) -> np.ndarray:
    """Paint a sky that deepens upwards, with clouds that crowd towards the horizon."""
    weather, horizon = studio.weather, studio.site.camera.horizon
    radiance = np.zeros((rows, cols, 3), np.float32)
    n_sky = int(np.ceil(max(horizon + 0.01, 0.0) * rows))
    if n_sky == 0:
        return radiance
    up = np.maximum(horizon - (np.arange(n_sky, dtype=np.float32)[:, None] + 0.5) / rows, 0.002)
    across = (np.arange(cols, dtype=np.float32)[None, :] - cols / 2) / rows
    far = 1.0 / (up + 0.06)
    shift = studio.site.shifts
    clouds = studio.noise.cloud.sample(
        across * far, far, period=9.0, footprint=far * far / rows, shift=(shift[0], shift[6])
    )
    wisps = studio.noise.grain.sample(
        across * far * 0.7, far, period=6.0, footprint=far * far / rows, shift=(shift[3], 0.2)
    )
    cover = smooth_step(clouds + 0.18 * wisps, 1.1 - 1.6 * weather.cloudiness, 2.2 - 1.2 * weather.cloudiness)
    blue = mix(weather.haze, weather.zenith, np.broadcast_to(smooth_step(up, -0.02, 0.42), cover.shape).ravel())
    white = weather.haze * 0.4 + np.array([0.62, 0.63, 0.65], np.float32) * (1.0 - 0.12 * clouds.ravel())[:, None]
    radiance[:n_sky] = mix(blue, white, 0.8 * cover.ravel()).reshape(n_sky, cols, 3)
    return radiance


def expose(radiance: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Turn linear light into the picture that a camera would store.

    Parameters
    ----------
    radiance : numpy.ndarray
        (rows, cols, 3) float32 linear light.
    rng : numpy.random.Generator
        Draws exposure, white balance, vignette, softness and sensor noise.

    Returns
    -------
    numpy.ndarray
        (rows, cols, 3) uint8.

    Examples
    --------
    >>> image = expose(np.full((8, 12, 3), 0.5, np.float32), rng=np.random.default_rng(0))
    >>> image.shape, image.dtype.name
    ((8, 12, 3), 'uint8')
    """
    rows, cols = radiance.shape[:2]
    balance = rng.uniform([0.94, 0.98, 0.92], [1.08, 1.02, 1.08]) * rng.uniform(0.86, 1.12)
    vignette, noise_level = rng.uniform(0.08, 0.26), rng.uniform(0.006, 0.012)
    softness = rng.uniform(0.45, 0.65) * min(1.0, rows / 768)
    down = (np.arange(rows, dtype=np.float32)[:, None] - rows / 2) / rows
    across = (np.arange(cols, dtype=np.float32)[None, :] - cols / 2) / rows
    corner = 1.0 - np.float32(vignette) * (down**2 + across**2) / np.float32(0.25 + (cols / rows / 2) ** 2)
    light = np.maximum(radiance * balance.astype(np.float32), 0.0) * corner[..., None]
    grey = light.mean(axis=2, keepdims=True)
    light = np.maximum(grey + 1.06 * (light - grey), 0.0)
    shown = (1.0 - np.exp(-1.7 * light)) ** np.float32(1 / 1.65)  # a film-like curve that saves the highlights
    shown = 0.6 * shown + 0.4 * smooth_step(shown, 0.0, 1.0)
    ndimage.gaussian_filter(shown, (softness, softness, 0), output=shown)
    shown += np.float32(noise_level) * rng.standard_normal(shown.shape, dtype=np.float32)
    return (np.clip(shown, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
