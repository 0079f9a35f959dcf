import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybridseg.errors import BadInput
from hybridseg.io.annotations import coco
from hybridseg.io.annotations.coco import (
    CocoAnnotation,
    annotation_polygons,
    annotation_rle,
    decode_rle,
    measure_polygon,
    parse_coco,
    read_coco,
)

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


def segment(value) -> CocoAnnotation:
    return CocoAnnotation(1, 1, value)


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


def test_what_a_file_holds(record, tmp_path):
    path = tmp_path / "set.json"
    path.write_text(json.dumps(record))
    found = read_coco(path)
    assert [(image.image_id, image.base_name, image.shape) for image in found.images] == [
        (1, "one.jpg", (4, 6)),
        ("x", "two.png", None),
    ]
    assert found.categories == {7: "sand", 8: "2"}
    assert [a.category_id for a in found.list_annotations(found.images[0])] == [7, 8]
    assert [a.is_crowd for a in found.annotations] == [False, True, False]


@pytest.mark.parametrize(("name", "image_id"), [("one.jpg", 1), ("one.tif", 1), ("two.png", "x"), ("two.x.png", None)])
def test_an_image_is_found_by_its_name(record, name, image_id):
    found = parse_coco(record)
    if image_id is None:
        with pytest.raises(BadInput, match=r"no image two\.x\.png; its images are a/one\.jpg, b\\two\.png$"):
            found.find_image(name)
    else:
        assert found.find_image(name).image_id == image_id


def test_a_full_name_wins_and_two_are_refused(record):
    record["images"] += [{"id": 3, "file_name": "one.tif"}, {"id": 4, "file_name": "c/one.tif"}]
    found = parse_coco(record)
    assert found.find_image("one.jpg").image_id == 1
    with pytest.raises(BadInput, match=r"could be any of one\.tif, c/one\.tif"):
        found.find_image("one.tif")


@pytest.mark.parametrize("value", [[[1, 1, 4, 1, 4, 3, 1, 3]], [1, 1, 4, 1, 4, 3, 1, 3]])
def test_polygons_count_from_the_centre_of_a_pixel(value):
    assert annotation_polygons(segment(value)) == (((0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5)),)


@pytest.mark.parametrize("value", [None, [], [[]], [[1, 1, 2, 2]], {"size": [1, 1], "counts": [1]}])
def test_what_has_no_polygon(value):
    assert annotation_polygons(segment(value)) == ()


@pytest.mark.parametrize("value", [
    5, "1 2", [[1, 2, 3]], [[1, 2, "3", 4]], [[1, 2, None, 4]], [[1, 2, True, 4]], [[1, 2], 3], [1, [2]], [[1e300] * 6],
    [[10**400] * 6], [[float("nan")] * 6],
], ids=lambda value: str(value)[:20])  # fmt: skip
def test_polygons_that_are_none(value):
    with pytest.raises(BadInput, match=r"export it (as COCO )?again"):
        annotation_polygons(segment(value))


def test_an_area_is_measured():
    assert measure_polygon(((0.5, 0.5), (0.5, 3.5), (2.5, 3.5))) == 3.0


# The example in the documentation of pycocotools.
KNOWN_COUNTS, KNOWN_TEXT = [6, 1, 40, 4, 5, 4, 5, 4, 21], "61X13mN000`0"


@pytest.mark.parametrize("counts", [KNOWN_COUNTS, KNOWN_TEXT])
def test_the_known_run_lengths(counts):
    rle = annotation_rle(segment({"size": [9, 10], "counts": counts}))
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
        rle = annotation_rle(segment({"size": list(mask.shape), "counts": form}))
        assert rle.counts.tolist() == counts
        assert rle.n_inside == mask.sum()
        assert np.array_equal(decode_rle(rle), mask)


@given(MASKS, st.data())
def test_some_columns_of_run_lengths(mask, data):
    rle = annotation_rle(segment({"size": list(mask.shape), "counts": count_runs(mask)}))
    first = data.draw(st.integers(0, mask.shape[1]))
    cols = slice(first, data.draw(st.integers(first, mask.shape[1])))
    assert np.array_equal(decode_rle(rle, cols), mask[:, cols])
    used = np.flatnonzero(mask.any(axis=0))
    assert rle.cols == (slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))


def test_runs_of_no_length():
    rle = annotation_rle(segment({"size": [1, 4], "counts": [0, 1, 0, 1, 1, 1, 0, 0]}))
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
        annotation_rle(segment(value))


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_run_lengths_or_refused(text):
    try:
        rle = annotation_rle(segment({"size": [5, 7], "counts": text}))
    except BadInput:
        return
    assert decode_rle(rle).sum() == rle.n_inside


def test_too_many_run_lengths(monkeypatch):
    monkeypatch.setattr(coco, "MAX_POINTS", 3)
    for counts, message in (([0, 0, 0, 4], "too ragged"), ("0004", "far too many"), ("o" * 1000, "are damaged;")):
        with pytest.raises(BadInput, match=message):
            annotation_rle(segment({"size": [2, 2], "counts": counts}))


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
def test_damaged_sets(record, tmp_path, change):
    change(record)
    path = tmp_path / "set.json"
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match=r"set\.json: "):
        read_coco(path)


@pytest.mark.real
def test_a_real_set_whose_polygons_are_flat_lists(real_data):
    found = read_coco(real_data / "geotiff" / "coco_sample_2.json")
    image = found.find_image("sample_geotiff.tif")
    assert image.shape == (900, 900) and dict(found.categories) == {1: "1", 2: "0"}
    raw = json.loads((real_data / "geotiff" / "coco_sample_2.json").read_text())["annotations"]
    annotations = found.list_annotations(image)
    assert len(annotations) == len(raw) == 43
    for annotation, row in zip(annotations, raw, strict=True):
        (polygon,) = annotation_polygons(annotation)
        assert measure_polygon(polygon) == pytest.approx(row["area"])
