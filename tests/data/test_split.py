import os
from pathlib import Path

import numpy as np
import pytest

from hybridseg.data.split import split_folder
from hybridseg.data.splitplan import SplitOptions
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.io.images import encode_image
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import read_csv

# Bytes may follow the picture, which tell one file from another.
PHOTO = encode_image(np.zeros((2, 2, 3), np.uint8), suffix=".jpg")


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_image_is_in_one_set_with_all_its_files(photos):
    result = split_folder(photos, options=SplitOptions(proportion=0.3))
    train, test = photos.parent / "train", photos.parent / "test"
    assert result.count("train") == 3 and result.count("test") == 7 and result.n_labelled == 6
    assert sorted(files_of(train) + files_of(test)) == files_of(photos)
    for folder in (train, test):
        for path in folder.glob("*_mres.mat"):
            assert (folder / path.name.replace("_mres.mat", ".jpg")).exists()
            assert path.read_bytes() == (photos / path.name).read_bytes()
    assert (train / "p0.jgw").exists() == (train / "p0.jpg").exists()
    rows = read_csv(photos.parent / "split.csv", ("image", "set", "companions"))
    assert {row["image"]: row["set"] for row in rows} == {
        path.name: folder.name for folder in (train, test) for path in folder.glob("*.jpg")
    }


@pytest.mark.parametrize("action", ["copy", "move", "link"])
def test_images_without_a_label_map_are_set_aside(photos, action):
    options = SplitOptions(proportion=0.5, set_aside=True, action=action)
    for _ in range(2):  # The same call again finds all in place, also what was moved.
        result = split_folder(photos, options=options)
        assert [result.count(name) for name in ("train", "test", "unlabelled")] == [3, 3, 4]
        assert files_of(photos.parent / "unlabelled") == [f"p{i}.jpg" for i in range(6, 10)]
    (photos.parent / "unlabelled/mine.jpg").write_bytes(PHOTO)
    with pytest.raises(OutputExists):
        split_folder(photos, options=SplitOptions(proportion=0.3, set_aside=True, action=action), overwrite=True)


def test_no_label_map_leaves_nothing_to_divide(photos):
    for path in photos.glob("*.mat"):
        path.unlink()
    with pytest.raises(BadInput, match="no image has a label map, so there is nothing to divide"):
        split_folder(photos, options=SplitOptions(set_aside=True))
    assert files_of(photos.parent) == ["jpg"]


@pytest.mark.parametrize("action", ["copy", "move", "link"])
@pytest.mark.parametrize("names", [("{}.jpg", "{}.png"), ("{}.tif", "{}.tif"), ("{}.jpg", "{}_mask.tif"),
                                   ("{}.jpg", "{}.jpg")])  # fmt: skip
def test_masks_in_a_folder_of_their_own_go_with_their_photos(tmp_path, names, action):
    """Also where both have one name; nothing is renamed."""
    for folder, name in zip(("jpg", "gt"), names, strict=True):
        for i in range(4):
            path = tmp_path / folder / name.format(f"p{i}")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(PHOTO + f"{folder}{i}".encode())
    (tmp_path / "gt" / "other.png").touch()
    options = SplitOptions(action=action)
    for _ in range(2):
        result = split_folder(tmp_path / "jpg", masks_dir=tmp_path / "gt", options=options)
        assert result.count("train") == 2 and result.n_labelled == 4
        for entry in result.entries:
            home, i = tmp_path / entry.set, entry.image[1]
            assert (home / names[0].format(f"p{i}")).read_bytes() == PHOTO + f"jpg{i}".encode()
            assert (home / "gt" / names[1].format(f"p{i}")).read_bytes() == PHOTO + f"gt{i}".encode()
    assert len(list((tmp_path / "train" / "gt").iterdir())) == len(list((tmp_path / "test" / "gt").iterdir())) == 2
    assert len(list((tmp_path / "gt").iterdir())) == (1 if action == "move" else 5)
    if action == "copy":
        (tmp_path / "train" / "gt" / "p9.png").touch()
        split_folder(tmp_path / "jpg", options=SplitOptions(seed=3), overwrite=True)
        left = {path.name for name in ("train", "test") for path in (tmp_path / name / "gt").iterdir()}
        assert left == {"p9.png"}


@pytest.mark.parametrize("n_calls", range(1, 9, 2))
def test_masks_are_not_lost_when_a_move_is_interrupted(tmp_path, monkeypatch, n_calls):
    import hybridseg.data.split as module

    for name in ("jpg/a.jpg", "jpg/b.jpg", "jpg/b.json", "gt/a.png", "gt/b.png", "gt/b_mask.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PHOTO + name.encode())
    original, calls = module.place_file, []

    def stop(*args, **kwargs):
        calls.append(args)
        if len(calls) > n_calls:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    monkeypatch.setattr(module, "place_file", stop)
    again = {"masks_dir": tmp_path / "gt", "options": SplitOptions(action="move")}
    if n_calls < 6:
        with pytest.raises(KeyboardInterrupt):
            split_folder(tmp_path / "jpg", **again)
    monkeypatch.undo()
    result = split_folder(tmp_path / "jpg", **again)
    assert {entry.image: (*entry.companions, *entry.masks) for entry in result.entries} == {
        "a.jpg": ("a.png",), "b.jpg": ("b.json", "b.png", "b_mask.png"),
    }  # fmt: skip
    assert sum(path.is_file() for name in ("train", "test") for path in (tmp_path / name).rglob("*")) == 6


def test_masks_beside_their_photos_go_with_them(tmp_path):
    (tmp_path / "p").mkdir()
    for name in ("a.jpg", "a.png", "b.jpg", "b_mask.tif", "b.json", "c.jpg", "c_ANN.npz", "d.jpg"):
        (tmp_path / "p" / name).write_bytes(PHOTO)
    result = split_folder(tmp_path / "p")
    assert result.n_labelled == 2 and {entry.image: entry.companions for entry in result.entries} == {
        "a.jpg": ("a.png",), "b.jpg": ("b.json", "b_mask.tif"), "c.jpg": ("c_ANN.npz",), "d.jpg": (),
    }  # fmt: skip


def test_lists_of_an_older_version_are_read(photos):
    before = split_folder(photos).entries
    path = photos.parent / "split.csv"
    path.write_text("".join(",".join(line.split(",")[:-2]) + "\n" for line in path.read_text().splitlines()))
    assert split_folder(photos).entries == before
    with pytest.raises(OutputExists, match="already hold files"):
        split_folder(photos, options=SplitOptions(seed=7))
    assert split_folder(photos, options=SplitOptions(seed=7), overwrite=True).entries != before, "its copies are known"


def test_same_seed_same_split_and_another_seed_another(photos, tmp_path):
    sets = []
    for i, seed in enumerate((5, 5, 6)):
        result = split_folder(photos, out_dir=tmp_path / str(i), options=SplitOptions(seed=seed))
        sets.append({entry.image for entry in result.entries if entry.set == "train"})
    assert sets[0] == sets[1] != sets[2]
    assert sets[0] == {"p2.jpg", "p4.jpg", "p5.jpg", "p6.jpg", "p7.jpg"}


def test_again_is_no_work_and_no_error(photos):
    split_folder(photos)
    before = (photos.parent / "train").stat().st_mtime_ns
    split_folder(photos)
    assert (photos.parent / "train").stat().st_mtime_ns == before


def test_another_split_is_refused_then_replaced(photos):
    split_folder(photos, options=SplitOptions(seed=1))
    (photos.parent / "train" / "mine.txt").write_text("keep me")
    with pytest.raises(OutputExists, match="already hold files; give --overwrite"):
        split_folder(photos, options=SplitOptions(seed=2))
    result = split_folder(photos, options=SplitOptions(seed=2), overwrite=True)
    train = {path.name for path in (photos.parent / "train").glob("*.jpg")}
    assert train == {e.image for e in result.entries if e.set == "train"}
    assert not train & {path.name for path in (photos.parent / "test").glob("*.jpg")}
    assert (photos.parent / "train" / "mine.txt").exists(), "a file that no split put there stays"


def test_a_link_to_nothing_where_a_folder_goes(photos):
    (photos.parent / "train").symlink_to("nowhere")
    with pytest.raises(BadInput, match="train is a link to nothing; move it away, or give --out"):
        split_folder(photos, options=SplitOptions(seed=1))


def test_tiles_of_an_earlier_split_are_not_left_to_leak(photos):
    split_folder(photos, options=SplitOptions(seed=1))
    tiles_dir = photos.parent / "train" / "tile_96"
    tiles_dir.mkdir()
    (tiles_dir / "tiles.csv").touch()
    with pytest.raises(OutputExists, match="train/tile_96 was cut from the images of the earlier split"):
        split_folder(photos, options=SplitOptions(seed=2), overwrite=True)
    split_folder(photos, options=SplitOptions(seed=1), overwrite=True)


def test_folders_that_somebody_else_filled_are_refused(photos):
    (photos.parent / "test").mkdir()
    (photos.parent / "test" / "x.jpg").touch()
    with pytest.raises(OutputExists, match="test already hold files"):
        split_folder(photos)
    assert not (photos.parent / "train").exists() and not (photos.parent / "split.csv").exists()


def test_move_takes_the_files_and_goes_on_after_an_interruption(photos, monkeypatch):
    import hybridseg.data.split as module

    names = files_of(photos)
    options = SplitOptions(action="move", seed=4)
    original, calls = module.place_file, []

    def fail_after_five(*args, **kwargs):
        calls.append(args)
        if len(calls) > 5:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    monkeypatch.setattr(module, "place_file", fail_after_five)
    with pytest.raises(KeyboardInterrupt):
        split_folder(photos, options=options)
    monkeypatch.undo()
    assert 0 < len(files_of(photos)) < len(names)
    result = split_folder(photos, options=options)
    assert files_of(photos) == [] and result.count("train") == 5
    assert sorted(files_of(photos.parent / "train") + files_of(photos.parent / "test")) == names
    again = split_folder(photos, options=options)
    assert again.entries == result.entries
    with pytest.raises(OutputExists, match="may be the only copy"):
        split_folder(photos, options=SplitOptions(seed=9), overwrite=True)


def test_the_folder_is_not_looked_at_while_another_run_moves_its_files(photos):
    with lock_output(photos.parent / "split.csv"):
        for path in photos.iterdir():
            path.unlink()
        with pytest.raises(OutputExists, match="another run is writing"):
            split_folder(photos, options=SplitOptions(action="move"))


def test_links_point_to_the_originals(photos):
    split_folder(photos, options=SplitOptions(action="link"))
    link = next((photos.parent / "train").glob("*.jpg"))
    assert link.is_symlink() and link.resolve() == photos / link.name
    split_folder(photos, options=SplitOptions(action="link"))


def test_a_relative_link_that_is_moved_leads_to_the_same_file(photos):
    original = photos.parent / "elsewhere.jpg"
    original.write_bytes(PHOTO)
    (photos / "linked.jpg").symlink_to("../elsewhere.jpg")
    split_folder(photos, options=SplitOptions(action="move"), out_dir=photos.parent / "far/away")
    [moved] = (photos.parent / "far/away").glob("*/linked.jpg")
    assert moved.is_symlink() and moved.resolve() == original and not (photos / "linked.jpg").is_symlink()


def test_bad_input(tmp_path, photos):
    with pytest.raises(MissingInput, match="there is no folder"):
        split_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="has no JPEG, PNG or TIFF images"):
        split_folder(tmp_path / "empty")
    for options, message in [
        ({"proportion": 1.5}, "from 0 to 1"),
        ({"group_by": "("}, "is not a regular expression"),
        ({"action": "steal"}, "one of copy, move, link"),
    ]:
        with pytest.raises(BadInput, match=message):
            SplitOptions(**options)
    header = "image,set,group,action,source,companions,masks_dir,masks\n"
    for row in (
        'a.jpg,train,a,copy,/,[],/x,"[""../y.png""]"',
        "a.jpg,train,a,copy,/,[],/x/..,[]",
        "../../etc/passwd,train,a,copy,/,[]",
        "a.jpg,train",
        "a.jpg,train,a,copy,/,[[[[",
        "a.jpg,x,a,copy,/,[]",
    ):
        (photos.parent / "split.csv").write_text(header + row + "\n")
        with pytest.raises(BadInput, match="was not written by this program"):
            split_folder(photos)


def test_hand_edits_and_strangers_survive(photos):
    split_folder(photos, options=SplitOptions(seed=1))
    test = photos.parent / "test"
    edited = next(test.glob("*_mres.mat"))
    edited.write_bytes(b"edited by hand")
    split_folder(photos, options=SplitOptions(seed=1))
    assert edited.read_bytes() == b"edited by hand"
    (test / "stranger.jpg").write_bytes(b"x")
    with pytest.raises(OutputExists, match=r"stranger.jpg was not put there by an earlier split"):
        split_folder(photos, options=SplitOptions(seed=2), overwrite=True)
    (test / "stranger.jpg").unlink()
    later = edited.stat().st_mtime + 5
    os.utime(edited, (later, later))
    with pytest.raises(OutputExists, match=f"{edited.name} was changed after it was copied"):
        split_folder(photos, options=SplitOptions(seed=2), overwrite=True)
    gone = next(photos.glob("p*.jpg"))
    gone.unlink()
    with pytest.raises(OutputExists, match=f"{gone.name} may be the only copy"):
        split_folder(photos, options=SplitOptions(seed=2), overwrite=True)


def test_a_set_is_never_split_into_itself(photos):
    split_folder(photos)
    for name in ("train", "test"):
        before = files_of(photos.parent / name)
        with pytest.raises(BadInput, match="would be split into itself"):
            split_folder(photos.parent / name, overwrite=True)
        assert files_of(photos.parent / name) == before


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_a_second_card_with_the_same_names_replaces_nothing(photos, tmp_path, action):
    other = tmp_path / "card2"
    other.mkdir()
    for path in photos.glob("*.jpg"):
        (other / path.name).write_bytes(PHOTO + b" another")
    split_folder(photos, options=SplitOptions(action=action))
    with pytest.raises(OutputExists, match="already hold files"):
        split_folder(other, out_dir=photos.parent, options=SplitOptions(action=action))
    assert all(b"another" not in path.read_bytes() for path in (photos.parent / "train").iterdir())


@pytest.mark.parametrize("n_calls", range(1, 17, 3))
def test_a_move_goes_on_from_every_point(photos, monkeypatch, n_calls):
    import hybridseg.data.split as module

    names, original, calls = files_of(photos), module.place_file, []

    def stop(*args, **kwargs):
        calls.append(args)
        if len(calls) > n_calls:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    monkeypatch.setattr(module, "place_file", stop)
    with pytest.raises(KeyboardInterrupt):
        split_folder(photos, options=SplitOptions(action="move"))
    monkeypatch.undo()
    split_folder(photos, options=SplitOptions(action="move"))
    assert sorted(files_of(photos.parent / "train") + files_of(photos.parent / "test")) == names


def test_moving_to_another_disk_copies_first(photos, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    names = files_of(photos)
    monkeypatch.setattr(Path, "rename", refuse)
    split_folder(photos, options=SplitOptions(action="move"))
    assert files_of(photos) == []
    assert sorted(files_of(photos.parent / "train") + files_of(photos.parent / "test")) == names


def test_names_with_any_character(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in (b"a|b.jpg", b"a|b_mres.mat", b"new\nline.jpg", b"caf\xe9.jpg", b'quo"te,.jpg'):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(PHOTO)
    result = split_folder(folder)
    assert split_folder(folder).entries == result.entries and len(result.entries) == 3
    assert [problem.message for problem in result.problems] == ["has a name that is not UTF-8; give it another"]


@pytest.mark.parametrize("action", ["copy", "move", "link"])
def test_an_image_that_cannot_be_opened_stays_behind_and_is_listed(photos, run, action):
    (photos / "p1.jpg").write_text("not an image")
    (photos / "p8.jpg").write_bytes(b"")
    words = ["split", photos] if action == "copy" else ["split", photos, f"--{action}"]
    for _ in range(2):
        result = run(*words)
        assert result.exit_code == 1 and "2 files could not be used, the others are done" in result.stderr
        assert "p1.jpg: is not a JPEG, PNG or TIFF image" in result.stderr and "p8.jpg: is empty" in result.stderr
    train, test = photos.parent / "train", photos.parent / "test"
    assert {path.stem[:2] for path in (*train.iterdir(), *test.iterdir())} == {
        f"p{i}" for i in (0, 2, 3, 4, 5, 6, 7, 9)
    }
    assert (photos / "p1.jpg").read_text() == "not an image" and (photos / "p1_mres.mat").exists()


def test_a_folder_without_any_image_that_can_be_opened(tmp_path):
    (tmp_path / "jpg").mkdir()
    (tmp_path / "jpg" / "a.jpg").write_text("not an image")
    with pytest.raises(BadInput, match=r"jpg has no image that can be opened:\n  .*a.jpg: is not a JPEG"):
        split_folder(tmp_path / "jpg")
    assert not (tmp_path / "split.csv").exists()


def test_a_copy_that_was_edited_stays(photos):
    split_folder(photos, options=SplitOptions(seed=1))
    copy = next(photos.parent.glob("t*/*_mres.mat"))
    later = copy.stat().st_mtime + 60
    os.utime(copy, (later, later))
    with pytest.raises(OutputExists, match="was changed after it was copied from"):
        split_folder(photos, options=SplitOptions(seed=2), overwrite=True)
    assert copy.exists()
