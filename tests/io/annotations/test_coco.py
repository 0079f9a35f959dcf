import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybridseg.errors import BadInput
from hybridseg.io.annotations import coco
from hybridseg.io.annotations.coco import decode_rle, measure_polygon, parse_coco, parse_polygons, parse_rle
from hybridseg.io.annotations.formats import read_annotations

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


@pytest.fixture
def record():
    return {
        "images": [
            {"id": 1, "file_name": "a/one.jpg", "height": 4, "width": 6},
            {"id": "x", "file_name": "b\\two.png"},
        ],
        "categories": [{"id": 7, "name": "sand"}, {"id": 8, "name": 2.0}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]], "iscrowd": 0, "area": 6},
            {"image_id": "x", "category_id": 8, "segmentation": {"size": [2, 2], "counts": [1, 3]}, "iscrowd": 1},
            {"image_id": 1, "category_id": 8},
        ],
    }


def count_runs(mask: np.ndarray) -> list[int]:
    """Run lengths, column by column, pixel by pixel: slow and plain."""
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return counts


def pack_counts(counts: list[int]) -> str:
    """The packing of pycocotools, as its own words tell it."""
    text = ""
    for i, count in enumerate(counts):
        rest = count - counts[i - 2] if i > 2 else count
        while True:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def test_what_a_file_holds(record):
    found = parse_coco(record, shape=(4, 6), image_name="one.jpg")
    assert (found.shape, found.image_name, found.classes) == ((4, 6), "one.jpg", {"sand": None, "2": None})
    (item,) = found.items
    assert (item.name, item.drawn.tool, item.drawn.layer) == ("sand", "polygon", "result")
    assert "1 of its annotations have no area" in found.warnings[0]
    other = parse_coco(record, shape=(2, 2), image_name="two.png")
    (item,) = other.items
    assert other.shape is None and item.name == "2" and item.drawn.origin == (0, 0)
    assert item.drawn.pixels.tolist() == [[False, True], [True, True]]


def find_image(record, name: str):
    """The shape tells which one was found."""
    return parse_coco({**record, "annotations": []}, shape=(4, 6), image_name=name).shape


@pytest.mark.parametrize(("name", "shape"), [("one.jpg", (4, 6)), ("one.tif", (4, 6)), ("two.png", None)])
def test_an_image_is_found_by_its_name(record, name, shape):
    assert find_image(record, name) == shape


def test_an_image_that_is_not_there(record):
    with pytest.raises(BadInput, match=r"no image two\.x\.png; its images are a/one\.jpg, b\\two\.png$"):
        find_image(record, "two.x.png")


def test_a_full_name_wins_and_two_are_refused(record):
    record["images"] += [{"id": 3, "file_name": "one.tif"}, {"id": 4, "file_name": "c/one.tif"}]
    assert find_image(record, "one.jpg") == (4, 6)
    with pytest.raises(BadInput, match=r"could be any of one\.tif, c/one\.tif"):
        find_image(record, "one.tif")


@pytest.mark.parametrize("value", [[[1, 1, 4, 1, 4, 3, 1, 3]], [1, 1, 4, 1, 4, 3, 1, 3]])
def test_polygons_count_from_the_centre_of_a_pixel(value):
    assert parse_polygons(value) == (((0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5)),)


@pytest.mark.parametrize("value", [None, [], [[]], [[1, 1, 2, 2]], {"size": [1, 1], "counts": [1]}])
def test_what_has_no_polygon(value):
    assert parse_polygons(value) == ()


@pytest.mark.parametrize("value", [
    5, "1 2", [[1, 2, 3]], [[1, 2, "3", 4]], [[1, 2, None, 4]], [[1, 2, True, 4]], [[1, 2], 3], [1, [2]], [[1e300] * 6],
    [[10**400] * 6], [[float("nan")] * 6],
], ids=lambda value: str(value)[:20])  # fmt: skip
def test_polygons_that_are_none(value):
    with pytest.raises(BadInput, match=r"export it (as COCO )?again"):
        parse_polygons(value)


def test_an_area_is_measured():
    assert measure_polygon(((0.5, 0.5), (0.5, 3.5), (2.5, 3.5))) == 3.0


# The example in the documentation of pycocotools.
KNOWN_COUNTS, KNOWN_TEXT = [6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"


@pytest.mark.parametrize("counts", [KNOWN_COUNTS, KNOWN_TEXT])
def test_the_known_run_lengths(counts):
    rle = parse_rle({"size": [9, 10], "counts": counts})
    assert rle.counts.tolist() == KNOWN_COUNTS and rle.n_inside == 13
    expected = np.zeros((9, 10), bool)
    # 6 down the first column; 47 is 5 columns and 2 pixels; then one column (9 pixels) on, twice.
    expected[6, 0] = True
    expected[2:6, 5:8] = True
    assert np.array_equal(decode_rle(rle), expected)
    assert rle.cols == slice(0, 8)


@given(MASKS)
def test_run_lengths_come_back(mask):
    counts = count_runs(mask)
    for form in (counts, pack_counts(counts)):
        rle = parse_rle({"size": list(mask.shape), "counts": form})
        assert rle.counts.tolist() == counts
        assert rle.n_inside == mask.sum()
        assert np.array_equal(decode_rle(rle), mask)


@given(MASKS, st.data())
def test_some_columns_of_run_lengths(mask, data):
    rle = parse_rle({"size": list(mask.shape), "counts": count_runs(mask)})
    first = data.draw(st.integers(0, mask.shape[1]))
    cols = slice(first, data.draw(st.integers(first, mask.shape[1])))
    assert np.array_equal(decode_rle(rle, cols), mask[:, cols])
    used = np.flatnonzero(mask.any(axis=0))
    assert rle.cols == (slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))


def test_runs_of_no_length():
    rle = parse_rle({"size": [1, 4], "counts": [0, 1, 0, 1, 1, 1, 0, 0]})
    assert decode_rle(rle).astype(int).tolist() == [[1, 1, 0, 1]]


@pytest.mark.parametrize("value", [
    {}, {"size": [2, 2]}, {"counts": [4]}, {"size": [2, 2], "counts": [3]}, {"size": [2, 2], "counts": [5]},
    {"size": [2, 2], "counts": [-1, 5]}, {"size": [2, 2], "counts": [2.0, 2.0]}, {"size": [2, 2], "counts": [True] * 4},
    {"size": [2, 2], "counts": None}, {"size": [2, 2], "counts": ["4"]}, {"size": [2, 2], "counts": {"4": 4}},
    {"size": [0, 2], "counts": []}, {"size": [-2, -2], "counts": [4]}, {"size": 4, "counts": [4]},
    {"size": [2, 2, 1], "counts": [4]}, {"size": ["2", 2], "counts": [4]}, {"size": [10**9, 10**9], "counts": [10**18]},
    {"size": [1.5, 2], "counts": [3]}, {"size": [float("inf"), 2], "counts": [3]},
    {"size": [2, 2], "counts": ""}, {"size": [2, 2], "counts": "4X"}, {"size": [2, 2], "counts": "é"},
    {"size": [2, 2], "counts": " 4"}, {"size": [2, 2], "counts": "o" * 1000}, {"size": [2, 2], "counts": "2N"},
    {"size": [2, 2], "counts": "5"}, {"size": [2, 2], "counts": "3"}, {"size": [2, 2], "counts": "0" * 50 + "5"},
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_run_lengths_that_are_none(value):
    with pytest.raises(BadInput):
        parse_rle(value)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_run_lengths_or_refused(text):
    try:
        rle = parse_rle({"size": [5, 7], "counts": text})
    except BadInput:
        return
    assert decode_rle(rle).sum() == rle.n_inside


def test_too_many_run_lengths(monkeypatch):
    monkeypatch.setattr(coco, "MAX_POINTS", 3)
    for counts, message in (([0, 0, 0, 4], "too ragged"), ("0004", "far too many"), ("o" * 1000, "are damaged;")):
        with pytest.raises(BadInput, match=message):
            parse_rle({"size": [2, 2], "counts": counts})


@pytest.mark.parametrize("change", [
    lambda r: r.pop("images"), lambda r: r.pop("annotations"), lambda r: r.pop("categories"),
    lambda r: r.update(images={}), lambda r: r.update(images=[5]), lambda r: r.update(annotations=[[]]),
    lambda r: r["images"][0].pop("id"), lambda r: r["images"][0].update(id=True),
    lambda r: r["images"][0].update(id=[1]), lambda r: r["images"][0].update(id=1.5),
    lambda r: r["images"][1].update(id=1),
    lambda r: r["images"][0].update(file_name=5), lambda r: r["images"][0].update(file_name=""),
    lambda r: r["images"][0].update(height=-4), lambda r: r["images"][0].update(width="6"),
    lambda r: r["images"][0].update(width=10**12),
    lambda r: r["categories"][1].update(id=7), lambda r: r["categories"][0].update(name=None),
    lambda r: r["categories"][0].update(name=["sand"]), lambda r: r["annotations"][0].update(image_id=None),
    lambda r: r["annotations"][0].update(category_id={}),
])  # fmt: skip
def test_damaged_sets(record, change):
    change(record)
    with pytest.raises(BadInput):
        parse_coco(record, shape=(4, 6), image_name="one.jpg")


@pytest.mark.real
def test_a_real_set_whose_polygons_are_flat_lists(real_data):
    path = real_data / "geotiff" / "coco_sample_2.json"
    found = read_annotations(path, shape=(900, 900), image_name="sample_geotiff.tif")
    assert found.shape == (900, 900) and list(found.classes) == ["1", "0"]
    stated = sorted((row["area"] for row in json.loads(path.read_text())["annotations"]), reverse=True)
    measured = [measure_polygon(item.drawn.points) for item in found.items]
    assert len(measured) == 43 and measured == pytest.approx(stated)
