"""Lines with their time, kept from one run to the next, also when the work fails."""

import re

import pytest

from hybridseg.errors import WriteFailed
from hybridseg.io.journal import Journal


def test_lines_are_added_at_once_and_earlier_ones_kept(tmp_path):
    path = tmp_path / "logs" / "a.log"
    with Journal(path) as journal:
        journal.note("one\ntwo")
        assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d-INFO - one two\n", path.read_text())
        journal.note("\udcff.jpg is damaged", level="WARNING")
    with pytest.raises(ValueError, match="no"), Journal(path) as journal:
        raise ValueError("no such thing")
    lines = path.read_bytes().splitlines()
    assert [line.split(b"-", 1)[1] for line in lines] == [
        b"INFO - one two", b"WARNING - \xff.jpg is damaged", b"ERROR - ValueError: no such thing"
    ]  # fmt: skip


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match="could not write"):
        Journal(tmp_path / "file" / "a.log")
