from pathlib import Path

import pytest

from hybridseg.errors import BadInput
from hybridseg.io.images import ImageInfo, measure_resolution
from hybridseg.io.rasters import GeoReference
from hybridseg.models.views import View

WIDE = View(True, (0.5, 2.0), (600, 900))
SIZE = (256, 384)


def info_of(rows, cols, *, side=None):
    """The header of a photo, or of an orthophoto whose pixels are so many metres wide."""
    place = None if side is None else GeoReference("EPSG:32611", (side, 0.0, 4e5, 0.0, -side, 4e6))
    return ImageInfo(Path("a.tif"), "GTiff", rows, cols, 3, "uint8", 1, place)


def test_the_view_of_a_training():
    infos = [info_of(600, 900, side=0.5), info_of(400, 600, side=0.1), info_of(900, 1200, side=2.0)]
    assert View.of(infos, size=SIZE, scale=(0.5, 1.0)) == View(True, (0.5, 1.0), (600, 900), 0.5)
    fitted = View.of(infos, size=(300, 450), scale=None)
    assert fitted == View(False, (0.5, 0.5), (600, 900), 0.5)
    assert View.of([*infos, info_of(600, 900)], size=SIZE, scale=None).resolution is None, "not known of one"


@pytest.mark.parametrize(
    ("scale", "usual"), [((0.5, 2.0), 1.0), ((1.0, 1.0), 1.0), ((0.25, 1.0), 1.0), ((0.2, 0.8), 0.4), ((2.0, 8.0), 4.0)]
)
def test_images_are_predicted_at_their_own_scale_unless_that_was_never_seen(scale, usual):
    assert View(True, scale, (600, 900)).usual_scale == usual


@pytest.mark.parametrize(("shape", "scale", "warning"), [
    ((600, 900), 1.0, ""),
    # 1.5 times as far as the training went is still near.
    ((1790, 2690), 1.0, ""),
    ((1810, 2710), 1.0, "1.5 times larger than any that the network was trained on; try --native --scale 0.33"),
    ((4800, 7200), 1.0, "4.0 times larger than any that the network was trained on; try --native --scale 0.12"),
    ((4800, 7200), 0.125, ""),
    ((210, 310), 1.0, ""),
    ((150, 225), 1.0, "2.0 times smaller than any that the network was trained on; try --native --scale 4"),
    # Fitted, it looks as all of any photo does: at 0.43.
    ((4800, 7200), None, ""),
])  # fmt: skip
def test_a_photo_is_compared_by_its_sides(shape, scale, warning):
    found = WIDE.judge(info_of(*shape), scale, size=SIZE)
    assert found.endswith(warning) and bool(found) == bool(warning)
    if warning:
        assert f"has {shape[0]} x {shape[1]} pixels, the photos of the training about 600 x 900: if it does" in found


def test_an_orthophoto_is_compared_by_what_its_pixels_cover():
    view = View(True, (1.0, 1.0), (600, 900), 0.5)
    assert view.judge(info_of(20_000, 30_000, side=0.4), 1.0, size=SIZE) == ""
    found = view.judge(info_of(600, 900, side=0.1), 1.0, size=SIZE)
    assert found == (
        "has pixels of 0.1 m, the photos of the training 0.5 m: its objects look 5.0 times larger than any that the "
        "network was trained on; try --native --scale 0.2"
    )
    assert view.judge(info_of(600, 900, side=0.1), 0.2, size=SIZE) == ""
    # A photo of which nothing is known, by its sides.
    assert view.judge(info_of(600, 900), 1.0, size=SIZE) == ""


def test_a_network_of_fitted_photos_knows_its_scale_too():
    view = View.of([info_of(600, 900, side=0.5)], size=(300, 450), scale=None)
    assert view.judge(info_of(600, 900, side=0.5), None, size=(300, 450)) == ""
    far = view.judge(info_of(2400, 3600, side=0.5), None, size=(300, 450))
    assert "4.0 times smaller" in far and far.endswith("--native --scale 0.5")
    assert view.judge(info_of(2400, 3600, side=0.5), 0.5, size=(300, 450)) == ""
    assert "2.0 times larger" in view.judge(info_of(600, 900, side=0.5), 1.0, size=(300, 450))


@pytest.mark.parametrize("values", [
    {"scale": (0.0, 1.0)}, {"scale": (2.0, 1.0)}, {"photo": (0, 5)}, {"resolution": 0.0}, {"resolution": -1.0},
])  # fmt: skip
def test_views_that_cannot_be(values):
    with pytest.raises(BadInput, match=r"^its view has (scale|photo|resolution)="):
        View(**{"windows": True, "scale": (1.0, 1.0), "photo": (5, 5), **values})


@pytest.mark.parametrize(("crs", "transform", "metres"), [
    ("EPSG:32611", (0.3, 0.0, 0.0, 0.0, -0.3, 0.0), 0.3),
    # Turned by a right angle.
    ("EPSG:32611", (0.0, 2.0, 0.0, 2.0, 0.0, 0.0), 2.0),
    # Feet, and degrees at 60 degrees north.
    ("EPSG:2229", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 0.3048),
    ("EPSG:4326", (1e-5, 0.0, 10.0, 0.0, -1e-5, 60.0), 0.787),
    (None, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), None),
    ("EPSG:32611", None, None),
    ("no such system", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), None),
])  # fmt: skip
def test_metres_of_a_pixel(crs, transform, metres):
    found = measure_resolution(GeoReference(crs, transform))
    assert found == (None if metres is None else pytest.approx(metres, rel=1e-3))
    assert measure_resolution(None) is None
