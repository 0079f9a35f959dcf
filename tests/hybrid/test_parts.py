"""The hybrid on images of which only parts are in memory: the same as on an array, however it is cut."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from hybridseg.batch.jobs import Outputs
from hybridseg.batch.results import read_confidence
from hybridseg.classes import VOID
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.segmentation import HybridOptions, segment_image, vote_on_tiles
from hybridseg.hybrid.semseg import segment_file
from hybridseg.hybrid.votes import SpreadCells
from hybridseg.io.images import describe_image, load_image, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.lazyimages import open_parts
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.machine import MemoryOptions
from tests.io.test_lazyimages import MIB, cut, write_tiff

CRF = CrfOptions(n_threads=1, theta=4, color_scale=20, space_compat=3, color_compat=10)


@pytest.fixture
def blot(paint_coast):
    def paint(rows, cols):
        image = np.maximum(paint_coast(rows, cols, border=cols // 2), 1)
        image[rows // 3 : rows // 2, : cols // 3] = 0
        return image

    return paint


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 120), cols=st.integers(1, 120), limit=st.sampled_from([0, 20_000, MIB]),
    nodata=st.sampled_from([None, 0]), deep=st.booleans(), decimation=st.integers(1, 5),
    scale=st.sampled_from([None, 0.3, 1.0]), seed_from=st.sampled_from(["labels", "probabilities"]),
    stride=st.sampled_from([None, 7]),
)  # fmt: skip
def test_votes_and_labels_do_not_depend_on_where_the_pixels_are(
    tmp_path, by_color, blot, rows, cols, limit, nodata, deep, decimation, scale, seed_from, stride
):
    image = blot(rows, cols)
    path = tmp_path / "a.tif"
    write_tiff(
        path, image.astype(np.uint16) * 99 if deep else image, nodata=nodata, tiled=True, blockxsize=16, blockysize=32
    )
    loaded, lazy = load_image(path), open_parts(describe_image(path), limit).as_rgb8()
    options = HybridOptions(
        threshold=0.1, decimation=decimation, scale=scale, stride=stride, seed_from=seed_from, crf=CRF
    )
    try:
        expected = segment_image(loaded.as_rgb8(), by_color, options=options, valid=loaded.valid, want_confidence=True)
    except BadInput:
        with pytest.raises(BadInput):
            segment_image(lazy, by_color, options=options, want_confidence=True)
        return
    found = segment_image(lazy, by_color, options=options, want_confidence=True)
    votes = [each.votes for each in (found, expected)]
    assert np.array_equal(votes[0].probs, votes[1].probs) and np.array_equal(votes[0].n_votes, votes[1].n_votes)
    for name in ("picture", "labels", "tile_labels", "seeds", "confidence"):
        assert np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=name == "confidence"), name
    assert found.n_tiles == expected.n_tiles and found.lost == expected.lost
    if loaded.valid is not None:
        assert ((found.labels == VOID) == ~loaded.valid).all()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), data=st.data())
def test_votes_are_spread_part_by_part(by_color, shape, data):
    image = np.random.default_rng(0).integers(0, 255, (50, 64, 3)).astype(np.uint8)
    votes, _ = vote_on_tiles(image, by_color, options=HybridOptions(stride=9))
    whole, lazy = votes.spread(votes.probs, shape), SpreadCells(votes, votes.probs, shape)
    assert lazy.shape == whole.shape == (*shape, 3)
    for rows in cut(shape[0], data):
        assert np.array_equal(votes.spread(votes.probs, shape, rows), whole[rows])
        for cols in cut(shape[1], data):
            assert np.array_equal(lazy[rows, cols], whole[rows, cols])


def test_a_scale_that_does_not_fit_is_refused(by_color, paint_coast):
    with pytest.raises(BadInput, match=r"the CRF works on 0 megapixels at scale=1, which takes 0.0 GiB, and 0"):
        segment_image(paint_coast(300, 300, border=9), by_color, options=HybridOptions(scale=1.0), room=MIB)


@pytest.mark.slow
@pytest.mark.parametrize("georeferenced", [False, True])
def test_above_a_size_only_the_geotiff_is_written(tmp_path, by_color, blot, monkeypatch, georeferenced):
    place = {"crs": "EPSG:32611", "transform": (0.5, 0, 4e5, 0, -0.5, 4e6)} if georeferenced else {}
    image = blot(220, 300)
    write_tiff(tmp_path / "a.tif", image, nodata=0, tiled=True, blockxsize=64, blockysize=64, **place)
    outputs = Outputs(tmp_path / "small", FigureOptions(dpi=50), probabilities=True, report=True, keep_seeds=True)
    segment = partial(
        segment_file, tmp_path / "a.tif", by_color, options=HybridOptions(crf=CRF, decimation=3, scale=0.5)
    )
    small = segment(outputs=outputs)
    monkeypatch.setattr("hybridseg.batch.results.MOST_WHOLE_PIXELS", 50_000)
    monkeypatch.setattr("hybridseg.io.lazyimages.MAX_DECODED_PIXELS", 50_000)
    large = segment(outputs=replace(outputs, out_dir=tmp_path / "large"), memory=MemoryOptions(8))
    names = [
        "a_ares_16_label.tif",
        "a_ares_16.png",
        "a_ares_16_confidence.tif",
        "a_ares_16_entropy.tif",
        "a_atiles_16.tif",
        "a_ares_16_report.json",
    ]
    assert [path.name for path in large.written] == names
    assert small.written[0].name == "a_ares_16.mat" and large.shares == small.shares
    assert large.warnings[-1].startswith("it has 0 megapixels: above 0 the label map is written as a GeoTIFF alone")
    for name, other in (("a_ares_16_label.tif", "a_ares_16.mat"), ("a_atiles_16.tif", "a_atiles_16.mat")):
        found = read_labelmap(tmp_path / "large" / name)
        assert np.array_equal(found.labels, read_labelmap(tmp_path / "small" / other).labels)
        assert ((found.labels == VOID) == (image == 0).all(axis=2)).all()
        assert (found.georeference is not None) == georeferenced
    for read, name in ((read_confidence, "a_ares_16_confidence.tif"), (read_image, "figures/a_ares_16.png")):
        pair = [read(tmp_path / folder / name) for folder in ("small", "large")]
        assert np.array_equal(*pair, equal_nan=True)


# The peak of a process that labels a TIFF of 64 megapixels, 192 MB of samples, by tiles and the CRF.
MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.conftest import ByColor
from hybridseg.batch import results
from hybridseg.batch.jobs import Outputs
from hybridseg.classes import ClassTable
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import segment_file
from hybridseg.machine import MemoryOptions
from hybridseg.models.store import TileClassifier
results.MOST_WHOLE_PIXELS = 1_000_000
folder, table = Path(sys.argv[1]), ClassTable.from_names(["cliff", "veg", "water"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = segment_file(
    folder / "large.tif", TileClassifier(folder / "model.pb", table, 96, ByColor()),
    options=HybridOptions(decimation=8, scale=0.1), outputs=Outputs(folder / "out", None, probabilities=True),
    memory=MemoryOptions(0.7),
)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_large_image_takes_little_memory(tmp_path, monkeypatch):
    profile = {"driver": "GTiff", "height": 8000, "width": 8000, "count": 3, "dtype": "uint8", "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    strip = np.zeros((3, 512, 8000), np.uint8)
    strip[0, :, :3000], strip[2, :, 3000:] = 200, 200
    with quiet_rasterio(), rasterio.open(tmp_path / "large.tif", "w", **profile) as dataset:
        for row in range(0, 8000, 512):
            height = min(512, 8000 - row)
            dataset.write(strip[:, :height], window=Window(0, row, 8000, height))
    (tmp_path / "model.pb").touch()
    command = [sys.executable, "-c", MEMORY, tmp_path, Path(__file__).parents[2]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # The samples alone would be 192, and labels, seeds and confidence 384 more.
    assert int(done.stdout) < 330
    monkeypatch.setattr("hybridseg.batch.results.MOST_WHOLE_PIXELS", 1_000_000)
    found = read_labelmap(tmp_path / "out/large_ares_96_label.tif").labels
    assert found.shape == (8000, 8000) and (found[:, :2990] == 0).all() and (found[:, 3010:] == 2).all()
