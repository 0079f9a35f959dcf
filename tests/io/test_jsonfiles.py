import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io import jsonfiles
from hybridseg.io.jsonfiles import (
    MAX_FILE_BYTES,
    parse_json,
    parse_json_object,
    parse_number,
    parse_whole,
    read_json_object,
    read_toml,
)


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"5", b'"a"', b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": NaN}',
    b'{"a": -Infinity}', b'{"a": 1, "b": {"c": 1, "c": 2}}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1e999}',
    b'{"a": "\\ud800"}', b'{"\\udc80": 1}', b'{"a": -' + b"9" * 310 + b"}", b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
], ids=lambda content: repr(content[:20]))  # fmt: skip
def test_files_that_are_no_json_object(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.json: (it|'c' stands twice)"):
        read_json_object(path)


def test_what_a_file_may_hold(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": ' + b"[" * 99 + b"]" * 99 + b', "b": 1e308, "c": "\\ud83d\\ude00"}')
    record = read_json_object(path)
    assert record["b"] == 1e308 and record["c"] == "\U0001f600"


def test_our_files_keep_the_bytes_of_file_names(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff.jpg", "b": "\\udcff.jpg"}')
    assert read_json_object(path, errors="surrogateescape") == {"a": "\udcff.jpg", "b": "\udcff.jpg"}
    path.write_bytes(b'{"a": "\\ud800"}')
    with pytest.raises(BadInput, match=r"half of a character; make it again"):
        read_json_object(path, errors="surrogateescape", remedy="make it again")


def test_a_key_twice_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"images": [], "images": [1]}')
    with pytest.raises(BadInput, match="'images' stands twice"):
        read_json_object(path)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_object(path) == {"a": 1}


def test_a_file_is_weighed_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text('{"a": [[],[],[]]}')
    monkeypatch.setitem(jsonfiles._MAX_SIGNS, b"[", 3)
    with pytest.raises(BadInput, match=r"more than 3 '\['"):
        read_json_object(path)
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(BadInput, match="larger than 200 MB"):
        read_json_object(path)
    with pytest.raises(MissingInput):
        read_json_object(tmp_path / "none.json")
    with pytest.raises(BadInput, match="is a folder"):
        read_json_object(tmp_path)


@pytest.mark.parametrize("value", ["5", None, True, [], float("nan"), float("inf"), 10**400, -2e9])
def test_what_is_no_number_of_pixels(value):
    with pytest.raises(BadInput, match="where a number of pixels should be"):
        parse_number(value)


@pytest.mark.parametrize("value", ["5", None, True, 5.0, [5], float("nan"), 2**31, -3, 12])
def test_what_is_no_whole_number(value):
    assert parse_whole(-2) == -2 and parse_whole(11, low=0, high=11) == 11
    with pytest.raises(BadInput, match="where a whole number from"):
        parse_whole(value, low=-2, high=11)


def test_a_name_and_a_whole_number_have_a_length():
    assert parse_json_object(b'{"' + b"a" * 4096 + b'": ' + b"9" * 308 + b"}")
    with pytest.raises(BadInput, match=r"has 5,000 characters; a name has at most 4,096") as caught:
        parse_json_object(b'{"' + b"a" * 5000 + b'": 1}')
    assert len(str(caught.value)) < 200
    # Digits in a text are none.
    assert parse_json("[" + f'"{"9" * 400}", 12' + "]") == ["9" * 400, 12]


def test_any_value_of_our_own():
    assert parse_json('["é", 1]') == ["é", 1] and parse_json("5") == 5
    assert parse_json("[NaN, Infinity]", finite=False)[1] == float("inf")
    for text in ("[NaN]", "[" * 200 + "]" * 200, '"\ud800"', "\ud800"):
        with pytest.raises(BadInput):
            parse_json(text)


def test_toml_has_the_same_limits(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("[a]\nb = 1\n")
    assert read_toml(path, most=100, remedy="") == {"a": {"b": 1}}
    for content in ("a = " + "[" * 60_000, "a = 1\na = 2", "a = " + "[" * 200 + "]" * 200):
        path.write_text(content)
        with pytest.raises(BadInput, match=r"a\.toml: it is not TOML.*; give a policy") as caught:
            read_toml(path, most=100_000, remedy="give a policy")
        assert len(str(caught.value)) < 400
    with pytest.raises(BadInput, match=r"larger than 0\.1 kB; give a policy"):
        read_toml(path, most=100, remedy="give a policy")


def test_what_is_nested_too_deep_is_said_without_the_words_of_python():
    with pytest.raises(BadInput, match=r"not JSON in UTF-8 \(it is nested too deep\); save it again"):
        parse_json_object('{"a": ' + "[" * 90_000 + "]" * 90_000 + "}")
