"""Mosaics (VRT) and JPEG 2000 files, which are copied as GeoTIFFs where a user names them."""

import os
import shutil
import struct
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from windowjob import TileJob

from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.manifest import Manifest
from hybridseg.batch.plan import divide_tasks, make_plan
from hybridseg.errors import BadInput, DiskFull
from hybridseg.io import geotiffs, remote
from hybridseg.io.images import load_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import find_images
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.io.remote import local_copy, read_shape
from hybridseg.io.sources import as_source

PLACE = {"crs": "EPSG:32611", "transform": rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 4e6), "nodata": 7}
HEAD = f"<SRS>{rasterio.crs.CRS.from_epsg(32611).to_wkt()}</SRS><GeoTransform>4e5,0.5,0,4e6,0,-0.5</GeoTransform>"
NODATA = "<NODATA>7</NODATA>"


def write_raster(path, bands, **profile):
    n, rows, cols = bands.shape
    shape = {"count": n, "height": rows, "width": cols, "dtype": bands.dtype}
    with quiet_rasterio(), rasterio.open(path, "w", driver="GTiff", **shape, **profile) as dataset:
        dataset.write(bands)


def source(name, band, place, *, taken=(0, 0, 40, 30), more=""):
    rects = (
        "<{}Rect xOff='{}' yOff='{}' xSize='{}' ySize='{}'/>".format(*rect)
        for rect in (("Src", *taken), ("Dst", *place))
    )
    return (
        f"<ComplexSource><SourceFilename relativeToVRT='1'>{name}</SourceFilename><SourceBand>{band}</SourceBand>"
        f"{''.join(rects)}{more}</ComplexSource>"
    )


def mosaic(bands, *, shape=(60, 100), head=HEAD, nodata="<NoDataValue>7</NoDataValue>"):
    texts = (
        f"<VRTRasterBand dataType='Byte' band='{i}'>{nodata}<ColorInterp>{color}</ColorInterp>{band}</VRTRasterBand>"
        for i, (band, color) in enumerate(zip(bands, ("Red", "Green", "Blue", "Alpha"), strict=False), 1)
    )
    return f"<VRTDataset rasterXSize='{shape[1]}' rasterYSize='{shape[0]}'>{head}{''.join(texts)}</VRTDataset>"


@pytest.fixture
def tiles(tmp_path):
    """Two overlapping images with a value of no data, and what they are together."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    draw = np.random.default_rng(0)
    whole = np.full((3, 60, 100), 7, np.uint8)
    for name, left, top in (("a", 0, 0), ("b", 35, 20)):
        bands = draw.integers(8, 255, (3, 30, 40), np.uint8)
        bands[:, :10, :10] = 7
        write_raster(folder / f"{name}.tif", bands, **PLACE)
        part = whole[:, top : top + 30, left : left + 40]
        part[bands != 7] = bands[bands != 7]
    write_raster(tmp_path / "whole.tif", whole, **PLACE)
    places = (("a.tif", (0, 0, 40, 30)), ("b.tif", (35, 20, 40, 30)))
    bands = ["".join(source(name, i, place, more=NODATA) for name, place in places) for i in (1, 2, 3)]
    (folder / "survey.vrt").write_text(mosaic(bands))
    return folder


def assert_same(path, wanted):
    with rasterio.open(path) as one, rasterio.open(wanted) as other:
        assert np.array_equal(one.read(), other.read())
        assert np.array_equal(one.dataset_mask() > 0, other.dataset_mask() > 0)
        assert (one.crs, one.transform, one.nodata) == (other.crs, other.transform, other.nodata)
        assert one.colorinterp == other.colorinterp


def test_a_mosaic_is_what_its_images_are_together(tiles, survey, tmp_path):
    path = tiles / "survey.vrt"
    with local_copy(path) as copy:
        assert copy.name == "survey.tif"
        assert_same(copy, tmp_path / "whole.tif")
        one, other = load_image(copy), load_image(tmp_path / "whole.tif")
        assert np.array_equal(one.valid, other.valid) and one.info.georeference == other.info.georeference
    assert not copy.parent.exists()
    result = survey([path, tmp_path / "whole.tif"])
    assert not result.problems and [image.image_path for image in result.images] == [path, tmp_path / "whole.tif"]
    assert {image.written[0].name for image in result.images} == {"survey_threshold.png", "whole_threshold.png"}
    maps = [read_labelmap(tmp_path / "out" / f"{name}_threshold.png").labels for name in ("survey", "whole")]
    assert np.array_equal(*maps)


def test_it_is_done_again_when_an_image_of_it_has_changed(tiles, survey):
    paths = [tiles / "survey.vrt"]
    assert len(survey(paths).images) == 1
    assert survey(paths).skipped == tuple(paths)
    os.utime(tiles / "b.tif", (1, 1))
    assert len(survey(paths).images) == 1
    (tiles / "b.tif").unlink()
    assert "there is no file" in survey(paths).problems[0].message


def test_alpha_masks_and_other_sizes(tiles, tmp_path):
    """As GDAL has them, which is the reference here and nowhere else."""
    bands = np.random.default_rng(1).integers(0, 255, (4, 30, 40), np.uint8)
    bands[3, :, :20] = 0
    write_raster(tiles / "alpha.tif", bands, crs=PLACE["crs"])
    used = "<UseMaskBand>true</UseMaskBand>"
    places = ((0, 0, 40, 30), (15, 5, 40, 30))
    opaque = "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
    colors = [source("a.tif", i, (5, 4, 40, 30)) for i in (1, 2, 3)]
    mask = source("alpha.tif", "mask,1", places[0])
    texts = {
        "alpha": mosaic(
            ["".join(source("alpha.tif", i, p, more=used) for p in places) for i in (1, 2, 3, 4)], nodata=""
        ),
        "opaque": mosaic([*colors, source("a.tif", 1, (5, 4, 40, 30), more=opaque)], nodata=""),
        "mask": mosaic(
            colors, nodata="", head=f"{HEAD}<MaskBand><VRTRasterBand dataType='Byte'>{mask}</VRTRasterBand></MaskBand>"
        ),
        "smaller": mosaic([source("a.tif", 1, (5, 5, 20, 15))]),
        "hidden": mosaic(colors, nodata="<NoDataValue>9</NoDataValue><HideNoDataValue>1</HideNoDataValue>"),
    }
    for name, text in texts.items():
        path = tiles / f"{name}.vrt"
        path.write_text(text)
        with local_copy(path) as copy:
            assert_same(copy, path)


def test_a_reference_system_by_its_number(tiles, tmp_path):
    text = (tiles / "survey.vrt").read_text()
    start, end = text.index("<SRS>"), text.index("</SRS>")
    (tiles / "survey.vrt").write_text(f"{text[:start]}<SRS>EPSG:32611{text[end:]}")
    with local_copy(tiles / "survey.vrt") as copy:
        assert_same(copy, tmp_path / "whole.tif")


def test_images_between_the_pixels_leave_no_gap(tiles):
    """A pixel is of the image in which its middle is."""
    write_raster(tiles / "plain.tif", np.tile(np.arange(1, 41, dtype=np.uint8), (1, 30, 1)))
    places = ((0.4999999, 0.3, 40, 30), (40.5000001, 0.3, 40, 30))
    (tiles / "between.vrt").write_text(mosaic(["".join(source("plain.tif", 1, place) for place in places)], nodata=""))
    with local_copy(tiles / "between.vrt") as copy:
        pixels = load_image(copy).pixels[..., 0]
    assert pixels[0, :81].tolist() == [*range(1, 41), *range(1, 41), 0]
    assert pixels[29, 0] == 1 and pixels[30, 0] == 0


def test_a_mosaic_in_parts(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(geotiffs, "_PART_BYTES", 1)
    monkeypatch.setattr(geotiffs, "_BLOCK", 16)
    with local_copy(tiles / "survey.vrt") as copy:
        assert_same(copy, tmp_path / "whole.tif")


@pytest.mark.parametrize(("shape", "block"), [((20, 600), (32, 256)), ((600, 20), (256, 32))])
def test_a_low_or_narrow_mosaic_in_parts(tiles, monkeypatch, shape, block):
    """The tiles of its copy are as low or narrow, and the parts are whole ones."""
    monkeypatch.setattr(geotiffs, "_PART_BYTES", 1)
    bands = np.random.default_rng(1).integers(8, 255, (1, *shape), np.uint8)
    write_raster(tiles / "low.tif", bands, **PLACE)
    whole = (0, 0, shape[1], shape[0])
    (tiles / "low.vrt").write_text(mosaic([source("low.tif", 1, whole, taken=whole)], shape=shape))
    with local_copy(tiles / "low.vrt") as copy, rasterio.open(copy) as dataset:
        assert dataset.block_shapes == [block]
        assert np.array_equal(dataset.read(), bands)


def hostile(folder, kind):
    plain = source("a.tif", 1, (0, 0, 40, 30))
    secret = folder.parent / "secret.txt"
    secret.write_text("secret")
    raw = f"<SourceFilename>{secret}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
    wms = (
        "&lt;GDAL_WMS&gt;&lt;Service name='TMS'&gt;&lt;ServerUrl&gt;http://x.invalid/&lt;/ServerUrl&gt;&lt;/Service&gt;"
    )
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
    code = "<PixelFunctionType>f</PixelFunctionType><PixelFunctionCode>import os</PixelFunctionCode>"
    shutil.copy(folder / "survey.vrt", folder / "inner.tif")
    return {
        "raw": mosaic([plain]).replace("band='1'", "band='1' subClass='VRTRawRasterBand'").replace(plain, raw),
        "text": mosaic([source(secret, 1, (0, 0, 40, 30))]),
        "web": mosaic([source("http://x.invalid/a.tif", 1, (0, 0, 40, 30))]).replace("relativeToVRT='1'", ""),
        "vsi": mosaic([source("/vsicurl/http://x.invalid/a.tif", 1, (0, 0, 40, 30))]),
        "wms": mosaic([source(wms, 1, (0, 0, 40, 30))]),
        "function": mosaic([code + plain]),
        "nested": mosaic([source("inner.tif", 1, (0, 0, 40, 30))]),
        "bomb": bomb + mosaic([plain]).replace(">a.tif<", ">&c;<"),
        "huge": mosaic([plain], shape=(2_000_000_000, 2_000_000_000)),
        "nan": mosaic([source("a.tif", 1, ("nan", 0, 40, 30))]),
        "outside": mosaic([source("a.tif", 1, (90, 0, 40, 30))]),
        "shrunk": mosaic([source("a.tif", 1, (0, 0, 1, 1))]),
        "beyond": mosaic([source("a.tif", 1, (0, 0, 40, 30), taken=(20, 20, 40, 30))]),
        "band": mosaic([source("a.tif", 9, (0, 0, 40, 30))]),
        "warped": mosaic([plain]).replace("<VRTDataset ", "<VRTDataset subClass='VRTWarpedDataset' "),
        "named": mosaic([plain], head="<SRS>/vsicurl/http://x.invalid/</SRS>"),
        "none": "no XML",
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raw", "has subClass='VRTRawRasterBand' of a VRTRasterBand, and only mosaics of images are read; if you"),
        ("text", "secret.txt is not a JPEG, PNG or TIFF image"),
        ("web", "there is no file http:/x.invalid/a.tif"),
        ("vsi", "there is no file /vsicurl/http:/x.invalid/a.tif"),
        ("wms", "there is no file"),
        ("function", "has 'PixelFunctionType' in a VRTRasterBand"),
        ("nested", "inner.tif is not a JPEG, PNG or TIFF image"),
        ("bomb", "is more than a list of images"),
        ("huge", "set TMPDIR to a folder that has more"),
        ("nan", "has 'nan' instead of a number"),
        ("outside", "has an image that lies outside"),
        ("shrunk", "has an image that is shrunk more than 4 times"),
        ("beyond", "a.tif is smaller than the mosaic says"),
        ("band", "a.tif has no band 9"),
        ("warped", "has subClass='VRTWarpedDataset' of a VRTDataset"),
        ("named", "cannot be put together"),
        ("none", "is not a mosaic (VRT) of GDAL, or damaged"),
    ],
)
def test_what_is_no_mosaic_of_images_is_refused(tiles, survey, kind, message):
    (tiles / "evil.vrt").write_text(hostile(tiles, kind))
    result = survey([tiles / "evil.vrt", tiles / "survey.vrt"])
    [problem] = result.problems
    assert message in problem.message and "\n" not in problem.message
    assert len(result.images) == 1


def test_jpeg_2000(survey, tmp_path, monkeypatch):
    bands = np.random.default_rng(0).integers(0, 255, (3, 50, 70), np.uint8)
    place = {name: PLACE[name] for name in ("crs", "transform")}
    write_raster(tmp_path / "whole.tif", bands, **place)
    path = tmp_path / "scene.JP2"
    with quiet_rasterio():
        rasterio.shutil.copy(tmp_path / "whole.tif", path, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    with local_copy(path) as copy:
        assert_same(copy, tmp_path / "whole.tif")
    (tmp_path / "damaged.jp2").write_bytes(path.read_bytes()[:-3000])
    shutil.copy(tmp_path / "whole.tif", tmp_path / "other.jp2")
    paths = [path, tmp_path / "damaged.jp2", tmp_path / "other.jp2"]
    result = survey(paths)
    assert [image.written[0].name for image in result.images] == ["scene_threshold.png"]
    assert "damaged or cut short" in result.problems[0].message
    assert result.problems[1].message == "is not a JPEG 2000 image; give one that is"
    assert survey(paths).skipped == (path,)
    content = path.read_bytes()
    sizes = content.index(b"\xff\x4f\xff\x51") + 8
    many = struct.pack(">8I", 60_000, 60_000, 0, 0, 240, 240, 0, 0)
    (tmp_path / "many.jp2").write_bytes(content[:sizes] + many + content[sizes + len(many) :])
    with pytest.raises(BadInput, match="has 62,500 tiles of 3 bands"), local_copy(tmp_path / "many.jp2"):
        pass
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "10000")
    with pytest.raises(BadInput, match=r"a tile of .* has 50 x 70 pixels of 12 bytes"), local_copy(path):
        pass


def test_the_disk_must_have_room(tiles, job, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free total")
    monkeypatch.setattr(geotiffs.shutil, "disk_usage", lambda _: usage(1_000_000, 10**9))
    path, manifest = tiles / "survey.vrt", Manifest.read(tmp_path / "results")
    job = replace(job, outputs=Outputs(out_dir=tmp_path / "results"))
    with (
        manifest.writing(),
        pytest.raises(DiskFull, match=r"takes up to 1\.0 MB as a GeoTIFF, and .* 1\.0 MB free; free .*, then give the"),
    ):
        run_jobs([path], job, manifest=manifest)
    # Where nothing helps there, the others are done.
    monkeypatch.setattr(geotiffs.shutil, "disk_usage", lambda _: usage(1_000_000, 1_000_000))
    with manifest.writing():
        found = run_jobs([path, tiles / "a.tif"], job, manifest=manifest)
    assert "only 1.0 MB; set TMPDIR to a folder that has more" in found.problems[0].message and len(found.images) == 1
    monkeypatch.undo()
    with manifest.writing():
        assert len(run_jobs([path], job, manifest=manifest).images) == 1


@pytest.mark.parametrize("name", ["a.vrt", "a.jp2", "a.img", "gdal:a.bmp"])
def test_a_disk_that_fills_while_a_copy_is_written(tmp_path, monkeypatch, name):
    """The image is not damaged: GDAL says no more than that it could not write."""
    bands = np.random.default_rng(0).integers(0, 255, (3, 700, 500), np.uint8)
    write_raster(tmp_path / "a.tif", bands)
    driver = {"vrt": "VRT", "jp2": "JP2OpenJPEG", "img": "HFA", "bmp": "BMP"}[name[-3:]]
    with quiet_rasterio():
        rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / name.removeprefix("gdal:"), driver=driver)
    monkeypatch.chdir(tmp_path)
    usage, free = shutil.disk_usage(tmp_path), iter([10**9])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free, 1000)))
    with (
        remote._limit_files(100_000),
        pytest.raises(DiskFull, match=r"no room left for a copy of .*a\.\w+; free some space there"),
        local_copy(as_source(name)),
    ):
        pass


def test_they_are_taken_where_they_are_named(tiles, survey, job, tmp_path):
    names = ["a.tif", "b.tif"]
    assert [path.name for path in find_images([tiles], remote=True)] == names
    assert [path.name for path in find_images([tiles / "*"], remote=True)] == names
    assert find_images([tiles / "*.vrt"], remote=True) == [tiles / "survey.vrt"]
    (tmp_path / "some.txt").write_text("tiles/survey.vrt\n")
    paths = find_images([tmp_path / "some.txt"], remote=True)
    assert [path.name for path in paths] == ["survey.vrt"]
    with pytest.raises(
        BadInput, match="not a JPEG, PNG or TIFF image of this machine; `hybridseg segment` takes such images"
    ):
        find_images(paths)
    with pytest.raises(BadInput, match="say where the results go, with --out"):
        run_jobs(paths, job)
    plan = make_plan(paths, 0, Manifest.read(tmp_path / "out"), job="x", n_workers=1)
    assert (plan.megapixels, plan.n_remote, plan.n_unreadable) == (6e-3, 0, 0)
    with pytest.raises(BadInput, match="is not a JPEG, PNG or TIFF image"):
        shutil.make_archive(str(tmp_path / "all"), "zip", tiles)
        with local_copy(as_source(f"/vsizip/{tmp_path}/all.zip/survey.vrt")):
            pass


def test_a_few_bytes_that_say_they_are_huge(tiles, tmp_path, monkeypatch):
    (tmp_path / "model.bin").write_bytes(b"model")
    sizes = struct.pack(">8IH3B", 10**6, 10**6, 0, 0, 20_000, 20_000, 0, 0, 1, 7, 1, 1)
    (tmp_path / "huge.j2k").write_bytes(b"\xff\x4f\xff\x51" + struct.pack(">2H", 2 + len(sizes) + 2, 0) + sizes)
    tasks = [(0, tmp_path / "huge.j2k"), (1, tiles / "survey.vrt")]
    job = TileJob((tmp_path / "model.bin",), Outputs(out_dir=tmp_path / "out", figures=None))
    planned = []
    monkeypatch.setattr(TileJob, "count_parts", lambda _, shape: planned.append(shape) or 1)
    assert read_shape(tasks[0][1]) == (10**6, 10**6) and divide_tasks(tasks, job, 2) == (tasks, [])
    assert planned == [(60, 100)], "tiles of the other would take all of the memory"
