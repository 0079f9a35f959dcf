"""No reader takes more than twice what it returns and a constant: `tests/benchmarks/bench_memory.py` measures it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.images import load_image, read_valid
from hybridseg.io.labels.classids import read_class_ids
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labeltiff import read_tiff_record
from hybridseg.io.rasters import open_raster, quiet_rasterio, read_gaps

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_memory.py"
sys.path.append(str(BENCH.parent))
from bench_memory import save_tiff  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process cannot be measured here")
@pytest.mark.parametrize(
    "case", ["label TIFF, float64", ".mat, float64", "Doodler, one-hot float64", "image TIFF with nodata, float32",
             "PNG, RGB", "label PNG, painted", "label TIFF in one strip, float64",
             "image TIFF of noise in one strip, uint16"],
)  # fmt: skip
def test_a_reader_takes_at_most_twice_what_it_returns(case):
    words = [sys.executable, BENCH, "--shape", "4000x6000", "--exactly", case, "--check"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and case in done.stdout, done.stdout + done.stderr


@pytest.fixture(params=["tiles", "strips", "one strip"])
def layout(request, monkeypatch):
    """Ways in which a TIFF is stored; it is read in parts far smaller than itself."""
    monkeypatch.setattr("hybridseg.io.rasters._WINDOW_BYTES", 3000)
    monkeypatch.setattr("hybridseg.io.images._STRIP_VALUES", 700)
    tiles = {"blockxsize": 16, "blockysize": 16}
    return {"tiles": tiles, "strips": {"tiled": False, "blockysize": 7}, "one strip": {"tiled": False}}[request.param]


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_label_maps_come_in_parts(tmp_path, layout, kind):
    labels = np.random.default_rng(0).integers(0, 5, (53, 71)).astype(kind)
    save_tiff(tmp_path / "a.tif", labels, nodata=4, **layout)
    expected = np.where(labels == 4, VOID, labels.astype(np.int64))
    assert np.array_equal(read_labelmap(tmp_path / "a.tif").labels, expected)
    ids = read_class_ids(tmp_path / "a.tif", None)
    assert np.array_equal(ids, expected) and ids.dtype.name in ("uint8", "uint16", "int32")


def test_painted_label_maps_come_in_parts(tmp_path, layout):
    table = ClassTable(("a", "b"), ((10, 20, 30), (200, 100, 0)))
    labels = np.random.default_rng(0).choice(np.array([0, 1, VOID], np.uint8), (53, 71))
    save_tiff(tmp_path / "a.tif", table.palette()[labels], interleave="pixel", **layout)
    assert np.array_equal(read_labelmap(tmp_path / "a.tif", table=table).labels, labels)


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_gaps_come_in_parts(tmp_path, layout, kind):
    image = np.random.default_rng(0).integers(0, 9, (53, 71, 3)).astype(kind)
    image[20:31, 5:60] = 3
    if kind == "float64":
        image[40, 7, 1] = np.nan
    save_tiff(tmp_path / "a.tif", image, nodata=3, **layout)
    expected = ~(image == 3).all(axis=2)
    loaded = load_image(tmp_path / "a.tif")
    assert np.array_equal(loaded.valid, expected & np.isfinite(image).all(axis=2))
    filled, mean = loaded.filled().pixels, image[loaded.valid].mean(axis=0)
    assert np.allclose(filled[~loaded.valid], mean if kind == "float64" else mean.round())
    assert np.array_equal(filled[loaded.valid], image[loaded.valid])
    with open_raster(tmp_path / "a.tif") as dataset:
        part = read_gaps(dataset, slice(13, 44), slice(9, 70))
    assert np.array_equal(part, expected[13:44, 9:70])


def test_a_strip_that_would_be_unpacked_as_a_whole_counts_for_the_cap(tmp_path, monkeypatch):
    """A label map of 64-bit numbers in one compressed strip takes eight bytes of a pixel, whatever is read of it."""
    for name, height in (("one.tif", 30), ("many.tif", 5)):
        save_tiff(tmp_path / name, np.zeros((30, 40)), tiled=False, blockysize=height)
    monkeypatch.setenv("HYBRIDSEG_MAX_PIXELS", "1200")
    for read in (read_labelmap, lambda path: read_class_ids(path, None), load_image):
        with pytest.raises(BadInput, match=r"one\.tif has 30 x 40 pixels of 8 bytes, more than the cap of 1,200"):
            read(tmp_path / "one.tif")
    assert read_labelmap(tmp_path / "many.tif").labels.shape == (30, 40)


def test_a_strip_that_takes_too_much_to_unpack_is_refused(tmp_path, monkeypatch):
    """GDAL holds the strip as it is in the file and unpacked; of an image that is returned as it is, no more."""
    monkeypatch.setattr("hybridseg.io.rasters._CACHE_BYTES", 0)
    monkeypatch.setattr("hybridseg.io.rasters._ALWAYS", 0)
    monkeypatch.setattr("hybridseg.io.rasters._MOST_BESIDES", 100_000)
    labels = np.random.default_rng(0).integers(0, 2, (100, 200)).astype("float64")
    one, many, plain = (tmp_path / f"{name}.tif" for name in ("one", "many", "plain"))
    save_tiff(one, labels, tiled=False, blockysize=100)
    save_tiff(many, labels, tiled=False, blockysize=10)
    save_tiff(plain, labels, tiled=False, blockysize=100, compress="none")
    said = r"one\.tif is stored in strips or tiles each of which takes 0 MB to unpack, .* --co TILED=YES"
    for read in (read_labelmap, read_valid, read_tiff_record):
        with pytest.raises(BadInput, match=said):
            read(one)
        read(many), read(plain)
    # 160,000 bytes unpacked, and what is returned: 20,000 of labels, 80,000 of ids, as many as unpacked of an image.
    assert read_class_ids(one, None).shape == (100, 200)
    assert np.array_equal(load_image(one).pixels[..., 0], labels)
    monkeypatch.setattr("hybridseg.io.rasters._MOST_BESIDES", 0)
    with pytest.raises(BadInput, match=said):
        load_image(one)


def test_what_is_to_be_done_about_such_a_strip(tmp_path, monkeypatch):
    """The command that the message names makes a file that is read."""
    from rasterio.rio.main import main_group

    labels = np.random.default_rng(0).integers(0, 2, (1000, 700)).astype("float64")
    save_tiff(tmp_path / "a.tif", labels, tiled=False, blockysize=1000)
    monkeypatch.setattr("hybridseg.io.rasters._CACHE_BYTES", 0)
    monkeypatch.setattr("hybridseg.io.rasters._MOST_BESIDES", 18_000_000)
    with pytest.raises(BadInput) as error:
        read_labelmap(tmp_path / "a.tif")
    words = str(error.value).partition("rio ")[2].replace("IN.tif", "a.tif").replace("OUT.tif", "b.tif").split()
    monkeypatch.chdir(tmp_path)
    with quiet_rasterio():
        assert CliRunner().invoke(main_group, words).exit_code == 0
    assert np.array_equal(read_labelmap(tmp_path / "b.tif").labels, labels)
