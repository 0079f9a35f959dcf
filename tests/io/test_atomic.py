from pathlib import Path

import pytest

from hybridseg.errors import WriteFailed
from hybridseg.io import atomic
from hybridseg.io.atomic import (
    atomic_folder,
    atomic_path,
    check_folder,
    claim_folder,
    publish_folder,
    replace_text,
    write_bytes,
    write_text,
)
from hybridseg.io.locks import lock_output


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_target_is_untouched_until_the_end(tmp_path):
    target = tmp_path / "new" / "a.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"x")
        assert not target.exists() and temporary.suffix == ".bin" and temporary.parent == target.parent
    assert target.read_bytes() == b"x"


def test_a_folder_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailed, match=r"could not write .*file/a.txt: .*; check the free space"):
        write_bytes(tmp_path / "file" / "a.txt", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteFailed, match="could not write"):
        write_bytes(tmp_path / "folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_clear_error(tmp_path):
    with pytest.raises(WriteFailed, match="No space left"), atomic_path(tmp_path / "a.txt"):
        Path("/dev/full").write_bytes(b"x")
    assert not (tmp_path / "a.txt").exists()


def test_whether_a_folder_could_be_made(tmp_path, monkeypatch):
    check_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "text.txt").touch()
    with pytest.raises(WriteFailed, match=r"cannot write in .*below: .*text\.txt is a file"):
        check_folder(tmp_path / "text.txt" / "below")

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hybridseg.io.atomic.tempfile.TemporaryFile", refuse)
    with pytest.raises(WriteFailed, match="Permission denied; choose another folder"):
        check_folder(tmp_path / "a")


def test_a_file_where_a_folder_is_wanted_is_named(tmp_path):
    (tmp_path / "text.txt").touch()
    for folder in (tmp_path / "text.txt", tmp_path / "text.txt" / "below"):
        with pytest.raises(WriteFailed, match=r"text\.txt is a file; choose another folder"):
            claim_folder(folder)
        with pytest.raises(WriteFailed, match=r"text\.txt is a file; choose another folder"), lock_output(folder / "x"):
            pass


def test_a_folder_takes_the_place_of_an_older_one_alone(tmp_path):
    for name in ("new", "model", ".model.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text(name)
    publish_folder(tmp_path / "new", tmp_path / "model")
    assert {path.name: (path / "text.txt").read_text() for path in tmp_path.iterdir()} == {
        "model": "new", ".model.old": ".model.old"
    }  # fmt: skip


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch, can_exchange):
    """Where folders cannot change places in one step, the older one comes back."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old.txt").touch()
    rename = Path.rename

    def fail(path, target):
        if target == tmp_path / "model" and not (path / "old.txt").exists():
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        if not can_exchange:
            patch.setattr(atomic, "_exchange", lambda one, other: False)
        try:
            with atomic_folder(tmp_path / "model") as partial_dir:
                (partial_dir / "new.txt").touch()
        except WriteFailed as error:
            assert not can_exchange and "Input/output error" in str(error)
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new.txt" if can_exchange else "old.txt"]


def test_an_error_names_what_was_to_be_written(tmp_path):
    """A file in a folder that is written as a whole has a place that nobody knows."""
    named = pytest.raises(WriteFailed, match=r"could not write .*model/a/b\.txt: ")
    with named, atomic_folder(tmp_path / "model") as new:
        (new / "a").touch()
        write_text(new / "a" / "b.txt", "x")


def test_what_is_replaced_is_kept_beside_it(tmp_path):
    path = tmp_path / "a.csv"
    assert replace_text(path, "one") is None and not (tmp_path / "a.csv.backup").exists()
    assert replace_text(path, "one") is None and not (tmp_path / "a.csv.backup").exists(), "nothing changed"
    assert replace_text(path, "two") == tmp_path / "a.csv.backup"
    assert path.read_text() == "two" and (tmp_path / "a.csv.backup").read_text() == "one"
    assert replace_text(path, "three") == tmp_path / "a.csv.backup2"
    assert [(tmp_path / f"a.csv.backup{n}").read_text() for n in ("", 2)] == ["one", "two"], "none is lost"
    path.write_text("one")
    assert replace_text(path, "four") == tmp_path / "a.csv.backup", "it has this already"
