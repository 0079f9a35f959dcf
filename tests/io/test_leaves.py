"""Each value and each name in JSON of our own, replaced by what it cannot be: a short, clear error or an answer."""

import copy
import json
import shutil

import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import HybridSegError
from hybridseg.hybrid.tilefolder import ClassList, read_class_list, write_class_list
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, read_strokes, write_strokes
from hybridseg.models.catalog import read_entry

LONG = "Ж\x1b " * 5000
VALUES = (LONG, "Ж" * 5000, None, 10**300, -1, [], {LONG: LONG}, [[["Ж" * 5000]]], True, 1e308)


def list_places(record, place=()):
    """List the keys and indices by which one gets to each value, the containers among them."""
    if place:
        yield place
    inner = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in inner:
        yield from list_places(value, (*place, key))


def spoil(record):
    """Make the records in which one value is another, or has another name."""
    for place in list_places(record):
        for value in (*VALUES, "name"):
            changed = copy.deepcopy(record)
            home = changed
            for key in place[:-1]:
                home = home[key]
            if value == "name":
                if isinstance(home, list):
                    continue
                home[LONG] = home.pop(place[-1])
            else:
                home[place[-1]] = value
            yield place, changed


def check(read, path):
    """Spoil a file in every way, and assert that what its reader says is short."""
    for place, record in spoil(json.loads(path.read_text(encoding="utf-8"))):
        path.write_text(json.dumps(record), encoding="utf-8")
        told = []
        try:
            read(path)
        except HybridSegError as error:
            told = [str(error)]
        for text in told:
            assert text.count("Ж") <= 200 and "\x1b" not in text and len(text) < 1500, (place, text)


def test_doodles(tmp_path):
    strokes = (Stroke("pen", 0, 3.0, ((1.0, 2.5),)),)
    log = StrokeLog("a.jpg", (4, 6), ClassTable.from_names(["water"]), strokes, 1.0)
    write_strokes(tmp_path / "a_doodles.json", log)
    check(read_strokes, tmp_path / "a_doodles.json")


def test_the_class_list_of_tiles(tmp_path):
    write_class_list(tmp_path, ClassList(ClassTable.from_names(["water", "sand"]), {"w": 0, "s": 1}))
    check(lambda path: read_class_list(path.parent), tmp_path / "classes.json")


@pytest.mark.slow
def test_the_card_of_a_classifier(tmp_path, tiny_model):
    for path in tiny_model.parent.glob("model.*"):
        shutil.copy2(path, tmp_path)
    check(lambda path: read_entry(path.with_suffix(".pb")), tmp_path / "model.json")
