"""One bad picture never stops a network from the good ones beside it; where all are needed, all bad ones are told."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from hybridseg.cli.main import main
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models import resunet
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.fcn import Fcn8s

GOOD = ("scene_00", "scene_01")
BAD = ("cut.jpg", "sums.png", "strip.tif", "empty.png")
TRAINING = {
    "fcn": "fcn train --name fcn --images {photos} --runs-dir {runs} --size 64x96 --epochs 1 --batch-size 2",
    "unet": "unet train --name unet --images {photos} --runs-dir {runs} --size 64x96 --epochs 1 --widths 4,4,4,4",
    "resunet": "resunet train --config {config} --images {photos} --weights-out {runs}/coast.h5 --filters 1",
}
LABELLING = {
    "fcn": "fcn infer --name fcn --runs-dir {runs} --samples-dir {photos} --output-dir {out}",
    "unet": "unet infer --name unet --runs-dir {runs} --images {photos} --out {out}",
    "resunet": "resunet segment --config {config} --weights {runs}/coast.h5 --images {photos} --out {out}",
}
CONFIG = {
    "TARGET_SIZE": [64, 96], "NCLASSES": 0, "N_DATA_BANDS": 3, "MAX_EPOCHS": 1, "AUG_COPIES": 1, "BATCH_SIZE": 2,
    "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.5, "DOPLOT": False,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small(make_small_encoder):
    from tf_keras import layers

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "mobilenet_v2", make_small_encoder())
        patch.setattr(resunet, "_N_LEVELS", 2)
        patch.setattr(
            Fcn8s, "_score", lambda self, features, name: layers.Conv2D(self.n_outputs, 1, name=name)(features)
        )
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, _coast_originals):
    """The folder of a network of each program, made when it is asked for."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(_coast_originals, folder / "photos")
    n_classes = len(read_labelmap(folder / "photos/scene_00_mres.mat").table.names)
    config = folder / "coast.json"
    config.write_text(json.dumps({**CONFIG, "NCLASSES": n_classes}))
    names = {"photos": folder / "photos", "runs": folder / "runs", "config": config}

    def train(program):
        marker = folder / program
        if not marker.exists():
            result = CliRunner().invoke(main, TRAINING[program].format(**names).split())
            assert result.exit_code == 0, result.output
            marker.touch()
        return names

    return train


@pytest.fixture
def photos(coast, spoil):
    """Two good photos with label maps, and four bad ones with good label maps."""
    for path in coast.glob("scene_0[23]*"):
        path.unlink()
    assert spoil(coast / "scene_00.jpg") == BAD
    for name in BAD:
        shutil.copy(coast / "scene_00_mres.mat", coast / f"{name.partition('.')[0]}_mres.mat")
    return coast


@pytest.mark.slow
@pytest.mark.parametrize("program", LABELLING)
def test_the_good_ones_are_labelled(run, trained, photos, check_named, tmp_path, program):
    names = trained(program)
    result = run(*LABELLING[program].format(**{**names, "photos": photos, "out": tmp_path / "out"}).split())
    check_named(result, BAD)
    alone = run(*LABELLING[program].format(**{**names, "out": tmp_path / "alone"}).split())
    assert alone.exit_code == 0, alone.output
    found = sorted(path.name for path in (tmp_path / "out").glob("scene*") if path.suffix in (".mat", ".png", ".tif"))
    assert found and {name[:8] for name in found} == set(GOOD)
    for name in found:
        if "predseg" in name or "mres" in name:
            one, other = (read_labelmap(tmp_path / place / name) for place in ("out", "alone"))
            assert np.array_equal(one.labels, other.labels)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(("cut", "sums", "strip"))]


@pytest.mark.slow
def test_a_score_is_of_all_images_or_none(run, trained, photos, check_named, tmp_path):
    """A set that was only partly scored could not be compared with itself."""
    names = trained("resunet")
    words = f"resunet evaluate --config {names['config']} --weights {names['runs']}/coast.h5 --images {photos}"
    check_named(run(*words.split(), "--out", tmp_path / "out"), BAD)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [
    TRAINING["fcn"], TRAINING["unet"], TRAINING["resunet"],
    "resunet make-tfrecords --config {config} --images {photos} --out {out}",
    "unet build-lmdb --image_folder {photos} --mask_folder {photos} --output_folder {out} --dataset_name a",
], ids=lambda words: " ".join(words.split()[:2]))  # fmt: skip
def test_what_needs_all_tells_all_that_are_bad_and_writes_nothing(run, photos, check_named, tmp_path, words):
    n_classes = len(read_labelmap(photos / "scene_00_mres.mat").table.names)
    (tmp_path / "coast.json").write_text(json.dumps({**CONFIG, "NCLASSES": n_classes}))
    before = sorted(tmp_path.rglob("*"))
    given = {"photos": photos, "runs": tmp_path / "runs", "out": tmp_path / "out", "config": tmp_path / "coast.json"}
    result = run(*words.format(**given).split())
    check_named(result, BAD)
    assert sorted(tmp_path.rglob("*")) == before
