"""The files of mosaics that are damaged: a VRT with its images, and JPEG 2000."""

from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.io.rasters import quiet_rasterio


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
