import errno
import fcntl
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from hybridseg.errors import DiskFull, OutputExists, WriteFailed
from hybridseg.io import locks
from hybridseg.io.atomic import atomic_folder, atomic_path, claim_folder, write_text
from hybridseg.io.locks import explain_folder, holds_files, is_leftover, lock_output, own_partial, remove_leftovers

TOKEN = "0123456789abcdef"


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_second_run_is_refused_and_no_lock_is_left(tmp_path):
    with lock_output(tmp_path / "model"):
        assert list_names(tmp_path) == [".model.hybridseg.lock"]
        message = r"another run is writing .*model now; wait until it has finished"
        with pytest.raises(OutputExists, match=message), lock_output(tmp_path / "model"):
            pass
        with lock_output(tmp_path / "other"), lock_output(tmp_path, inside="within"):
            assert (tmp_path / ".within.hybridseg.lock").exists()
    assert list_names(tmp_path) == []


def test_a_run_that_waits_goes_on_when_the_other_has_finished(tmp_path, caplog):
    order = []

    def work() -> None:
        with lock_output(tmp_path / "a.csv", wait=True):
            order.append("second")

    with caplog.at_level(logging.INFO, "hybridseg.progress"):
        with lock_output(tmp_path / "a.csv"):
            thread = threading.Thread(target=work)
            thread.start()
            while "waiting until it has finished" not in caplog.text:
                time.sleep(0.01)
            order.append("first")
        thread.join(10)
    assert order == ["first", "second"] and list_names(tmp_path) == []


def test_a_lock_that_was_removed_meanwhile_is_worth_nothing(tmp_path, monkeypatch):
    """Between opening a lock and holding it, the run that had it may end and remove it."""
    place, flock, taken = tmp_path / ".a.hybridseg.lock", fcntl.flock, []

    def remove_first(descriptor, operation):
        if not taken:
            place.unlink()
        taken.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with lock_output(tmp_path / "a"):
        monkeypatch.undo()
        with pytest.raises(OutputExists), lock_output(tmp_path / "a"):
            pass


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder", "text"])
def test_what_is_in_the_place_of_a_lock_stays_as_it_is(tmp_path, kind):
    place, other = tmp_path / ".a.hybridseg.lock", tmp_path / "mine.txt"
    other.touch()
    if kind in ("link", "dangling"):
        place.symlink_to(other if kind == "link" else tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_text("mine")
    before = place.lstat()
    message = r"a\.hybridseg\.lock is in the place of a lock .* and is none; move it away"
    with pytest.raises(WriteFailed, match=message), lock_output(tmp_path / "a"):
        pass
    remove_leftovers(tmp_path)
    assert place.lstat() == before and list_names(tmp_path) == [".a.hybridseg.lock", "mine.txt"]


def test_any_name_that_a_file_system_takes_has_a_lock(tmp_path):
    with lock_output(tmp_path / ("ö" * 127)) and lock_output(tmp_path / "\udcff"):
        pass
    with lock_output(tmp_path / ("a" * 255)), pytest.raises(OutputExists), lock_output(tmp_path / ("a" * 255)):
        pass
    assert list_names(tmp_path) == []


def leave(folder):
    """Leave what killed runs leave: files, folders, links and locks; with that of earlier versions."""
    for name in (f".{TOKEN}.partial.png", f".{TOKEN}.hybridseg.lock", ".f00df00df00df00d.partial", ".a.hybridseg.lock"):
        (folder / name).touch()
    for name in (".feedfeedfeedfeed.partial", f".model.{TOKEN}.partial"):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "inner/file.txt").touch()
    (folder / ".abcdabcdabcdabcd.partial.jpg").symlink_to(folder / "mine.txt")


OTHERS = (".0123.partial.png", ".tile_16.0123456789ab.partial", ".gitignore", "mine.txt", "x.partial", ".b.lock")


def test_the_next_run_that_writes_there_removes_what_killed_runs_left_and_nothing_else(tmp_path):
    def find_all_done(folder):
        with lock_output(folder / "model"):
            pass

    for work in (claim_folder, remove_leftovers, lambda folder: write_text(folder / "mine.txt", "new"), find_all_done):
        folder = tmp_path / str(len(list_names(tmp_path)))
        folder.mkdir()
        leave(folder)
        for name in OTHERS:
            (folder / name).touch()
        work(folder)
        assert list_names(folder) == sorted(OTHERS)
    leave(folder)
    with atomic_folder(folder / "model") as partial_dir:
        (partial_dir / "a.txt").touch()
    assert list_names(folder) == sorted((*OTHERS, "model")) and list_names(folder / "model") == ["a.txt"]


def test_what_is_below_is_removed_where_it_is_asked_for(tmp_path):
    (tmp_path / "sand").mkdir()
    leave(tmp_path / "sand")
    remove_leftovers(tmp_path)
    assert len(list_names(tmp_path / "sand")) == 7
    remove_leftovers(tmp_path, below=True)
    assert list_names(tmp_path / "sand") == []


def test_a_file_whose_writer_lives_is_never_removed(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary, atomic_folder(tmp_path / "b") as partial_dir:
        # GDAL removes a file that is there, and makes it anew.
        temporary.write_text("half")
        temporary.unlink()
        temporary.write_text("whole")
        remove_leftovers(tmp_path)
        claim_folder(tmp_path)
        assert temporary.read_text() == "whole" and partial_dir.is_dir()
    assert list_names(tmp_path) == ["a.txt", "b"]


WRITER = """
import sys, time
from pathlib import Path
from hybridseg.io.atomic import atomic_folder, atomic_path
with atomic_path(Path(sys.argv[1]) / "a.txt") as temporary, atomic_folder(Path(sys.argv[1]) / "b") as partial_dir:
    temporary.touch()
    (partial_dir / "c.txt").touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_another_process_keeps_its_files_until_it_is_killed(tmp_path, launch):
    process = launch([sys.executable, "-c", WRITER, tmp_path])
    assert process.stdout.readline() == "ready\n"
    before = list_names(tmp_path)
    assert len(before) == 4
    claim_folder(tmp_path)
    assert list_names(tmp_path) == before
    process.kill()
    process.wait()
    assert list_names(tmp_path) == before
    claim_folder(tmp_path)
    assert list_names(tmp_path) == []


def test_without_locks_work_goes_on_and_nothing_is_removed_that_may_be_anothers(tmp_path, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_text(tmp_path / "a.txt", "whole")
    with lock_output(tmp_path / "model"):
        assert "has no locks: do not let two commands write there at the same time" in caplog.text
    assert list_names(tmp_path) == ["a.txt"]
    leave(tmp_path)
    claim_folder(tmp_path)
    # Whether the owner of these lives cannot be told.
    assert list_names(tmp_path) == [
        f".{TOKEN}.hybridseg.lock", f".{TOKEN}.partial.png", ".a.hybridseg.lock", f".model.{TOKEN}.partial", "a.txt"
    ]  # fmt: skip


def test_a_lock_of_another_user_is_asked_all_the_same(tmp_path, monkeypatch):
    place, opened = tmp_path / ".a.hybridseg.lock", os.open
    place.touch()

    def forbid(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *mode)

    monkeypatch.setattr(locks.os, "open", forbid)
    with lock_output(tmp_path / "a"), pytest.raises(OutputExists), lock_output(tmp_path / "a"):
        pass
    with pytest.raises(WriteFailed, match=r"Permission denied; choose another folder"), lock_output(tmp_path / "b"):
        pass


def test_what_is_left_is_no_file_of_anybody(tmp_path):
    assert not holds_files(tmp_path / "nowhere") and not holds_files(tmp_path)
    leave(tmp_path)
    assert not holds_files(tmp_path)
    (tmp_path / ".hidden").touch()
    assert holds_files(tmp_path) and not is_leftover(".hidden")


def test_errors_of_the_system_become_a_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    gone = pytest.raises(WriteFailed, match=r"a\.txt: its folder is gone; give the command again")
    with gone, atomic_path(tmp_path / "gone" / "a.txt") as temporary:
        temporary.write_text("x")
        shutil.rmtree(tmp_path / "gone")
    assert str(explain_folder(tmp_path, OSError(30, "Read-only file system"))).endswith("or fix its permissions")
    for number in (errno.ENOSPC, errno.EDQUOT):
        found = explain_folder(tmp_path, OSError(number, os.strerror(number)))
        assert isinstance(found, DiskFull) and str(found).endswith("; free some space there")


def test_a_name_is_tried_anew_where_the_lock_is_held(tmp_path, monkeypatch):
    tokens = iter([TOKEN, "f00df00df00df00d"])
    monkeypatch.setattr(locks.secrets, "token_hex", lambda n: next(tokens))
    with lock_output(tmp_path / TOKEN), own_partial(tmp_path, ".png") as partial:
        assert partial.name == ".f00df00df00df00d.partial.png"


def test_where_no_file_is_twice_the_same_work_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locks, "_is_still", lambda place, descriptor: False)
    with lock_output(tmp_path / "a"):
        write_text(tmp_path / "a", "whole")
    assert "has no locks" in caplog.text and list_names(tmp_path) == ["a"]


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new" / "deep", tmp_path / "mine"):
        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error), lock_output(folder / "split.csv"):
                raise error
            with pytest.raises(error), atomic_path(folder / "a.txt"):
                raise error
            with pytest.raises(error), atomic_folder(folder / "tiles"):
                raise error
    assert list_names(tmp_path) == ["mine"]
    with pytest.raises(ValueError), lock_output(tmp_path / "new" / "deep", inside="work"):
        (tmp_path / "new" / "a.txt").write_text("of another")
        raise ValueError
    assert list_names(tmp_path / "new") == ["a.txt"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such folder")
def test_a_folder_in_which_no_file_can_be_made():
    """The system says that there is no such file, as where someone removes the folder again and again."""
    with pytest.raises(WriteFailed, match="/proc: No such file or directory; choose another folder"):
        claim_folder(Path("/proc"))
