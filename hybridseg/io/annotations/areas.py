"""Label maps in the formats of other programs: areas of labelme and COCO, a ``.npz`` of Doodler, polygons for a GIS."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.classes import hex_color
from hybridseg.io.annotations.cocoareas import write_coco
from hybridseg.io.annotations.outlines import Ring, join_rings, trace_regions
from hybridseg.io.atomic import atomic_path, write_text
from hybridseg.io.images import describe_image, load_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

_SCHEMA = """
PRAGMA application_id = 1196444487;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
    CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name));
CREATE TABLE labels (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON, class TEXT, class_id INTEGER,
    color TEXT, pixels INTEGER);
INSERT INTO gpkg_spatial_ref_sys VALUES
    ('Undefined Cartesian', -1, 'NONE', -1, 'undefined', NULL), ('Undefined geographic', 0, 'NONE', 0, 'undefined', NULL),
    ('WGS 84', 4326, 'EPSG', 4326, 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]', NULL);
"""  # noqa: E501
# A reference system that has no code.
_OWN_SRS, _NO_SRS = 100_000, -1


@dataclass(frozen=True)
class Area:
    """A connected area of one class: its outline, and its holes, in corners of pixels."""

    class_id: int
    rings: list[Ring]

    @property
    def n_pixels(self) -> int:
        """Its pixels."""
        outer, *holes = (abs(_measure(ring)) for ring in self.rings)
        return round(outer - sum(holes))


def list_areas(labels: np.ndarray) -> Iterator[Area]:
    """Yield the connected areas of a label map, (rows, cols) uint8; VOID is none.

    Examples
    --------
    >>> [(area.class_id, area.n_pixels) for area in list_areas(np.array([[0, 2, 2], [0, 2, 255]], np.uint8))]
    [(0, 2), (2, 3)]
    """
    # VOID, the largest number of a byte, becomes 0.
    for number, rings in trace_regions(labels + np.uint8(1)):
        yield Area(number - 1, rings)


def write_labelme(path: str | os.PathLike[str], labelmap: LabelMap, image_path: str | os.PathLike[str]) -> None:
    """Write the areas of a label map as polygons of labelme; to each hole they go and back on one line."""
    table, info = labelmap.require_table(path), describe_image(image_path)
    shapes = [
        {"label": table.names[area.class_id], "points": join_rings(area.rings)[:, ::-1].tolist(), "group_id": None,
         "shape_type": "polygon", "flags": {}}
        for area in list_areas(labelmap.labels)
    ]  # fmt: skip
    record: dict[str, Any] = {
        "version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": info.path.name, "imageData": None,
        "imageHeight": info.rows, "imageWidth": info.cols,
    }  # fmt: skip
    write_text(path, json.dumps(record, ensure_ascii=False) + "\n")


def write_doodler(path: str | os.PathLike[str], labelmap: LabelMap, image_path: str | os.PathLike[str]) -> None:
    """Write a ``.npz`` with the arrays of Doodler: image, label (one-hot), doodles and classes."""
    table, labels = labelmap.require_table(path), labelmap.labels
    doodles = np.zeros_like(labels) if labelmap.seeds is None else labelmap.seeds
    one_hot = (labels[..., None] == np.arange(len(table), dtype=labels.dtype)).view(np.uint8)
    image = load_image(image_path).filled().as_rgb8()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, image=image, label=one_hot, doodles=doodles, classes=np.array(table.names))


def write_geopackage(path: str | os.PathLike[str], labelmap: LabelMap, image_path: str | os.PathLike[str]) -> None:
    """Write the areas of a label map as polygons of a GeoPackage, in the place of the image on Earth.

    Without one, x is the column and y minus the row, so that north is where the top of the image is.
    """
    table, place = labelmap.require_table(path), labelmap.georeference
    a, b, c, d, e, f = (place and place.transform) or (1, 0, 0, 0, -1, 0)
    with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as base, base:
        base.executescript(_SCHEMA)
        srs_id = _add_srs(base, place.crs) if place and place.crs and place.transform else _NO_SRS
        rows, ends = [], [np.inf, np.inf, -np.inf, -np.inf]
        for area in list_areas(labelmap.labels):
            rings = [
                np.stack([a * ring[:, 1] + b * ring[:, 0] + c, d * ring[:, 1] + e * ring[:, 0] + f], axis=1)
                for ring in area.rings
            ]
            low, high = rings[0].min(axis=0), rings[0].max(axis=0)
            ends = [*np.minimum(ends[:2], low).tolist(), *np.maximum(ends[2:], high).tolist()]
            color = hex_color(table.colors[area.class_id])
            geometry = _encode(rings, srs_id)
            rows.append((geometry, table.names[area.class_id], area.class_id, color, area.n_pixels))
        base.executemany("INSERT INTO labels (geom, class, class_id, color, pixels) VALUES (?, ?, ?, ?, ?)", rows)
        bounds = ends if rows else [None] * 4
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id) "
            "VALUES ('labels', 'features', 'labels', ?, ?, ?, ?, ?)", (*bounds, srs_id),
        )  # fmt: skip
        base.execute("INSERT INTO gpkg_geometry_columns VALUES ('labels', 'geom', 'POLYGON', ?, 0, 0)", (srs_id,))


# How the file of a mask ends by its format: first label maps, by names that every command finds as masks made by hand
# and that no photo has; then files for other programs, which are called after the image.
ENDINGS = {"mat": "_mres.mat", "png": "_label.png", "tif": "_label.tif"}
ENDINGS |= {"labelme": ".json", "coco": ".json", "doodler": ".npz", "gpkg": ".gpkg"}
_WRITERS: dict[str, Callable[..., None]] = {
    "labelme": write_labelme, "coco": write_coco, "doodler": write_doodler, "gpkg": write_geopackage,
}  # fmt: skip


def write_mask(
    path: str | os.PathLike[str], labelmap: LabelMap, image_path: str | os.PathLike[str], *, to: str
) -> None:
    """Write a label map in one of the formats of `ENDINGS`."""
    if to in _WRITERS:
        _WRITERS[to](path, labelmap, image_path)
    else:
        write_labelmap(path, labelmap)


def _measure(ring: Ring) -> float:
    rows, cols = ring.T
    return float(np.sum(rows[:-1] * cols[1:] - rows[1:] * cols[:-1]) / 2)


def _add_srs(base: sqlite3.Connection, crs: str) -> int:
    from rasterio.crs import CRS

    known = CRS.from_user_input(crs)
    code = known.to_epsg()
    row = (code or _OWN_SRS, "EPSG" if code else "NONE", code or _OWN_SRS, known.to_wkt())
    base.execute("INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES ('of the image', ?, ?, ?, ?, NULL)", row)
    return row[0]


def _encode(rings: list[np.ndarray], srs_id: int) -> bytes:
    """Return a polygon as GeoPackage has it: a header of its own, then well-known binary."""
    parts = [struct.pack("<2sBBi", b"GP", 0, 1, srs_id), struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), np.ascontiguousarray(ring, "<f8").tobytes()]
    return b"".join(parts)
