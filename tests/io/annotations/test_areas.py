"""Label maps as files of other programs, read again: by our readers, and a GeoPackage by its bytes."""

import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable, hex_color
from hybridseg.io.annotations.areas import list_areas, write_doodler, write_geopackage, write_labelme
from hybridseg.io.annotations.doodler import read_doodlernpz
from hybridseg.io.annotations.painted import paint_annotations
from hybridseg.io.images import write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import GeoReference

PLACE = GeoReference("EPSG:32611", (2.0, 0.0, 500000.0, 0.0, -2.0, 4000000.0))


@pytest.fixture
def labelled(tmp_path, table):
    """A photo with three classes: a ring of sand with water in it, and a corner without a class."""
    labels = np.zeros((20, 30), np.uint8)
    labels[4:16, 5:20], labels[7:12, 9:15], labels[15:, 25:], labels[:3, :2] = 1, 0, 2, VOID
    seeds = np.zeros_like(labels)
    seeds[5, 6:12] = 2
    path = tmp_path / "a.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8))
    return path, LabelMap(labels, table, seeds, PLACE)


def test_labelme_and_back(labelled, tmp_path):
    image_path, labelmap = labelled
    write_labelme(tmp_path / "a.json", labelmap, image_path)
    found = paint_annotations(tmp_path / "a.json", shape=(20, 30), image_name="a.png", table=labelmap.table)
    assert (found.areas == np.where(labelmap.labels == VOID, 0, labelmap.labels + 1)).all()


def test_doodler_and_back(labelled, tmp_path):
    image_path, labelmap = labelled
    write_doodler(tmp_path / "a.npz", labelmap, image_path)
    found = read_doodlernpz(tmp_path / "a.npz", shape=(20, 30))
    assert (found.labels == labelmap.labels).all() and (found.seeds == labelmap.seeds).all()
    assert found.names == labelmap.table.names
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["image"].shape == (20, 30, 3) and arrays["label"].shape == (20, 30, 3)


def read_polygon(blob):
    """The system and the rings of a polygon of a GeoPackage."""
    magic, version, flags, srs_id = struct.unpack_from("<2sBBi", blob)
    order, kind, n_rings = struct.unpack_from("<BII", blob, 8)
    assert (magic, version, flags, order, kind) == (b"GP", 0, 1, 1, 3)
    place, rings = 17, []
    for _ in range(n_rings):
        (n,) = struct.unpack_from("<I", blob, place)
        rings.append(np.frombuffer(blob, "<f8", 2 * n, place + 4).reshape(n, 2))
        place += 4 + 16 * n
    assert place == len(blob)
    return srs_id, rings


def measure(ring):
    x, y = ring.T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


@pytest.mark.parametrize("place, code, side", [(PLACE, 32611, 2.0), (None, -1, 1.0)])
def test_polygons_lie_where_the_image_does(labelled, tmp_path, place, code, side):
    image_path, labelmap = labelled
    labelmap = LabelMap(labelmap.labels, labelmap.table, None, place)
    write_geopackage(tmp_path / "a.gpkg", labelmap, image_path)
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as base:
        rows = base.execute("SELECT geom, class, class_id, color, pixels FROM labels").fetchall()
        bounds = base.execute("SELECT min_x, min_y, max_x, max_y, srs_id FROM gpkg_contents").fetchone()
        assert base.execute("SELECT srs_id, geometry_type_name FROM gpkg_geometry_columns").fetchone() == (
            code,
            "POLYGON",
        )
        definition = base.execute("SELECT definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?", (code,)).fetchone()[0]
    assert ("UTM zone 11N" in definition) == (place is not None)
    left, top = (500000, 4000000) if place else (0, 0)
    assert bounds == (left, top - 20 * side, left + 30 * side, top, code)
    found = sorted((name, class_id, pixels) for _, name, class_id, _, pixels in rows)
    expected = [np.count_nonzero(labelmap.labels == 1), np.count_nonzero(labelmap.labels == 2)]
    assert found[-1] == ("water", 0, np.count_nonzero(labelmap.labels == 0) - 30)
    assert found[:2] == [("cliff", 2, expected[1]), ("sand", 1, expected[0])] and found[2] == ("water", 0, 30)
    for blob, _, class_id, color, pixels in rows:
        srs_id, (outer, *holes) = read_polygon(blob)
        assert srs_id == code and measure(outer) - sum(map(measure, holes)) == pixels * side**2
        assert color == hex_color(labelmap.table.colors[class_id])


def test_areas_of_nothing():
    assert list(list_areas(np.full((3, 4), VOID, np.uint8))) == []


def test_a_map_of_nothing_is_a_file_too(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((3, 4, 3), np.uint8))
    nothing = LabelMap(np.full((3, 4), VOID, np.uint8), ClassTable.from_names(["water"]))
    write_geopackage(tmp_path / "a.gpkg", nothing, path)
    write_labelme(tmp_path / "a.json", nothing, path)
    assert (tmp_path / "a.gpkg").stat().st_size and (tmp_path / "a.json").exists()
