import os

import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.textfiles import read_lines, read_whole


def test_lines_end_where_a_line_ends_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffa\r\nb\rc\u2028d\x0be\x85f\x1cg\n\nh\n".encode())
    assert read_lines(path, remedy="") == ["a", "b", "c\u2028d\x0be\x85f\x1cg", "", "h"]
    path.write_bytes(b"")
    assert read_lines(path, remedy="") == []


def test_names_of_files_keep_their_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff.jpg\n")
    assert read_lines(path, remedy="", errors="surrogateescape") == ["\udcff.jpg"]
    with pytest.raises(BadInput, match="is not a text file in UTF-8; save it as UTF-8, or give names"):
        read_lines(path, remedy="give names")


def test_what_is_too_large_or_no_file_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"1234567890")
    assert read_whole(path, most=10, remedy="") == b"1234567890"
    with pytest.raises(BadInput, match=r"a\.txt: it is larger than 0\.009 kB; give less"):
        read_whole(path, most=9, remedy="give less")
    os.truncate(path, 10**12)
    with pytest.raises(BadInput, match="larger than 900000 MB"):
        read_whole(path, most=9 * 10**11, remedy="")
    os.truncate(path, 30_000_001)
    with pytest.raises(BadInput, match="larger than 20 MB; give a list"):
        read_lines(path, remedy="give a list")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a pipe or device, not a file"):
        read_whole(tmp_path / "pipe", most=10, remedy="")
    with pytest.raises(BadInput, match="is a folder"):
        read_whole(tmp_path, most=10, remedy="")
    with pytest.raises(MissingInput, match="there is no file"):
        read_whole(tmp_path / "none", most=10, remedy="")
