"""Random changes to images and their labels, the same to both. Labels are never interpolated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from hybridseg.options import Span, check_options, option

_N_DRAWS = 7
_SHARE = Span(0, 1, below=True)


@dataclass(frozen=True)
class AugmentOptions:
    """How much images are changed at most."""

    rotation: float = option(0.0, "Largest rotation of an image, in degrees to either side.", span=Span(0, 180))
    zoom: float = option(0.0, "Largest share by which an image is enlarged or shrunk.", span=_SHARE)
    row_shift: float = option(0.0, "Largest vertical shift, as a share of the height.", span=_SHARE)
    col_shift: float = option(0.0, "Largest horizontal shift, as a share of the width.", span=_SHARE)
    flip_rows: bool = option(False, "Turn half of the images upside down: for photos that look straight down.")
    flip_cols: bool = option(False, "Mirror half of the images left to right.")
    brightness: float = option(0.0, "Largest share by which an image is brightened or darkened.", span=_SHARE)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return self != AugmentOptions()

    def to_record(self) -> dict[str, Any]:
        """Return the settings, JSON-ready."""
        return asdict(self)

    def change_batch(
        self, images: Any, labels: Any, *, seed: tuple[Any, Any], white: float | None, place: Any = None
    ) -> tuple[Any, Any]:
        """Change every image of a batch, see `augment_batch`; `white` is of no account here."""
        return augment_batch(images, labels, self, seed=seed, place=place)


class Augmentation(Protocol):
    """What changes images and their labels in training."""

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        ...

    def to_record(self) -> dict[str, Any]:
        """Return the settings, JSON-ready."""
        ...

    def change_batch(
        self, images: Any, labels: Any, *, seed: tuple[Any, Any], white: float | None, place: Any = None
    ) -> tuple[Any, Any]:
        """Change every image of a batch in its own way, and its labels with it; inside a graph or outside.

        Parameters
        ----------
        images : tensor
            (n, rows, cols, bands) float32, as stored.
        labels : tensor
            (n, rows, cols) uint8.
        seed : (integer, integer)
            The same two numbers, the same changes.
        white : float or None
            The largest value that an image can have, the smallest being 0; None: those that each band of an image has.
        place : (integer, integer) or None
            Where the images are a part of a batch: the number of the first in it, and how many images it has.
        """
        ...


def augment_batch(
    images: Any, labels: Any, options: AugmentOptions, *, seed: tuple[Any, Any], place: Any = None
) -> tuple[Any, Any]:
    """Change every image of a batch in its own way, and its labels with it; inside a graph or outside.

    What lies beyond the border of an image is its mirror image, in the labels too.

    Parameters
    ----------
    images : tensor
        (n, rows, cols, bands) float32.
    labels : tensor
        (n, rows, cols) uint8.
    seed : (integer, integer)
        The same two numbers, the same changes.
    place : (integer, integer) or None
        As for `Augmentation.change_batch`.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.ones((1, 4, 4, 3), np.float32), np.eye(4, dtype=np.uint8)[None]
    >>> _, turned = augment_batch(images, labels, AugmentOptions(rotation=180), seed=(0, 1))
    >>> sorted(set(turned.numpy().ravel().tolist()))
    [0, 1]
    """
    import tensorflow as tf

    if not options.any:
        return images, labels
    shape = tf.shape(images)
    first, n_images = (0, shape[0]) if place is None else (place[0], place[1])
    draws = tf.random.stateless_uniform((n_images, _N_DRAWS), tf.stack(seed), -1.0, 1.0)[first : first + shape[0]]
    transforms = _draw_transforms(draws, options, rows=shape[1], cols=shape[2])

    def move(values: Any, interpolation: str) -> Any:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=values,
            transforms=transforms,
            output_shape=shape[1:3],
            interpolation=interpolation,
            fill_mode="REFLECT",
            fill_value=0.0,
        )

    moved = move(images, "BILINEAR") * (1 + options.brightness * draws[:, 6, None, None, None])
    return moved, move(labels[..., None], "NEAREST")[..., 0]


def _draw_transforms(draws: Any, options: AugmentOptions, *, rows: Any, cols: Any) -> Any:
    """Return for each image the transform from a place in the new image to one in the old: (n, 8), about the centre."""
    import tensorflow as tf

    height, width = tf.cast(rows, tf.float32), tf.cast(cols, tf.float32)
    angle = draws[:, 0] * (options.rotation * 3.14159265358979 / 180)
    zoom = 1 + draws[:, 1] * options.zoom
    row_sign = tf.where(options.flip_rows & (draws[:, 2] > 0), -1.0, 1.0)
    col_sign = tf.where(options.flip_cols & (draws[:, 3] > 0), -1.0, 1.0)
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    # Columns of the new image to columns and rows of the old, then its rows.
    from_col = (cos * col_sign, sin * row_sign)
    from_row = (-sin * col_sign, cos * row_sign)
    row, col = (height - 1) / 2, (width - 1) / 2
    offset_col = col - from_col[0] * col - from_row[0] * row + draws[:, 4] * options.col_shift * width
    offset_row = row - from_col[1] * col - from_row[1] * row + draws[:, 5] * options.row_shift * height
    zero = tf.zeros_like(zoom)
    return tf.stack([from_col[0], from_row[0], offset_col, from_col[1], from_row[1], offset_row, zero, zero], 1)
