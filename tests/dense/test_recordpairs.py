"""Records as a source of pairs, whatever their index says."""

import json

import pytest

from hybridseg.dense.recordpairs import INDEX_NAME, open_records
from hybridseg.dense.records import RecordOptions, make_records
from hybridseg.errors import BadInput, MissingInput

AGAIN = "run make-tfrecords again"


@pytest.fixture(scope="module")
def write(make_pairs):
    """Write records of some pairs, three copies of each."""

    def write_records(folder, *, n=2, copies=3, per_shard=4):
        return make_records(make_pairs(n, side=16), folder, options=RecordOptions(copies=copies, per_shard=per_shard))

    return write_records


@pytest.mark.slow
def test_missing_and_damaged_shards(write, tmp_path):
    path = write(tmp_path, n=7).shard_paths[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BadInput, match=rf"0001-of-0006\.tfrec is not as long .*{AGAIN}"):
        open_records(tmp_path)
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    pairs = open_records(tmp_path)
    with pytest.raises(BadInput, match=rf"0001-of-0006\.tfrec is damaged.*{AGAIN}"):
        pairs.read(0)
    assert pairs.read(20)[0].shape == (16, 16, 1), "the others can be read"
    path.unlink()
    with pytest.raises(MissingInput, match=rf"0001-of-0006\.tfrec.*{AGAIN}"):
        open_records(tmp_path)
    with pytest.raises(MissingInput, match=rf"0001-of-0006\.tfrec.*{AGAIN}"):
        pairs.read(0)


PLACES = [
    *[(name,) for name in ("format", "kind", "size", "bands", "dtype", "classes", "sources", "shards")],
    *[("size", 0), ("sources", 0), ("classes", 0), ("classes", 0, "name"), ("classes", 0, "color")],
    *[("shards", 0, name) for name in ("name", "bytes", "records")],
    *[("shards", 0, "records", 0, name) for name in ("offset", "length", "crc32", "source", "copy")],
]


@pytest.mark.parametrize("bad", [None, -1, 1.5, False, "?", [], {}, 1 << 80], ids=repr)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_made_up_index_is_refused(place, bad, _made):
    """At once, or when a record is read; never with a traceback."""
    folder, index = _made
    record = json.loads(index)
    part = record
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = bad
    (folder / INDEX_NAME).write_text(json.dumps(record))
    with pytest.raises(BadInput, match=AGAIN):
        pairs = open_records(folder)
        for i in range(len(pairs.sources)):
            pairs.read(i)


@pytest.fixture(scope="module")
def _made(write, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write(folder, copies=1, per_shard=1)
    return folder, (folder / INDEX_NAME).read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\x00", '{"format": 1}'])
def test_an_index_that_is_none_is_refused_and_made_again(content, write, tmp_path):
    write(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / INDEX_NAME).write_text(content)
    with pytest.raises(BadInput, match=AGAIN):
        open_records(tmp_path)
    assert write(tmp_path).n_skipped == 2, "as the message says"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.tfrec", "a/b.tfrec", ".a.tfrec", "a\x00.tfrec", "index.json"])
def test_an_index_never_leads_out_of_its_folder(name, write, tmp_path):
    write(tmp_path / "records")
    (tmp_path / "a.tfrec").touch()
    record = json.loads((tmp_path / "records" / INDEX_NAME).read_text())
    record["shards"][0]["name"] = name
    (tmp_path / "records" / INDEX_NAME).write_text(json.dumps(record))
    with pytest.raises((BadInput, MissingInput), match=AGAIN):
        open_records(tmp_path / "records")
