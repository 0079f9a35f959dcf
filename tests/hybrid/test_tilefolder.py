import json
import logging

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.hybrid.imagesets import TESTING, TRAINING, VALIDATION, assign_sets
from hybridseg.hybrid.tilefolder import ClassList, open_tile_folder, write_class_list
from hybridseg.io.images import write_image


def fill(root, names, side=4):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.zeros((side, side, 3), np.uint8))


def test_labels_are_sorted_folder_names_in_the_classic_form(tmp_path):
    fill(tmp_path, ["Wet_Sand/a_r0_c0.png", "Wet_Sand/b_r0_c0.png", "Cliff!/a_r0_c4.png", "Cliff!/a_r4_c4.png"])
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "empty").mkdir()
    folder = open_tile_folder(tmp_path)
    assert folder.table.names == ("cliff", "wet sand") and folder.class_ids.tolist() == [0, 0, 1, 1]
    assert folder.sources == ("a", "a", "a", "b")


def test_the_manifest_knows_the_source_better(tmp_path):
    fill(tmp_path, ["a/x1.png", "a/x2.png", "b/y1.png", "b/y2.png"])
    assert open_tile_folder(tmp_path).sources == ("x1", "x2", "y1", "y2")
    (tmp_path / "tiles.csv").write_text("tile,source\na/x1.png,photo.jpg\na/x2.png,photo.jpg\n")
    assert open_tile_folder(tmp_path).sources == ("photo", "photo", "y1", "y2")


def test_small_classes(tmp_path, caplog):
    fill(tmp_path, ["a/1.png", "a/2.png", "b/1.png"])
    with pytest.raises(BadInput, match=r"at least 2 tiles; too few in b \(1\)"):
        open_tile_folder(tmp_path)
    fill(tmp_path, ["b/2.png"])
    with caplog.at_level(logging.WARNING):
        open_tile_folder(tmp_path)
    assert "the class 'b' has only 2 tiles" in caplog.text


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(MissingInput, match="there is no folder"):
        open_tile_folder(tmp_path / "none")
    with pytest.raises(BadInput, match="at least two classes; it has none"):
        open_tile_folder(tmp_path)
    fill(tmp_path, ["sand/1.png", "sand/2.png"])
    with pytest.raises(BadInput, match="it has only 'sand'"):
        open_tile_folder(tmp_path)
    fill(tmp_path, ["Sand_/1.png", "Sand_/2.png"])
    with pytest.raises(BadInput, match="the class name 'sand' is given twice"):
        open_tile_folder(tmp_path)


def test_a_picture_of_another_size_is_resized_and_a_damaged_one_named(tmp_path, caplog):
    fill(tmp_path, ["a/1.png", "b/1.png", "b/2.png"])
    fill(tmp_path, ["a/2.png"], side=5)
    folder = open_tile_folder(tmp_path)
    with caplog.at_level(logging.INFO, logger="hybridseg"):
        assert folder.read_tiles(np.arange(4), tile_size=4).shape == (4, 4, 4, 3)
    assert "a/2.png is 5 x 5 pixels and is resized to 4" in caplog.text
    (tmp_path / "b" / "2.png").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"b/2.png is not a JPEG"):
        folder.read_tiles(np.arange(4), tile_size=4)


def test_no_photo_is_in_two_sets_and_every_class_is_learned():
    rng = np.random.default_rng(0)
    for seed in range(30):
        sources = [f"p{i}" for i in rng.integers(0, 12, 300)]
        classes = rng.integers(0, 6, 300)
        classes[[i for i, source in enumerate(sources) if source == "p3"]] = 6  # a class of one photo alone
        sets = assign_sets(sources, classes, testing_percentage=10, validation_percentage=10, seed=seed)
        in_sets = {source: {sets[i] for i in range(300) if sources[i] == source} for source in sources}
        assert all(len(names) == 1 for names in in_sets.values())
        assert set(classes[sets == TRAINING]) == set(classes)
        for name in (TESTING, VALIDATION):
            assert 0 < (sets == name).mean() < 0.25


def test_sets_are_empty_rather_than_dishonest():
    sets = assign_sets(["p", "p", "p", "q"], np.array([0, 1, 1, 1]), testing_percentage=10, validation_percentage=10)
    assert (sets == TRAINING).sum() >= 3, "the only photo of class 0 is learned from"
    sets = assign_sets(["p"] * 9, np.arange(9) % 2, testing_percentage=30, validation_percentage=30)
    assert (sets == TRAINING).all()
    sets = assign_sets(list("abcdefgh"), np.arange(8) % 2, testing_percentage=0, validation_percentage=25)
    assert (sets == TESTING).sum() == 0 and (sets == VALIDATION).sum() == 2
    with pytest.raises(BadInput, match="leave something to train on"):
        assign_sets(["a"], np.array([0]), testing_percentage=60, validation_percentage=40)


TABLE = ClassTable(("Wet sand", "surf", "cliff!"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


def test_the_class_list_names_orders_and_colours_the_classes(tmp_path, caplog):
    fill(tmp_path, ["cliff/a.png", "cliff/b.png", "w/c.png", "w/d.png"])
    plain = open_tile_folder(tmp_path)
    write_class_list(tmp_path, ClassList(TABLE, {"w": 0, "cliff": 2}))
    folder = open_tile_folder(tmp_path)
    assert folder.table == ClassTable(("Wet sand", "cliff!"), ((1, 2, 3), (7, 8, 9))) and folder.listed == TABLE
    assert folder.names == plain.names, "so that cached features stay where they are"
    assert folder.class_ids.tolist() == [1, 1, 0, 0] and plain.class_ids.tolist() == [0, 0, 1, 1]
    assert "no tiles are left out of the classifier: surf" in caplog.text


def test_folders_that_were_made_by_hand(tmp_path):
    """One for a class of the list that had no tiles, and one for another class."""
    write_class_list(tmp_path, ClassList(TABLE, {"w": 0}))
    fill(tmp_path, ["w/c.png", "w/d.png", "Surf/a.png", "Surf/b.png", "Ash/a.png", "Ash/b.png"])
    folder = open_tile_folder(tmp_path)
    assert folder.table.names == ("Wet sand", "surf", "ash") and folder.table.colors[:2] == TABLE.colors[:2]
    fill(tmp_path, ["wet_sand/c.png", "wet_sand/d.png"])
    with pytest.raises(BadInput, match=r"the class folders of .*the class name 'Wet sand' is given twice"):
        open_tile_folder(tmp_path)


def test_a_class_list_that_cannot_be_used(tmp_path, caplog):
    fill(tmp_path, ["cliff/a.png", "cliff/b.png", "w/c.png", "w/d.png"])
    path = tmp_path / "classes.json"
    path.write_text('{"classes": ["cliff", "w"]}')
    assert open_tile_folder(tmp_path).table.names == ("cliff", "w")
    assert "classes.json is not of hybridseg and is left aside" in caplog.text
    write_class_list(tmp_path, ClassList(TABLE, {"w": 0}))
    record = json.loads(path.read_text())
    assert record["classes"][1] == {"name": "surf", "color": [4, 5, 6], "folder": None}
    for change, message in (
        ({"format": 2}, "written by another version"),
        ({"classes": "cliff"}, "not a list of names"),
        ({"classes": [{"name": "cliff", "color": [1, 2, 3], "folder": 1}]}, "folder of a class is not a name"),
    ):
        path.write_text(json.dumps(record | change))
        with pytest.raises(BadInput, match=rf"classes.json: .*{message}"):
            open_tile_folder(tmp_path)
