"""The look of each land cover: from where a pixel lies on the coast to the light it sends to the camera.

Every painter takes the pixels of its own class only, as flat arrays, and returns (n, 3) float32 linear light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hybridseg.demo.scenes.noise import smooth_step
from hybridseg.demo.scenes.painting import Patch, Studio, light_up, measure_light, mix, reflect_sky
from hybridseg.demo.scenes.settlement import (
    PARK_HALF_LENGTH,
    ROAD_WIDTH,
    Houses,
    measure_lane_offset,
    measure_park_offset,
    survey_houses,
)
from hybridseg.demo.scenes.site import Cover, Site
from hybridseg.demo.scenes.terrain import CROWN_PERIOD


def _paint_water(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint swell, wind waves and sun glint over water that pales towards the shore."""
    noise, weather, shift = studio.noise, studio.weather, studio.site.shifts
    swell = patch.sample(noise.swell, period=150.0, shift=(shift[0], shift[3]))
    waves = patch.sample(noise.swell, period=29.0, shift=(shift[1], 0.2), stretch=1.3)
    chop = patch.sample(noise.grain, period=10.0, shift=(0.4, shift[2]))
    drift = patch.sample(noise.cloud, period=260.0, shift=(shift[4], 0.0), stretch=1.6)
    seaward = np.float32(np.cos(np.deg2rad(studio.site.heading)))
    slope = 0.6 * swell + 0.45 * waves + 0.36 * chop
    paleness = np.exp(np.minimum(patch.shore + 8.0 * drift, 0.0) * np.float32(1 / 38.0))
    body = mix(weather.deep, weather.shallow, paleness) * (1.0 + 0.24 * slope + 0.12 * drift)[:, None]
    sky, strength = reflect_sky(patch, weather, 0.10 * slope * (0.5 - 0.5 * seaward))
    lit = body * (weather.skylight + weather.sunshine * np.float32(weather.sun[2]))
    sparkle = smooth_step(0.8 * waves + 0.9 * chop, 1.2, 2.6) * np.exp(-((patch.azimuth / 0.6) ** 2))
    return mix(lit, sky, strength) + weather.sunshine * (0.55 * sparkle)[:, None]


def _paint_foam(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint white lace over churned water, dense where a wave has just broken."""
    noise, weather, shift = studio.noise, studio.weather, studio.site.shifts
    clumps = patch.sample(noise.cloud, period=36.0, shift=(shift[6], shift[7]), stretch=1.7)
    lit_clumps = patch.sample(noise.cloud, period=36.0, shift=(shift[6] + 0.012, shift[7] + 0.01), stretch=1.7)
    # only soft curls: a rough bend would tear the threads to pieces
    soft = replace(patch, footprint=np.maximum(patch.footprint, np.float32(1.2)))
    curl = soft.sample(noise.cloud, period=60.0, shift=(shift[2], shift[4]))
    curled = replace(patch, along=patch.along + 1.3 * curl, inland=patch.inland + 0.9 * curl)
    holes = curled.sample(noise.lace, period=40.0, shift=(shift[5], 0.1), stretch=1.3)
    threads = curled.sample(noise.lace, period=15.0, shift=(0.6, shift[6]), stretch=1.2)
    froth = patch.sample(noise.grain, period=9.0, shift=(0.3, shift[0]))
    roll = np.sin((patch.inland + 2.6 * clumps) * np.float32(6.28 / 15.0))
    density = 0.30 * clumps + 0.30 * roll
    white = smooth_step(density, 0.15, 0.75)
    lace = smooth_step(holes + 0.4 * threads + 0.45 * density + 0.05 * froth, 0.3, 0.95)
    white = np.maximum(white * (0.88 + 0.1 * froth), 0.95 * lace)
    churned = mix(weather.shallow * 0.85, weather.shallow * 0.7 + 0.10, smooth_step(density, -0.6, 0.6))
    relief = 0.88 + 0.07 * froth + np.clip(0.7 * (clumps - lit_clumps), -0.22, 0.22)
    foam = np.array([0.80, 0.82, 0.825], np.float32) * relief[:, None]
    return mix(churned, foam, np.clip(white, 0.0, 1.0)) * measure_light(weather)


def _paint_swash(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint a thin sheet of water with lines of bubbles over wet sand."""
    noise, weather, shift, site = studio.noise, studio.weather, studio.site.shifts, studio.site
    broad = patch.sample(noise.cloud, period=30.0, shift=(shift[2], 0.5), stretch=2.0)
    lines = patch.sample(noise.lace, period=21.0, shift=(0.2, shift[1]), stretch=3.2)
    bubbles = patch.sample(noise.lace, period=6.0, shift=(0.8, shift[5]), stretch=1.3)
    ripple = patch.sample(noise.swell, period=15.0, shift=(0.1, shift[4]))
    depth = smooth_step(patch.shore + 1.6 * broad, 1.1 * site.swash, -0.3 * site.swash)
    bottom = mix(weather.sand * np.float32(0.5), 0.7 * weather.shallow + 0.1 * weather.sand, 0.2 + 0.6 * depth)
    sky, strength = reflect_sky(patch, weather, 0.05 * ripple)
    sheet = light_up(bottom * (1.0 + 0.06 * ripple)[:, None], patch, weather)
    sheet = mix(sheet, sky, np.minimum(1.3 * strength + 0.04, 0.6))
    streaks = smooth_step(lines + 0.22 * broad + 0.15 * bubbles, 0.5, 1.05)
    froth = 0.72 * streaks + 0.5 * smooth_step(bubbles + 0.5 * broad, 0.75, 1.2) * (0.3 + 0.7 * depth)
    return mix(sheet, np.array([0.68, 0.69, 0.68], np.float32) * measure_light(weather), np.clip(froth, 0.0, 0.92))


def _paint_wetsand(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint dark, smooth sand with mirror-like streaks."""
    noise, weather, shift, site = studio.noise, studio.weather, studio.site.shifts, studio.site
    film = patch.sample(noise.cloud, period=24.0, shift=(shift[3], 0.8), stretch=4.5)
    stain = patch.sample(noise.cloud, period=40.0, shift=(0.9, shift[4]))
    grit = patch.sample(noise.grain, period=9.0, shift=(0.5, shift[5]))
    rills = patch.sample(noise.ripple, period=30.0, shift=(0.3, shift[7]))
    dried = smooth_step(patch.shore, site.swash + 0.3 * site.wet, site.swash + 1.05 * site.wet)
    albedo = weather.sand * (0.42 + 0.15 * dried + 0.035 * stain + 0.012 * grit + 0.012 * rills)[:, None]
    sky, strength = reflect_sky(patch, weather)
    mirror = smooth_step(film + 0.3 * stain + 0.12 * rills - 1.5 * dried, -0.5, 0.8)
    gloss = np.minimum((0.08 + 1.4 * strength) * (0.12 + mirror), 0.7)
    return mix(light_up(albedo, patch, weather), sky, gloss)


def _paint_drysand(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint pale sand with wind ripples, footprints and wheel tracks."""
    noise, weather, shift, site = studio.noise, studio.weather, studio.site.shifts, studio.site
    stain = patch.sample(noise.cloud, period=55.0, shift=(shift[7], 0.4))
    grit = patch.sample(noise.grain, period=16.0, shift=(0.2, shift[6]))
    ripple = patch.sample(noise.ripple, period=22.0, shift=(0.6, shift[1]))
    pits = patch.sample(noise.domes, period=17.0, shift=(shift[0], 0.9))
    lit_side = patch.sample(noise.domes, period=17.0, shift=(shift[0] + 0.013, 0.9))
    trampled = smooth_step(stain, -0.2, 1.2)
    relief = 0.085 * ripple * (1.2 - trampled) + 0.22 * (lit_side - pits) * trampled + 0.045 * grit
    albedo = weather.sand * (1.0 + 0.05 * stain + relief)[:, None]
    track = patch.shore - np.float32(site.swash + site.wet + 0.5 * site.dry) - 2.0 * np.sin(patch.along / 23.0)
    wheel = np.exp(-(((np.abs(track) - 0.85) / np.maximum(0.26, 0.6 * patch.footprint)) ** 2))
    albedo *= (1.0 - 0.2 * wheel * (0.7 + 0.3 * grit))[:, None]
    return light_up(albedo, patch, weather)


def _paint_dune(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint tufts of grass and low shrubs, each with a lit and a shaded side, on sand."""
    noise, weather, shift = studio.noise, studio.weather, studio.site.shifts
    to_sun = _turn_to_shore(weather.sun, studio.site)
    thicket = patch.sample(noise.cloud, period=60.0, shift=(shift[1], 0.7))
    blades = patch.sample(noise.grain, period=11.0, shift=(shift[4], 0.6))
    period = 30.0
    sunward_shift = shift[3] + 0.5 / period * to_sun[1], shift[5] + 0.5 / period * to_sun[0]
    tuft = patch.sample(noise.domes, period=period, shift=(shift[3], shift[5]))
    sunward = patch.sample(noise.domes, period=period, shift=sunward_shift)
    tint = patch.sample(noise.tints, period=period, shift=(shift[3], shift[5]))
    grown = smooth_step(tuft + 0.30 * thicket + 0.13 * blades + 0.5 * (tint - 0.5), 0.25, 0.5)
    straw = weather.scrub * np.array([1.5, 1.33, 1.3], np.float32)
    green = mix(weather.scrub, straw, smooth_step(tint + 0.2 * blades + 0.2 * thicket, 0.45, 1.2))
    relief = np.clip(1.0 + 0.9 * (tuft - sunward) + 0.20 * blades, 0.3, 1.8)
    ground = weather.sand * (0.86 - 0.45 * smooth_step(sunward - tuft, 0.05, 0.7) + 0.04 * blades)[:, None]
    return light_up(mix(ground, green * relief[:, None], grown), patch, weather)


def _turn_to_shore(direction: np.ndarray, site: Site) -> tuple[float, float]:
    """Turn a camera-relative direction into one along and towards the land."""
    turn = np.deg2rad(site.heading)
    along = direction[0] * np.cos(turn) - direction[1] * np.sin(turn)
    return float(along), float(direction[0] * np.sin(turn) + direction[1] * np.cos(turn))


def _paint_cliff(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint layered rock, cracked and streaked, with scraps of green near the top."""
    noise, weather, shift, site = studio.noise, studio.weather, studio.site.shifts, studio.site
    warp = patch.sample(noise.cloud, period=90.0, shift=(0.3, shift[0]))
    face = replace(patch, along=patch.along + 0.5 * patch.inland, inland=patch.height + 1.6 * warp)
    layers = face.sample(noise.grain, period=24.0, shift=(shift[1], 0.4), stretch=25.0)
    thin = face.sample(noise.grain, period=10.0, shift=(0.2, shift[2]), stretch=9.0)
    rubble = face.sample(noise.grain, period=14.0, shift=(0.5, shift[6]))
    cracks = face.sample(noise.lace, period=38.0, shift=(0.7, shift[4]))
    stains = replace(face, inland=face.inland * 0.16).sample(noise.grain, period=26.0, shift=(shift[3], 0.1))
    tone = 1.0 + 0.24 * layers + 0.13 * thin + 0.10 * stains + 0.15 * rubble - 0.45 * smooth_step(cracks, 0.45, 1.0)
    rust = np.array([1.20, 0.96, 0.72], np.float32)
    albedo = weather.rock * mix(np.ones(3, np.float32), rust, smooth_step(layers + 0.5 * warp, -0.3, 1.6))
    albedo = albedo * np.clip(tone, 0.22, 1.8)[:, None]
    ledge = smooth_step(rubble + 1.2 * warp + 0.09 * (patch.height - 0.8 * site.cliff), 1.5, 2.1)
    return light_up(mix(albedo, weather.scrub * 0.8, 0.8 * ledge), patch, weather)


def _paint_forest(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint tree crowns, each of its own green, dark in the gaps between them."""
    noise, weather, shift = studio.noise, studio.weather, studio.site.shifts
    stem = shift[1], shift[2]
    crown = patch.sample(noise.domes, period=CROWN_PERIOD, shift=stem)
    tint = patch.sample(noise.tints, period=CROWN_PERIOD, shift=stem)
    # The sides of a crown are steep: unless leaves vary with height too, they turn into streaks.
    along, inland = _turn_to_shore(np.array([0.0, 1.0]), studio.site)
    leafy = replace(
        patch,
        along=patch.along + np.float32(along) * patch.height,
        inland=patch.inland + np.float32(inland) * patch.height,
    )
    leaves = leafy.sample(noise.grain, period=10.0, shift=(0.3, shift[5]))
    region = patch.sample(noise.cloud, period=150.0, shift=(0.8, shift[7]))
    dark, olive = weather.leaf * np.float32(0.7), weather.leaf * np.array([1.9, 1.5, 1.05], np.float32)
    albedo = mix(dark, olive, smooth_step(tint + 0.25 * region, 0.05, 1.2))
    twigs = leafy.sample(noise.domes, period=13.0, shift=(0.8, shift[0]))
    shade = (0.35 + 0.8 * crown) * np.clip(0.72 + 0.45 * leaves + 0.55 * twigs, 0.25, 2.2)
    return light_up(albedo * shade[:, None], patch, weather)


def _paint_road(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint asphalt, patched and cracked, with lane marks and parking bays."""
    noise, weather, shift, site = studio.noise, studio.weather, studio.site.shifts, studio.site
    wear = patch.sample(noise.cloud, period=33.0, shift=(shift[0], 0.1))
    grit = patch.sample(noise.grain, period=5.0, shift=(shift[6], 0.3))
    cracks = patch.sample(noise.lace, period=60.0, shift=(0.1, shift[7]))
    grey = 0.115 + 0.07 * shift[5] + 0.012 * wear + 0.011 * grit
    grey = grey * (1.0 - 0.3 * smooth_step(cracks + 0.25 * wear, 0.75, 1.15))
    blown = smooth_step(wear + 0.5 * grit, 1.3, 2.8)
    albedo = mix(grey[:, None] * np.array([1.0, 1.0, 1.03], np.float32), weather.sand * 0.8, 0.7 * blown)
    marks = _find_road_marks(patch, site) * np.clip(0.85 + 0.2 * grit - 0.3 * blown, 0.2, 1.0)
    return light_up(mix(albedo, np.array([0.62, 0.62, 0.58], np.float32), marks), patch, weather)


def _find_road_marks(patch: Patch, site: Site) -> np.ndarray:
    """Return how much white paint the asphalt carries, 0..1."""
    from_middle = np.abs(patch.inland - np.float32(site.road_at))
    lane = np.abs(measure_lane_offset(site, patch.along))
    on_main = from_middle < ROAD_WIDTH / 2
    middle = np.where(on_main, from_middle, lane)
    run = np.where(on_main, patch.along, patch.inland)
    dashes = _draw_line(middle, 0.11, patch.footprint) * (np.mod(run, np.float32(7.0)) < 3.5)
    edges = _draw_line(from_middle - np.float32(ROAD_WIDTH / 2 - 0.5), 0.09, patch.footprint) * on_main
    if not site.park:
        return np.maximum(dashes, edges)
    depth = patch.inland - np.float32(site.road_at + ROAD_WIDTH / 2)
    in_park = (depth > 0) & (depth < site.park) & (np.abs(measure_park_offset(site, patch.along)) < PARK_HALF_LENGTH)
    bay = np.mod(patch.along, np.float32(2.8)) - np.float32(1.4)
    aisle = np.mod(depth - np.float32(1.0), np.float32(17.0)) - np.float32(8.5)
    bays = _draw_line(bay, 0.08, patch.footprint) * (np.abs(aisle) > 3.4)
    bays = np.maximum(bays, _draw_line(np.abs(aisle) - np.float32(8.4), 0.08, patch.footprint))
    return np.where(in_park, bays, np.maximum(dashes, edges))


def _draw_line(distance: np.ndarray, half_width: float, footprint: np.ndarray) -> np.ndarray:
    """Draw a painted line, which grows fainter rather than ragged where it is narrower than a pixel."""
    soft = np.maximum(footprint, np.float32(0.02))
    share = np.clip((half_width - np.abs(distance)) / soft + 0.5, 0.0, 1.0)
    return share * np.minimum(2.0 * half_width / soft, 1.0)


_ROOFS = np.array(
    [[0.29, 0.12, 0.075], [0.14, 0.145, 0.16], [0.20, 0.13, 0.09], [0.42, 0.41, 0.39], [0.33, 0.18, 0.11]],
    np.float32,
)


def _paint_building(patch: Patch, studio: Studio) -> np.ndarray:
    """Paint tiled roofs and windowed walls."""
    noise, shift = studio.noise, studio.site.shifts
    house = survey_houses(studio.site, patch.along, patch.inland)
    stain = patch.sample(noise.cloud, period=14.0, shift=(0.5, shift[1]))
    grit = patch.sample(noise.grain, period=7.0, shift=(shift[2], 0.7))
    kind = np.minimum((house.tint * len(_ROOFS)).astype(np.int32), len(_ROOFS) - 1)
    fade = np.clip(0.12 / np.maximum(patch.footprint, 0.01), 0.0, 1.0)
    rows_of_tiles = np.sin(house.across * np.float32(6.283 / 0.45))
    rows_of_tiles += 0.6 * np.sin(house.lengthwise * np.float32(6.283 / 0.40))
    tone = 1.0 + 0.14 * rows_of_tiles * fade + 0.09 * stain + 0.10 * grit
    tone *= 1.0 + 0.35 * _draw_line(house.across, 0.2, patch.footprint)
    skylight = (np.abs(np.mod(house.lengthwise, np.float32(5.0)) - 2.5) < 0.55) & (house.tint > 0.35)
    skylight &= np.abs(np.abs(house.across) - 0.45 * house.half_width) < 0.8
    tiles = np.where(skylight[:, None], np.array([0.06, 0.08, 0.11], np.float32), _ROOFS[kind] * tone[:, None])
    roof = light_up(tiles, patch, studio.weather)
    return mix(roof, _paint_walls(patch, house, stain, studio), smooth_step(patch.below, 0.25, 0.5))


def _paint_walls(patch: Patch, house: Houses, stain: np.ndarray, studio: Studio) -> np.ndarray:
    """Paint plaster walls with rows of dark windows."""
    plaster = np.array([0.62, 0.58, 0.50], np.float32) + np.array([0.0, -0.04, -0.10], np.float32) * house.tint[:, None]
    plaster = plaster * (1.0 + 0.06 * stain)[:, None]
    # the nearer wall is the one that is seen; its own direction, not the sampled slope, takes the light
    on_gable = (house.half_length - np.abs(house.lengthwise)) < (house.half_width - np.abs(house.across))
    run = np.where(on_gable, house.across, house.lengthwise)
    in_bay = np.abs(np.mod(run, np.float32(2.6)) - 1.3) < 0.5
    under_lintel = np.mod(patch.below - np.float32(0.7), np.float32(2.8))
    to_sill = patch.below - under_lintel + np.float32(1.25)  # whole windows only
    pane = in_bay & (under_lintel < 1.25) & (patch.below > 0.7) & (to_sill < house.eaves - 0.3)
    albedo = np.where(pane[:, None], np.array([0.05, 0.06, 0.075], np.float32), plaster)
    along, inland = _turn_to_shore(studio.weather.sun, studio.site)
    cosine, sine = np.cos(house.turn), np.sin(house.turn)
    facing_gable = np.sign(house.lengthwise) * (along * cosine + inland * sine)
    facing_eaves = np.sign(house.across) * (inland * cosine - along * sine)
    facing = np.maximum(np.where(on_gable, facing_gable, facing_eaves), 0.0)
    return light_up(albedo, replace(patch, sunlight=facing * patch.shadow), studio.weather)


PAINTERS: dict[Cover, Callable[[Patch, Studio], np.ndarray]] = {
    Cover.WATER: _paint_water,
    Cover.FOAM: _paint_foam,
    Cover.SWASH: _paint_swash,
    Cover.WETSAND: _paint_wetsand,
    Cover.DRYSAND: _paint_drysand,
    Cover.DUNE: _paint_dune,
    Cover.CLIFF: _paint_cliff,
    Cover.FOREST: _paint_forest,
    Cover.ROAD: _paint_road,
    Cover.BUILDING: _paint_building,
}
