"""What GIS programs see of a GeoTIFF label map: GDAL itself is asked, and the style of QGIS is parsed."""

import ctypes
import json
import logging
import resource
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio._base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, WriteFailed
from hybridseg.io import atomic
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import GeoReference

LABELS = np.array([[0, 1, 2, VOID]], np.uint8)
PLACE = GeoReference("EPSG:32611", (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0))
OTHER = ClassTable.from_names(["cliff", "dune", "road"])


def gdalinfo(path) -> dict:
    """Return what ``gdalinfo -json`` prints: it is a function of the GDAL that rasterio brings."""
    gdal = ctypes.CDLL(rasterio._base.__file__)
    gdal.GDALOpen.restype = gdal.GDALInfoOptionsNew.restype = gdal.GDALInfo.restype = ctypes.c_void_p
    dataset = ctypes.c_void_p(gdal.GDALOpen(str(path).encode(), 0))
    options = ctypes.c_void_p(gdal.GDALInfoOptionsNew((ctypes.c_char_p * 2)(b"-json", None), None))
    text = ctypes.c_void_p(gdal.GDALInfo(dataset, options))
    try:
        return json.loads(ctypes.string_at(text))
    finally:
        gdal.VSIFree(text)
        gdal.GDALInfoOptionsFree(options)
        gdal.GDALClose(dataset)


def read_style(path) -> list[tuple[str, str, str]]:
    """Return value, colour and label of each class, where QGIS looks for them."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    renderer = root.find("pipe/rasterrenderer[@type='paletted'][@band='1']")
    assert root.tag == "qgis"
    return [(e.get("value"), e.get("color"), e.get("label")) for e in renderer.findall("colorPalette/paletteEntry")]


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_gdal_shows_names_colours_and_nodata(tmp_path, table):
    write_labelmap(tmp_path / "a_label.tif", LabelMap(LABELS, table, georeference=PLACE))
    info = gdalinfo(tmp_path / "a_label.tif")
    band, attributes = info["bands"][0], info["rat"]
    assert band["categories"] == list(table.names)
    assert band["colorInterpretation"] == "Palette" and band["noDataValue"] == VOID
    assert "CLASS_NAMES" in band["metadata"][""]
    usages = {"Value": 5, "Class_Name": 2, "Red": 6, "Green": 7, "Blue": 8}
    assert attributes["tableType"] == "thematic"
    assert {field["name"]: field["usage"] for field in attributes["fieldDefn"]} == usages
    assert [row["f"] for row in attributes["row"]] == [
        [i, name, *color] for i, (name, color) in enumerate(zip(table.names, table.colors, strict=True))
    ]
    assert "32611" in info["coordinateSystem"]["wkt"] and info["geoTransform"] == [1000, 0.5, 0, 2000, 0, -0.5]


def test_the_palette_has_no_colour_without_a_class(tmp_path, table):
    write_labelmap(tmp_path / "a.tif", LabelMap(LABELS, table, georeference=PLACE))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        palette = dataset.colormap(1)
    assert [palette[i] for i in range(len(table))] == [(*color, 255) for color in table.colors]
    assert {palette[i] for i in range(len(table), VOID)} == {(0, 0, 0, 255)}
    assert palette[VOID] == (0, 0, 0, 0)


def test_the_style_of_qgis_has_the_classes_alone(tmp_path, table):
    write_labelmap(tmp_path / "a.b_label.tif", LabelMap(LABELS, table))
    assert read_style(tmp_path / "a.b_label.qml") == [
        (str(i), f"#{r:02x}{g:02x}{b:02x}", name)
        for i, (name, (r, g, b)) in enumerate(zip(table.names, table.colors, strict=True))
    ]


HARD_NAMES = (
    "a & b",
    "<sand>",
    "\"wet\" 'dry'",
    "Düne",
    "海岸",
    "\U0001f30a wave",
    "]]>x",
    "a,  b",
    "&amp;",
)


def is_class_list(names):
    try:
        return bool(ClassTable.from_names(names))
    except BadInput:
        return False


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(max_size=8), min_size=1, max_size=6)
    .map(lambda names: [f"{i}{n}{i}" for i, n in enumerate(names)])
    .filter(is_class_list)
)
def test_any_name_is_shown(tmp_path, names):
    check_names(tmp_path, names)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_hard_names_are_shown(tmp_path, name):
    check_names(tmp_path, [name])


def check_names(folder, names):
    table = ClassTable(tuple(names), tuple((i, 0, 0) for i in range(len(names))))
    write_labelmap(folder / "a.tif", LabelMap(np.zeros((1, 2), np.uint8), table))
    info = gdalinfo(folder / "a.tif")
    assert info["bands"][0]["categories"] == names
    assert [row["f"][1] for row in info["rat"]["row"]] == names
    assert [label for _, _, label in read_style(folder / "a.qml")] == names
    assert read_labelmap(folder / "a.tif").table.names == tuple(names)


def test_no_class_of_before_stays(tmp_path, table):
    """Nor statistics and overviews of the pixels of before."""
    path = tmp_path / "a.tif"
    write_labelmap(path, LabelMap(LABELS, table))
    gdal = ctypes.CDLL(rasterio._base.__file__)
    gdal.GDALOpen.restype = gdal.GDALGetRasterBand.restype = ctypes.c_void_p
    dataset = ctypes.c_void_p(gdal.GDALOpen(str(path).encode(), 0))
    band = ctypes.c_void_p(gdal.GDALGetRasterBand(dataset, 1))
    assert gdal.GDALComputeRasterStatistics(band, 0, None, None, None, None, None, None) == 0
    gdal.GDALClose(dataset)
    assert "STATISTICS_MEAN" in gdalinfo(path)["bands"][0]["metadata"][""]
    assert gdalinfo(path)["bands"][0]["categories"] == list(table.names)
    (tmp_path / "a.tif.ovr").touch()
    write_labelmap(path, LabelMap(LABELS, OTHER))
    assert list_names(tmp_path) == ["a.qml", "a.tif", "a.tif.aux.xml"]
    assert gdalinfo(path)["bands"][0]["categories"] == list(OTHER.names)
    assert "STATISTICS_MEAN" not in gdalinfo(path)["bands"][0]["metadata"][""]
    assert [label for _, _, label in read_style(tmp_path / "a.qml")] == list(OTHER.names)


def test_a_style_of_the_user_is_kept(tmp_path, table, caplog):
    (tmp_path / "a.qml").write_text("<qgis/>")
    with caplog.at_level(logging.WARNING):
        write_labelmap(tmp_path / "a.tif", LabelMap(LABELS, table))
    assert (tmp_path / "a.qml").read_text() == "<qgis/>"
    assert "a.qml is a style of your own and is kept" in caplog.text


@pytest.mark.parametrize("n_renamed", range(3))
def test_interrupted_between_files_no_map_has_the_names_of_another(tmp_path, table, monkeypatch, n_renamed):
    """Where the map is, its files are there too."""
    path = tmp_path / "a.tif"
    write_labelmap(path, LabelMap(LABELS, table))
    renames = iter([atomic.os.replace] * n_renamed)

    def rename(source, target):
        next(renames, fail)(source, target)

    def fail(source, target):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", rename)
        with pytest.raises(WriteFailed, match="the disk is gone"):
            write_labelmap(path, LabelMap(LABELS, OTHER))
    assert not path.exists() and not [name for name in list_names(tmp_path) if name.startswith(".")]
    write_labelmap(path, LabelMap(LABELS, OTHER))
    assert gdalinfo(path)["bands"][0]["categories"] == list(OTHER.names)


def test_a_map_that_cannot_be_made_leaves_all_as_it_was(tmp_path, table):
    path = tmp_path / "a.tif"
    write_labelmap(path, LabelMap(LABELS, table))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(BadInput, match="does not name its classes"):
        write_labelmap(path, LabelMap(LABELS))
    with pytest.raises(BadInput, match="not UTF-8"):
        write_labelmap(path, LabelMap(LABELS, table, made_by="\ud800"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_files_are_small(tmp_path):
    table = ClassTable.from_names(["water", "dry sand", "wet sand", "vegetation", "buildings"])
    write_labelmap(tmp_path / "a.tif", LabelMap(np.zeros((3000, 2000), np.uint8), table))
    assert sum((tmp_path / name).stat().st_size for name in ("a.qml", "a.tif.aux.xml")) < 2500


# Of the second size GDAL cannot even write all blocks.
@pytest.mark.parametrize("shape", [(100, 200), (1500, 1500)], ids=str)
def test_on_a_full_disk_the_map_of_before_stays(tmp_path, table, shape):
    """GDAL itself says nothing when the disk takes only the beginning of a file; here that is a limit on its size."""
    path, noise = tmp_path / "a.tif", np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    old = ClassTable.from_names(["other", *table.names[1:]])
    write_labelmap(path, LabelMap(np.zeros_like(noise), old))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(WriteFailed, match=r"could not write .*a\.tif: the disk did not take all of it; check"):
            write_labelmap(path, LabelMap(noise, table))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_labelmap(path, LabelMap(noise, table))
    assert np.array_equal(read_labelmap(path).labels, noise)
