"""From the masks of a colleague to scores, as a user types it: the class list is the user's own from end to end."""

import numpy as np
import pytest
from PIL import Image

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models.store import read_card

# Neither in the order of the alphabet nor in lower case.
NAMES = ("Wet or shallow", "dry_land", "Deep water")
COLORS = ((0x10, 0x20, 0x30), (0x40, 0x50, 0x60), (0x70, 0x80, 0x90))
GREYS = (120, 230, 20)
CLASS_FILES = ("--labels", "labels.txt", "--colors", "colors.txt")


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
    write_class_files(NAMES)
    return tmp_path


def write_class_files(names):
    """Write labels.txt and colors.txt into the current folder, and return the bytes of the first."""
    colors = [*COLORS, (1, 2, 3)][: len(names)]
    with open("labels.txt", "w", newline="") as file:  # noqa: PTH123
        file.write("\r\n".join(names))
    with open("colors.txt", "w") as file:  # noqa: PTH123
        file.writelines("#{:02x}{:02x}{:02x}\n".format(*color) for color in colors)
    return "\r\n".join(names).encode()


@pytest.fixture
def cut(run, masks):
    """Cut tiles, as the quickstart does with masks of other programs."""

    def retile(*words: object):
        maps = sorted((masks / "masks").glob("*.png"))
        return run("retile", "-t", 16, "--jobs", 1, *maps, "--images", "photos", "--out", "tiles", *words)

    return retile


@pytest.fixture
def train(run, tiny_module):
    def retrain(*words: object):
        quick = ("--tfhub_module", tiny_module, "--input-size", 32, "--learning_rate", 0.3)
        result = run("retrain", "--image_dir", "tiles", "--how_many_training_steps", 60, *quick, *words)
        assert result.exit_code == 0, result.output
        return result

    return retrain


@pytest.mark.slow
@pytest.mark.usefixtures("quick_panels")
def test_the_class_files_of_the_user_stay_what_they_are(cut, train, run, masks):
    before = write_class_files(NAMES)
    assert cut(*CLASS_FILES).exit_code == 0
    train()
    assert (masks / "labels.txt").read_bytes() == before and not list(masks.glob("*_labels*.txt"))
    card = read_card(masks / "model.pb")
    assert card.names == NAMES and card.colors == COLORS
    found = run("semseg", "photos", *CLASS_FILES, "--decimation", 1, "--scale", 1, "--out", "out")
    assert found.exit_code == 0, found.output
    assert read_labelmap(masks / "out" / "p0_ares_16.mat").table == card.table
    sides = ("--truth", "masks/*.png", "--prediction", "out/*_label.png")
    scored = run("eval-pixels", ".", *sides, "--labels", "labels.txt")
    assert scored.exit_code == 0, scored.output
    assert float(scored.stdout.partition("all 4 pairs: accuracy ")[2].partition(",")[0]) > 0.9


@pytest.mark.slow
@pytest.mark.usefixtures("quick_charts")
def test_a_class_without_tiles_is_in_the_class_files_and_not_in_the_model(cut, train, run, masks):
    before = write_class_files((*NAMES, "surf"))
    assert cut(*CLASS_FILES).exit_code == 0
    trained = train("--colors", "colors.txt")
    assert (masks / "labels.txt").read_bytes() == before
    assert (masks / "model_labels.txt").read_text() == "".join(f"{name}\n" for name in NAMES)
    assert "labels.txt has another class list and stays as it is; that of the model is in model_labels.txt" in (
        trained.stdout
    )
    assert "wrote labels.txt" not in trained.stdout and "wrote model_labels.txt" in trained.stdout
    assert read_card(masks / "model.pb").colors == COLORS
    scored = run("eval-tiles", "tiles", "--labels", "labels.txt")
    assert scored.exit_code == 0 and "Wet or shallow" in scored.stdout, scored.output
    other = train("--output_labels", "labels.txt", "--output_graph", "b.pb")
    assert (masks / "labels.txt").read_bytes() == before and "wrote b_labels.txt" in other.stdout


def test_a_class_list_one_name_too_short_is_refused(cut, masks):
    write_class_files(NAMES[:2])
    result = cut("--labels", "labels.txt")
    assert result.exit_code == 1 and not (masks / "tiles").exists()
    assert "0 to 1 (Wet or shallow, dry_land): 33.3% of the pixels have an id without a name" in result.stderr


def test_the_shares_of_every_class_are_shown(cut):
    result = cut("--labels", "labels.txt", "-b", 1)
    table = [line.split() for line in result.stdout.splitlines()]
    assert ["Wet", "or", "shallow", "33.3%", "84", "33.3%", "84"] in table
    assert ["all", "classes", "252", "252"] in table and result.stderr == ""
