"""The default colours of classes, chosen by what their names mean; unknown names get colours that are told apart."""

from __future__ import annotations

import colorsys
from collections.abc import Collection

import numpy as np

Color = tuple[int, int, int]

# Colours that a coastal scientist expects, for names that are common in label files, and for words in other names.
NATURAL_COLORS: dict[str, Color] = {
    "agricultural": (85, 107, 47),
    "anthro": (220, 30, 40),
    "beach": (244, 208, 111),
    "building": (200, 60, 50),
    "buildings": (200, 60, 50),
    "cliff": (139, 90, 140),
    "drysand": (250, 225, 120),
    "dry sand": (250, 225, 120),
    "dune": (233, 150, 122),
    "duneveg": (46, 139, 87),
    "foam": (255, 255, 255),
    "forest": (20, 90, 40),
    "marsh": (173, 255, 47),
    "road": (110, 110, 115),
    "sediment": (200, 170, 110),
    "shrubland": (107, 142, 35),
    "sky": (150, 205, 245),
    "surf": (235, 245, 250),
    "swash": (160, 225, 220),
    "terrain": (150, 100, 60),
    "veg": (60, 170, 60),
    "water": (25, 90, 190),
    "wetsand": (190, 140, 60),
    "wet sand": (190, 140, 60),
    "wood": (20, 90, 40),
}
_WORD_COLORS: dict[str, Color] = {
    **dict.fromkeys(("sea", "ocean", "lake", "river", "lagoon", "channel", "pond"), NATURAL_COLORS["water"]),
    **dict.fromkeys(("shallow", "shallows"), (130, 195, 225)),
    **dict.fromkeys(("sand", "bar", "shoal"), NATURAL_COLORS["drysand"]),
    **dict.fromkeys(("land", "soil", "mud", "bare", "ground"), (190, 150, 90)),
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
# Colours nearer than this to one another, in bytes, are taken for the same in a map.
_NEAR = 60.0
# How far towards white or black.
_SHADES = ((255, 0.0), (255, 0.35), (0, 0.35), (255, 0.6), (0, 0.6))


def _spread_colors(n_colors: int) -> np.ndarray:
    """Return colours whose hues are a golden ratio apart, in two brightnesses, (n_colors, 3)."""
    hsv = [((0.11 + i * 0.618034) % 1.0, 0.75 if i % 3 else 0.5, 0.95 if i % 2 == 0 else 0.6) for i in range(n_colors)]
    return np.round(255 * np.array([colorsys.hsv_to_rgb(*each) for each in hsv]))


# For names that mean nothing here.
_SPARE = np.vstack([np.array(_DISTINCT, np.float64), _spread_colors(1200)])


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
    used = [np.array(color, np.float64) for color in taken]
    room = np.full(len(_SPARE), np.inf)
    for color in used:
        np.minimum(room, _distances(_SPARE, color), out=room)
    chosen: dict[str, Color] = {}

    def take(key: str, color: np.ndarray) -> None:
        chosen[key] = (int(color[0]), int(color[1]), int(color[2]))
        used.append(color)
        np.minimum(room, _distances(_SPARE, color), out=room)

    for key in keys:
        known = NATURAL_COLORS.get(key)
        if known is not None and known not in [tuple(color) for color in used]:
            take(key, np.array(known, np.float64))
    for key in keys:
        if key not in chosen:
            suited = _list_shades(key)
            far = [color for color in suited if not used or _distances(np.array(used), color).min() >= _NEAR]
            # With hundreds of classes nothing is far from all.
            place = int((room >= _NEAR).argmax()) if (room >= _NEAR).any() else int((room > 0).argmax())
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


def _distances(colors: np.ndarray, color: np.ndarray) -> np.ndarray:
    return np.sqrt(((colors - color) ** 2).sum(axis=1))
