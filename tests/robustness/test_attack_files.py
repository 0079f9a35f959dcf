"""Files that did harm to earlier versions, through the command line; skipped where they are not.

Each ends in one clear sentence, or in the right answer, and what lies beside it is done.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

pytestmark = [pytest.mark.real, pytest.mark.slow]

GRAPHS = ("fill3G", "fill64G", "loop", "nested_write", "op_EagerPyFunc", "op_LoadLibrary", "op_PyFunc", "op_ReadFile",
          "recursion", "recursion2", "shadow_write", "xla", "xla_attr")  # fmt: skip
MODULES = ("savedmodel/mergev2", "savedmodel/pyfunc", "savedmodel/savev2_ctl", "savedmodel/writefile",
           "archives/bomb.tar.gz", "archives/trav.tar.gz")  # fmt: skip
PICTURES = ("exif.png", "iccp.png", "late_iccp.png", "import500_52_g16.png", "t.tif")
SHARDS = ("len.tfrec", "180_CRASH-11_a.tfrec", "4_CRASH-11_a.tfrec")


@pytest.fixture(scope="module")
def attacks(real_data):
    folder = real_data.parent / "attacks"
    if not folder.is_dir():
        pytest.skip(f"the files that did harm are not here ({folder})")
    return folder


@pytest.fixture
def photos(paint_classes, table, tmp_path, monkeypatch):
    """A folder with a good photo and its label map; the test works in the folder around it."""
    monkeypatch.chdir(tmp_path)
    image = paint_classes("water", "sand", "veg")
    write_image(Path("photos/good.png"), image)
    labels = np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(48, axis=0)
    write_labelmap(Path("photos/good_mres.mat"), LabelMap(labels, table))
    return Path("photos")


def check_refusal(result):
    """One sentence, that is not long and says what to do, and no traceback, which `run` would have raised."""
    assert result.exit_code == 1, result.output
    said = [line for line in result.stderr.splitlines() if line.strip() and not line.startswith(("hint", "warning"))]
    assert len(said) <= 3 and len(said[-1]) < 700, result.stderr
    assert "Traceback" not in result.stderr


def list_files():
    return sorted(path for path in Path().rglob("*") if path.is_file())


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, attacks, photos, run):
    Path("m").mkdir()
    for file in (f"{name}.pb", "labels.txt"):
        shutil.copy(attacks / "pb" / file, Path("m") / file)
    before = list_files()
    words = ["predict", "-i", photos / "good.png", "-m", f"m/{name}.pb", "--labels", "m/labels.txt"]
    result = run(*words, "--tile-size", 16, "-o", "mask.png")
    check_refusal(result)
    assert set(list_files()) - set(before) <= {Path(f"m/{name}.tflite")}


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", MODULES)
def test_modules(name, attacks, photos, tile_dir, run):
    shutil.copytree(tile_dir, "tiles")
    (copied := Path("module") / name).parent.mkdir(parents=True)
    (shutil.copytree if (attacks / name).is_dir() else shutil.copy)(attacks / name, copied)
    before = {path: path.read_bytes() for path in list_files()}
    result = run("retrain", "--image_dir", "tiles", "--tfhub_module", copied, "--input-size", 32,
                 "--bottleneck_dir", "cache", "--output_graph", "model.pb")  # fmt: skip
    check_refusal(result)
    assert {path: path.read_bytes() for path in list_files()} == before, "nothing is written, moved or changed"


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_beside_a_good_one(name, attacks, photos, run):
    damaged = photos / name
    shutil.copy(attacks / "pictures" / name, damaged)
    labels = np.zeros((24, 32), np.uint8)
    write_labelmap(photos / f"{damaged.stem}_mres.mat", LabelMap(labels, read_labelmap(photos / "good_mres.mat").table))
    result = run("retile", photos, "-t", 16, "-a", 0.9, "-b", 0.5, "--jobs", 1)
    assert result.exit_code in (0, 1) and list(Path("photos/tile_16").rglob("good*")), result.output
    if result.exit_code:
        assert name in result.stderr and "the others are done" in result.stderr
    result = run("convert", photos, "--to", "png", "--out", "maps")
    assert result.exit_code in (0, 1) and list(Path("maps").glob("good*")), result.output
    result = run("crf", damaged, photos / "good_mres.mat", "--out", "dense")
    check_refusal(result)


@pytest.mark.parametrize("name", SHARDS)
def test_records(name, attacks, photos, run):
    from hybridseg.dense.records import scan_shard

    result = None
    try:
        scan_shard(attacks / "records" / name)
    except Exception as error:
        result = error
    assert type(result).__name__ == "BadInput" and len(str(result)) < 500


def test_drawings(attacks, photos, run):
    for name in ("638_c.npz", "wide_doodles.json"):
        check_refusal(run("crf", photos / "good.png", attacks / "annotations" / name, "--out", "dense"))
    Path("scenes").mkdir()
    shutil.copy(attacks / "annotations" / "scenes.json", "scenes/scenes.json")
    check_refusal(run("demo-scenes", "scenes", "--n", 1))


def test_large_polygons(attacks, photos, run):
    photo = Path("big/a.png")
    write_image(photo, np.zeros((3000, 4000, 3), np.uint8))
    for name in ("polys_coco.json", "polys_labelme.json"):
        record = json.loads((attacks / "annotations" / name).read_text())
        assert re.search(r"a\.\w+", json.dumps(record))
        shutil.copy(attacks / "annotations" / name, f"big/{name}")
    result = run("coco", "import", "big/polys_coco.json", "--images", "big", "--out", "imported")
    assert result.exit_code in (0, 1), result.output
