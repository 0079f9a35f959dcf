"""The land: which class covers each point of a coast, and how high it stands.

Everything is given in two coordinates: `inland`, metres from the mean waterline (negative at sea), and
`along`, metres along the shore. Belts of classes follow the shore; noise bends every boundary between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.demo.scenes.noise import DOMES_PER_EDGE, NoiseLibrary, NoiseTile, smooth_step
from hybridseg.demo.scenes.settlement import ROAD_WIDTH, find_pavement, survey_houses
from hybridseg.demo.scenes.site import Cover, Site


@dataclass(frozen=True)
class Ground:
    """What lies at some points; all arrays have the points' shape.

    `cover` is uint8 class ids; `height` is metres above the sea; `shore` is `inland` with the
    waterline's fractal bends.
    """

    cover: np.ndarray
    height: np.ndarray
    shore: np.ndarray


@dataclass(frozen=True)
class _Plot:
    """The points being surveyed, and the bends that several boundaries share."""

    site: Site
    noise: NoiseLibrary
    along: np.ndarray
    inland: np.ndarray
    footprint: np.ndarray
    broad: np.ndarray
    rough: np.ndarray
    shore: np.ndarray

    def sample(self, tile: NoiseTile, *, period: float, shift: tuple[float, float], stretch: float = 1.0) -> np.ndarray:
        """Look a tile up at the points, features drawn out along the shore by `stretch`."""
        along = self.along * np.float32(1.0 / stretch)
        return tile.sample(along, self.inland, period=period, footprint=self.footprint, shift=shift)


def survey(site: Site, noise: NoiseLibrary, along: np.ndarray, inland: np.ndarray, footprint: np.ndarray) -> Ground:
    """Return the class and the height of each point.

    Parameters
    ----------
    noise : NoiseLibrary
        The noise tiles.
    along, inland : numpy.ndarray
        Shore coordinates (without fractal bends), float32, one shape.
    footprint : numpy.ndarray
        Metres that a pixel sees at each point; broadcasts with the others.

    Examples
    --------
    >>> from hybridseg.demo.scenes.layouts import LAYOUTS
    >>> from hybridseg.demo.scenes.noise import build_noise_library
    >>> inland = np.array([[-300.0, LAYOUTS["promenade"].road_at]], np.float32)
    >>> ground = survey(LAYOUTS["promenade"], build_noise_library(), 0 * inland, inland, np.ones((1, 1), np.float32))
    >>> [Cover(cover).name for cover in ground.cover[0]]
    ['WATER', 'ROAD']
    """
    plot = _stake_out(site, noise, along, inland, footprint)
    cover = _lay_beach(plot)
    height = np.maximum(plot.shore, 0.0) * np.float32(0.035)
    behind = plot.shore - np.float32(site.swash + site.wet + site.dry)
    ridge = smooth_step(behind, 0, 14) * (1 - smooth_step(behind, site.dune - 6, site.dune))
    height += ridge * (1.6 + 0.9 * plot.broad)
    if site.cliff:
        _raise_cliff(plot, cover, height)
    height += _raise_hills(plot)
    _plant_forest(plot, cover, height)
    _build_village(plot, cover, height)
    return Ground(cover=cover, height=height, shore=plot.shore)


def _raise_hills(plot: _Plot) -> np.ndarray:
    """Raise soft hills behind the village and the edge of the wood."""
    site = plot.site
    first = max(site.forest_at + 50.0, site.road_at + site.park + site.village + 25.0)
    softness = np.maximum(plot.footprint, np.float32(14.0))
    swelling = plot.noise.cloud.sample(
        plot.along, plot.inland, period=340.0, footprint=softness, shift=(site.shifts[7], site.shifts[0])
    )
    return smooth_step(plot.inland, first, first + 380.0) * (15.0 + 11.0 * swelling)


def _stake_out(site: Site, noise: NoiseLibrary, along: np.ndarray, inland: np.ndarray, footprint: np.ndarray) -> _Plot:
    """Work out the bends of the waterline."""
    shift = site.shifts
    broad = noise.cloud.sample(along, inland, period=170.0, footprint=footprint, shift=(shift[0], shift[1]))
    # Twice the footprint: boundaries are rough down to a few pixels, not frayed pixel by pixel.
    rough = noise.grain.sample(along, inland, period=60.0, footprint=2.0 * footprint, shift=(shift[2], shift[3]))
    shore = inland + 4.0 * broad + 0.5 * rough
    if site.river:
        shore = _carve_river(site, along, shore, broad)
    return _Plot(site, noise, along, inland, footprint, broad, rough, shore)


def _carve_river(site: Site, along: np.ndarray, shore: np.ndarray, broad: np.ndarray) -> np.ndarray:
    """Bend the waterline up a river, so that every belt of the beach follows its banks."""
    meander = np.sin(shore * np.float32(1 / 38.0)) - np.float32(np.sin(60.0 / 38.0))
    aside = np.float32(np.sign(site.shifts[4] - 0.5) * (34.0 + 16.0 * site.shifts[5]))
    middle = aside + 14.0 * meander + 5.0 * broad
    from_bank = (np.abs(along - middle) - np.float32(site.river)) * np.float32(2.2)
    return shore + (np.minimum(shore, from_bank) - shore) * smooth_step(shore, -10.0, 8.0)


def _lay_beach(plot: _Plot) -> np.ndarray:
    """Lay the belts from the sea to the dunes."""
    site, shore, rough = plot.site, plot.shore, plot.rough
    lobes = plot.sample(plot.noise.cloud, period=46.0, shift=(site.shifts[5], 0.3), stretch=1.5)
    uprush = shore + 0.22 * site.swash * lobes + 0.3 * rough
    cover = np.full(shore.shape, Cover.WATER, np.uint8)
    cover[_find_breakers(plot)] = Cover.FOAM
    top = site.swash
    cover[uprush > 0] = Cover.SWASH
    cover[uprush > top] = Cover.WETSAND
    top += site.wet
    cover[shore + 1.6 * plot.broad + 0.7 * lobes + 0.35 * rough > top] = Cover.DRYSAND
    top += site.dry
    cover[shore + 3.0 * lobes + 1.3 * rough > top] = Cover.DUNE
    return cover


def _find_breakers(plot: _Plot) -> np.ndarray:
    """Find where waves have broken: a full surf zone near the shore, and broken crests beyond it."""
    site, sea = plot.site, plot.inland + 4.0 * plot.broad
    patches = plot.sample(plot.noise.cloud, period=75.0, shift=(site.shifts[6], site.shifts[5]), stretch=2.2)
    beyond = -sea - np.float32(site.surf)
    surf = (beyond + 5.0 * patches + 1.2 * plot.rough < 0) & (sea < 6.0)
    # a wave crest every 21 m, steep on the shore side, that breaks only here and there
    crest = (sea + 3.5 * patches) * np.float32(1 / 21.0)
    from_crest = crest - np.floor(crest)
    broken = smooth_step(from_crest, 0.62, 0.94) * (from_crest < 0.96)
    vigour = np.float32(0.55) - beyond * np.float32(1 / 75.0) + 0.45 * patches + 0.12 * plot.rough
    return surf | ((broken * vigour > 0.33) & (beyond > -4) & (beyond < 85))


def _raise_cliff(plot: _Plot, cover: np.ndarray, height: np.ndarray) -> None:
    """Raise the land behind the cliff's foot in place; gullies cut back into its edge."""
    site, shift = plot.site, plot.site.shifts
    gully = plot.sample(plot.noise.cloud, period=85.0, shift=(0.7, shift[6]))
    buttress = plot.sample(plot.noise.cloud, period=21.0, shift=(0.4, shift[5]))
    chips = plot.sample(plot.noise.grain, period=34.0, shift=(0.1, shift[4]))
    inner = plot.inland + 2.5 * plot.broad + 3.0 * np.abs(gully) + 0.75 * buttress + 0.2 * plot.rough + 0.22 * chips
    part = (inner - np.float32(site.cliff_at)) * np.float32(1 / (0.55 * site.cliff))
    # hard layers stand out as ledges: the face climbs in steps
    steps = np.sin(part * np.float32(19.0) + 1.5 * plot.broad)
    climb = part + 0.2 * steps * np.clip(part * (1.0 - part), 0.0, 1.0)
    height += np.float32(site.cliff) * np.clip(climb, 0.0, 1.0) ** np.float32(0.85) * smooth_step(part, -0.02, 0.1)
    cover[part > 0] = Cover.CLIFF
    cover[part > 1.0] = Cover.DUNE


CROWN_PERIOD = 5.4 * DOMES_PER_EDGE


def _plant_forest(plot: _Plot, cover: np.ndarray, height: np.ndarray) -> None:
    """Turn the land behind `forest_at` into woodland in place; a tree stands as a whole or not at all."""
    site, noise, shift = plot.site, plot.noise, (plot.site.shifts[1], plot.site.shifts[2])
    candidate = (plot.inland > site.forest_at - 30.0) & (cover == Cover.DUNE)
    if not candidate.any():
        return
    along, inland = plot.along[candidate], plot.inland[candidate]
    footprint = np.broadcast_to(plot.footprint, candidate.shape)[candidate]

    def look(tile: NoiseTile) -> np.ndarray:
        return tile.sample(along, inland, period=CROWN_PERIOD, footprint=footprint, shift=shift)

    crowns = look(noise.domes)
    stem_along = along + look(noise.to_east) * np.float32(CROWN_PERIOD)
    stem_inland = inland + look(noise.to_north) * np.float32(CROWN_PERIOD)
    glades = noise.cloud.sample(stem_along, stem_inland, period=130.0, footprint=footprint, shift=(0.2, site.shifts[7]))
    depth = stem_inland - np.float32(site.forest_at) + 9.0 * glades
    if site.cliff:
        depth = np.minimum(depth, stem_inland - np.float32(site.cliff_at + 0.55 * site.cliff + 8.0))
    wood = (depth > 0) & ((crowns > 0.22) | (depth > 9.0)) & ~find_pavement(site, stem_along, stem_inland, margin=2.8)
    wood &= ~survey_houses(site, stem_along, stem_inland, margin=3.0).inside
    wood &= ~survey_houses(site, along, inland, margin=0.6).inside & ~find_pavement(site, along, inland)
    cover[candidate] = np.where(wood, np.uint8(Cover.FOREST), np.uint8(Cover.DUNE))
    stature = np.float32(2.6) + 2.6 * look(noise.tints) + 0.5 * glades
    height[candidate] += np.where(wood, crowns * crowns * stature, 0).astype(np.float32)


def _build_village(plot: _Plot, cover: np.ndarray, height: np.ndarray) -> None:
    """Pave the roads and put houses on their lots, in place."""
    site = plot.site
    on_main = np.abs(plot.inland - np.float32(site.road_at)) < ROAD_WIDTH / 2  # bridges what it meets
    paved = on_main | (find_pavement(site, plot.along, plot.inland) & (cover >= Cover.DRYSAND))
    dry_land = (cover == Cover.DUNE) & ~paved
    cover[paved] = Cover.ROAD
    built_up = dry_land & (plot.inland > site.road_at) & (plot.inland < site.road_at + site.park + site.village + 10)
    if not built_up.any():
        return
    houses = survey_houses(site, plot.along[built_up], plot.inland[built_up])
    cover[built_up] = np.where(houses.inside, np.uint8(Cover.BUILDING), np.uint8(Cover.DUNE))
    height[built_up] += np.where(houses.inside, houses.roof, 0).astype(np.float32)
