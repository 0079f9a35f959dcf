"""What lies beside a raster: masks, overviews and world files."""

import os
import re
import shutil

import numpy as np
import pytest
import rasterio

from hybridseg.errors import BadInput
from hybridseg.io.images import describe_image, load_image, read_valid, write_image
from hybridseg.io.lazyimages import read_part
from hybridseg.io.rasters import open_raster, quiet_rasterio


def write_raster(path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    if path.suffix != ".tif":
        write_image(path, pixels)
        return
    profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as file:
        file.write(pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", [".msk", ".MSK", ".ovr", ".OVR", ".msk.ovr"])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_what_lies_beside_a_raster_opens_nothing_else(tmp_path, suffix, ending):
    """GDAL would open it as whatever it is, and what it names."""
    path, secret = tmp_path / f"a{suffix}", tmp_path / "secret.tif"
    write_raster(path)
    write_raster(secret)
    if ending == ".msk.ovr":
        shutil.copy(secret, path.with_name(path.name + ".msk"))
    path.with_name(path.name + ending).write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="40"><Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata>'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{secret}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for read in (load_image, describe_image, read_valid):
        with pytest.raises(BadInput, match="beside it is not a TIFF"):
            read(path)


def test_a_mask_beside_a_raster_is_read(tmp_path):
    write_raster(tmp_path / "a.tif")
    mask = np.zeros((40, 60), bool)
    mask[:, 20:] = True
    with (
        quiet_rasterio(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(tmp_path / "a.tif", "r+") as dataset,
    ):
        dataset.write_mask(mask)
    assert (tmp_path / "a.tif.msk").exists()
    assert (read_valid(tmp_path / "a.tif") == mask).all()


@pytest.mark.parametrize("suffix", [".jgw", ".JGW", ".wld"])
def test_a_world_file_is_found_in_a_large_folder(tmp_path, suffix):
    write_raster(tmp_path / "a.jpg")
    (tmp_path / f"a{suffix}").write_text("2\n0\n0\n-2\n101\n199\n")
    assert describe_image(tmp_path / "a.jpg").georeference.transform == (2, 0, 100, 0, -2, 200)


@pytest.mark.parametrize("nodata", [None, 0, 7])
def test_transparency_says_more_than_a_nodata_value(tmp_path, nodata):
    """As a warning of rasterio's has it, GDAL would ignore it; no warning is left."""
    pixels = np.full((4, 30, 40), 7, np.uint8)
    pixels[3], pixels[:3, :, 20:30], pixels[3, :, :9] = 255, 0, 0
    profile = {"driver": "GTiff", "height": 30, "width": 40, "count": 4, "dtype": "uint8", "nodata": nodata}
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", "w", photometric="RGB", alpha="yes", **profile) as file:
        file.write(pixels)
    loaded = load_image(tmp_path / "a.tif")
    assert loaded.info.has_alpha and np.array_equal(loaded.valid, pixels[3] > 0)
    thin = read_part(loaded.info, slice(0, 30), slice(0, 40), (3, 4)).valid
    assert thin is not None and not thin[:, 0].any() and thin[:, 1:].all()


@pytest.mark.parametrize("beside", ["a.tfw", "a.tif.aux", "a.wld", "a.TAB", "a_RPC.TXT", "a.RPB"])
def test_a_pipe_beside_a_raster_is_not_waited_for(tmp_path, beside):
    write_raster(tmp_path / "a.tif")
    os.mkfifo(tmp_path / beside)
    with pytest.raises(BadInput, match=rf"{re.escape(beside)} beside it is a pipe or device, not a file; move it away"):
        describe_image(tmp_path / "a.tif")
    (tmp_path / beside).unlink()
    (tmp_path / beside).mkdir()
    assert describe_image(tmp_path / "a.tif").shape == (40, 60)


def test_a_description_beside_a_raster_that_takes_minutes(tmp_path):
    write_raster(tmp_path / "a.tif")
    lines = [f'k{i} = "v";' for i in range(20_000)]
    (tmp_path / "a.IMD").write_text("\n".join([*lines, "END;"]))
    with pytest.raises(BadInput, match=r"a\.IMD beside it is far larger than the description of an image; move it"):
        describe_image(tmp_path / "a.tif")
    (tmp_path / "a.IMD").write_text("\n".join([*lines[:100], "END;"]))
    assert describe_image(tmp_path / "a.tif").shape == (40, 60)


def test_with_a_file_of_erdas_beside_it_a_raster_without_a_place_has_none(tmp_path):
    for name, driver in (("b.img", "HFA"), ("a.tif", "GTiff"), ("a.png", "PNG")):
        with quiet_rasterio(), rasterio.open(tmp_path / name, "w", driver, 9, 8, 1, dtype="uint8") as file:
            file.write(np.ones((1, 8, 9), np.uint8))
    (tmp_path / "b.img").rename(tmp_path / "a.aux")
    for name in ("a.tif", "a.png"):
        assert describe_image(tmp_path / name).georeference is None


@pytest.mark.parametrize("beside", ["a.aux", "a.tif.aux", "a.AUX"])
def test_a_file_of_erdas_beside_a_raster_is_not_opened(tmp_path, beside):
    """It may name other files of any kind; GDAL takes smaller versions of the raster from it. All else stays."""
    path = tmp_path / "a.tif"
    write_raster(path)
    with quiet_rasterio(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2020:01:02 03:04:05")
        file.write_mask(np.arange(40 * 60).reshape(40, 60) % 7 > 0)
    (tmp_path / "a.tfw").write_text("2\n0\n0\n-2\n100\n900\n")
    before, found = describe_image(path), load_image(path)
    assert before.georeference is not None and not found.valid.all()
    with quiet_rasterio(), rasterio.Env(USE_RRD=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    (tmp_path / "a.aux").rename(tmp_path / beside)
    with quiet_rasterio(), rasterio.open(path) as file:
        assert file.overviews(1) == [2]
    with open_raster(path) as file:
        assert file.overviews(1) == []
    after = load_image(path)
    assert after.info == before and np.array_equal(after.pixels, found.pixels)
    assert np.array_equal(after.valid, found.valid)
    part = read_part(before, slice(0, 40), slice(0, 60), (20, 30))
    assert part.pixels.shape == (20, 30, 3) and not part.valid.all()
    # A mask in a file of its own finds it, too.
    shutil.copy(path, tmp_path / "a.tif.msk")
    with pytest.raises(BadInput, match=r"a\.tif\.msk has a \.aux of ERDAS Imagine beside it.*; move that away"):
        describe_image(path)
