import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.dense.programs.fcnfolders import find_classic_pairs, find_labeldefs, make_color_reader
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import write_image
from hybridseg.io.labels.classfiles import write_class_files


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def names_of(pairs):
    return [(pair.image_path.name, pair.labels_path.name) for pair in pairs]


def classic(data_dir, part="train", names=("a", "b")):
    touch(data_dir / "samples/RGB" / part / "data", *(f"{name}.jpg" for name in names))
    labels = (f"{name}_gtFine_color.png" for name in names)
    return touch(data_dir / "labels/gtFine" / part / "data", *labels)


def test_the_classic_layout_is_found_as_it_is(tmp_path):
    classic(tmp_path)
    # Label maps lie there too, and what they were painted from; neither is a picture in colours.
    touch(tmp_path / "labels/gtFine/train/data", "a_mres.mat", "a_gtFine_labelIds.png", ".hidden_gtFine_color.png")
    touch(tmp_path / "samples/RGB/train/data", "a_mres.mat", "a_gtFine_color.png", "notes.txt")
    expected = [("a.jpg", "a_gtFine_color.png"), ("b.jpg", "b_gtFine_color.png")]
    assert names_of(find_classic_pairs(tmp_path, "train", "data")) == expected
    with pytest.raises(MissingInput, match=r"there is no folder .*samples/RGB/val/data"):
        find_classic_pairs(tmp_path, "val", "data")
    classic(tmp_path, "val", ("c.1 d",))
    assert names_of(find_classic_pairs(tmp_path, "val", "data")) == [("c.1 d.jpg", "c.1 d_gtFine_color.png")]
    assert names_of(find_classic_pairs(tmp_path, "train", "data")) == expected
    with pytest.raises(MissingInput, match=r"there is no folder .*train/other"):
        find_classic_pairs(tmp_path, "train", "other")


def test_pictures_in_colours_must_be_made_first(tmp_path):
    labels = classic(tmp_path)
    for path in labels.iterdir():
        path.rename(path.with_name(path.name.replace("_gtFine_color.png", "_mres.mat")))
    with pytest.raises(MissingInput, match=r"`hybridseg fcn make-labels .*gtFine/train/data --labeldefs FILE`"):
        find_classic_pairs(tmp_path, "train", "data")


def test_who_is_alone_in_the_classic_layout_is_named(tmp_path, caplog):
    labels = classic(tmp_path)
    (tmp_path / "samples/RGB/train/data/b.jpg").unlink()
    assert [pair.image_path.stem for pair in find_classic_pairs(tmp_path, "train", "data")] == ["a"]
    assert caplog.messages == ["masks without an image (1): b_gtFine_color.png"]
    (labels / "b_gtFine_color.png").unlink()
    touch(tmp_path / "samples/RGB/train/data", "lonely.png")
    with pytest.raises(BadInput, match=r"lonely\.png: has no label map in .*; add lonely\.png or remove"):
        find_classic_pairs(tmp_path, "train", "data")


def test_labeldefs_at_both_places_and_by_option(tmp_path, table):
    with pytest.raises(MissingInput, match=r"there is no .*labeldefs\.txt with a line `name, r, g, b` .*--labeldefs"):
        find_labeldefs(tmp_path, None)
    tables = {"labels/labeldefs.txt": table, "labeldefs.txt": ClassTable.from_names(["x", "y"])}
    tables["given.txt"] = ClassTable.from_names(["one", "two"])
    for name, classes in tables.items():
        write_class_files(classes, labeldefs_path=tmp_path / name)
        given = tmp_path / name if name == "given.txt" else None
        assert find_labeldefs(tmp_path, given) == classes, "the nearer one wins, the one that was given over all"
    with pytest.raises(MissingInput, match=r"there is no .*none\.txt"):
        find_labeldefs(tmp_path, tmp_path / "none.txt")


def test_pictures_in_colours(tmp_path, table):
    picture = np.array([[table.colors[2], table.colors[0]]], np.uint8)
    write_image(tmp_path / "a_gtFine_color.png", picture)
    assert make_color_reader(table)(tmp_path / "a_gtFine_color.png").tolist() == [[2, 0]]
    write_image(tmp_path / "b.png", picture + np.uint8(3))
    with pytest.raises(BadInput, match=r"b\.png"):
        make_color_reader(table)(tmp_path / "b.png")
