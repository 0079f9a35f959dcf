"""What people built behind the beach: the coast road, side roads, a car park and houses on lots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridseg.demo.scenes.site import Site

ROAD_WIDTH = 9.0
PARK_HALF_LENGTH = 34.0
_LANE_SPACING = 96.0
_LANE_WIDTH = 6.5


@dataclass(frozen=True)
class Houses:
    """Houses at some points; all arrays have the points' shape.

    `inside` is bool; `across` and `lengthwise` are metres from the ridge and from the middle; `eaves` and
    `roof` are metres above the ground; `half_width` and `half_length` are metres; `turn` is the ridge's angle
    from the shore in radians; `tint` is one random number per house, 0..1.
    """

    inside: np.ndarray
    across: np.ndarray
    lengthwise: np.ndarray
    half_width: np.ndarray
    half_length: np.ndarray
    eaves: np.ndarray
    roof: np.ndarray
    turn: np.ndarray
    tint: np.ndarray


def survey_houses(site: Site, along: np.ndarray, inland: np.ndarray, *, margin: float = 0.0) -> Houses:
    """Find the house at each point of the built-up belt.

    Parameters
    ----------
    along, inland : numpy.ndarray
        Shore coordinates, float32, one shape.
    margin : float
        Metres by which `inside` reaches beyond the walls.

    Examples
    --------
    >>> from hybridseg.demo.scenes.layouts import LAYOUTS
    >>> along = np.linspace(0, 300, 400, dtype=np.float32)
    >>> houses = survey_houses(LAYOUTS["promenade"], along, np.full_like(along, 120.0))
    >>> bool(houses.inside.any()), bool(houses.inside.all())
    (True, False)
    """
    lot_along, lot_inland = 24.0 * site.house, 23.0 * site.house
    first = site.road_at + ROAD_WIDTH / 2 + 5.0 + site.park
    phase = np.float32(40 * site.shifts[1])
    column, row = along / np.float32(lot_along) + phase, (inland - np.float32(first)) / np.float32(lot_inland)
    at_column, at_row = np.floor(column).astype(np.int32), np.floor(row).astype(np.int32)
    chance = _draw_lots(site)[:, at_row & 31, at_column & 31]
    north = (row - at_row - np.float32(0.5)) * np.float32(lot_inland) + (chance[0] - 0.5) * 2.5
    east = (column - at_column - np.float32(0.5)) * np.float32(lot_along) + (chance[1] - 0.5) * 2.5
    turn = (chance[2] - np.float32(0.5)) * np.float32(0.25) + np.where(chance[3] > 0.6, np.float32(1.5708), 0)
    lengthwise = east * np.cos(turn) + north * np.sin(turn)
    across = north * np.cos(turn) - east * np.sin(turn)
    half_length = (np.float32(8.2) + 1.6 * chance[4]) * np.float32(site.house)
    half_width = (np.float32(6.4) + 1.5 * chance[0]) * np.float32(site.house)
    inside = (np.abs(lengthwise) < half_length + margin) & (np.abs(across) < half_width + margin)
    inside &= (chance[5] > 0.1) & (at_row >= 0) & (at_row < round(site.village / lot_inland))
    inside &= np.abs(measure_lane_offset(site, (at_column + np.float32(0.5) - phase) * lot_along)) > lot_along * 0.4
    eaves = (np.float32(3.0) + 2.2 * chance[1]) * np.float32(site.house**0.5)
    to_edge = half_width - np.abs(across)
    hipped = np.minimum(to_edge, half_length - np.abs(lengthwise))
    pitch = np.float32(0.45) + np.float32(0.3) * chance[2]
    roof = eaves + np.where(chance[4] > 0.45, hipped, to_edge) * pitch
    roof = np.where(chance[6] > 0.86, eaves + np.where(to_edge < 0.4, np.float32(0.5), 0), roof)
    chimney = (np.abs(lengthwise - half_length * 0.4) < 0.55) & (np.abs(across - half_width * 0.25) < 0.45)
    roof = np.where(chimney & (chance[6] < 0.5), eaves + half_width * pitch + np.float32(0.7), roof)
    return Houses(inside, across, lengthwise, half_width, half_length, eaves, roof, turn, chance[7])


def _draw_lots(site: Site) -> np.ndarray:
    """Draw the chances that make each lot's house its own: (8, 32, 32) numbers, 0..1."""
    rng = np.random.default_rng((77, int(site.shifts[2] * 1e6)))
    return rng.random((8, 32, 32), dtype=np.float32)


def find_pavement(site: Site, along: np.ndarray, inland: np.ndarray, *, margin: float = 0.0) -> np.ndarray:
    """Return which points lie on the coast road, a side road or the car park.

    Parameters
    ----------
    along, inland : numpy.ndarray
        Shore coordinates, float32.
    margin : float
        Metres by which to widen the pavement.

    Returns
    -------
    numpy.ndarray
        bool.

    Examples
    --------
    >>> from hybridseg.demo.scenes.layouts import LAYOUTS
    >>> inland = np.array([LAYOUTS["promenade"].road_at, 0.0], np.float32)
    >>> find_pavement(LAYOUTS["promenade"], np.zeros(2, np.float32), inland).tolist()
    [True, False]
    """
    half = ROAD_WIDTH / 2 + margin
    paved = np.abs(inland - np.float32(site.road_at)) < half
    if site.park:
        in_park = (inland > site.road_at) & (inland < site.road_at + ROAD_WIDTH / 2 + site.park + margin)
        paved |= in_park & (np.abs(measure_park_offset(site, along)) < PARK_HALF_LENGTH + margin)
    beside = np.abs(measure_lane_offset(site, along)) < _LANE_WIDTH / 2 + margin
    return paved | (beside & (inland > site.road_at) & (site.village > 0))


def measure_lane_offset(site: Site, along: np.ndarray) -> np.ndarray:
    """Measure how far, in metres, points are from the middle of the nearest side road."""
    lot = np.float32(24.0 * site.house)
    lots_between = max(3, round(_LANE_SPACING / lot))
    column = along / lot + np.float32(40 * site.shifts[1] - 0.5)  # whole in the middle of a lot
    turns = column / np.float32(lots_between)
    return (turns - np.round(turns)) * np.float32(lots_between) * lot


def measure_park_offset(site: Site, along: np.ndarray) -> np.ndarray:
    """Measure how far along the shore, in metres, points are from the middle of the car park."""
    middle = -site.park_ahead * np.sin(np.deg2rad(site.heading)) + (site.shifts[3] - 0.5) * 16.0
    return along - np.float32(middle)
