import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke
from hybridseg.io.annotations.labelme import parse_labelme
from hybridseg.io.annotations.strokes import draw_stroke


def pack_mask(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def make_shape(**changes) -> dict:
    return {"label": "sand", "shape_type": "polygon", "points": [[1, 1], [4, 1], [4, 3], [1, 3]], **changes}


def items(*shapes, size=(5, 7)):
    return list(parse_labelme({"shapes": list(shapes)}, shape=size).items)


def draw(shape, size=(5, 7)) -> np.ndarray:
    canvas = np.zeros(size, np.uint8)
    for item in items(shape, size=size):
        draw_stroke(canvas, item.drawn)
    return canvas


def box(top: int, left: int, pixels: np.ndarray, **changes) -> dict:
    """A mask whose first pixel is at a place; its box goes from the first to the last pixel."""
    points = [[left, top], [left + pixels.shape[1] - 1, top + pixels.shape[0] - 1]]
    return {**make_shape(shape_type="mask", points=points, mask=pack_mask(pixels)), **changes}


def decode(shape: dict, size=(9, 9)):
    (item,) = items(shape, size=size)
    return item.drawn


def test_what_a_file_holds():
    record = {
        "version": "5.5.0", "flags": {}, "imageData": None, "imagePath": "..\\photos\\a.jpg",
        "imageHeight": 5, "imageWidth": 7,
        "shapes": [make_shape(), make_shape(label=3, shape_type="linestrip", points=[[0.5, 2.25], [3, 4]])],
    }  # fmt: skip
    found = parse_labelme(record, shape=(5, 7))
    assert (found.image_name, found.shape, found.classes) == ("a.jpg", (5, 7), {"sand": None, "3": None})
    square, line = found.items
    corners = ((0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5))
    assert (square.name, square.drawn) == ("sand", Stroke("polygon", 0, 1.0, corners, layer="result"))
    assert (line.name, line.drawn) == ("3", Stroke("pen", 0, 3.0, ((1.75, 0.0), (3.5, 2.5))))


def test_old_files_tell_neither_size_nor_kind():
    shape = make_shape()
    del shape["shape_type"]
    found = parse_labelme({"shapes": [shape], "imageHeight": None}, shape=(5, 7))
    assert found.shape is None and found.image_name is None
    assert [item.drawn.tool for item in found.items] == ["polygon"]


def test_a_square_covers_its_pixels():
    assert draw(make_shape()).tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("points", [[[4, 3], [1, 1]], [[1, 3], [4, 1]], [[1, 1], [4, 1], [4, 3], [1, 3]]])
def test_a_rectangle_by_any_two_corners_or_all(points):
    canvas = draw(make_shape(shape_type="rectangle", points=points))
    assert np.array_equal(np.argwhere(canvas), [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]])


@pytest.mark.parametrize("radius", [0.75, 4.4, 30.3])
def test_a_circle_is_a_disk(radius):
    points = [[40.5, 40.5], [40.5 + radius * 0.6, 40.5 - radius * 0.8]]
    canvas = draw(make_shape(shape_type="circle", points=points), (80, 80))
    rows, cols = np.mgrid[:80, :80] - 40
    distance = np.hypot(rows, cols)
    assert (canvas[distance <= radius - 0.1] == 1).all() and (canvas[distance > radius] == 0).all()
    assert canvas.sum() == pytest.approx(math.pi * radius**2, rel=0.5 if radius < 1 else 0.05)


def test_a_circle_has_not_any_number_of_corners():
    (item,) = items(make_shape(shape_type="circle", points=[[0, 0], [1e6, 0]]))
    assert len(item.drawn.points) == 1000


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(0, 5), st.integers(0, 5))
def test_masks_come_back(mask, top, left):
    for form in (mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255):
        found = decode(box(top, left, form), (17, 17))
        assert found.origin == (top, left)
        assert np.array_equal(found.pixels, mask)


def test_masks_that_are_none():
    mask = np.ones((2, 3), np.uint8)
    good = pack_mask(mask)
    data = base64.b64decode(good)
    torn = base64.b64encode(data[:-20]).decode()
    assert decode(box(1, 1, mask), (3, 4)).pixels.all()
    for size in ((3, 3), (2, 4)):
        with pytest.raises(BadInput, match="lies outside"):
            decode(box(1, 1, mask), size)
    for changes in (
        {"mask": None}, {"mask": 5}, {"mask": ""}, {"mask": "!!!!"}, {"mask": "é"}, {"mask": good[:40]}, {"mask": torn},
            {"mask": base64.b64encode(data[:16]).decode()}, {"mask": base64.b64encode(data[:30]).decode()},
        {"mask": base64.b64encode(b"\xff\xd8\xff" + data).decode()}, {"points": [[1, 1]]}, {"points": [[1, 1], [3, 3]]},
        {"points": [[3, 2], [1, 1]]}, {"points": [[-1, 1], [1, 2]]}, {"points": [[1e8, 1], [1e8 + 2, 2]]},
        {"mask": pack_mask(np.zeros((2, 3, 3), np.uint8))}, {"mask": pack_mask(np.zeros((2, 3), np.uint16))},
    ):  # fmt: skip
        with pytest.raises(BadInput):
            decode(box(1, 1, mask, **changes))


def test_no_changed_bit_of_a_mask_is_passed_over():
    mask = np.random.default_rng(0).integers(0, 2, (9, 12)).astype(np.uint8)
    data = base64.b64decode(pack_mask(mask))
    for i in range(len(data)):
        changed = bytearray(data)
        changed[i] ^= 4
        with pytest.raises(BadInput):
            decode(box(0, 0, mask, mask=base64.b64encode(changed).decode()), (9, 12))


def test_a_mask_that_claims_to_be_huge_is_not_unpacked(monkeypatch):
    data = bytearray(base64.b64decode(pack_mask(np.ones((2, 3), np.uint8))))
    data[16:24] = (100_000).to_bytes(4, "big") * 2

    def fail(*_args, **_settings):
        raise AssertionError("it was opened")

    shape = box(1, 1, np.ones((2, 3), np.uint8), mask=base64.b64encode(data).decode())
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(BadInput, match="100000 x 100000 pixels, its box 2 x 3"):
        decode(shape)


@pytest.mark.parametrize("change", [
    {"shape_type": "blob"}, {"shape_type": 5}, {"shape_type": ["polygon"]}, {"label": None}, {"label": ["a"]},
    {"label": True}, {"points": None}, {"points": 5}, {"points": [1, 2]}, {"points": [[1]]}, {"points": [[1, 2, 3]]},
    {"points": [["1", 2]]}, {"points": [[None, 2]]}, {"points": [[1e400, 2]]}, {"points": [[10**400, 2]]},
    {"points": [[True, 2]]}, {"shape_type": "circle"}, {"shape_type": "circle", "points": [[1, 1]]},
], ids=str)  # fmt: skip
def test_shapes_that_cannot_be(change):
    with pytest.raises(BadInput, match=r"^shape 2: "):
        items(make_shape(), make_shape(**change))


@pytest.mark.parametrize("record", [
    {}, {"shapes": {}}, {"shapes": None}, {"shapes": [5]}, {"shapes": [], "imageHeight": -1, "imageWidth": 5},
    {"shapes": [], "imageHeight": "4", "imageWidth": 5}, {"shapes": [], "imageHeight": 10**7, "imageWidth": 10**7},
    {"shapes": [], "imageHeight": 0, "imageWidth": 0},
], ids=str)  # fmt: skip
def test_files_that_cannot_be(record):
    with pytest.raises(BadInput):
        parse_labelme(record, shape=(5, 7))
