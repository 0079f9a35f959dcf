import json
import shutil

import numpy as np
import pytest

from hybridseg.hybrid.imagesets import TESTING, assign_sets
from hybridseg.hybrid.tilefolder import open_tile_folder

pytestmark = pytest.mark.usefixtures("quick_charts")


@pytest.fixture
def retrain(run, tiny_module, tmp_path):
    """Train on a folder of tiles in no time, and return what is printed and the model card."""

    def train(tile_dir, *words):
        given = ("--tfhub_module", tiny_module, "--input-size", 32, "--how_many_training_steps", 100)
        paths = ("--image_dir", tile_dir, "--output_graph", tmp_path / "model.pb", "--bottleneck_dir", tmp_path / "b")
        result = run("retrain", *paths, *given, "--learning_rate", 0.3, *words)
        assert result.exit_code == 0, result.stderr
        return result.stdout, json.loads((tmp_path / "model.json").read_text())

    return train


@pytest.fixture
def own_tiles(tile_dir, tmp_path):
    """The tiles of `tile_dir`, the test's own, and the photos that are held out for testing."""
    root = tmp_path / "tile_16"
    shutil.copytree(tile_dir, root)
    folder = open_tile_folder(root)
    sets = assign_sets(folder.sources, folder.class_ids, testing_percentage=10, validation_percentage=10)
    return root, sorted(set(np.array(folder.sources)[sets == TESTING].tolist()))


@pytest.mark.slow
def test_a_classifier_that_learned_nothing_is_called_poor(retrain, own_tiles):
    """On the one photo that is held out every class looks as another one does elsewhere."""
    root, [photo] = own_tiles
    (root / "swap").mkdir()
    for name, source in (("sand", "veg"), ("veg", "water"), ("water", "sand")):
        for path in (root / name).glob(f"{photo}_*"):
            shutil.copy(root / source / f"{photo}_r0_c0.png", root / "swap" / f"{name}_{path.name}")
    for path in (root / "swap").iterdir():
        name, _, tile = path.name.partition("_")
        path.rename(root / name / tile)
    (root / "swap").rmdir()
    printed, card = retrain(root)
    assert "held-out accuracy 0.0" in printed
    verdict, next_step = printed.splitlines()[-2:]
    assert verdict.startswith("Poor: 0 % of the tiles are right; the same answer everywhere would get 44 %")
    assert verdict.endswith("Measured on one photo: too few to rely on.")
    assert next_step.startswith("Next: label more photos with 'sand' and train again")
    assert card["scores"]["verdict"]["text"] == verdict


def test_one_photo_is_too_few_and_absent_classes_are_named(retrain, own_tiles):
    root, [photo] = own_tiles
    for path in (root / "sand").glob(f"{photo}_*"):
        path.unlink()
    printed, card = retrain(root)
    assert "not in the truth, so left out of the means: sand" in printed and card["scores"]["left_out"] == ["sand"]
    verdict, next_step = printed.splitlines()[-2:]
    assert verdict.startswith("Very good: 100 % of the tiles are right") and "too few to rely on" in verdict
    assert next_step.startswith("Next: hybridseg eval-tiles TILES --model ")


@pytest.mark.slow
def test_without_a_held_out_photo_there_is_no_verdict(retrain, tile_dir):
    printed, card = retrain(tile_dir, "--testing_percentage", 0)
    assert "no photo was held out" in printed and "Next" not in printed and card["scores"] == {}


@pytest.mark.slow
def test_a_classifier_is_judged_on_other_tiles(retrain, run, tile_dir, tmp_path):
    retrain(tile_dir)
    result = run("eval-tiles", tile_dir, "--model", tmp_path / "model.pb", "--out", tmp_path)
    verdict, next_step = result.stdout.splitlines()[-2:]
    assert verdict.startswith("Very good: ") and "Measured on 5 photos" in verdict
    assert next_step == f"Next: hybridseg semseg PHOTOS --model {tmp_path / 'model.pb'}"
