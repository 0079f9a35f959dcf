from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from hybridseg.errors import BadInput
from hybridseg.models.cards import hash_bytes, list_versions, parse_fields, parse_value, read_card_file


@dataclass(frozen=True)
class Card:
    size: tuple[int, int]
    scores: dict[str, Any]


def read(path):
    return read_card_file(path, lambda record: parse_fields(Card, record, what="the card"), remedy="copy it again")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.json"


def test_a_card_is_read(path):
    path.write_text('{"format": 1, "size": [64, 96], "scores": {"iou": null, "classes": [1, "a"]}}')
    assert read(path) == Card((64, 96), {"iou": None, "classes": [1, "a"]})


@pytest.mark.parametrize(("content", "message"), [
    ("", "damaged, .*; copy it again"), ("{", "damaged"), ("[1]", "holds a list .*; copy it again"),
    ("{}", "damaged"), ('{"format": 2}', "another version"), ('{"format": 1, "format": 2}', "'format' stands twice"),
    ('{"format": 1, "size": [64, 96]}', "damaged .*the card needs size, scores"),
    ('{"format": 1, "size": [64, 96], "scores": {}, "more": 1}', "the card needs size, scores"),
    ('{"format": 1, "size": [64, 96.5], "scores": {}}', r"size=\[64, 96\.5\] of the card is of the wrong type"),
], ids=lambda text: text[:30])  # fmt: skip
def test_cards_that_are_refused(path, content, message):
    path.write_text(content)
    with pytest.raises(BadInput, match=rf"net\.json: .*{message}"):
        read(path)


def test_a_pipe_is_not_a_card(path):
    os.mkfifo(path)
    with pytest.raises(BadInput, match="not a file"):
        read(path)


def test_long_values_are_not_quoted_in_full():
    with pytest.raises(TypeError) as caught:
        parse_fields(Card, {"size": ["x" * 10_000], "scores": {}}, what="the card")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400, True, "1", None, [1.0]], ids=lambda v: str(v)[:9]
)
def test_what_is_not_a_float(value):
    with pytest.raises(TypeError):
        parse_value(value, float)


def test_where_a_model_comes_from():
    assert hash_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    versions = list_versions()
    assert {"hybridseg", "python", "tensorflow", "numpy"} <= versions.keys() and all(versions.values())
