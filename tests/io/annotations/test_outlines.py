import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from pycocotools import mask as judge
from scipy.ndimage import label

from hybridseg.io.annotations.coco import measure_polygon
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.outlines import join_rings, trace_regions
from hybridseg.io.annotations.strokes import draw_strokes

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@given(MASKS)
def test_polygons_are_exact_here_and_in_pycocotools(mask):
    regions, n = label(mask)
    found = {}
    for number, rings in trace_regions(regions.astype(np.int32)):
        corners = join_rings(rings)
        stroke = Stroke("polygon", 0, 1.0, tuple(map(tuple, (corners - 0.5).tolist())), layer="result")
        assert np.array_equal(draw_strokes(mask.shape, [stroke]) > 0, regions == number)
        assert measure_polygon(stroke.points) == np.count_nonzero(regions == number)
        packed = judge.frPyObjects([corners[:, ::-1].ravel().tolist()], *mask.shape)
        assert np.array_equal(judge.decode(packed)[..., 0] > 0, regions == number)
        found[number] = rings
    assert found.keys() == set(range(1, n + 1))


def test_every_hole_has_a_ring():
    ring = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], np.int32)
    [(_, rings)] = trace_regions(ring)
    assert len(rings) == 3
    joined = join_rings(rings)
    assert {(1.0, 1.0), (2.0, 2.0), (1.0, 3.0), (2.0, 4.0)} <= set(map(tuple, joined.tolist()))


def test_no_corner_is_met_twice_in_a_row():
    """A line of no length has no slope to draw it by."""
    # A hole that touches the outline at a corner.
    mask = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], np.int32)
    [(_, rings)] = trace_regions(mask)
    joined = join_rings(rings)
    assert (joined != np.roll(joined, 1, axis=0)).any(axis=1).all()


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_and_everything(value):
    found = list(trace_regions(np.full((2, 3), value, np.int32)))
    assert len(found) == value
