"""From masks of a colleague to scores, as a user types it: the class list is the user's own from end to end."""

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models.store import read_card

# Neither in the order of the alphabet nor in lower case. No picture shows the last one.
LABELS = "Wet or shallow\ndry_land\nDeep water\nsurf\n"
COLORS = "#102030\n#405060\n#708090\n#A0B0C0\n"
GREYS = (120, 230, 20)


@pytest.fixture
def masks(tmp_path, monkeypatch):
    """Photos with PNG masks that do not name their classes, and the class files that go with them."""
    monkeypatch.chdir(tmp_path)
    labels = np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(64, axis=0)
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        noise = np.random.default_rng(i).integers(-15, 16, (*labels.shape, 3))
        write_image(tmp_path / "photos" / f"p{i}.jpg", (np.array(GREYS)[labels][..., None] + noise).astype(np.uint8))
        Image.fromarray(labels).save(tmp_path / "masks" / f"p{i}.png")
    (tmp_path / "labels.txt").write_text(LABELS)
    (tmp_path / "colors.txt").write_text(COLORS)
    return tmp_path


@pytest.fixture
def follow(run, masks, tiny_module):
    """Cut tiles and train, as the quickstart does with masks of other programs."""

    def type_commands(*more: object):
        maps = sorted((masks / "masks").glob("*.png"))
        words = ("--images", "photos", "--labels", "labels.txt", "--colors", "colors.txt", "--out", "tiles")
        cut = run("retile", "-t", 16, "--jobs", 1, *maps, *words)
        assert cut.exit_code == 0, cut.output
        quick = ("--tfhub_module", tiny_module, "--input-size", 32, "--learning_rate", 0.3)
        trained = run("retrain", "--image_dir", "tiles", "--how_many_training_steps", 60, *quick, *more)
        assert trained.exit_code == 0, trained.output
        return trained

    return type_commands


@pytest.mark.usefixtures("quick_panels")
def test_the_class_list_of_the_user_stays_what_it_is(follow, run, masks):
    trained = follow()
    assert (masks / "labels.txt").read_text() == LABELS
    card = read_card(masks / "model.pb")
    assert card.names == ("Wet or shallow", "dry_land", "Deep water")
    assert card.colors == ((0x10, 0x20, 0x30), (0x40, 0x50, 0x60), (0x70, 0x80, 0x90))
    assert (masks / "model_labels.txt").read_text() == "Wet or shallow\ndry_land\nDeep water\n"
    assert "labels.txt has another class list" in trained.stdout and "model_labels.txt" in trained.stdout
    classes = ("--labels", "labels.txt", "--colors", "colors.txt")
    found = run("semseg", "photos", "--model", "model.pb", *classes, "--decimation", 1, "--scale", 1, "--out", "out")
    assert found.exit_code == 0, found.output
    assert read_labelmap(masks / "out" / "p0_ares_16.mat").table == card.table
    sides = ("--truth", "masks/*.png", "--prediction", "out/*_label.png")
    scored = run("eval-pixels", ".", *sides, "--labels", "labels.txt")
    assert scored.exit_code == 0, scored.output
    accuracy = float(scored.stdout.partition("all 4 pairs: accuracy ")[2].partition(",")[0])
    assert accuracy > 0.9
