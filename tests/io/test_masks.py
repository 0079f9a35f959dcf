from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import Image

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import (
    ANNOTATIONS,
    CONVERTIBLE,
    find_annotations,
    find_labelled,
    find_masks,
    find_split_masks,
    match_masks,
)
from hybridseg.io.pairing import list_images


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names_of(found):
    return [(pair.image_path.name, pair.labels_path.name) for pair in found.pairs]


def write_mask(path):
    if path.suffix == ".mat":
        path.touch()
    else:
        Image.new("L", (4, 3)).save(path)


# Best first; those of one row are equally good.
ORDER = [
    ["a_mres.mat", "a_mres_ANN.mat"],
    ["a.mat"],
    ["a_label.png", "a_mask.tif", "a-labels.tiff", "mask a.png", "a_gtFine_color.png", "a_mres_label.png", "GT_a.png"],
    ["a.png", "a.tif", "a.TIFF"],
]


@pytest.mark.parametrize("apart", [False, True])
def test_order_of_preference(tmp_path, apart):
    images = touch(tmp_path / "jpg", "a.jpg")
    masks = touch(tmp_path / "gt") if apart else images
    for row in reversed(ORDER):
        for name in reversed(row):
            write_mask(masks / name)
            found = find_masks(list_images(images), masks if apart else None)
            assert names_of(found) == [("a.jpg", name)] and not found.problems + found.unlabelled + found.orphans
            (masks / name).unlink()
        write_mask(masks / row[0])


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("mask", ["küste.png", "küste_mask.tif", "küste_mres.mat", "küste.json", "küste_Åsa.npz"])
def test_names_that_macos_has_written_are_the_same(tmp_path, forms, mask):
    """Their letters and accents are apart; photos and masks that look alike in every message were no pairs."""
    photo, mask = map(normalize, forms, ("küste.jpg", mask))
    touch(tmp_path / "photos", photo)
    touch(tmp_path / "masks", mask)
    assert find_annotations(tmp_path / "masks", tmp_path / "photos" / photo).name == mask
    both = touch(tmp_path / "both", photo, mask)
    assert list_images(both) == [both / photo]
    assert names_of(find_labelled([both], order=CONVERTIBLE)) == [(photo, mask)]


@pytest.mark.parametrize("row", [row[:2] for row in ORDER if len(row) > 1])
def test_two_that_are_equally_good_are_refused(tmp_path, row):
    images, masks = touch(tmp_path / "jpg", "a.jpg"), touch(tmp_path / "gt", *row)
    found = find_masks(list_images(images), masks)
    assert not found.pairs and found.problems[0].where == str(images / "a.jpg")
    assert f"has 2 label maps that are equally good ({row[0]}, {row[1]}); keep one" in found.problems[0].message


def test_the_number_behind_the_word_is_not_of_the_image(tmp_path):
    folder = touch(tmp_path, "img1.jpg", "img12.jpg", "img1_mask1.png", "img1_mask2.png")
    found = find_masks(list_images(folder))
    assert not found.pairs and found.unlabelled == [folder / "img12.jpg"]
    assert "equally good (img1_mask1.png, img1_mask2.png)" in found.problems[0].message
    masks = touch(tmp_path / "gt", "site_gt_1.png", "gt2.png", "label_07.png")
    images = [Path("site_1.jpg"), Path("2.jpg"), Path("07.jpg"), Path("12.jpg")]
    assert [p.labels_path.name for p in find_masks(images, masks).pairs] == ["site_gt_1.png", "gt2.png", "label_07.png"]


@pytest.mark.parametrize("name", [
    "a_label_confusion.png", "a_mask_calibration.png", "a_ares_96_confidence.tif", "a_predseg_confidence.tif",
    "a_ares_96_entropy.tif", "a_predseg_entropy.tif",
    "a_ares_96.mat", "a_ares_96_label.png", "a_atiles_96.mat", "a_predseg.png", "a_mres.png", "a_report.txt", "b.png",
    "a_doodles.json", "a_confusion.png", "a_watermask.png", "ab_mask.png", "a_confidence.png",
    "a_predseg_composite.jpg", "a_predseg_crf.png", "a_predseg_crf_composite.jpg",
])  # fmt: skip
def test_what_is_no_mask(tmp_path, name):
    images, masks = touch(tmp_path / "jpg", "a.jpg"), touch(tmp_path / "gt", name)
    found = find_masks(list_images(images), masks)
    assert not found.pairs and found.unlabelled == [images / "a.jpg"]


def test_the_photo_itself_is_never_its_mask(tmp_path):
    folder = touch(tmp_path, "a.png", "b.tif")
    for given in (None, folder):
        assert find_masks(list_images(folder), given).unlabelled == [folder / "a.png", folder / "b.tif"]
    # One of them by name: the other is a photo all the same.
    assert find_masks([folder / "a.png"]).unlabelled == [folder / "a.png"]
    masks = touch(tmp_path / "masks", "a.png", "b.tif")
    assert names_of(find_masks(list_images(folder), masks)) == [("a.png", "a.png"), ("b.tif", "b.tif")]


def test_jpeg_masks_are_told_what_to_do(tmp_path):
    images, masks = touch(tmp_path / "jpg", "a.jpg", "b.jpg"), touch(tmp_path / "gt", "a.jpg", "b_mask.jpeg", "b.png")
    found = find_masks(list_images(images), masks)
    assert names_of(found) == [("a.jpg", "a.jpg"), ("b.jpg", "b.png")]
    with pytest.raises(BadInput, match=r"gt/a.jpg is a JPEG, .*hybridseg convert --to png, with --nearest-color for"):
        read_labelmap(found.pairs[0].labels_path)


def test_images_without_masks_and_masks_without_images(tmp_path):
    images = touch(tmp_path / "jpg", "a.jpg", "b.jpg", "e.jpg", "e.tif")
    masks = touch(tmp_path / "gt", "a_mask.png", "c_mask.png", "d.tif", "e.mat")
    found = find_masks(list_images(images), masks)
    assert names_of(found) == [("a.jpg", "a_mask.png")] and found.unlabelled == [images / "b.jpg"]
    assert found.orphans == [masks / "c_mask.png", masks / "d.tif"]
    assert str(found.problems[0]) == f"{masks / 'e.mat'}: could belong to e.jpg, e.tif; keep one of these images"
    assert found.describe_rest() == [
        "images without a mask (1 of 2): b.jpg", "masks without an image (2): c_mask.png, d.tif",
    ]  # fmt: skip
    assert "c_mask.png: has no image beside it; put it there (c.jpg, c.jpeg, c.png ...)" in str(
        found.describe_orphans()[0]
    )


def test_every_way_to_say_where_they_are(tmp_path, monkeypatch):
    both = touch(tmp_path / "both", "a.jpg", "a.mat")
    images, masks = touch(tmp_path / "jpg", "a.jpg"), touch(tmp_path / "gt", "a.mat")
    ways = {
        both: [
            ([both], None, None), ([both / "a.mat"], None, None), ([], None, both), ([], both, both), ([], both, None),
        ],
        masks: [
            ([], images, masks), ([images], None, masks), ([masks], images, None), ([masks / "a.mat"], images, None),
            ([images / "*.jpg"], None, masks), ([images / "a.jpg"], None, masks),
        ],
    }  # fmt: skip
    for home, calls in ways.items():
        monkeypatch.chdir(both)
        for inputs, images_dir, masks_dir in calls:
            [pair] = find_labelled(inputs, images_dir=images_dir, masks_dir=masks_dir).pairs
            assert pair.labels_path == home / "a.mat", inputs
    assert names_of(find_labelled([])) == [("a.jpg", "a.mat")]


def test_masks_by_name_are_taken_as_they_are(tmp_path):
    folder = touch(tmp_path, "a.jpg", "b.jpg", "a_ares_96.mat", "a_mres.mat", "c_mres.mat")
    found = find_labelled([folder / "a_ares_96.mat"])
    assert names_of(found) == [("a.jpg", "a_ares_96.mat")] and not found.problems + found.unlabelled
    assert names_of(find_labelled([touch(folder, "b.txt") / "b.txt"])) == [("b.jpg", "b.txt")]
    found = find_labelled([folder / "a_ares_96.mat", folder / "a_mres.mat", folder / "c_mres.mat"])
    assert [problem.message.split(";")[0] for problem in found.problems] == [
        "has 2 label maps that are equally good (a_ares_96.mat, a_mres.mat)", "has no image beside it",
    ]  # fmt: skip


def test_a_mask_without_an_image_where_the_images_are(tmp_path):
    """It may be that of another image; when there is no other, the message must not ask for what was given."""
    images, masks = touch(tmp_path / "jpg", "a.jpg"), touch(tmp_path / "gt", "a.mat", "b_mask.png")
    for found in (find_labelled([masks], images_dir=images), find_labelled([images], masks_dir=masks)):
        assert names_of(found) == [("a.jpg", "a.mat")] and not found.problems
        assert found.describe_rest() == ["masks without an image (1): b_mask.png"]
    (masks / "a.mat").unlink()
    [problem] = find_labelled([images], masks_dir=masks).problems
    assert str(problem) == f"{masks / 'b_mask.png'}: has no image in {images}; looked for b.jpg, b.jpeg, b.png ..."
    [problem] = find_labelled([masks], images_dir=images).problems
    assert str(problem) == (
        f"{masks / 'b_mask.png'}: has no image in {images} (--images); looked for b.jpg, b.jpeg, b.png ..."
    )
    (images / "own.png").touch()
    [problem] = find_labelled([images / "own.png"], images_dir=images).problems
    assert " (if it is one, give its label map, or the folder); looked for own.jpg, own.jpeg ..." in str(problem)


def test_nothing_to_work_on(tmp_path):
    images, masks = touch(tmp_path / "jpg", "a.jpg", "b.jpg"), touch(tmp_path / "gt", "a_ares_96.mat")
    with pytest.raises(MissingInput, match=r"gt has no mask of the 2 images \(a.jpg, b.jpg\); looked for a_mres"):
        find_labelled([], images_dir=images, masks_dir=masks)
    with pytest.raises(MissingInput, match=r"jpg has no label map of the 2 images .*own: --masks DIR"):
        find_labelled([images])
    with pytest.raises(MissingInput, match=r"jpg has no mask of the 2 images"):
        find_labelled([], images_dir=images)
    with pytest.raises(BadInput, match="images were given twice, as x and as --images y; leave one out"):
        find_labelled([Path("x")], images_dir=Path("y"), masks_dir=masks)
    with pytest.raises(MissingInput, match=r"there is no file or folder .*none"):
        find_labelled([tmp_path / "none"])
    with pytest.raises(MissingInput, match=r"there is no folder .*none"):
        find_labelled([images], masks_dir=tmp_path / "none")


def test_several_folders_of_images(tmp_path):
    one, two = touch(tmp_path / "1", "a.jpg", "a.png"), touch(tmp_path / "2", "b.jpg", "b_mask.png")
    assert names_of(find_masks([*list_images(one), *list_images(two)])) == [("a.jpg", "a.png"), ("b.jpg", "b_mask.png")]


@pytest.mark.parametrize(("names", "expected"), [
    (["a.json", "a_mres.mat", "ab.json"], "a.json"),
    (["a_doodles.json", "a_mres.mat"], "a_doodles.json"),
    (["a_mres.mat", "a_ares_96.mat", "a_mres.png", "a_mres_label.png", "coco.json"], "a_mres.mat"),
    (["a_ares_96.mat", "a_label.png", "a_report.json"], "a_label.png"),
    (["a_mres_label.png", "a_mres.png"], "a_mres_label.png"),
    (["a_gtFine_color.png", "a_DJW.npz"], "a_gtFine_color.png"),
    (["a_DJW.npz", "ab_DJW.npz", "all.json"], "a_DJW.npz"),
    (["all.json", "b_doodles.png"], "all.json"),
    (["a.NPZ"], "a.NPZ"), (["a_mask.tif", "a_predseg.png"], "a_mask.tif"), (["a_ares_96.mat"], "a_ares_96.mat"),
    ([], None), (["b.png", "a_mres.png"], None), (["a_predseg.png"], "a_predseg.png"),
    (["a_predseg_crf.png", "a_predseg_crf_composite.jpg"], "a_predseg_crf.png"),
    (["x.json", "y.json"], None),
    (["b_doodles.json"], None), ([".a.json"], None),
    (["a_ares_96.mat", "a_ares_96_label.png", "a_ares_96.png", "a_ares_96_confidence.tif"], "a_ares_96.mat"),
    (["a_ares_96_label.png", "a_ares_96.png"], "a_ares_96_label.png"), (["a_ares_96.png"], None),
    (["a_predseg.png", "a_predseg_crf.png", "a_predseg.tif", "a_predseg_confidence.tif"], "a_predseg.png"),
    (["a_predseg_crf.png", "a_predseg_crf.tif", "a_predseg.tif"], "a_predseg_crf.png"),
    (["a_predseg_confidence.tif", "a_label_confusion.png"], None),
    (["a.json", "a_doodles.json", "a_DJW.npz"], "a.json"),
])  # fmt: skip
def test_the_annotations_of_an_image_in_a_folder(tmp_path, names, expected):
    touch(tmp_path, "a.png", *names)
    if expected is None:
        with pytest.raises(MissingInput, match=r"has no labels for a\.png; looked for a\.json"):
            find_annotations(tmp_path, tmp_path / "a.png")
    else:
        assert find_annotations(tmp_path, tmp_path / "a.png").name == expected


def test_a_folder_of_annotations_with_the_names_of_the_images(tmp_path):
    touch(tmp_path, "a.png")
    assert find_annotations(tmp_path, Path("photos/a.png")) == tmp_path / "a.png"
    # The picture may be the photo that the annotation was drawn on.
    touch(tmp_path, "a.json")
    assert find_annotations(tmp_path, Path("photos/a.png")) == tmp_path / "a.json"
    touch(tmp_path, "a.npz")
    with pytest.raises(BadInput, match=r"equally good \(a\.json, a\.npz\); keep one"):
        find_annotations(tmp_path, Path("photos/a.png"))
    with pytest.raises(MissingInput):
        find_annotations(tmp_path / "none", Path("a.png"))


def test_doodler_names_with_underscores():
    images = [Path("a.jpg"), Path("a_b.jpg")]
    found = match_masks(images, [Path("a_b_ANN.npz"), Path("a_BOB.npz")], order=ANNOTATIONS)
    assert names_of(found) == [("a.jpg", "a_BOB.npz"), ("a_b.jpg", "a_b_ANN.npz")]


def test_masks_are_where_split_has_put_them(tmp_path):
    touch(tmp_path / "train", "a.jpg", "b.jpg", "b_mres.mat")
    touch(tmp_path / "train" / "gt", "a.png", "b.png")
    touch(tmp_path / "train" / "notes", "a.png")
    touch(tmp_path, "a.png")
    split_list = tmp_path / "split.csv"
    rows = "image,set,masks_dir\na.jpg,train,{}\nc.jpg,test,/elsewhere/notes\n"
    for masks_dir, expected in (
        ("/photos/gt", [("a.jpg", "a.png"), ("b.jpg", "b_mres.mat")]),
        ("", [("b.jpg", "b_mres.mat")]),
        ("/photos/..", [("b.jpg", "b_mres.mat")]),
        ("/gone", [("b.jpg", "b_mres.mat")]),
    ):
        split_list.write_text(rows.format(masks_dir))
        images = list_images(tmp_path / "train")
        assert names_of(find_masks(images)) == names_of(find_labelled([tmp_path / "train"])) == expected
        assert names_of(find_masks(images, tmp_path / "train")) == expected
    for text in ("name,part\na.jpg,train\n", "\0", ""):  # A list of another program.
        split_list.write_text(text)
        assert find_split_masks(tmp_path / "train") is None


def test_images_that_are_not_where_they_were_said_to_be(tmp_path):
    for name in ("masks/a.png", "masks/b.png", "jpg/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    masks = [tmp_path / "masks" / name for name in ("a.png", "b.png")]
    with pytest.raises(MissingInput, match=r"empty \(--images\) has no JPEG, PNG or TIFF images"):
        find_labelled(masks, images_dir=tmp_path / "empty")
    [problem] = find_labelled(masks, images_dir=tmp_path / "jpg").problems
    assert problem.where == str(masks[0])
    assert problem.message == f"has no image in {tmp_path / 'jpg'} (--images); looked for a.jpg, a.jpeg, a.png ..."
