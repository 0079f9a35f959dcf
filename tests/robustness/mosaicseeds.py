"""The files that are copied as GeoTIFFs, and how: a mosaic (VRT) with its images, JPEG 2000, Imagine and ENVI."""

from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.io import geotiffs
from hybridseg.io.rasters import check_pixel_count, quiet_rasterio

OUT = "out"
"""Where a call that writes does so."""


def find_whole(path: Path) -> Path:
    """Return what is read: the mosaic of a damaged image, the image of a damaged header or of damaged pixels."""
    return path.with_name({".tif": "mosaic.vrt", ".hdr": "raw.dat", ".ige": "spill.img"}.get(path.suffix, path.name))


def copy_small(path: Path) -> None:
    """Copy what is small: a large one takes its time."""
    whole = find_whole(path)
    check_pixel_count(whole, *geotiffs.measure_file(whole)[0])
    (path.parent / OUT).mkdir(exist_ok=True)
    geotiffs.copy_geotiff(whole, path.parent / OUT / "a.tif")


def write_imagine_envi(folder: Path) -> None:
    """Write Imagine files: plain, compressed, and with the pixels in another file; and ENVI."""
    import rasterio

    place: dict[str, Any] = {"crs": "EPSG:32611", "transform": rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 4e6), "nodata": 7}
    for name, driver, count, dtype, options in (
        ("plain.img", "HFA", 3, "uint8", place),
        ("packed.img", "HFA", 1, "uint16", {"COMPRESSED": "YES"}),
        ("spill.img", "HFA", 2, "uint8", {"USE_SPILL": "YES"}),
        ("raw.dat", "ENVI", 3, "uint16", {"INTERLEAVE": "BIP", **place}),
    ):
        bands = np.random.default_rng(0).integers(0, 255, (count, 32, 40)).astype(dtype)
        size: dict[str, Any] = {"height": 32, "width": 40, "count": count, "dtype": dtype}
        with quiet_rasterio(), rasterio.open(folder / name, "w", driver=driver, **size, **options) as dataset:
            dataset.write(bands)


def write_mosaics(folder: Path) -> None:
    """Write a mosaic of two images and a gap, with a mask; and JPEG 2000 files."""
    import rasterio

    rows, cols = 32, 40
    bands = np.random.default_rng(0).integers(0, 255, (3, rows, cols), np.uint8)
    size: dict[str, Any] = {"height": rows, "width": cols, "count": 3, "dtype": "uint8"}
    for name in ("a.tif", "b.tif", "rgb.jp2", "code.j2k"):
        driver = "GTiff" if name.endswith(".tif") else "JP2OpenJPEG"
        with quiet_rasterio(), rasterio.open(folder / name, "w", driver=driver, **size) as dataset:
            dataset.write(bands)

    def place(name: str, band: str, left: int) -> str:
        extent = f'xSize="{cols}" ySize="{rows}"'
        return (
            f'<ComplexSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" {extent}/><DstRect xOff="{left}" yOff="0" {extent}/><NODATA>0</NODATA>'
            "</ComplexSource>"
        )

    def list_pieces(band: str) -> str:
        return place("a.tif", band, 0) + place("b.tif", band, cols + 5)

    texts = (
        f'<VRTRasterBand dataType="Byte" band="{i}"><NoDataValue>0</NoDataValue><ColorInterp>{color}</ColorInterp>'
        f"{list_pieces(str(i))}</VRTRasterBand>"
        for i, color in enumerate(("Red", "Green", "Blue"), 1)
    )
    mask = f'<MaskBand><VRTRasterBand dataType="Byte">{list_pieces("mask,1")}</VRTRasterBand></MaskBand>'
    (folder / "mosaic.vrt").write_text(
        f'<VRTDataset rasterXSize="{2 * cols + 5}" rasterYSize="{rows}"><SRS>LOCAL_CS["x"]</SRS>'
        f"<GeoTransform>4e5,0.5,0,4e6,0,-0.5</GeoTransform>{''.join(texts)}{mask}</VRTDataset>"
    )
