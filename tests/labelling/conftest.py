"""What the tests of imported strokes share."""

from __future__ import annotations

import numpy as np
import pytest

from hybridseg.io.annotations.strokes import draw_stroke


@pytest.fixture(scope="session")
def draw_layer():
    """Draw the strokes of a layer, by default on 5 x 7 pixels, as numbers: 0 none, class k is k + 1."""

    def draw(found, layer: str, shape=(5, 7)) -> list[list[int]]:
        canvas = np.zeros(shape, np.uint8)
        for stroke in found.strokes:
            if stroke.layer == layer:
                draw_stroke(canvas, stroke)
        return canvas.tolist()

    return draw
