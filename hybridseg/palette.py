"""The default colours of classes, chosen by what their names mean; unknown names get colours that are told apart."""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Collection, Iterator

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
_MOST_SPREAD = 1200


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
    [(106, 148, 213), (25, 90, 190), (230, 159, 0)]
    """
    used = list(taken)
    chosen: dict[str, Color] = {}
    for key in keys:
        known = NATURAL_COLORS.get(key)
        if known is not None and known not in used:
            chosen[key] = known
            used.append(known)
    for key in keys:
        if key not in chosen:
            candidates = list(dict.fromkeys(itertools.islice(_list_candidates(key), _MOST_SPREAD)))
            far = (color for color in candidates if all(_distance(color, other) >= _NEAR for other in used))
            # With hundreds of classes nothing is far from all.
            chosen[key] = next(far, None) or next(color for color in candidates if color not in used)
            used.append(chosen[key])
    return [chosen[key] for key in keys]


def _list_candidates(key: str) -> Iterator[Color]:
    """Yield the colours that suit a name, the best first."""
    for word in (key, *reversed(key.split())):
        base = NATURAL_COLORS.get(word) or _WORD_COLORS.get(word)
        if base is not None:
            yield base
            # Lighter and darker shades.
            for white, share in ((255, 0.35), (0, 0.35), (255, 0.6), (0, 0.6)):
                red, green, blue = (round(channel + (white - channel) * share) for channel in base)
                yield red, green, blue
    yield from _DISTINCT
    for i in itertools.count():
        # Hues a golden ratio apart, in two brightnesses.
        rgb = colorsys.hsv_to_rgb((0.11 + i * 0.618034) % 1.0, 0.75 if i % 3 else 0.5, 0.95 if i % 2 == 0 else 0.6)
        yield round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)


def _distance(first: Color, second: Color) -> float:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5
