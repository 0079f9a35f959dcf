"""Hypothesis where a grammar says more than damage: our own JSON with any value anywhere, class lists, tables."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits import judge_message
from readers import READERS
from seeds import write_annotations, write_texts

from hybridseg.errors import BadInput, HybridSegError
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.tables import format_csv, read_csv

# Of these readers the files are JSON alone, and reading them takes little.
NAMES = (
    "io.annotations.doodles.read_strokes", "io.annotations.labelme.parse_labelme", "io.annotations.coco.parse_coco",
    "dense.programs.config.read_config", "labelling.strokeimport.import_strokes",
    "io.annotations.painted.paint_annotations",
)  # fmt: skip
SIGNS = st.text(st.sampled_from("ab, #0129.-\"'\t\r\x00\x1b\x85\u2028\u202e\ufeffé") | st.characters(), max_size=8)
NUMBERS = st.integers(-5, 300) | st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 1e308])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | SIGNS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SIGNS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Whole files, by the pattern of a reader."""
    home = tmp_path_factory.mktemp("whole")
    for make in (write_texts, write_annotations):
        folder = home / make.__name__.removeprefix("write_")
        folder.mkdir()
        make(folder)
    return home


def vary(record):
    """Draw a record of the same keys, in some of whose places are other values."""
    same = st.just(record)
    if isinstance(record, dict):
        return st.fixed_dictionaries({}, optional={key: vary(value) for key, value in record.items()}) | VALUES
    if isinstance(record, list):
        return st.tuples(*(vary(value) for value in record[:6])).map(list) | st.lists(VALUES, max_size=3)
    return st.one_of(same, same, same, VALUES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_any_value_anywhere(name, files, data):
    reader = next(reader for reader in READERS if reader.name == name)
    paths = [path for path in reader.list_seeds(files) if path.suffix == ".json"]
    path = data.draw(st.sampled_from(paths))
    whole = path.read_bytes()
    record = json.loads(whole)
    keys = data.draw(st.lists(st.sampled_from(sorted(record)), max_size=2, unique=True))
    changed = record | {key: data.draw(vary(record[key]), label=key) for key in keys}
    path.write_bytes(json.dumps(changed).encode("utf-8", "surrogatepass"))
    try:
        reader.read(path)
    except HybridSegError as error:
        assert judge_message(str(error)).kind == "clear"
    finally:
        path.write_bytes(whole)


LINES = st.lists(
    SIGNS | st.tuples(SIGNS, NUMBERS, NUMBERS, NUMBERS).map(lambda row: ",".join(map(str, row))), max_size=5
)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r", ""]))
def test_any_class_list(tmp_path_factory, lines, end):
    path = tmp_path_factory.getbasetemp() / "labels.txt"
    path.write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
    try:
        table = read_class_files(path)
    except BadInput as error:
        assert judge_message(str(error)).kind == "clear"
    else:
        assert 1 <= len(table.names) == len(set(table.keys)) and all(name.strip() == name for name in table.names)


@example(rows=[{"a": "one\rtwo", "b": "one\ntwo"}])
@given(rows=st.lists(st.fixed_dictionaries({"a": SIGNS, "b": SIGNS}), max_size=4))
def test_a_table_is_read_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    with suppress(UnicodeEncodeError):
        path.write_bytes(format_csv(("a", "b"), rows).encode("utf-8", "surrogateescape"))
        with suppress(BadInput):
            assert read_csv(path, ("a", "b")) == rows
