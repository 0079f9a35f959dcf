"""ERDAS Imagine and ENVI files, which are copied as GeoTIFFs where a user names them."""

import gzip
import os
import re
import shutil
import struct

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp, Resampling

from hybridseg.batch.manifest import Manifest
from hybridseg.batch.plan import count_copied, make_plan
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io import geotiffs, imgcheck
from hybridseg.io.images import load_image
from hybridseg.io.pairing import find_images
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.io.remote import local_copy, measure_copy
from hybridseg.io.sources import as_source, needs_copy

PLACE = {"crs": "EPSG:32611", "transform": rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 4e6), "nodata": 7}
KINDS = [
    ("HFA", {}), ("HFA", {"COMPRESSED": "YES"}), ("HFA", {"USE_SPILL": "YES"}),
    *(("ENVI", {"INTERLEAVE": order}) for order in ("BSQ", "BIL", "BIP")),
]  # fmt: skip


def write_raster(path, bands, driver, **profile):
    n, rows, cols = bands.shape
    shape = {"count": n, "height": rows, "width": cols, "dtype": bands.dtype}
    with quiet_rasterio(), rasterio.open(path, "w", driver=driver, **shape, **profile) as dataset:
        dataset.write(bands)
        dataset.colorinterp = [ColorInterp.undefined] * n
    return path


def draw(dtype="uint8", n=3, shape=(150, 170)):
    bands = np.random.default_rng(0).integers(8, 255, (n, *shape)).astype(dtype)
    bands[:, :20, :30] = 7
    return bands


@pytest.fixture
def envi(tmp_path):
    """An ENVI image in an old name, with its header."""
    path = write_raster(tmp_path / "old.dat", draw(), "ENVI", **PLACE)
    return path, path.with_suffix(".hdr")


def change(header, *pairs):
    text = header.read_text()
    for before, after in pairs:
        text, n = re.subn(before, after, text)
        assert n, before
    header.write_text(text)


def refuse(path, message):
    with pytest.raises(BadInput, match=message) as caught, local_copy(path):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "dtype", ["uint16", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("uint8", "float32", "float64"))]
)
@pytest.mark.parametrize(("driver", "options"), KINDS)
def test_the_copy_is_what_the_same_pixels_are_as_geotiff(tmp_path, driver, options, dtype, monkeypatch):
    monkeypatch.setattr(geotiffs, "_PART_BYTES", 1)
    monkeypatch.setattr(geotiffs, "_BLOCK", 64)
    for n in (1, 4, 6):
        bands = draw(dtype, n)
        path = write_raster(tmp_path / "scene.img", bands, driver, **PLACE, **options)
        wanted = write_raster(tmp_path / "wanted.tif", bands, "GTiff", **PLACE, PHOTOMETRIC="MINISBLACK", ALPHA="NO")
        assert geotiffs.measure_file(path)[0] == (150, 170)
        with local_copy(path) as copy:
            assert copy.name == "scene.tif"
            with rasterio.open(copy) as one, rasterio.open(wanted) as other:
                assert np.array_equal(one.read(), other.read())
                assert np.array_equal(one.dataset_mask(), other.dataset_mask())
                assert (one.crs, one.transform, one.nodata) == (other.crs, other.transform, other.nodata)
                assert one.colorinterp == other.colorinterp
            one, other = load_image(copy), load_image(wanted)
            assert np.array_equal(one.valid, other.valid) and np.array_equal(one.pixels, other.pixels)
        assert not copy.parent.exists()


@pytest.mark.parametrize(("name", "driver"), [("a.img", "HFA"), ("a.dat", "ENVI"), ("a.jp2", "JP2OpenJPEG")])
@pytest.mark.parametrize(
    ("shape", "block"), [((1, 900), (16, 256)), ((900, 5), (256, 16)), ((33, 300), (48, 256)), ((300, 250), (256, 256))]
)
def test_the_tiles_of_low_and_narrow_copies_are_not_mostly_empty(tmp_path, monkeypatch, name, driver, shape, block):
    monkeypatch.setattr(geotiffs, "_PART_BYTES", 1)
    bands = np.random.default_rng(0).integers(0, 255, (2, *shape), np.uint8)
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    path = write_raster(tmp_path / name, bands, driver, **lossless)
    with local_copy(path) as copy, quiet_rasterio(), rasterio.open(copy) as dataset:
        assert dataset.block_shapes == [block, block]
        assert np.array_equal(dataset.read(), bands)


@pytest.mark.parametrize("name", ["a.img", "a.dat", "a.jp2", "gdal:a.bmp", "a.vrt"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_copy_takes_no_more_than_is_counted(tmp_path, monkeypatch, name, dtype):
    monkeypatch.chdir(tmp_path)
    driver = {"img": "HFA", "dat": "ENVI", "jp2": "JP2OpenJPEG", "bmp": "BMP", "vrt": "GTiff"}[name[-3:]]
    dtype = "uint8" if driver == "BMP" else dtype
    bands = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 300, 250), dtype)
    path = write_raster(tmp_path / name.removeprefix("gdal:").replace("vrt", "tif"), bands, driver)
    if name == "a.vrt":
        rasterio.shutil.copy(path, name, driver="VRT")
    source = as_source(name)
    expected, is_known = measure_copy(source)
    assert is_known
    with local_copy(source) as copy:
        assert 0.98 * bands.nbytes < copy.stat().st_size < expected < 1.1 * bands.nbytes + 1_000_000
    assert count_copied([source, path, source], 2)[1] >= 2 * expected
    assert count_copied([source], 2) == (expected, expected)
    assert count_copied([tmp_path / "gone.jp2", tmp_path / "b.tif"], 2) == (0, 0)
    monkeypatch.setattr("hybridseg.batch.plan._MOST_COPIED", expected - 1)
    assert count_copied([source], 2) == (0, 0)


def test_results_are_those_of_the_geotiff(tmp_path, survey):
    write_raster(tmp_path / "a.tif", draw(), "GTiff", **PLACE)
    for name, driver in (("b.img", "HFA"), ("c.img", "ENVI"), ("d", "ENVI")):
        write_raster(tmp_path / name, draw(), driver, **PLACE)
    paths = [tmp_path / name for name in ("a.tif", "b.img", "c.img", "d")]
    assert [needs_copy(path) for path in paths] == [False, True, True, True]
    plan = make_plan(paths[1:], 0, Manifest.read(tmp_path / "out"), job="x", n_workers=1)
    assert (plan.megapixels, plan.n_remote, plan.n_unreadable) == (pytest.approx(3 * 150 * 170 / 1e6), 0, 0)
    result = survey(paths)
    assert not result.problems
    written = [(tmp_path / "out" / f"{name}_threshold.png").read_bytes() for name in "abcd"]
    assert len(set(written)) == 1
    assert survey(paths).skipped == tuple(paths)
    os.utime(tmp_path / "c.hdr", (1, 1))
    assert [image.image_path for image in survey(paths).images] == [tmp_path / "c.img"]
    assert find_images([tmp_path / "*.img"], remote=True) == paths[1:3]
    assert find_images([tmp_path], remote=True) == paths[:1]
    with pytest.raises(BadInput, match="`hybridseg segment` takes such images"):
        find_images([paths[3]])


@pytest.mark.parametrize("order", ["bsq", "bil", "bip"])
def test_envi_of_other_machines(tmp_path, order):
    """With bytes in the other order, a head before the pixels, names in capitals and no place on the Earth."""
    bands = np.random.default_rng(0).integers(0, 60_000, (3, 20, 30), np.uint16)
    axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[order]
    (tmp_path / "scene.v1.raw").write_bytes(b"head!" + bands.transpose(axes).astype(">u2").tobytes())
    (tmp_path / "scene.v1.raw.hdr").write_bytes(
        b"ENVI\r\ndescription = {\r\n lines = 9 of K\xfcste }\r\nSamples = 30\r\nLines = 20\r\nBands = 3\r\n"
        b"Header Offset = 5\r\nFile Type = ENVI Standard\r\nData Type = 12\r\nByte Order = 1\r\n"
        b"Interleave = " + order.upper().encode() + b"\r\nfile compression = 0\r\ndata ignore value = -9999\r\n"
    )
    with local_copy(tmp_path / "scene.v1.raw") as copy:
        image = load_image(copy)
    assert np.array_equal(image.pixels, bands.transpose(1, 2, 0))
    assert image.valid is None and image.info.georeference is None


def test_a_mask_beside_it_stays(envi):
    path, header = envi
    mask = np.zeros((150, 170), bool)
    mask[50:] = True
    change(header, ("data ignore value = 7", ""))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    beside = path.with_name("old.dat.msk")
    with local_copy(path) as copy:
        assert np.array_equal(load_image(copy).valid, mask)
    tag = geotiffs.make_tag(path)
    beside.rename(path.with_name("old.dat.MSK"))
    assert geotiffs.make_tag(path) != tag
    path.with_name("old.dat.MSK").unlink()
    assert geotiffs.make_tag(path) != tag


@pytest.mark.parametrize(("name", "driver"), [("a.img", "HFA"), ("a.dat", "ENVI"), ("a.jp2", "JP2OpenJPEG")])
def test_an_image_is_segmented_again_after_a_mask_was_put_beside_it(tmp_path, survey, name, driver):
    path = write_raster(tmp_path / name, draw(), driver)
    survey([path])
    assert survey([path]).skipped == (path,)
    write_raster(tmp_path / f"{name}.msk", np.full((1, 150, 170), 255, np.uint8), "GTiff")
    assert [image.image_path for image in survey([path]).images] == [path]


def test_a_file_that_is_longer_than_its_header_says_is_refused(envi):
    """The header may be that of another image."""
    path, _ = envi
    path.write_bytes(path.read_bytes() + b"0")
    refuse(path, r"old.dat .*\(it has more bytes than the 76,500 that old.hdr says\)")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("lines   = 150", "lines = 151", "old.dat has 76,500 bytes, and old.hdr says 77,010; copy both again"),
        ("header offset = 0", "header offset = 1", "and old.hdr says 76,501"),
        ("lines   = 150", "lines = 1e2", "a field of its header is not a number"),
        ("samples = 170", "samples = 0", "its width, height or number of bands is out of range"),
        ("samples = 170", "", "damaged or cut short"),
        ("interleave = bsq", "interleave = tiles", "its interleave is none of bsq, bil and bip"),
        ("data type = 1", "data type = 6", "has samples of ENVI's type '6'; give integers of up to 32 bits or floats"),
        ("bands   = 3\nh", "bands = 6000\nlines = 1\nsamples = 1\nh", "has 6,000 bands, more than the 5,000"),
        ("$", "file compression = 1\n", "is compressed, and only plain .* gdal_translate old.dat old.tif"),
        ("ENVI Standard", "ENVI Virtual Mosaic", "is of the type 'ENVI Virtual Mosaic', and only plain .* old.tif"),
        ("$", "class lookup = {0, 0, 0, 9, 9, 9}\nclasses = 2\n", "has a palette.* gdal_translate -expand rgb old.dat"),
        ("$", "".join(f"x{i} = 1\n" for i in range(6_000)), "old.hdr says more than 5,000 things"),
        ("$", "note = {\nlines = 2\n", "its header is unclear"),
        ("header offset = 0", "x = } {\nheader offset = 5000\ny = }", "its header is unclear"),
        ("data type = 1", "x = } {\ndata type = 12\ny = }", "its header is unclear"),
        ("lines   = 150", "lines = 4000000000\nlines = 150\nx = {", "damaged or cut short"),
    ],
)
def test_what_is_no_plain_envi_image_is_refused(envi, before, after, message):
    path, header = envi
    change(header, (before if before != "$" else r"\Z", after))
    refuse(path, message)


def test_pixels_said_to_be_compressed_where_only_gdal_sees_it(envi):
    path, header = envi
    change(header, (r"\Z", "x = } {\nfile compression = 1\ny = }\n"))
    path.write_bytes(gzip.compress(path.read_bytes()) + bytes(76_500))
    refuse(path, "its header is unclear")


def test_files_of_envi_that_are_named_wrongly(envi, tmp_path):
    path, header = envi
    refuse(header, "old.hdr is the header of an ENVI image; name the file of the pixels")
    os.mkfifo(tmp_path / "old.sta")
    refuse(path, "old.sta is a pipe or device")
    (tmp_path / "old.sta").unlink()
    os.mkfifo(tmp_path / "old.dat.hdr")
    assert not needs_copy(path), "GDAL would wait for a header there"
    with pytest.raises(BadInput, match="is neither an ERDAS Imagine nor an ENVI image"):
        imgcheck.read_header(path)
    (tmp_path / "old.dat.hdr").unlink()
    assert needs_copy(path)
    header.write_text("no header")
    assert not needs_copy(path)
    shutil.copy(write_raster(tmp_path / "a.tif", draw(), "GTiff"), tmp_path / "a.dat")
    (tmp_path / "a.hdr").write_text("ENVI")
    assert not needs_copy(tmp_path / "a.dat"), "the first bytes decide"
    assert find_images([tmp_path / "a.dat"]) == [tmp_path / "a.dat"]


def test_pixels_in_a_file_beside_an_imagine_file(tmp_path):
    path = write_raster(tmp_path / "big.img", draw(), "HFA", USE_SPILL="YES")
    spill = tmp_path / "big.ige"
    first = geotiffs.make_tag(path)
    os.utime(spill, (1, 1))
    assert geotiffs.make_tag(path) != first
    renamed = tmp_path / "new.img"
    shutil.copy(path, renamed)
    spill.rename(tmp_path / "new.ige")
    with local_copy(renamed) as copy:
        assert np.array_equal(load_image(copy).pixels, draw().transpose(1, 2, 0))
    with pytest.raises(MissingInput, match=r"there is no file .*big\.ige"), local_copy(path):
        pass
    (tmp_path / "new.ige").rename(spill)
    content = path.read_bytes()
    for name in (b"/b.ige", b"a/.ige", b"\\b.ige", b"x.tiff", b"x:.ige", b"big.dat"):
        path.write_bytes(content.replace(b"big.ige", name.ljust(7, b"\0")))
        refuse(path, "has its pixels in a file that is not beside it; .*gdal_translate big.img big.tif")
    for before, after in (
        (b"1:oEmif_String,fileName", b"2:oEmif_String,fileName"),
        (b"0:pcstring,}Emif", b"1:pcstring,}Emif"),
        (b"layerStackIndex,}ImgExternalRaster,", b"layerStackIndex;}ImgExternalRaster\0"),
        (b"fileName,2:LlayerStackValidFlagsOffset", b"filename,1:LlayerStackValidFlagsOffset"),
        (b"ImgExternalRaster\0", b"Emif_String\0".ljust(18, b"\0")),
    ):
        path.write_bytes(content.replace(before, after))
        refuse(path, "not beside it")
    path.write_bytes(content)
    spill.write_bytes(spill.read_bytes()[:40_000])
    refuse(path, "is damaged or cut short")
    spill.unlink()
    os.mkfifo(spill)
    refuse(path, "big.ige is a pipe or device")


def test_what_else_an_imagine_file_names_is_not_opened(tmp_path):
    """Its smaller versions, which GDAL looks for in a file that would never end."""
    path = write_raster(tmp_path / "a.img", draw(), "HFA", **PLACE)
    with rasterio.Env(HFA_USE_RRD="YES"), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.nearest)
    assert b"a.rrd" in path.read_bytes()
    (tmp_path / "a.rrd").unlink()
    os.mkfifo(tmp_path / "a.rrd")
    shutil.copy(path, tmp_path / "a.aux")
    with local_copy(path) as copy:
        assert np.array_equal(load_image(copy).pixels, draw().transpose(1, 2, 0))


def test_what_is_no_plain_imagine_image_is_refused(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "a.img", draw(), "HFA")
    content = path.read_bytes()
    place = content.index(struct.pack("<2i2h2i", 170, 150, 1, 3, 64, 64))

    def rewrite(cols=170, rows=150, kind=3, side=64):
        layer = struct.pack("<2i2h2i", cols, rows, 1, kind, side, side)
        path.write_bytes(content[:place] + layer + content[place + len(layer) :])

    path.write_bytes(content[:-30_000])
    refuse(path, "is damaged or cut short")
    block = struct.pack("<i2h", 64 * 64, 1, 0)
    for last in (len(content) - 4000, len(content) + 10):
        start = content.index(block) - 4
        path.write_bytes(content[:start] + struct.pack("<I", last) + content[start + 4 :])
        refuse(path, "is damaged or cut short .it ends too early")
    rewrite(cols=0)
    refuse(path, "damaged or cut short")
    rewrite(kind=99)
    refuse(path, "damaged or cut short")
    rewrite(side=1, rows=2_000_000)
    refuse(path, r"has more than 4,000,000 blocks of pixels; make a GeoTIFF of it: gdal_translate a.img a.tif")
    rewrite(rows=151)
    refuse(path, "damaged or cut short")
    root = imgcheck._FILE.unpack_from(content, 20)[0]
    path.write_bytes(content[:root] + struct.pack("<I", root) + content[root + 4 :])
    refuse(path, "its entries have no end")
    rewrite()
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "1000")
    refuse(path, "a block of .*a.img has 64 x 64 pixels")
    monkeypatch.delenv("HYBRIDSEG_MAX_PIXELS")
    refuse(
        write_raster(tmp_path / "b.img", draw("complex64"), "HFA"), "has samples of type complex64; give real numbers"
    )
    write_raster(tmp_path / "c.img", draw(n=1), "HFA", **PLACE)
    with rasterio.open(tmp_path / "c.img", "r+") as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3, 255)})
    refuse(tmp_path / "c.img", "has a palette")
    (tmp_path / "none").write_bytes(b"EHFA_HEADER_TAG\0")
    refuse(tmp_path / "none", "damaged or cut short")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1:lblockWidth,1:lblockHeight,}Eimg_Layer,", b"1:lblockHeight,1:lblockWidth,}Eimg_Layer,"),
        (b"1:lblockHeight,}Eimg_Layer,", b"1:lblockHeight;}Eimg_Layer,"),
        (b"1:lsize,1:e2:false", b"1:lSIZ_,1:e2:false"),
        (b"1:lnumvirtualblocks", b"2:lnumvirtualblocks"),
        (b"Edms_State\0", b"Ehfa_Data\0\0"),
    ],
)
def test_an_imagine_file_whose_types_are_not_the_usual_ones_is_refused(tmp_path, before, after):
    path = write_raster(tmp_path / "a.img", draw(), "HFA")
    content = path.read_bytes()
    changed = re.sub(re.escape(before), lambda _: after, content, flags=re.IGNORECASE)
    assert changed != content and len(changed) == len(content)
    path.write_bytes(changed)
    refuse(path, "describes its bands in another way than Imagine files do; .*gdal_translate a.img a.tif")


def test_the_blocks_and_types_of_bands_are_those_that_gdal_reads(tmp_path):
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"):
        header = imgcheck.read_header(write_raster(tmp_path / "a.img", draw(dtype), "HFA"))
        with quiet_rasterio(), rasterio.open(tmp_path / "a.img") as dataset:
            header.check_same(dataset)
            for layout in (((64, 32), dtype), ((64, 64), "complex64")):
                with pytest.raises(ValueError, match="its header is unclear"):
                    header._replace(layout=(layout,) * 3).check_same(dataset)


@pytest.mark.parametrize("name", ["a.nc", "a.ecw", "a.sid", "a.asc", "a.dat"])
def test_of_other_formats_the_message_says_how_to_convert_them(tmp_path, survey, name):
    (tmp_path / name).write_bytes(b"CDF\1 and so on")
    [problem] = survey([tmp_path / name]).problems
    assert problem.message == (
        f"is not a JPEG, PNG or TIFF image; if GDAL reads it, make a GeoTIFF of it: gdal_translate {name} a.tif "
        f"(`hybridseg segment` also takes gdal:{tmp_path / name})"
    )
