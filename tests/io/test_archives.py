import gzip
import io
import tarfile
import tracemalloc

import pytest

from hybridseg.errors import BadInput
from hybridseg.io import archives
from hybridseg.io.archives import unpack_archive


def pack(path, *members):
    """Write an archive of (name, type, content or target of a link)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content
            archive.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE


def test_files_and_folders_are_unpacked(tmp_path):
    path = pack(
        tmp_path / "a.tar.gz", ("./", FOLDER, ""), ("./saved_model.pb", FILE, b"graph"), ("assets", FOLDER, ""),
        ("assets/labels.txt", FILE, b"x" * 5000), ("assets", FOLDER, ""), ("/absolute.txt", FILE, b"y"),
    )  # fmt: skip
    unpack_archive(path, tmp_path / "in" / ".." / "out")
    assert (tmp_path / "out" / "absolute.txt").read_bytes() == b"y"
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == b"graph"
    assert (tmp_path / "out" / "assets" / "labels.txt").read_bytes() == b"x" * 5000


@pytest.mark.parametrize(("member", "reason"), [
    (("../out.txt", FILE, b"x"), "points outside the folder"),
    (("a/../../out.txt", FILE, b"x"), "points outside the folder"),
    (("a/../good", FILE, b"x"), "cannot be unpacked"),
    (("link", tarfile.SYMTYPE, "/etc"), "'link' in it is a link, a device or sparse"),
    (("hard", tarfile.LNKTYPE, "good"), "is a link"),
    (("pipe", tarfile.FIFOTYPE, ""), "is a link, a device"),
    (("disk", tarfile.BLKTYPE, ""), "is a link, a device"),
    (("GOOD", FILE, b"x"), "'GOOD' stands twice in it"),
    (("./good", FILE, b"x"), "stands twice in it"),
    (("good", FOLDER, ""), "stands twice in it"),
    (("a" * 5000, FILE, b"x"), "cannot be unpacked"),
])  # fmt: skip
def test_members_that_are_refused(tmp_path, member, reason):
    path = pack(tmp_path / "a.tar.gz", ("good", FILE, b"x"), member)
    with pytest.raises(BadInput, match=reason) as caught:
        unpack_archive(path, tmp_path / "out" / "in")
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value)) < 600
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["in"]


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    path = pack(tmp_path / "bomb.tar.gz", ("zeros", FILE, b"\0" * 20_000_000))
    assert path.stat().st_size < 30_000
    with pytest.raises(BadInput, match=r"unpacks to more than 10,000,000 bytes \(the limit is 100 .*give the folder"):
        unpack_archive(path, tmp_path / "out")
    assert not (tmp_path / "out" / "zeros").exists() or (tmp_path / "out" / "zeros").stat().st_size < 11_000_000


def test_a_header_is_no_bomb_either(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 9_000_000
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + b"\0" * 9_000_256 + b"\0" * 1024))
    tracemalloc.start()
    with pytest.raises(BadInput, match="a header of more than 1 MB"):
        unpack_archive(path, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_very_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    path = pack(tmp_path / "a.tar.gz", *((f"{i}", FILE, b"") for i in range(4)))
    with pytest.raises(BadInput, match="more than 3 files"):
        unpack_archive(path, tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no archive" * 100, mtime=0), b"\x1f\x8b\x08 torn"]
)
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="cannot be unpacked"):
        unpack_archive(path, tmp_path / "out")


def test_a_chain_of_headers(tmp_path):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 512
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress((info.tobuf(tarfile.GNU_FORMAT) + b"a" * 512) * 5000))
    with pytest.raises(BadInput, match="cannot be unpacked"):
        unpack_archive(path, tmp_path / "out")
