from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from hybridseg.classes import ClassTable, color_labels
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.datasets import find_folder_pairs, make_label_reader, open_folders, open_sets, refuse_problems
from hybridseg.dense.pairs import check_pairs
from hybridseg.errors import BadInput, BadUsage, MissingInput, Problem
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.progress import no_progress

GREY = np.full((4, 6, 3), 90, np.uint8)


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def names_of(pairs):
    return [(pair.image_path.name, pair.labels_path.name) for pair in pairs]


@pytest.mark.parametrize(("word", "name"), [
    ("mask", "a_mask.png"), ("mask", "a_Masks.png"), ("mask", "a-mask.tif"), ("mask", "mask_a.png"), ("mask", "a.png"),
    ("mask", "masks a.tiff"), ("mask", "a_mask_v2.png"), ("mask", "mask_a_v2.png"),
    ("label", "a_label.png"), ("label", "a.labels.png"),
    ("mask", "a1mask.png"), ("label", "label-a.png"), ("label", "a.mat"), ("label", "a_mres.mat"),
    ("label", "LABEL_a.TIF"),
])  # fmt: skip
def test_label_maps_are_called_as_the_images_with_a_word_more(tmp_path, word, name):
    image = next((f"{stem}.jpg" for stem in ("a_v2", "a1") if stem[1:] in name), "a.jpg")
    images, labels = touch(tmp_path / "i", image), touch(tmp_path / "l", name, ".hidden.png", "notes.txt")
    assert names_of(find_folder_pairs(images, labels, word=word)) == [(image, name)]


def test_names_with_spaces_and_dots(tmp_path):
    stems = ["IMG 01.2", "a.b.c", "ü (2)", "mast_1", "seal"]
    images = touch(tmp_path / "i", *(f"{stem}.png" for stem in stems))
    labels = touch(tmp_path / "l", *(f"{stem}_mask.png" for stem in stems))
    assert sorted(names_of(find_folder_pairs(images, labels, word="mask"))) == sorted(
        (f"{stem}.png", f"{stem}_mask.png") for stem in stems
    )


def test_the_word_is_only_a_word(tmp_path):
    """A watermask is another photograph than a water, and an image may have the word in its name."""
    images = touch(tmp_path / "i", "a_watermask.png", "a_water.png", "mask_1.png")
    labels = touch(tmp_path / "l", "a_watermask_mask.png", "a_water_mask.png", "mask_1.png")
    expected = [
        ("a_water.png", "a_water_mask.png"), ("a_watermask.png", "a_watermask_mask.png"), ("mask_1.png", "mask_1.png")
    ]  # fmt: skip
    assert sorted(names_of(find_folder_pairs(images, labels, word="mask"))) == expected


def test_all_that_are_alone_are_named_at_once(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg", "lonely.jpg"), touch(tmp_path / "l", "a_label.png", "b_label.png")
    with pytest.raises(
        BadInput, match=r"2 files are .*\n.*b_label\.png: has no image in .*add b\.jpg.*\n.*lonely\.jpg: has no label m"
    ):
        find_folder_pairs(images, labels, word="label")


def test_masks_of_more_images_than_these_are_left_out_aloud(tmp_path, caplog):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png", "b.png")
    assert names_of(find_folder_pairs(images, labels)) == [("a.jpg", "a.png")]
    assert caplog.messages == ["masks without an image (1): b.png"]
    (labels / "a.png").unlink()
    with pytest.raises(BadInput, match=r"b\.png: has no image in .*\n.*a\.jpg: has no label map"):
        find_folder_pairs(images, labels)


def test_masks_elsewhere_are_asked_for_by_their_option(tmp_path):
    photos = touch(tmp_path / "photos", "a.jpg", "b.jpg")
    with pytest.raises(MissingInput, match=r"photos has no label map .*if the masks are elsewhere.*: --masks DIR$"):
        open_sets(photos)
    with pytest.raises(MissingInput, match=r"photos has no label map .*: --validation-masks DIR$"):
        find_folder_pairs(photos, option="--validation-masks")
    with pytest.raises(MissingInput, match=r"masks has no label map .* of an image in \S*photos$"):
        open_sets(photos, touch(tmp_path / "masks", "notes.txt"))


def test_one_folder_for_both(tmp_path):
    folder = touch(tmp_path / "both", "a.jpg", "a_label.png", "b c.png", "b c_label.png", "unlabelled.png")
    with pytest.raises(BadInput, match=r"both/unlabelled\.png: has no label map"):
        find_folder_pairs(folder, folder, word="label")
    (folder / "unlabelled.png").unlink()
    expected = [("a.jpg", "a_label.png"), ("b c.png", "b c_label.png")]
    assert names_of(find_folder_pairs(folder, folder, word="label")) == expected
    assert names_of(find_folder_pairs(folder, folder, word="mask")) == expected, "another word is no reason to stop"
    assert names_of(find_folder_pairs(folder)) == expected, "beside the images is where they are looked for"


def test_the_word_decides_where_there_are_both(tmp_path):
    images = touch(tmp_path / "i", "a.jpg", "b.jpg")
    labels = touch(tmp_path / "l", "a_mask.png", "b_mask.png", "a_label.png", "b_label.png")
    for word in ("mask", "label"):
        expected = [(f"{stem}.jpg", f"{stem}_{word}.png") for stem in "ab"]
        assert names_of(find_folder_pairs(images, labels, word=word)) == expected
    with pytest.raises(BadInput, match=r"equally good \(a_label\.png, a_mask\.png\); keep one"):
        find_folder_pairs(images, labels)


def test_folders_with_one_folder_inside(tmp_path):
    images, labels = touch(tmp_path / "images/data", "a.png"), touch(tmp_path / "masks/data", "a_mask.png")
    pairs = find_folder_pairs(tmp_path / "images", tmp_path / "masks", word="mask")
    assert pairs == find_folder_pairs(images, labels, word="mask")
    touch(tmp_path / "images/more", "b.png")
    with pytest.raises(MissingInput, match=r"images has no image \(\.jpg"):
        find_folder_pairs(tmp_path / "images", labels, word="mask")


def test_who_is_alone_is_named(tmp_path):
    images, labels = touch(tmp_path / "i", "a.png", "b.png"), touch(tmp_path / "l", "a_mask.png", "c_mask.png")
    with pytest.raises(BadInput, match=r"nothing was done:\n  .*l/c_mask\.png: has no image"):
        find_folder_pairs(images, labels, word="mask")
    (labels / "c_mask.png").unlink()
    with pytest.raises(BadInput, match=r"i/b\.png: has no label map"):
        find_folder_pairs(images, labels, word="mask")


def test_two_label_maps_of_one_image(tmp_path):
    images, labels = touch(tmp_path / "i", "a.png"), touch(tmp_path / "l", "a_mask.png", "a_mask.tif")
    with pytest.raises(BadInput, match=r"equally good \(a_mask\.png, a_mask\.tif\); keep one"):
        find_folder_pairs(images, labels, word="mask")
    (labels / "a_mask.tif").rename(labels / "a.png")
    assert names_of(find_folder_pairs(images, labels)) == [("a.png", "a_mask.png")], "its name says what it is"
    (labels / "a.png").unlink()
    (images / "a.png").unlink()
    touch(images, "a.jpg", "a.tif")
    with pytest.raises(BadInput, match=r"a_mask\.png: could belong to a\.jpg, a\.tif"):
        find_folder_pairs(images, labels, word="mask")


@pytest.mark.parametrize(("images", "labels", "message"), [
    ("none", "l", "there is no folder .*none"), ("i", "none", "there is no folder .*none"),
    ("empty", "l", r"empty has no image \(\.jpg"), ("i", "empty", r"empty has no label map \(\.mat"),
])  # fmt: skip
def test_missing_folders(tmp_path, images, labels, message):
    touch(tmp_path / "i", "a.png"), touch(tmp_path / "l", "a.png"), touch(tmp_path / "empty")
    with pytest.raises(MissingInput, match=message):
        find_folder_pairs(tmp_path / images, tmp_path / labels, word="mask")


def grey_png(path: Path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("suffix", [".mat", ".png", ".tif"])
def test_classes_in_another_order_are_matched_by_name(tmp_path, table, suffix):
    other = ClassTable(("cliff", "water", "sand"), ((139, 0, 139), (0, 0, 255), (255, 255, 0)))
    path = tmp_path / f"a{suffix}"
    write_labelmap(path, LabelMap(np.array([[0, 1], [2, 255]], np.uint8), other))
    assert make_label_reader(table)(path).tolist() == [[2, 0], [1, 255]]
    assert make_label_reader()(path).tolist() == [[0, 1], [2, 255]]
    with pytest.raises(BadInput, match="cliff"):
        make_label_reader(ClassTable.from_names(["water", "sand", "rock"]))(path)


def test_values_by_a_table_of_their_own(tmp_path, table):
    lookup = np.arange(256, dtype=np.uint8)
    lookup[[3, 4]] = 1, 255
    read = make_label_reader(table, lookup=lookup)
    assert read(grey_png(tmp_path / "a.png", [[0, 3], [4, 255]])).tolist() == [[0, 1], [255, 255]]
    # Files that name their classes in another order mean the same classes.
    named, read = tmp_path / "b.png", make_label_reader(ClassTable.from_names("abcde"), lookup=lookup)
    for names, values in (("abcde", [0, 3, 4]), ("edcba", [4, 1, 0])):
        write_labelmap(named, LabelMap(np.array([values], np.uint8), ClassTable.from_names(names)))
        assert read(named).tolist() == [[0, 1, 255]]


def test_pictures_in_colours(tmp_path, table):
    picture = np.array([[table.colors[2], table.colors[0]]], np.uint8)
    write_image(tmp_path / "a_gtFine_color.png", picture)
    assert make_label_reader(table)(tmp_path / "a_gtFine_color.png").tolist() == [[2, 0]]


def test_ids_of_no_class_stay_what_they_are(tmp_path, table):
    """Of numbers without names the one after the last class is no class either: it must not be lost in silence."""
    images, labels = tmp_path / "i", tmp_path / "l"
    write_image(images / "a.png", GREY)
    read = make_label_reader(table)
    for value in (3, 9):
        grey_png(labels / "a.png", np.full((4, 6), value))
        assert read(labels / "a.png").max() == value
        problems, _ = check_pairs(find_folder_pairs(images, labels, word="mask"), read, n_classes=3)
        assert [problem.message for problem in problems] == [
            f"has the values {value}; classes go from 0 to 2, and 255 is void; "
            "name all classes (--labels), or give other masks"
        ]


def test_many_problems_are_told_in_a_few_lines():
    refuse_problems([])
    with pytest.raises(BadInput) as caught:
        refuse_problems([Problem(f"f{i}", "is odd") for i in range(50)])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("50 files are unusable") and len(lines) == 22
    assert lines[1] == "  f0: is odd" and lines[-1] == "  and 30 more"


def test_masks_in_any_form_are_read_by_the_classes_that_were_given(tmp_path):
    table = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))
    other = ClassTable(("cliff", "water"), ((1, 1, 1), (2, 2, 2)))
    labels = np.array([[0, 2], [2, 0]], np.uint8)
    for stem in "abc":
        write_image(tmp_path / f"{stem}.jpg", np.zeros((2, 2, 3), np.uint8))
    Image.fromarray(labels).save(tmp_path / "a_mask.png")
    write_image(tmp_path / "b_label.png", color_labels(labels, table))
    write_labelmap(tmp_path / "c_mres.mat", LabelMap(np.array([[1, 0], [0, 1]], np.uint8), other))
    data = open_folders(tmp_path, table=table)
    data.check()
    assert names_of(data.parts["train"]) == [("a.jpg", "a_mask.png"), ("b.jpg", "b_label.png"), ("c.jpg", "c_mres.mat")]
    for pair in data.parts["train"]:
        assert np.array_equal(data.read_labels(pair.labels_path), labels)


def test_classes_that_nothing_names_are_asked_for(tmp_path):
    write_image(tmp_path / "a.jpg", np.zeros((2, 2, 3), np.uint8))
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / "a_mask.png")
    with pytest.raises(BadInput, match=r"a_mask\.png does not name its classes; .*: --labels labels\.txt"):
        open_folders(tmp_path)
    with pytest.raises(BadInput, match=r"a_mask\.png: holds 0 and 255 only; .*convert --threshold 128"):
        open_folders(tmp_path, table=ClassTable.from_names(["land", "water"])).check()


@pytest.mark.parametrize("size", [(32, 48), None])
def test_declared_transparency_is_left_out_aloud(tmp_path, make_pair, table, caplog, size):
    for stem in "abc":
        make_pair(tmp_path, stem, np.ones((32, 48)), np.full((32, 48, 3), 90, np.uint8))
    for stem in "bc":
        image = np.full((32, 48, 4), (90, 90, 90, 255), np.uint8)
        image[:4] = 7, 8, 9, 0
        write_image(tmp_path / f"{stem}.png", image)
    parts, _ = open_folders(tmp_path).open_pairs(size, CropOptions(crop=(32, 32)), progress=no_progress)
    pairs = parts["train"]
    for i, n_void in enumerate((0, 4, 4)):
        image, labels = pairs.read(i)
        assert image.shape == (32, 48, 3) == (32, 48, pairs.n_bands)
        # What is transparent is filled with the mean of what is not, and trains nothing.
        assert (image == 90).all() and np.flatnonzero((labels == 255).all(axis=1)).tolist() == list(range(n_void))
    (warning,) = caplog.messages
    assert warning.startswith("the transparency of 2 photos (such as b.png) is left out") and "ALPHA=NO" in warning


def test_a_fourth_band_that_is_no_transparency_is_kept(tmp_path, make_pair, caplog):
    make_pair(tmp_path, "a", np.ones((32, 48)))
    (tmp_path / "a.png").unlink()
    profile = {"driver": "GTiff", "height": 32, "width": 48, "count": 4, "dtype": "uint8"}
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", "w", **profile, photometric="MINISBLACK") as file:
        file.write(np.full((4, 32, 48), 60, np.uint8))
    parts, _ = open_folders(tmp_path).open_pairs((32, 48), CropOptions(), progress=no_progress)
    assert parts["train"].n_bands == 4 and parts["train"].read(0)[0].shape == (32, 48, 4) and not caplog.messages


def test_the_lists_of_a_review_say_what_is_trained_on(tmp_path, table, monkeypatch):
    """Copies of a photo are never divided there; a mask may be called anything."""
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"photos/{name}.jpg", np.zeros((8, 8, 3), np.uint8))
        grey_png(tmp_path / f"drawn/{name}_by_me.png", np.zeros((8, 8), np.uint8))
    monkeypatch.chdir(tmp_path)
    rows = [f"photos/{name}.jpg,drawn/{name}_by_me.png\n" for name in "abc"]
    Path("df_train.csv").write_text("image,mask\n" + "".join(rows[:2]))
    Path("df_valid.csv").write_text("image,mask\n" + rows[2])
    data = open_sets(Path("df_train.csv"), validation=(Path("df_valid.csv"), None), table=table)
    assert [p.image_path.name for p in data.parts["train"]] == ["a.jpg", "b.jpg"]
    assert [p.labels_path.name for p in data.parts["val"]] == ["c_by_me.png"]
    # From elsewhere, the paths count from the folder of the table.
    monkeypatch.chdir("photos")
    assert find_folder_pairs(Path("../df_valid.csv"))[0].image_path.is_file()
    with pytest.raises(BadUsage, match="names the masks, too; leave --masks out"):
        find_folder_pairs(tmp_path / "df_train.csv", tmp_path / "drawn")
    for text, reason in (
        ("image,mask\n", "lists no image"),
        ("image\na.jpg\n", "lacks mask in its table"),
        ("image,mask\na.jpg,\n", "it names no mask of a.jpg; list labelled images alone"),
        ("image,mask\na.jpg,gone.png\n", "it names gone.png, which is not there"),
        (f"image,mask\na.jpg,{'a' * 300}\n", "it names aaa.*, which is not there"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises((BadInput, MissingInput), match=reason):
            find_folder_pairs(tmp_path / "bad.csv")
