"""Label maps there and back in every format, and every quirk of the real ``.mat`` files, made small."""

import os

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from scipy.io import savemat

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput
from hybridseg.io.cog import write_band
from hybridseg.io.images import describe_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap, narrow_labels
from hybridseg.io.rasters import GeoReference

PLACE = GeoReference("EPSG:32611", (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0))


@pytest.fixture
def labels():
    return np.array([[0, 1, 2, 2], [VOID, 0, 1, 2], [0, 0, 0, 1]], np.uint8)


@pytest.mark.parametrize("suffix", [".mat", ".png", ".tif", ".tiff"])
def test_round_trip_with_names_colours_and_void(tmp_path, table, labels, suffix):
    path = tmp_path / f"a b{suffix}"
    write_labelmap(path, LabelMap(labels, table))
    back = read_labelmap(path)
    assert np.array_equal(back.labels, labels) and back.labels.dtype == np.uint8
    assert back.table == table
    beside = ["a b.qml", f"{path.name}.aux.xml"] if "tif" in suffix else []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, *beside])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4)),
    suffix=st.sampled_from([".mat", ".png", ".tif"]),
)
def test_round_trip_of_any_shape(tmp_path, labels, suffix):
    table = ClassTable.from_names(["été", "dry sand", "c", "d", "長い"] if suffix != ".mat" else list("abcde"))
    write_labelmap(tmp_path / f"x{suffix}", LabelMap(labels, table))
    back = read_labelmap(tmp_path / f"x{suffix}")
    assert np.array_equal(back.labels, labels) and back.table == table


def test_png_holds_indices_with_the_class_colours_as_palette(tmp_path, table, labels):
    write_labelmap(tmp_path / "a.png", LabelMap(labels, table))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), labels)
        assert picture.getpalette()[:9] == [channel for color in table.colors for channel in color]


def test_tiff_keeps_georeference_colour_table_and_nodata(tmp_path, table, labels):
    write_labelmap(tmp_path / "a.tif", LabelMap(labels, table, georeference=PLACE))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs.to_epsg() == 32611 and dataset.nodata == VOID
        assert dataset.colormap(1)[1] == (255, 255, 0, 255)
    back = read_labelmap(tmp_path / "a.tif")
    assert back.georeference.transform == PLACE.transform
    write_labelmap(tmp_path / "b.tif", back)
    assert describe_image(tmp_path / "b.tif").georeference == back.georeference


def test_tiff_keeps_ground_control_points(tmp_path, table, labels):
    from rasterio.control import GroundControlPoint

    points = tuple(
        GroundControlPoint(row=r, col=c, x=c * 2.0, y=-r * 2.0, id=f"{r}{c}") for r in (0, 2) for c in (0, 3)
    )
    place = GeoReference("EPSG:4326", None, points)
    write_labelmap(tmp_path / "a.tif", LabelMap(labels, table, georeference=place))
    back = read_labelmap(tmp_path / "a.tif").georeference
    assert [(p.row, p.col, p.x, p.y) for p in back.gcps] == [(p.row, p.col, p.x, p.y) for p in points]
    assert "4326" in back.crs


@pytest.mark.parametrize("nodata", [0, 200, -9999])
def test_tiff_nodata_is_void_not_a_class(tmp_path, table, nodata):
    values = np.array([[1, nodata, 2]], np.int16)
    profile = {
        "driver": "GTiff",
        "height": 1,
        "width": 3,
        "count": 1,
        "dtype": "int16",
        "nodata": nodata,
        "crs": "EPSG:4326",
    }
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(1, 0, 5, 0, -1, 5), **profile) as dataset:
        dataset.write(values, 1)
    assert read_labelmap(tmp_path / "a.tif", table=table).labels.tolist() == [[1, VOID, 2]]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float64", "uint16"])
def test_mat_of_every_number_type(tmp_path, dtype):
    savemat(tmp_path / "a.mat", {"class": np.array([[0, 1], [1, 0]], dtype), "labels": np.array(["sea ", "sand"])})
    back = read_labelmap(tmp_path / "a.mat")
    assert back.labels.tolist() == [[0, 1], [1, 0]]
    assert back.table.names == ("sea", "sand") and back.seeds is None


def test_mat_quirks(tmp_path):
    classes, sparse = np.array([[0, 1, 2]]), np.array([[1, 0, 3]], np.int32)
    cell = np.empty((1, 3), object)
    cell[0] = ["a", "b", "c"]
    cases = {
        "padded": np.array(["a   ", "bcde", "c   "]),
        "struct": {"a": "#000000", "b": "#704515", "c": "#329ba7"},
        "cell": cell,
    }
    for name, value in cases.items():
        savemat(tmp_path / f"{name}.mat", {"class": classes, "sparse": sparse, "labels": value})
        back = read_labelmap(tmp_path / f"{name}.mat")
        assert len(back.table) == 3 and back.table.names[0] == "a", name
        assert back.seeds.tolist() == [[1, 0, 3]], name
    assert read_labelmap(tmp_path / "struct.mat").table.colors[1] == (0x70, 0x45, 0x15)
    assert read_labelmap(tmp_path / "padded.mat", with_seeds=False).seeds is None


def test_mat_names_inside_win_over_names_given(tmp_path, table):
    savemat(tmp_path / "a.mat", {"class": np.array([[0, 1]]), "labels": np.array(["x", "y"])})
    assert read_labelmap(tmp_path / "a.mat", table=table).table.names == ("x", "y")
    savemat(tmp_path / "b.mat", {"class": np.array([[0, 1]])})
    assert read_labelmap(tmp_path / "b.mat", table=table).table == table
    with pytest.raises(BadInput, match=r"b.mat does not name its classes; .* --labels labels.txt"):
        read_labelmap(tmp_path / "b.mat").require_table(tmp_path / "b.mat")


def test_mat_class_just_after_the_last_is_unlabelled_and_told_where_it_is_much(tmp_path, caplog):
    few = np.zeros((10, 20), int)
    few[0, 0] = 2
    savemat(tmp_path / "a.mat", {"class": few, "labels": np.array(["x", "y"])})
    assert np.array_equal(read_labelmap(tmp_path / "a.mat").labels, np.where(few == 2, VOID, 0))
    assert caplog.text == ""
    few[:5] = 2
    savemat(tmp_path / "b.mat", {"class": few})
    table = ClassTable.from_names(["x", "y"])
    assert np.array_equal(read_labelmap(tmp_path / "b.mat", table=table).labels, np.where(few == 2, VOID, 0))
    assert "b.mat: 50.0 % of the pixels have the id 2" in caplog.text and "they become void" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_list_one_name_too_short_is_refused_elsewhere(tmp_path, suffix):
    """Only in a .mat the id just after the last class means "none of them"."""
    ids = np.array([[0, 1, 2, 2], [2, 2, VOID, VOID]], np.uint8)
    if suffix == ".png":
        Image.fromarray(ids).save(tmp_path / "a.png")
    else:
        write_band(tmp_path / "a.tif", ids, None, nodata=VOID)
    short, whole = ClassTable.from_names(["x", "y"]), ClassTable.from_names(["x", "y", "z"])
    told = r"a\..* ids from 0 to 2, but the classes are 0 to 1 \(x, y\): 50.0% of the pixels .*give the class file"
    with pytest.raises(BadInput, match=told):
        read_labelmap(tmp_path / f"a{suffix}", table=short)
    assert np.array_equal(read_labelmap(tmp_path / f"a{suffix}", table=whole).labels, ids)


def test_mat_probabilities_are_never_unpacked(tmp_path):
    """Their packed bytes are ruined here: only somebody who unpacks them can notice."""
    savemat(tmp_path / "a.mat", {"preds": np.random.default_rng(0).random((50, 50, 3))}, do_compression=True)
    ruined = bytearray((tmp_path / "a.mat").read_bytes())
    ruined[2000:-2000] = bytes(len(ruined) - 4000)
    savemat(tmp_path / "b.mat", {"class": np.array([[0, 1]]), "labels": np.array(["x", "y"])}, do_compression=True)
    (tmp_path / "c.mat").write_bytes(bytes(ruined) + (tmp_path / "b.mat").read_bytes()[128:])
    assert read_labelmap(tmp_path / "c.mat").labels.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"preds": np.zeros((2, 2))}, "has no variable `class`"),
        ({"class": np.array([[0, 5]]), "labels": np.array(["x", "y"])}, "ids from 0 to 5, but the classes are 0 to 1"),
        ({"class": np.array([[-1, 0]])}, "ids from -1 to 0"),
        ({"class": np.array([[0.5, 1]])}, "fractions or NaN"),
        ({"class": np.array([[np.nan, 1]])}, "fractions or NaN"),
        ({"class": "text"}, "`class` is a char"),
        ({"class": {"a": 1}}, "`class` is a struct"),
        ({"class": np.zeros((2, 2, 2))}, "not a .rows, cols. array"),
        ({"class": np.zeros((0, 0))}, "is empty"),
        ({"class": np.array([[0, 1]]), "labels": np.array(["x", "x"])}, "`labels` is not a list of class names"),
        ({"class": np.array([[0, 1]]), "labels": np.array([[1.0, 2.0]])}, "list of class names is not text"),
        ({"class": np.eye(2), "sparse": np.eye(2) * 3, "labels": np.array(["x", "y"])}, "scribbles from 0 to 3"),
        ({"class": np.eye(2), "sparse": np.eye(3), "labels": np.array(["x", "y"])}, "label the image again"),
    ],
)  # fmt: skip
def test_mat_that_cannot_be_used(tmp_path, variables, message):
    savemat(tmp_path / "bad.mat", variables)
    with pytest.raises(BadInput, match=message) as caught:
        read_labelmap(tmp_path / "bad.mat")
    assert "bad.mat" in str(caught.value)


def test_mat_lists_whose_order_cannot_be_told(tmp_path):
    cell = np.empty((2, 2), object)
    cell[:] = [["water", "veg"], ["sand", "foam"]]
    structs = np.array([("a", 1), ("b", 2)], dtype=[("name", object), ("id", object)])
    for value in (cell, structs):
        savemat(tmp_path / "a.mat", {"class": np.array([[0, 1]]), "labels": value})
        with pytest.raises(BadInput, match=r"order is unknown|list of 2 structs"):
            read_labelmap(tmp_path / "a.mat")


def test_what_is_named_png_or_tif_must_be_that(tmp_path, table):
    Image.new("L", (8, 8)).save(tmp_path / "a_label.png", format="JPEG")
    Image.new("L", (8, 8)).save(tmp_path / "a_label.tif", format="PNG")
    for name in ("a_label.png", "a_label.tif"):
        with pytest.raises(BadInput, match="give the original label map"):
            read_labelmap(tmp_path / name, table=table)
    Image.new("LA", (8, 8)).save(tmp_path / "b.png")
    with pytest.raises(BadInput, match="2 bands"):
        read_labelmap(tmp_path / "b.png", table=table)


def test_pipes_are_refused_and_not_waited_for(tmp_path):
    for name in ("a.mat", "a.png", "a.tif"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(BadInput, match="is a pipe or device, not a file"):
            read_labelmap(tmp_path / name)


def test_mat_of_matlab_73_and_other_files(tmp_path):
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    with pytest.raises(BadInput, match=r"MATLAB 7.3 \(HDF5\) format; .*-v7"):
        read_labelmap(tmp_path / "new.mat")
    for name, content in {"empty.mat": b"", "text.mat": b"hello" * 100, "zeros.mat": bytes(500)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=name):
            read_labelmap(tmp_path / name)
    with pytest.raises(MissingInput, match="there is no file"):
        read_labelmap(tmp_path / "none.mat")
    with pytest.raises(BadInput, match="is not a label map"):
        (tmp_path / "a.txt").touch()
        read_labelmap(tmp_path / "a.txt")


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    table = ClassTable.from_names(list("abcde"))
    labels = np.random.default_rng(0).integers(0, 5, (40, 50), dtype=np.uint8)
    for suffix in (".mat", ".png", ".tif"):
        write_labelmap(folder / f"a{suffix}", LabelMap(labels, table, labels if suffix == ".mat" else None))
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".mat", ".png", ".tif"]), data=st.data())
def test_damaged_files_never_crash(tmp_path, whole_files, suffix, data):
    """Whatever a file holds, a reader gives a label map or one clear error."""
    content = bytearray(whole_files[suffix])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=5)):
        if position < len(content):
            content[position] = value
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(bytes(content))
    try:
        labels = read_labelmap(path).labels
    except HybridSegError as error:
        assert "damaged" in str(error)
    else:
        assert labels.ndim == 2 and labels.dtype == np.uint8


def test_mat_size_is_checked_before_loading(tmp_path, monkeypatch):
    savemat(tmp_path / "a.mat", {"class": np.zeros((50, 50))}, do_compression=True)
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "2000")
    with pytest.raises(BadInput, match="50 x 50 pixels, more than the cap of 2,000"):
        read_labelmap(tmp_path / "a.mat")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_png_masks_of_any_depth_are_ids(tmp_path, bits):
    """Tools that shrink PNG files lower the bit depth of a mask; the ids must survive."""
    import struct
    import zlib

    ids = np.array([[0, 1, 1, 0], [1, 0, 1, 1]], np.uint8) * (3 if bits >= 2 else 1)
    rows = b"".join(
        b"\x00" + np.packbits(((row[:, None] >> np.arange(bits)[::-1]) & 1).ravel()).tobytes() for row in ids
    )

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 2, bits, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    assert read_labelmap(tmp_path / "a.png").labels.tolist() == ids.tolist()


def test_painted_png_is_matched_by_colour(tmp_path, table):
    painted = np.array([[[0, 0, 255], [139, 0, 139], [0, 0, 0]]], np.uint8)
    Image.fromarray(painted).save(tmp_path / "a.png")
    assert read_labelmap(tmp_path / "a.png", table=table).labels.tolist() == [[0, 2, VOID]]
    with pytest.raises(BadInput, match="is a colour picture; give the colours"):
        read_labelmap(tmp_path / "a.png")
    painted[0, 0] = (1, 1, 1)
    Image.fromarray(painted).save(tmp_path / "b.png")
    with pytest.raises(BadInput, match=r"b.png: .*% of the pixels \(1\) have colours that no class has, such as \(1,"):
        read_labelmap(tmp_path / "b.png", table=table)


def test_tiff_with_several_bands_is_refused(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=2, width=2, count=5, dtype="uint8", crs="EPSG:4326",
        transform=rasterio.Affine(1, 0, 5, 0, -1, 5),
    ) as dataset:  # fmt: skip
        dataset.write(np.zeros((5, 2, 2), np.uint8))
    with pytest.raises(BadInput, match="has 5 bands of uint8"):
        read_labelmap(tmp_path / "a.tif")


def test_narrowing_does_not_change_the_callers_array(table):
    values = np.array([[0, 3]], np.uint8)
    assert narrow_labels(values, table, where="x", none_after_last=True).tolist() == [[0, VOID]]
    assert values.tolist() == [[0, 3]]


def test_a_label_map_without_names_cannot_be_written(tmp_path, labels):
    for suffix in (".mat", ".png", ".tif"):
        with pytest.raises(BadInput, match="does not name its classes"):
            write_labelmap(tmp_path / f"a{suffix}", LabelMap(labels))
    with pytest.raises(BadInput, match="no suffix of a label map"):
        write_labelmap(tmp_path / "a.jpg", LabelMap(labels))
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("bands", [3, 4])
def test_tiff_in_the_colours_of_the_classes(tmp_path, table, labels, bands):
    rgb = np.moveaxis(table.palette()[labels], 2, 0)
    profile = {"driver": "GTiff", "height": 3, "width": 4, "count": bands, "dtype": "uint8"}
    profile |= {"crs": PLACE.crs, "transform": rasterio.Affine(*PLACE.transform)}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(np.concatenate([rgb, np.full((1, 3, 4), 255, np.uint8)])[:bands])
    found = read_labelmap(tmp_path / "a.tif", table=table)
    assert np.array_equal(found.labels, labels) and found.table == table
    assert found.georeference.transform == PLACE.transform and "32611" in found.georeference.crs
    with pytest.raises(BadInput, match=r"a.tif is a colour picture; give the colours"):
        read_labelmap(tmp_path / "a.tif")


@pytest.mark.parametrize("table", [None, ClassTable.from_names(["a", "b"])])
def test_a_photograph_is_told_from_a_mask(tmp_path, table):
    """A photograph that lies where a mask should be is called one."""
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8))
    with pytest.raises(
        BadInput, match=r"a.png has 1,200 colours: it is a photograph and no mask, or .*--nearest-color"
    ):
        read_labelmap(tmp_path / "a.png", table=table)
