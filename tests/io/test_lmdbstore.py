"""A database of records: what is written is what is read, and what is not whole is refused."""

import os
import resource
import struct
from contextlib import suppress

import lmdb
import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput, WriteFailed
from hybridseg.io.lmdbstore import (
    DATA_NAME,
    Database,
    DatabaseWriter,
    count_map_bytes,
    describe_database,
    is_empty,
)
from hybridseg.io.samples import Sample, encode_sample

ROOM, PAGE = 1 << 24, 4096


def make_sample(number):
    image = np.random.default_rng(number).integers(0, 100, (5, 7, 3)).astype(np.uint16)
    return Sample(image, (image[..., 0] % 3).astype(np.uint8), f"photo {number}", number, 2 * number)


def write(path, n=6, *, per_transaction=2, finish=True):
    writer = DatabaseWriter(path, {"what": "a test"}, map_bytes=ROOM)
    for start in range(writer.count(), n, per_transaction):
        writer.add([encode_sample(make_sample(i)) for i in range(start, min(start + per_transaction, n))])
    if finish:
        writer.finish({"size": [5, 7]})
    return path


def test_a_database_round_trip(tmp_path):
    path = write(tmp_path / "train-a.lmdb")
    assert [entry.name for entry in path.iterdir()] == [DATA_NAME]
    database = Database(path)
    assert database.manifest["size"] == [5, 7]
    for i in range(6):
        found = database.read(i)
        assert found.source == f"photo {i}" and (found.image == make_sample(i).image).all()
    # Twice in one process is no error, nor one that was replaced meanwhile.
    assert Database(path).read(5).source == "photo 5"
    with pytest.raises(BadInput, match=r"train-a.lmdb \(record 6\): there is no such record"):
        database.read(6)


@pytest.fixture(scope="module")
def branched(tmp_path_factory):
    """The bytes of a database of so many records that a branch leads to its leaves."""
    path = write(tmp_path_factory.mktemp("branched") / "a.lmdb", 150, per_transaction=50)
    return (path / DATA_NAME).read_bytes()


def place_header(data):
    """Return where the header that counts begins: the transaction is its last number."""
    return max((0, PAGE), key=lambda start: int.from_bytes(data[start + 144 : start + 152], "little"))


def place_branch(data):
    """Return where the root of the entries is."""
    return PAGE * int.from_bytes(data[place_header(data) + 128 :][:8], "little")


def place_leaf(data):
    """Return where the first page below it is."""
    start = place_branch(data)
    node = start + int.from_bytes(data[start + 16 : start + 18], "little")
    return PAGE * int.from_bytes(data[node : node + 6], "little")


@pytest.mark.parametrize(
    ("start", "offset", "number", "message"),
    [
        (place_header, 128, 10**6, "the page 1000000, which is not there"),
        (place_header, 128, 2**64 - 1, "the description of its pages"),
        (place_header, 92, 4 | 2 << 16, "the description of its pages"),
        (place_header, 136, 2**40, "it is cut short"),
        (place_header, 40, 2**31, "the size of its pages"),
        (place_branch, 12, 18 | 3000 << 16, r"page \d+"),
        (place_leaf, 12, 4096 | 4096 << 16, r"page \d+"),
        (place_leaf, 16, 4095, r"page \d+"),
    ],
)
def test_a_number_in_it_that_lies(branched, tmp_path, start, offset, number, message):
    place = start(branched) + offset
    n_bytes = 8 if number > 2**32 or offset in (128, 136) else 4
    data = branched[:place] + number.to_bytes(n_bytes, "little") + branched[place + n_bytes :]
    (tmp_path / DATA_NAME).write_bytes(data)
    for read in (Database, describe_database):
        with pytest.raises(BadInput, match=f"{message}.*make it again with unet build-lmdb"):
            read(tmp_path)


def test_a_branch_that_leads_back(branched, tmp_path):
    branch = place_branch(branched)
    data = bytearray(branched)
    for place in struct.unpack_from("<2H", data, branch + 16):
        data[branch + place : branch + place + 6] = (branch // PAGE).to_bytes(6, "little")
    (tmp_path / DATA_NAME).write_bytes(data)
    with pytest.raises(BadInput, match=r"it is damaged \(page"):
        Database(tmp_path)


def test_any_damage_to_the_pages_is_noticed_or_harmless(branched, tmp_path):
    rng, n_read = np.random.default_rng(0), 0
    for i in range(150):
        data = bytearray(branched)
        start = rng.integers(len(data) // PAGE) * PAGE
        data[start + rng.integers(152)] ^= 1 << rng.integers(8)
        path = tmp_path / str(i)
        path.mkdir()
        (path / DATA_NAME).write_bytes(data)
        with suppress(BadInput):
            database = Database(path)
            database.read(0)
            database.read(149)
            n_read += 1
    assert 0 < n_read < 150, "some damage is harmless, some is noticed"


def test_a_build_that_was_not_finished(tmp_path):
    path = write(tmp_path / "a.lmdb", finish=False)
    assert describe_database(path) == ({"what": "a test"}, False)
    with pytest.raises(BadInput, match=r"its build was not finished; give the build-lmdb command again"):
        Database(path)
    write(path)
    assert describe_database(path) == ({"what": "a test"}, True) and Database(path).read(5).row == 5


def test_in_pieces_or_at_once_the_bytes_are_the_same(tmp_path):
    whole = write(tmp_path / "whole.lmdb", 6)
    pieces = tmp_path / "pieces.lmdb"
    for n in (2, 4, 6):
        write(pieces, n, finish=False)
        # What an interrupted transaction has left behind the last whole one.
        with (pieces / DATA_NAME).open("ab") as file:
            file.write(b"\xff" * 4096 * n)
    write(pieces)
    size = (whole / DATA_NAME).stat().st_size
    assert (pieces / DATA_NAME).read_bytes()[:size] == (whole / DATA_NAME).read_bytes()


def test_what_is_no_database(tmp_path):
    with pytest.raises(MissingInput, match=r"is no LMDB database .*; make one with unet build-lmdb"):
        Database(tmp_path)
    (tmp_path / DATA_NAME).write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(BadInput, match="it is no LMDB database, or of another version of it; make it again"):
        Database(tmp_path)


def test_a_file_that_was_cut(tmp_path):
    path = write(tmp_path / "a.lmdb", 40)
    os.truncate(path / DATA_NAME, 5 * 4096)
    with pytest.raises(BadInput, match="it is cut short; make it again"):
        Database(path)


def test_killed_in_the_first_transaction_it_is_empty(tmp_path):
    """The pages of the plan are on the disk then, and not yet what makes them count: the first two pages."""
    with lmdb.open(str(tmp_path / "a.lmdb"), lock=False):
        start = (tmp_path / "a.lmdb/data.mdb").read_bytes()
    DatabaseWriter(tmp_path / "b.lmdb", {"what": "a test"}, map_bytes=ROOM)
    whole = (tmp_path / "b.lmdb/data.mdb").read_bytes()
    (tmp_path / "a.lmdb/data.mdb").write_bytes(start + whole[len(start) :])
    assert is_empty(tmp_path / "a.lmdb") and describe_database(tmp_path / "a.lmdb") == (None, False)
    assert len(start) < len(whole) and not is_empty(tmp_path / "b.lmdb")
    DatabaseWriter(tmp_path / "a.lmdb", {"what": "a test"}, map_bytes=ROOM)
    assert (tmp_path / "a.lmdb/data.mdb").read_bytes() == whole


def test_no_room_in_the_file(tmp_path):
    writer = DatabaseWriter(tmp_path / "a.lmdb", {}, map_bytes=1 << 16)
    with pytest.raises(WriteFailed, match="larger than the room that was set aside"):
        writer.add([bytes(1 << 17)])
    # Exactly as much as is said to suffice.
    lengths = [5000] * 300
    writer = DatabaseWriter(tmp_path / "b.lmdb", {}, map_bytes=count_map_bytes(lengths))
    writer.add([bytes(n + 500) for n in lengths])
    assert writer.count() == 300


def test_no_room_on_the_disk(tmp_path):
    writer = DatabaseWriter(tmp_path / "a.lmdb", {"what": "a test"}, map_bytes=ROOM)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(WriteFailed, match=r"could not write .*a.lmdb .*check the free space"):
            writer.add([bytes(1 << 18)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # With room again it goes on.
    writer.add([encode_sample(make_sample(0))])
    assert writer.count() == 1
