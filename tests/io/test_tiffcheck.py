"""What a TIFF says of itself is looked at before GDAL takes memory or time for it."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from hybridseg.errors import BadInput
from hybridseg.io.images import describe_image, load_image
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.io.tiffcheck import check_tiff, measure_packed

SIDE = 20
LONG, SHORT, TEXT, SLONG = 4, 3, 2, 9


def write_tiff(path, *pages, order="<", is_big=False, content=b""):
    """Write grey pictures of 20 x 20 with more tags, or others: (tag, type, number of values, value or their bytes)."""
    count, number, head = ("Q", "Q", 16) if is_big else ("H", "I", 8)
    data = bytearray({"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}H", 43 if is_big else 42))
    data += struct.pack(f"{order}HHQ", 8, 0, 0) if is_big else bytes(4)
    link = head - struct.calcsize(number)
    pixels = content or bytes(SIDE * SIDE)
    for tags in pages or ((),):
        place = len(data)
        data += pixels
        own = {tag for tag, *_ in tags}
        sizes = [(tag, LONG, 1, value) for tag, value in ((256, SIDE), (257, SIDE), (273, place), (278, SIDE))]
        kinds = [(tag, SHORT, 1, value) for tag, value in ((258, 8), (259, 1), (262, 1), (277, 1))]
        usual = (*sizes, *kinds, (279, LONG, 1, len(pixels)))
        entries = bytearray()
        for tag, kind, n, value in sorted(
            (*tags, *(one for one in usual if one[0] not in own)), key=lambda one: one[0]
        ):
            if isinstance(value, bytes):
                data += value
                packed = struct.pack(order + number, len(data) - len(value))
            else:
                packed = struct.pack(order + {SHORT: "H", SLONG: "i"}.get(kind, "I"), value)
            entries += struct.pack(f"{order}HH{number}", tag, kind, n) + packed.ljust(8 if is_big else 4, b"\0")
        struct.pack_into(order + number, data, link, len(data))
        data += struct.pack(order + count, len(entries) // (20 if is_big else 12)) + entries
        link = len(data)
        data += bytes(struct.calcsize(number))
    path.write_bytes(data)


def tile(side, kind=LONG):
    return (322, kind, 1, side), (323, kind, 1, side), (324, LONG, 1, 8), (325, LONG, 1, 400)


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True), (">", True)])
def test_every_kind_of_file_is_read(tmp_path, order, is_big):
    path = tmp_path / "a.tif"
    write_tiff(path, order=order, is_big=is_big)
    check_tiff(path)
    assert describe_image(path).shape == (SIDE, SIDE)
    write_tiff(path, tile(8192), order=order, is_big=is_big)
    with pytest.raises(
        BadInput,
        match=r"a\.tif is stored in blocks of 8192 x 8192 pixels, far larger than itself; save it in smaller tiles",
    ):
        load_image(path)


def test_a_mask_in_a_block_that_fills_the_memory(tmp_path):
    """A gigabyte of one value, in a megabyte, as the mask of a small picture."""
    path = tmp_path / "a.tif"
    packed = zlib.compress(bytes(1 << 20))
    for kind in (4, 1):
        page = (
            (254, LONG, 1, kind),
            (259, SHORT, 1, 8),
            (262, SHORT, 1, 4),
            *tile(1 << 15),
        )
        write_tiff(path, (), page, content=packed)
        with pytest.raises(BadInput, match="blocks of 32768 x 32768 pixels"):
            load_image(path)
    # Another page is none of the picture.
    write_tiff(path, (), tile(1 << 15))
    assert load_image(path).pixels.shape == (SIDE, SIDE, 1)


@pytest.mark.parametrize("ending", [".msk", ".ovr"])
def test_the_same_beside_a_picture(tmp_path, ending):
    write_tiff(tmp_path / "a.tif")
    write_tiff(tmp_path / f"a.tif{ending}", (*tile(1 << 15), (256, LONG, 1, 1 << 15), (257, LONG, 1, 1 << 15)))
    with pytest.raises(BadInput, match=rf"a\.tif{ending} is stored in blocks of 32768 x 32768"):
        load_image(tmp_path / "a.tif")


def test_the_first_of_two_tags_counts_and_signed_ones_too(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, (*tile(1 << 15), *tile(16)))
    with pytest.raises(BadInput, match="blocks of 32768"):
        check_tiff(path)
    write_tiff(path, tile(1 << 15, SLONG))
    with pytest.raises(BadInput, match="blocks of 32768"):
        check_tiff(path)


def test_bands_and_texts_that_take_minutes(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, ((277, SHORT, 1, 60_000),))
    with pytest.raises(BadInput, match=r"a\.tif has 60,000 bands, more than the 5,000 that are read; leave some out"):
        describe_image(path)
    items = b"".join(b'<Item name="%d">1</Item>' % i for i in range(10_001))
    text = b"<GDALMetadata>" + items + b"</GDALMetadata>\0"
    write_tiff(path, ((42112, TEXT, len(text), text),))
    with pytest.raises(BadInput, match=r"a\.tif has more than 10,000 texts in its metadata; save it without them"):
        describe_image(path)
    text = b'<GDALMetadata><Item name="a">' + b"x" * 300_000 + b"</Item></GDALMetadata>\0"
    write_tiff(path, ((42112, TEXT, len(text), text),))
    assert describe_image(path).shape == (SIDE, SIDE)


def test_pages_without_end(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, *[()] * 10_001, content=b"\0")
    with pytest.raises(BadInput, match="has more than 10,000 pages"):
        check_tiff(path)
    write_tiff(path)
    content = bytearray(path.read_bytes())
    # The first page follows itself.
    content[-4:] = content[4:8]
    path.write_bytes(content)
    check_tiff(path)


@pytest.mark.parametrize("cut", [4, 8, 9, 30])
def test_of_damage_gdal_speaks(tmp_path, cut):
    path = tmp_path / "a.tif"
    write_tiff(path)
    path.write_bytes(path.read_bytes()[:-cut] if cut != 8 else path.read_bytes()[:cut])
    check_tiff(path)
    if cut != 4:
        with pytest.raises(BadInput, match="damaged or cut short"):
            load_image(path)


def test_what_gdal_writes_passes(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 700, "width": 900, "count": 3, "dtype": "uint8", "tiled": True}
    with quiet_rasterio(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(np.ones((3, 700, 900), np.uint8))
        file.write_mask(np.eye(700, 900, dtype=bool))
        file.build_overviews([2, 4], Resampling.average)
    check_tiff(path)
    assert load_image(path).valid.sum() == 700


@pytest.mark.parametrize("strip_rows", [1, 30, 60])
@pytest.mark.parametrize("is_big", ["YES", "NO"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_the_largest_block_as_it_is_in_the_file(tmp_path, strip_rows, is_big, order):
    """One strip, two (they stand in the entry itself where it has room) and sixty."""
    path = tmp_path / "a.tif"
    image = np.random.default_rng(0).integers(0, 5, (1, 60, 80)).astype(np.uint16)
    layout = {"height": 60, "width": 80, "count": 1, "dtype": "uint16", "blockysize": strip_rows, "compress": "deflate"}
    with quiet_rasterio(), rasterio.open(path, "w", "GTiff", **layout, bigtiff=is_big, endianness=order) as dataset:
        dataset.write(image)
    with quiet_rasterio(), rasterio.open(path) as dataset:
        sizes = [dataset.get_tag_item(f"BLOCK_SIZE_0_{i}", "TIFF", bidx=1) for i in range(60 // strip_rows)]
    assert measure_packed(path) == max(map(int, sizes))


def test_a_size_that_the_file_cannot_have(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, ((279, LONG, 1, 1 << 31),))
    assert measure_packed(path) == path.stat().st_size
    write_tiff(path, ((279, LONG, 1 << 31, 1 << 31),))
    assert measure_packed(path) == path.stat().st_size
