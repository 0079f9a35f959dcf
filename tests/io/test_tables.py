import os

import pytest

from hybridseg.errors import BadInput
from hybridseg.io import tables
from hybridseg.io.tables import read_csv, write_csv


def test_a_table_comes_back_as_it_was_written(tmp_path):
    rows = [{"tile": 'a,"b"\nc', "kept": ""}, {"tile": "\udcff.jpg", "kept": "1"}]
    write_csv(tmp_path / "tiles.csv", ("tile", "kept"), rows)
    assert read_csv(tmp_path / "tiles.csv", ("tile",)) == rows


@pytest.mark.parametrize(("content", "reason"), [
    (b"tile\n" + b"a" * 200_000, "a cell has more than 131,072 characters"),
    (b"tile\n" + b"," * 1_000_001, "a line has more than 1,000,000 characters"),
    (b"tile\n" + b"a\n" * 11, "has more than 10 rows"),
    (b"\xff\xfe\x00t", "lacks tile in its table"),
    (b"tile,kept\na", None),
    (b"other,kept\na,b", "lacks tile in its table"),
])  # fmt: skip
def test_a_table_has_limits_that_are_said(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(tables, "_MAX_ROWS", 10)
    path = tmp_path / "tiles.csv"
    path.write_bytes(content)
    if reason is None:
        assert read_csv(path, ("tile",)) == [{"tile": "a", "kept": None}]
    else:
        with pytest.raises(BadInput, match=reason) as caught:
            read_csv(path, ("tile",))
        assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 300


def test_a_table_is_weighed_and_is_no_pipe(tmp_path):
    path = tmp_path / "tiles.csv"
    with path.open("wb") as file:
        file.truncate(1_000_000_001)
    with pytest.raises(BadInput, match="larger than 1000 MB"):
        read_csv(path, ("tile",))
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(BadInput, match="pipe or device"):
        read_csv(tmp_path / "pipe.csv", ("tile",))
