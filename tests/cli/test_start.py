"""What applies a model, or needs none, imports no TensorFlow: each is tried in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.images import write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.models.bundles import DenseCard, save_dense
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet

SCRIPT = """
import json, sys
from hybridseg.cli.main import main

def find_slow():
    return sorted({"tensorflow", "tf_keras", "keras", "tensorflow_hub", "sklearn"} & set(sys.modules))

for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 0, (words, stop.code)
    assert not find_slow(), (words, find_slow())
"""
PAGE = """
import sys, time
from pathlib import Path
from hybridseg.classes import ClassTable
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.session import LabelSession
from hybridseg.web.app import create_label_app
from hybridseg.web.gate import Gate

session = LabelSession(Album([Path(sys.argv[1])], table=ClassTable.from_names(["water", "sand"])))
gate = Gate()
jobs = JobRunner(session)
client = create_label_app(session, jobs, gate).test_client()
assert client.get(f"/?token={gate.token}").status_code == 200
image = session.album.list_images()[0]["id"]
client.environ_base["HTTP_X_PAGE_KEY"] = gate.key
headers = {"Origin": "http://localhost"}
for i, col in enumerate((5, 60)):
    stroke = {"layer": "scribbles", "tool": "pen", "class": i, "width": 3.0, "points": [[5, col], [30, col]]}
    answer = client.post(f"/api/images/{image}/strokes", json={"version": i + 1, **stroke}, headers=headers)
    assert answer.status_code == 200, answer.text
assert client.post(f"/api/images/{image}/accept", json={"version": 3}, headers=headers).status_code < 300
while client.get(f"/api/images/{image}").json["job"]:
    time.sleep(0.02)
assert sorted(path.name for path in Path(sys.argv[1]).parent.glob("photo_mres*"))
jobs.close()
assert not {"tensorflow", "tf_keras", "keras"} & set(sys.modules)
"""


def run_script(script, argument):
    done = subprocess.run(
        [sys.executable, "-c", script, str(argument)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def photo(tmp_path, paint_classes):
    """A photo with a mask and the scribbles that it was made from, alone in a folder."""
    path = tmp_path / "photos" / "photo.png"
    write_image(path, paint_classes("sand", "veg", "water", rows=64))
    labels = np.repeat(np.uint8([0, 1, 2]), 32)[None].repeat(64, axis=0)
    seeds = labels + 1
    seeds[::2] = 0
    table = ClassTable.from_names(["sand", "veg", "water"])
    write_matfile(path.with_name("photo_mres.mat"), LabelMap(labels, table, seeds))
    return path


def save_network(path, architecture):
    """Write an untrained network as training does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = ClassTable.from_names(["sand", "veg", "water"])
    card = DenseCard(architecture, table, (32, 64), Normalization("unit"))
    save_dense(path, architecture.build(), card, probes=[np.zeros((1, 32, 64, 3), np.float32)])


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoder")
def test_applying_a_model_imports_no_tensorflow(tmp_path, photo, tiny_model, tile_dir, monkeypatch):
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 3)
    save_network(tmp_path / "runs" / "coast" / "model.h5", Fcn8s(n_bands=3, n_outputs=3))
    save_network(tmp_path / "net.h5", ResUnet(n_bands=3, n_outputs=3, filters=1))
    config = tmp_path / "net.json"
    config.write_text(json.dumps({
        "TARGET_SIZE": [32, 64], "NCLASSES": 2, "N_DATA_BANDS": 3, "USEMASK": True, "MAX_EPOCHS": 2, "AUG_COPIES": 2,
        "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.25, "BATCH_SIZE": 4,
    }))  # fmt: skip
    photos, out, truth = photo.parent, tmp_path / "out", photo.with_name("photo_mres.mat")
    model, runs = ("--model", tiny_model), ("--runs-dir", tmp_path / "runs")
    commands = (
        ("semseg", photo, *model, "--out", out),
        ("tune-crf", photos, *model, "--trials", 2),
        ("predict", "-i", photo, "-o", out / "a.png", "-m", tiny_model, "-v", "--reports", out),
        ("predict", "-i", photo, "-o", out / "b.png", "-m", tmp_path / "runs/coast", "-v", "--reports", out),
        ("eval-tiles", tile_dir, *model, "-n", 2, "--out", out),
        ("fcn", "infer", "--name", "coast", "--samples-dir", photos, "--output-dir", out, *runs),
        ("unet", "infer", "--name", "coast", "--images", photos, "--out", tmp_path / "unet", *runs),
        ("resunet", "segment", "--config", config, "--weights", tmp_path / "net.h5", "--images", photos, "--out", out),
        ("eval-pixels", out, "--masks", photos, "--prediction", "*_predseg.png"),
        ("crf", photo, truth, "--out", tmp_path / "dense"),
        ("convert", truth, "--images", photos, "--to", "tif", "--out", tmp_path / "maps"),
        ("models", "list", tmp_path),
        ("models", "show", tiny_model),
        ("models", "promote", tiny_model, "--by", "dice", "--to", tmp_path / "models"),
        ("models", "card", tmp_path / "net.h5", "--out", out),
    )
    run_script(SCRIPT, json.dumps([[str(word) for word in words] for words in commands]))
    assert {"photo_ares_16.mat", "photo_predseg.png", "eval_pixels.json"} <= {path.name for path in out.iterdir()}


@pytest.mark.slow
def test_the_labelling_page_imports_no_tensorflow(photo):
    photo.with_name("photo_mres.mat").unlink()
    run_script(PAGE, photo)


def test_a_model_that_is_not_there_is_told_before_anything_starts(photo):
    words = [sys.executable, "-X", "importtime", "-m", "hybridseg", "semseg", "--model", "nomodel.pb", str(photo)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "there is no model nomodel.pb" in done.stderr
    assert "tensorflow" not in done.stderr and "litert" not in done.stderr


def test_help_is_light():
    script = (
        "import sys\nfrom hybridseg.cli.main import main\ntry:\n    main(['semseg', '--help'])\nexcept SystemExit:\n"
    )
    script += (
        "    print(sorted({'tensorflow', 'matplotlib', 'scipy', 'rasterio'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]" and "NAME_ares_TILE.mat" in done.stdout
