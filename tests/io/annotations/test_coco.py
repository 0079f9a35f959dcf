import json
import tracemalloc

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.io.annotations.canvas import Canvas
from hybridseg.io.annotations.coco import measure_polygon, open_coco, parse_coco, parse_polygons
from hybridseg.io.annotations.formats import read_annotations
from hybridseg.io.annotations.runlengths import Rle, pack_counts


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


@pytest.mark.parametrize(("x", "y"), [(9e5, 9e5), (3.0, 9e5), (9e5, 2.0)])
def test_a_polygon_far_beyond_its_image_takes_no_more_memory(record, x, y):
    file = open_coco(record)
    record["annotations"][0]["segmentation"] = [[-x, -y, x, -y, x, y, -x, y]]
    inside = np.zeros((4, 6), np.uint8)
    tracemalloc.start()
    with Canvas(inside) as canvas:
        file.list_areas(file.images[0], (4, 6))[0].put_on(canvas, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = (np.arange(4)[:, None] + 0.5 < y) & (np.arange(6) + 0.5 < x)
    assert np.array_equal(inside, expected) and peak < 1_000_000


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


def test_run_lengths_that_are_not_packed_are_read_once():
    """They take more as they are in the file; packed ones take less."""
    counts = [0, 2, 1, 3]
    plain, packed = ({"size": [2, 3], "counts": form} for form in (counts, pack_counts(counts)))
    rows = [{"image_id": 1, "category_id": 1, "segmentation": one} for one in (plain, packed)]
    file = open_coco(
        {"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "b"}], "annotations": rows}
    )
    areas = file.list_areas(file.images[0], (2, 3))
    assert isinstance(areas[0].segmentation, Rle) and areas[1].segmentation is packed
    for area in areas:
        (item,) = area.list_items()
        assert area.size == 5 and item.drawn.counts.tolist() == counts
