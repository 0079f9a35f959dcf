import os
import re
from pathlib import Path

import pytest
from PIL import Image

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.masks import find_labelled, list_masks
from hybridseg.io.pairing import (
    find_companions,
    find_images,
    image_stem,
    list_images,
    result_kind,
)
from hybridseg.io.sources import as_source


@pytest.mark.parametrize(
    ("name", "stem", "kind"),
    [
        ("D800_20160308_221738-0_mres_DJWTNN2.mat", "D800_20160308_221738-0", "mres"),
        ("D800_20160308_221738-0_ares_96.mat", "D800_20160308_221738-0", "ares"),
        ("a_mres_label.png", "a", "mres"),
        ("a b.c_gtFine_color.png", "a b.c", "gtfine"),
        ("photo.jpg", "photo", None),
        ("mrestaurant.jpg", "mrestaurant", None),
        ("x_mresolution.jpg", "x_mresolution", None),
        ("_mres.mat", "_mres", None),
    ],
)
def test_names(name, stem, kind):
    assert image_stem(Path(name)) == stem and result_kind(Path(name)) == kind


def test_images_leave_results_and_hidden_files_out(tmp_path):
    for name in ("b.JPG", "a.tif", "a_mres.png", "a_ares_96_label.png", ".c.jpg", "notes.txt", "a_predseg.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.tif", "b.JPG"]


@pytest.mark.parametrize("find", [
    list_images, lambda folder: find_images([folder]), lambda folder: find_images([folder / "*.jpg"]),
    lambda folder: find_companions([folder / "a.jpg"], folder), lambda folder: find_labelled([folder]),
])  # fmt: skip
def test_what_is_no_file_is_left_out_and_named(tmp_path, caplog, find):
    (tmp_path / "folder.jpg").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    Image.new("L", (4, 3)).save(tmp_path / "a_mask.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link\n.jpg").symlink_to("nothing")
    for _ in range(2):
        find(tmp_path)
    told = sorted(record.getMessage() for record in caplog.records)
    assert told == [
        rf"{tmp_path}/link\n.jpg is a link to nothing, not a file; it is left out",
        f"{tmp_path}/pipe.jpg is a pipe or device, not a file; it is left out",
    ]


def test_every_command_on_a_folder_names_what_is_no_file_in_it(tmp_path, caplog, run, coast):
    for i, words in enumerate(
        (["split"], ["retile", "-t", "16"], ["convert", "--to", "png", "--out", tmp_path / "out"])
    ):
        os.mkfifo(coast / f"{i}_mask.png")
        assert run(words[0], coast, *words[1:]).exit_code == 0
        assert f"{i}_mask.png is a pipe or device" in caplog.text


@pytest.mark.parametrize(("files", "photos"), [
    ({"a.jpg": "RGB", "a.png": "L"}, ["a.jpg"]), ({"a.jpg": "L", "a.png": "RGB"}, ["a.jpg"]),
    ({"a.jpg": "RGB", "a.tif": "L"}, ["a.jpg"]), ({"a.jpg": "RGB", "a.tif": "RGB"}, ["a.jpg", "a.tif"]),
    ({"a.png": "RGB", "a.tif": "L"}, ["a.png"]), ({"a.png": "P", "a.tif": "RGB"}, ["a.tif"]),
    ({"a.png": "L", "a.tif": "L"}, ["a.png", "a.tif"]), ({"a.tif": "F", "a.png": "L"}, ["a.tif"]),
    ({"a.jpg": "RGB", "b.png": "L"}, ["a.jpg", "b.png"]),
    ({"a.jpg": "RGB", "a_mask.png": "L", "a-label.tif": "L", "gt_a.png": "RGB"}, ["a.jpg"]),
    ({"a.jpg": "RGB", "a_label_confusion.png": "RGB", "b_calibration.png": "RGB"}, ["a.jpg"]),
    # A JPEG is never the mask of another.
    ({"site_1.jpg": "RGB", "site_gt_1.jpg": "RGB", "GT 1.jpg": "RGB"}, ["GT 1.jpg", "site_1.jpg", "site_gt_1.jpg"]),
    # The number behind the word is its own.
    ({"img1.jpg": "RGB", "img12.jpg": "RGB", "img1_mask2.png": "L"}, ["img1.jpg", "img12.jpg"]),
    ({"a_mask.png": "L", "water.jpg": "RGB", "watermask.jpg": "RGB"}, ["a_mask.png", "water.jpg", "watermask.jpg"]),
])  # fmt: skip
def test_masks_are_no_photos(tmp_path, files, photos):
    """Neither are the masks of other tools that lie beside their photos."""
    for name, mode in files.items():
        Image.new(mode, (4, 3)).save(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == photos
    assert [path.name for path in find_images([tmp_path / "*"])] == photos
    assert find_images([tmp_path / next(reversed(files))]) == [tmp_path / next(reversed(files))]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder with photos, results and what is neither; the test is in it."""
    for name in ("b.JPG", "a.tif", "c[1].png", "a_ares_96.png", "a_ares_96.mat", ".1234.partial.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "d.png").touch()
    # What a killed run has left.
    (tmp_path / ".0123456789abcdef.partial").mkdir()
    (tmp_path / ".0123456789abcdef.partial" / "d.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["."], ["a.tif", "b.JPG", "c[1].png"]),
        (["*"], ["a.tif", "b.JPG", "c[1].png"]),
        (["*/*.*"], ["folder.png/d.png"]),
        (["*.png"], ["c[1].png"]),
        (["?.tif", "b.JPG"], ["a.tif", "b.JPG"]),
        (["b.JPG", "."], ["b.JPG", "a.tif", "c[1].png"]),
        (["c[1].png"], ["c[1].png"]),
        (["[ab].*"], ["a.tif", "b.JPG"]),
        (["*/*.png"], ["folder.png/d.png"]),
        (["**/*.png"], ["c[1].png", "folder.png/d.png"]),
        (["folder.png"], ["folder.png/d.png"]),
        # A pattern that matches folders alone.
        (["fold*/"], ["folder.png/d.png"]),
        (["a_ares_96.png", "none.jpg"], ["a_ares_96.png", "none.jpg"]),
    ],
)
def test_images_by_name_folder_and_pattern(photos, words, found):
    assert [path.as_posix() for path in find_images(map(Path, words))] == found
    absolute = [photos / word for word in words]
    assert find_images(absolute) == [photos / name for name in found]


def test_a_pattern_of_folders_is_of_what_lies_in_them(photos):
    """Also where photos lie beside the folders: `Path` forgets the slash at the end."""
    assert find_images([as_source("*/")]) == [Path("folder.png/d.png")]
    assert find_images([as_source("c[1].png"), as_source("*")]) == [
        Path(name) for name in ("c[1].png", "a.tif", "b.JPG")
    ]
    (photos / "d[1]").mkdir()
    (photos / "d[1]/e.png").touch()
    assert find_images([as_source("d[1]/")]) == [Path("d[1]/e.png")]
    assert find_images([as_source(f"{photos}/*/")]) == [photos / name for name in ("d[1]/e.png", "folder.png/d.png")]


@pytest.mark.parametrize("word", ["*.bmp", "nix*", "*.mat", "[", "no/such/*.png"])
def test_patterns_that_give_nothing(photos, word):
    with pytest.raises(MissingInput, match="matches no image; images end in"):
        find_images([Path("a.tif"), Path(word)])


def test_a_folder_without_photos_and_what_is_no_pattern(photos):
    (photos / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(MissingInput, match="empty matches no image"):
        find_images([photos / "empty"])
    (photos / "empty" / "inner" / "a_ares_96.png").touch()
    with pytest.raises(MissingInput, match="empty matches no image"):
        find_images([photos / "empty"])
    (photos / "empty" / "inner" / "d.JPG").touch()
    advice = re.escape("empty has no image itself, but its subfolders do; give 'empty/**/*.JPG', quoted")
    with pytest.raises(MissingInput, match=advice):
        find_images([Path("empty")])
    assert find_images([Path("empty/**/*.JPG")]) == [Path("empty/inner/d.JPG")]


def test_a_text_file_of_images(photos):
    (photos / "lists").mkdir()
    for name in ("a.tif", "own.jpg", "#7.jpg"):
        (photos / "lists" / name).touch()
    text = photos / "lists" / "survey.txt"
    long = "x" * 300
    text.write_text(f"# site 4\n  #a.tif\n\na.tif\nown.jpg\n./#7.jpg\nnone.jpg\n{photos / 'b.JPG'}\n{long}\n")
    # From here first; what is nowhere stays as it is written.
    wanted = ["a.tif", "lists/own.jpg", "lists/#7.jpg", "none.jpg", str(photos / "b.JPG"), long]
    assert find_images([Path("lists/survey.txt")]) == [Path(name) for name in wanted]
    text.write_text("# nothing\n")
    with pytest.raises(MissingInput, match=r"survey\.txt matches no image"):
        find_images([text])


def test_folders_and_patterns_in_a_text_file(photos):
    (photos / "lists/own").mkdir(parents=True)
    (photos / "lists/own/x.jpg").touch()
    text = photos / "lists/survey.txt"
    text.write_text("*.JPG\nown\nfolder.png\nown/*.jp*\n")
    wanted = ["b.JPG", "lists/own/x.jpg", "folder.png/d.png"]
    assert find_images([Path("lists/survey.txt")]) == [Path(name) for name in wanted]
    for line, error, why in (
        ("none*.jpg", MissingInput, r"none\*.jpg, a line of lists/survey.txt, matches no image"),
        ("lists", MissingInput, "lists, a line of lists/survey.txt, has no image itself, but its subfolders do"),
        ("survey.txt", BadInput, "lists/survey.txt names another list, lists/survey.txt; give each"),
    ):
        text.write_text(f"a.tif\n{line}\n")
        with pytest.raises(error, match=why):
            find_images([Path("lists/survey.txt")])


def test_a_file_that_is_named_in_two_ways_is_taken_once(photos):
    (photos / "link").symlink_to(photos / "folder.png", target_is_directory=True)
    (photos / "e.png").symlink_to(photos / "folder.png/d.png")
    words = ["a.tif", photos / "a.tif", "folder.png/../a.tif", ".", "folder.png", "link", "link/d.png"]
    # By another name it has results of its own.
    wanted = ["a.tif", "b.JPG", "c[1].png", "e.png", "folder.png/d.png"]
    assert find_images(map(Path, words)) == [Path(name) for name in wanted]


def test_sidecars_of_masks_go_with_the_image_and_are_neither_images_nor_masks(tmp_path):
    sidecars = [
        f"{name}{end}" for name in ("a", "a_label", "a_mask", "a_ares_96_label") for end in (".qml", ".tif.aux.xml")
    ]
    others = [f"{name}{end}" for name in ("b_mask", "ab", "c") for end in (".qml", ".tif.aux.xml")]
    for name in ("a.jpg", "ab.jpg", *sidecars, *others):
        (tmp_path / name).touch()
    images = list_images(tmp_path)
    assert [path.name for path in images] == ["a.jpg", "ab.jpg"]
    assert list_masks(tmp_path) == images and list_masks(tmp_path, images) == []
    found = find_companions(images, tmp_path)
    assert {path.name for path in found[images[0]]} == set(sidecars)
    assert [path.name for path in found[images[1]]] == ["ab.qml", "ab.tif.aux.xml"]


def test_companions_are_those_of_this_image_alone(tmp_path):
    for name in ("a.jpg", "a_mres.mat", "a_report.txt", "a.jgw", "a.jpg.aux.xml", "a1.jpg", "a1_mres.mat", "a.txt"):
        (tmp_path / name).touch()
    images = [tmp_path / "a.jpg", tmp_path / "a1.jpg"]
    found = find_companions(images, tmp_path)
    assert [path.name for path in found[images[0]]] == ["a.jgw", "a.jpg.aux.xml", "a_mres.mat", "a_report.txt"]
    assert [path.name for path in found[images[1]]] == ["a1_mres.mat"]


def test_a_sidecar_with_the_whole_name_of_an_image_is_its_own(tmp_path):
    for name in ("a.tif.aux.xml", "a.jpg.aux.xml", "A.TFW"):
        (tmp_path / name).touch()
    images = [tmp_path / "a.jpg", tmp_path / "a.tif"]
    for path in images:
        Image.new("RGB", (4, 3)).save(path)
    found = find_companions(images, tmp_path)
    assert [[path.name for path in found[image]] for image in images] == [
        ["A.TFW", "a.jpg.aux.xml"],
        ["A.TFW", "a.tif.aux.xml"],
    ]


def test_no_folder(tmp_path):
    with pytest.raises(MissingInput, match="there is no folder"):
        list_images(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file; give the folder"):
        list_images(tmp_path / "file")
