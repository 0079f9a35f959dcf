from pathlib import Path

import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.pairing import (
    find_companions,
    find_images,
    find_strokes_file,
    image_stem,
    list_images,
    pair_labels_with_images,
    result_kind,
)


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


def test_pairs_and_every_kind_of_orphan():
    labels = [Path(n) for n in ("a_mres.mat", "b_mres_X.mat", "c_mres.mat", "d_mres.mat", "d_mres_Y.mat", "e_mres.mat")]
    images = [Path(n) for n in ("a.jpg", "b.png", "d.jpg", "e.jpg", "e.png", "z.jpg")]
    pairs, problems = pair_labels_with_images(labels, images)
    assert [(p.labels_path.name, p.image_path.name) for p in pairs] == [
        ("a_mres.mat", "a.jpg"),
        ("b_mres_X.mat", "b.png"),
    ]
    messages = {problem.where: problem.message for problem in problems}
    assert "has no image beside it; put it there (c.jpg" in messages["c_mres.mat"]
    assert "has 2 label maps (d_mres.mat, d_mres_Y.mat)" in messages["d"]
    assert "could belong to e.jpg, e.png" in messages["e_mres.mat"]


def test_images_leave_results_and_hidden_files_out(tmp_path):
    for name in ("b.JPG", "a.tif", "a_mres.png", "a_ares_96_label.png", ".c.jpg", "notes.txt", "a_predseg.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.tif", "b.JPG"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder with photos, results and what is neither; the test is in it."""
    for name in ("b.JPG", "a.tif", "c[1].png", "a_ares_96.png", "a_ares_96.mat", ".1234.partial.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "d.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["."], ["a.tif", "b.JPG", "c[1].png"]),
        (["*"], ["a.tif", "b.JPG", "c[1].png"]),
        (["*.png"], ["c[1].png"]),
        (["?.tif", "b.JPG"], ["a.tif", "b.JPG"]),
        (["b.JPG", "."], ["b.JPG", "a.tif", "c[1].png"]),
        (["c[1].png"], ["c[1].png"]),
        (["[ab].*"], ["a.tif", "b.JPG"]),
        (["*/*.png"], ["folder.png/d.png"]),
        (["**/*.png"], ["c[1].png", "folder.png/d.png"]),
        (["folder.png"], ["folder.png/d.png"]),
        (["a_ares_96.png", "none.jpg"], ["a_ares_96.png", "none.jpg"]),
    ],
)
def test_images_by_name_folder_and_pattern(photos, words, found):
    assert [path.as_posix() for path in find_images(map(Path, words))] == found
    absolute = [photos / word for word in words]
    assert find_images(absolute) == [photos / name for name in found]


@pytest.mark.parametrize("word", ["*.bmp", "nix*", "*.mat", "[", "no/such/*.png"])
def test_patterns_that_give_nothing(photos, word):
    with pytest.raises(MissingInput, match="matches no image; images end in"):
        find_images([Path("a.tif"), Path(word)])


def test_a_folder_without_photos_and_what_is_no_pattern(photos):
    (photos / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(MissingInput, match="empty matches no image"):
        find_images([photos / "empty"])


def test_companions_are_those_of_this_image_alone(tmp_path):
    for name in ("a.jpg", "a_mres.mat", "a_report.txt", "a.jgw", "a.jpg.aux.xml", "a1.jpg", "a1_mres.mat", "a.txt"):
        (tmp_path / name).touch()
    names = [path.name for path in find_companions(tmp_path / "a.jpg")]
    assert names == ["a.jgw", "a.jpg.aux.xml", "a_mres.mat", "a_report.txt"]


def test_no_folder(tmp_path):
    with pytest.raises(MissingInput, match="there is no folder"):
        list_images(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file; give the folder"):
        list_images(tmp_path / "file")


@pytest.mark.parametrize(("names", "expected"), [
    (["a.json", "a_mres.mat", "ab.json"], "a.json"),
    (["a_doodles.json", "a_mres.mat"], "a_doodles.json"),
    (["a_mres.mat", "a_ares_96.mat", "a_mres.png", "a_mres_label.png", "coco.json"], "a_mres.mat"),
    (["a_ares_96.mat", "a_label.png", "a_report.json"], "a_ares_96.mat"),
    (["a_mres_label.png", "a_mres.png"], "a_mres_label.png"),
    (["a_gtFine_color.png", "a_DJW.npz"], "a_gtFine_color.png"),
    (["a_DJW.npz", "ab_DJW.npz", "all.json"], "a_DJW.npz"),
    (["all.json", "b_doodles.png"], "all.json"),
    (["a.NPZ"], "a.NPZ"),
    ([], None), (["b.png", "a_mres.png"], None), (["a_predseg.png"], "a_predseg.png"),
    (["a_predseg_crf.png", "a_predseg_crf_composite.jpg"], "a_predseg_crf.png"),
    (["x.json", "y.json"], None),
    (["b_doodles.json"], None), ([".a.json"], None),
])  # fmt: skip
def test_the_file_of_an_image_in_a_folder(tmp_path, names, expected):
    for name in ("a.png", *names):
        (tmp_path / name).touch()
    if expected is None:
        with pytest.raises(MissingInput, match=r"has no labels for a\.png; it would be called a\.json"):
            find_strokes_file(tmp_path, tmp_path / "a.png")
    else:
        assert find_strokes_file(tmp_path, tmp_path / "a.png").name == expected


def test_a_folder_of_masks_with_the_names_of_the_images(tmp_path):
    (tmp_path / "a.png").touch()
    assert find_strokes_file(tmp_path, Path("photos/a.png")) == tmp_path / "a.png"
    (tmp_path / "a.json").touch()
    with pytest.raises(BadInput, match=r"several files for a\.png \(a\.json, a\.png\); give one"):
        find_strokes_file(tmp_path, Path("photos/a.png"))
    with pytest.raises(MissingInput):
        find_strokes_file(tmp_path / "none", Path("a.png"))
