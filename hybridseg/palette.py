"""The default colours of classes, chosen by what their names mean; unknown names get colours that are told apart.

They are told apart by people who lack one kind of cones too: two colours are as far from one another as the least
distance between what each eye sees of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from hybridseg.errors import BadInput

Color = tuple[int, int, int]

# Colours that a coastal scientist expects, for names that are common in label files and for words in other names. Those
# of different meanings are 10 apart or more, see `color_distance`.
NATURAL_COLORS: dict[str, Color] = {
    "agricultural": (169, 178, 112),
    "anthro": (233, 30, 72),
    "beach": (255, 240, 192),
    "building": (179, 44, 44),
    "buildings": (179, 44, 44),
    "cliff": (134, 85, 135),
    "drysand": (250, 225, 120),
    "dry sand": (250, 225, 120),
    "dune": (216, 134, 85),
    "duneveg": (47, 151, 101),
    "foam": (255, 255, 255),
    "forest": (0, 60, 18),
    "marsh": (173, 255, 46),
    "road": (109, 109, 114),
    "sediment": (234, 195, 146),
    "shrubland": (119, 154, 39),
    "sky": (146, 202, 242),
    "surf": (208, 230, 242),
    "swash": (112, 216, 206),
    "terrain": (111, 68, 23),
    "veg": (112, 211, 86),
    "water": (25, 90, 190),
    "wetsand": (148, 99, 17),
    "wet sand": (148, 99, 17),
    "wood": (0, 60, 18),
}
_WORD_COLORS: dict[str, Color] = {
    **dict.fromkeys(("sea", "ocean", "lake", "river", "lagoon", "channel", "pond"), NATURAL_COLORS["water"]),
    **dict.fromkeys(("shallow", "shallows"), (83, 150, 200)),
    **dict.fromkeys(("sand", "bar", "shoal"), NATURAL_COLORS["drysand"]),
    **dict.fromkeys(("land", "soil", "mud", "bare", "ground"), (142, 113, 69)),
    **dict.fromkeys(("vegetation", "vegetated", "grass", "plants", "shrub", "crop"), NATURAL_COLORS["veg"]),
    **dict.fromkeys(("tree", "trees", "woodland"), NATURAL_COLORS["forest"]),
    **dict.fromkeys(("whitewater", "whitewash", "wave", "waves", "snow", "ice", "cloud"), NATURAL_COLORS["surf"]),
    **dict.fromkeys(("rock", "rocks", "gravel", "stone", "pavement", "asphalt", "path"), NATURAL_COLORS["road"]),
    **dict.fromkeys(("house", "houses", "roof", "urban", "developed"), NATURAL_COLORS["building"]),
    **dict.fromkeys(("null", "background", "nodata"), (0, 0, 0)),
}
# The palette of Okabe and Ito (2008), which people with any kind of colour vision tell apart.
_DISTINCT: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
# Colours nearer than this to one another, see `color_distance`, are taken for the same in a map.
NEAR = 10.0
# How far towards white or black.
_SHADES = ((255, 0.0), (255, 0.35), (0, 0.35), (255, 0.6), (0, 0.6))
# What is left of linear red, green and blue for an eye with all cones, and for one without those for long, medium and
# short waves: Machado, Oliveira and Fernandes, A physiologically-based model for simulation of color vision deficiency,
# 2009, at severity 1.
_EYES = np.array([
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
])  # fmt: skip
# Linear sRGB to XYZ, in units of its white (D65).
_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]
]) / np.array([[0.95047], [1.0], [1.08883]])  # fmt: skip
_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]])
# The lightness of colours for names that mean nothing here: neither white nor black.
_LIGHTNESS = (25, 92)


def _see(colors: np.ndarray) -> np.ndarray:
    """Return colours, (..., 3) from 0 to 255, as each eye sees them: (..., 4, 3) in CIELAB, without its offset."""
    shares = np.asarray(colors, np.float64)[..., None, :] / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.einsum("eij,...ej->...ei", _EYES, linear), 0, 1) @ _XYZ.T
    return np.where(seen > 216 / 24389, np.cbrt(seen), (24389 / 27 * seen + 16) / 116) @ _LAB.T


def color_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance of colours, (..., 3), from others in CIELAB, for the eye that tells them apart the worst.

    Examples
    --------
    >>> red, others = np.array((220, 30, 40)), np.array([(20, 90, 40), (0, 90, 255)])
    >>> color_distance(red, others).round().tolist()
    [3.0, 110.0]
    """
    return _gaps(_see(first), _see(second))


def _gaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.sqrt(((first - second) ** 2).sum(axis=-1)).min(axis=-1)


def _list_spare() -> np.ndarray:
    """List colours for names that mean nothing here, (n, 3): those of `_DISTINCT`, then many evenly spread ones."""
    levels = np.linspace(0, 255, 9).round()
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = _see(grid)[:, 0, 0] - 16
    kept = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])
    return np.vstack([np.array(_DISTINCT, np.float64), grid[kept]])


_SPARE = _list_spare()
_SPARE_SEEN = _see(_SPARE)


def choose_colors(keys: Collection[str], taken: Collection[Color] = ()) -> list[Color]:
    """Choose a colour for each class: that of its name, a shade of that of a word in it, or one that differs from all.

    Parameters
    ----------
    keys : collection of str
        Names in the form that is compared, see `hybridseg.classes.class_key`.
    taken : collection of Color
        Colours that other classes have.

    Examples
    --------
    >>> choose_colors(["deep water", "water", "zebra"])
    [(105, 148, 213), (25, 90, 190), (230, 159, 0)]
    """
    used = list(taken)
    room = np.full(len(_SPARE), np.inf)
    for color in used:
        np.minimum(room, _gaps(_SPARE_SEEN, _see(np.array(color))), out=room)
    chosen: dict[str, Color] = {}

    def take(key: str, color: np.ndarray) -> None:
        chosen[key] = (int(color[0]), int(color[1]), int(color[2]))
        used.append(chosen[key])
        np.minimum(room, _gaps(_SPARE_SEEN, _see(color)), out=room)

    for key in keys:
        known = NATURAL_COLORS.get(key)
        if known is not None and known not in used:
            take(key, np.array(known, np.float64))
    for key in keys:
        if key not in chosen:
            suited = _list_shades(key)
            far = [color for color in suited if not used or color_distance(np.array(used), color).min() >= NEAR]
            fits = np.flatnonzero(room[: len(_DISTINCT)] >= NEAR)
            # Where no colour is far from all, as with hundreds of classes, the farthest one.
            place = fits[0] if fits.size else room.argmax()
            take(key, far[0] if far else _SPARE[place])
    return [chosen[key] for key in keys]


def _list_shades(key: str) -> list[np.ndarray]:
    """List the colours that suit a name: those of its words, from the last, each with lighter and darker shades."""
    shades = []
    for word in (key, *reversed(key.split())):
        known = NATURAL_COLORS.get(word) or _WORD_COLORS.get(word)
        if known is not None:
            base = np.array(known, np.float64)
            shades += [base + np.round((white - base) * share) for white, share in _SHADES]
    return shades


def ramp_colors(n: int, *, jet: bool = False) -> list[Color]:
    """Return n colours from black to white; as a `jet`, from blue over green to red.

    Examples
    --------
    >>> ramp_colors(3), ramp_colors(3, jet=True)
    ([(0, 0, 0), (128, 128, 128), (255, 255, 255)], [(0, 0, 128), (128, 255, 128), (128, 0, 0)])
    """
    steps = np.linspace(0, 1, n)[:, None].repeat(3, axis=1)
    if jet:
        steps = np.clip(1.5 - np.abs(4 * steps - (3, 2, 1)), 0, 1)
    return [(int(red), int(green), int(blue)) for red, green, blue in np.floor(255 * steps + 0.5)]


class ColorIds:
    """Finds for each pixel the id of its colour, picture after picture.

    Examples
    --------
    >>> ids = ColorIds({(0, 0, 9): 4})
    >>> ids.find(np.array([[[0, 0, 9], [7, 0, 0]]], np.uint8)).tolist(), ids.n_unknown, ids.n_colors
    ([[4, 0]], 1, 2)
    """

    def __init__(self, ids: Mapping[Color, int]) -> None:
        # By the three bytes of a colour; memory is taken only around those that occur.
        self._ids, self._seen = np.zeros(1 << 24, np.uint16), np.zeros(1 << 24, bool)
        for (red, green, blue), i in ids.items():
            self._ids[red << 16 | green << 8 | blue] = i + 1
        self.n_unknown = self.n_pixels = 0

    def find(self, rgb: np.ndarray) -> np.ndarray:
        """Return the ids of a picture, uint8; a colour without an id is 0 and counted."""
        packed = _pack(rgb)
        found = self._ids[packed]
        self._seen[packed] = True
        self.n_unknown += int(np.count_nonzero(found == 0))
        self.n_pixels += found.size
        return (np.maximum(found, 1) - 1).astype(np.uint8)

    @property
    def n_colors(self) -> int:
        """Number of colours that occurred."""
        return int(np.count_nonzero(self._seen))

    def refuse_unknown(self) -> None:
        """Raise BadInput when a pixel had a colour without an id."""
        if not self.n_unknown:
            return
        first = int(np.argmax(self._seen & (self._ids == 0)))
        raise BadInput(
            f"{self.n_unknown / self.n_pixels:.2%} of the pixels ({self.n_unknown:,}) have colours that no class has, "
            f"such as {(first >> 16, first >> 8 & 255, first & 255)}; give the colours of the mask (--labels with "
            "`name, r, g, b`, or --colors), or, if they are only blurred, turn it into a label map first: hybridseg "
            "convert --nearest-color"
        )


def _pack(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., 0].astype(np.uint32) << 16) | (rgb[..., 1].astype(np.uint32) << 8) | rgb[..., 2]


def count_colors(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the colours that occur in (rows, cols, 3) uint8: (n, 3) uint8, which each pixel has, and their counts.

    Examples
    --------
    >>> colors, places, counts = count_colors(np.array([[[0, 0, 9], [0, 0, 9], [7, 0, 0]]], np.uint8))
    >>> colors.tolist(), places.tolist(), counts.tolist()
    ([[0, 0, 9], [7, 0, 0]], [[0, 0, 1]], [2, 1])
    """
    packed = _pack(rgb)
    values, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.uint8)
    return colors, places.reshape(packed.shape), counts
