"""Which image goes to which set: by a list, in groups, balanced."""

import shutil

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.data.split import split_folder
from hybridseg.data.splitplan import SplitOptions, choose_train_groups, group_images
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import encode_image


def test_a_list_names_the_images_for_testing(photos, tmp_path):
    listed = tmp_path / "test.txt"
    listed.write_text("p1\n\np8.jpg \np3\n")
    result = split_folder(photos, options=SplitOptions(test_list=listed))
    assert sorted(entry.image for entry in result.entries if entry.set == "test") == ["p1.jpg", "p3.jpg", "p8.jpg"]
    assert result.count("train") == 7
    with pytest.raises(BadInput, match=r"test\.txt \(--test\) has names of images that are not .*\(1\): p8\.jpg"):
        split_folder(photos, options=SplitOptions(test_list=listed, set_aside=True), out_dir=tmp_path / "aside")
    with pytest.raises(MissingInput, match=r"there is no file .*nowhere\.txt \(--test\)"):
        split_folder(photos, options=SplitOptions(test_list=tmp_path / "nowhere.txt"), out_dir=tmp_path / "no")
    with pytest.raises(BadInput, match="leaves nothing to --group-by"):
        SplitOptions(test_list=listed, stratify=True)


def test_several_parentheses_make_one_group():
    names = ["2018-1006_a.jpg", "2018-10-06_b.jpg", "2018-1007_c.jpg"]
    assert list(group_images(names, r"(\d{4})-(\d\d)-?(\d\d)")) == ["2018-10-06", "2018-10-07"]


def test_groups_stay_together():
    names = [f"flight{i // 5}_{i}.jpg" for i in range(20)] + ["other.jpg"]
    groups = group_images(names, r"^(flight\d)_")
    assert [len(members) for members in groups.values()] == [5, 5, 5, 5, 1]
    sizes = {name: len(members) for name, members in groups.items()}
    for seed in range(20):
        chosen = choose_train_groups(sizes, SplitOptions(proportion=0.5, seed=seed))
        assert 10 <= sum(sizes[name] for name in chosen) <= 11
    with pytest.raises(BadInput, match="matches none of the 21 images"):
        group_images(names, "^flug")


@pytest.mark.parametrize("shares", [None, {name: np.array([1.0, i % 2]) for i, name in enumerate("abcdef")}])
def test_groups_whose_set_is_settled_stay_and_the_others_fill_up(shares):
    sizes = dict.fromkeys("abcdef", 1)
    for seed in range(5):
        options = SplitOptions(proportion=0.5, seed=seed)
        chosen = choose_train_groups(sizes, options, shares=shares, settled={"a": "train", "b": "test", "c": "test"})
        assert "a" in chosen and not chosen & {"b", "c"} and len(chosen) == 3


@pytest.mark.slow
def test_stratify_balances_a_rare_class(tmp_path, make_pair):
    table = ClassTable.from_names(["water", "rare"])
    for i in range(12):
        labels = np.zeros((10, 10), np.uint8)
        labels[:, : 4 if i in (3, 8) else 0] = 1
        make_pair(tmp_path, f"p{i}", labels, classes=table)
    for seed in range(8):
        options = SplitOptions(seed=seed, stratify=True)
        result = split_folder(tmp_path, out_dir=tmp_path / f"out{seed}", options=options)
        sets = {entry.image: entry.set for entry in result.entries}
        assert sets["p3.png"] != sets["p8.png"] and result.count("train") == 6


@pytest.mark.slow
def test_stratify_by_masks_of_other_tools(tmp_path):
    for folder in ("jpg", "gt"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        (tmp_path / "jpg" / f"p{i}.jpg").write_bytes(encode_image(np.zeros((2, 2, 3), np.uint8), suffix=".jpg"))
        Image.fromarray(np.full((4, 4), i % 2, np.uint8)).save(tmp_path / "gt" / f"p{i}.png")
    table, more = ClassTable.from_names(["water", "sand"]), {"masks_dir": tmp_path / "gt"}
    with pytest.raises(BadInput, match=r"cannot stratify: .*p0.png does not name its classes; give .* --labels"):
        split_folder(tmp_path / "jpg", options=SplitOptions(stratify=True), **more)
    for seed in range(6):
        for action in ("copy", "move"):
            out_dir = tmp_path / f"{seed}{action}"
            for source in ("jpg", "gt"):
                shutil.copytree(tmp_path / source, out_dir / source)
            options = SplitOptions(stratify=True, seed=seed, action=action)
            again = {"masks_dir": out_dir / "gt", "table": table, "options": options}
            result = split_folder(out_dir / "jpg", **again)
            sets = {entry.image: entry.set for entry in result.entries}
            assert sets["p0.jpg"] != sets["p2.jpg"] and sets["p1.jpg"] != sets["p3.jpg"]
            assert split_folder(out_dir / "jpg", **again).entries == result.entries


def test_stratify_needs_named_classes(photos):
    for path in photos.glob("*_mres.mat"):
        path.unlink()
    with pytest.raises(BadInput, match="nothing to stratify by"):
        split_folder(photos, options=SplitOptions(stratify=True))
