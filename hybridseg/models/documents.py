"""What is written about a model for others: ``MODEL_CARD.md`` for people, ``NAME.mlm.json`` for catalogs.

Both carry a hash of what they say, by which a file of the user, or one that a user has added to, is told from ours and
left alone; ours then gets another name.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hybridseg.errors import HybridSegError
from hybridseg.io.atomic import write_text
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_json
from hybridseg.io.textfiles import MAX_TEXT_BYTES, read_whole
from hybridseg.models.cards import hash_bytes
from hybridseg.models.catalog import ModelEntry
from hybridseg.models.modelcard import describe_model
from hybridseg.models.stacitem import make_item

CARD_NAME, ITEM_SUFFIX = "MODEL_CARD.md", ".mlm.json"
_DIGEST = "hybridseg:digest"
_MARK = re.compile(r"\n<!-- hybridseg: (?P<file>.*), (?P<digest>[0-9a-f]{64}) -->\n\Z")


def write_documents(entry: ModelEntry, folder: Path | None = None) -> list[Path]:
    """Write both files beside a model, or into a folder, and return their paths.

    Raises
    ------
    WriteFailed
    """
    folder = folder or entry.path.parent
    text = describe_model(entry)
    # Two models may not choose the same name at the same time.
    with lock_output(folder, inside=CARD_NAME, wait=True):
        card_place = next(place for place in _name_cards(entry, folder) if _may_replace(place, _owns_text, entry))
        write_text(card_place, f"{text}\n<!-- hybridseg: {entry.path.name}, {_digest(text)} -->\n")
        item = make_item(entry, folder)
        item_place = next(place for place in _name_items(entry, folder) if _may_replace(place, _owns_item, entry))
        item["properties"][_DIGEST] = _digest(item)
        write_json(item_place, item)
    return [card_place, item_place]


def _name_cards(entry: ModelEntry, folder: Path) -> Iterator[Path]:
    yield folder / CARD_NAME
    yield from (folder / f"{entry.path.stem}{ending}_{CARD_NAME}" for ending in _list_endings())


def _name_items(entry: ModelEntry, folder: Path) -> Iterator[Path]:
    return (folder / f"{entry.path.stem}{ending}{ITEM_SUFFIX}" for ending in _list_endings())


def _list_endings() -> Iterator[str]:
    yield ""
    yield from (f"_{number}" for number in itertools.count(2))


def _may_replace(place: Path, owns: Callable[[Path, ModelEntry], bool], entry: ModelEntry) -> bool:
    if not os.path.lexists(place):
        return True
    try:
        return place.is_file() and owns(place, entry)
    except (HybridSegError, OSError, ValueError):
        return False


def _owns_text(place: Path, entry: ModelEntry) -> bool:
    text = read_whole(place, most=MAX_TEXT_BYTES, remedy="").decode("utf-8")
    mark = _MARK.search(text)
    return mark is not None and (mark["file"], mark["digest"]) == (entry.path.name, _digest(text[: mark.start()]))


def _owns_item(place: Path, entry: ModelEntry) -> bool:
    item = read_json_object(place)
    try:
        digest, model = item["properties"].pop(_DIGEST), Path(item["assets"]["model"]["href"])
    except (TypeError, KeyError, AttributeError):
        return False
    return bool(digest == _digest(item) and model.name == entry.path.name)


def _digest(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hash_bytes(text.encode("utf-8", "surrogateescape"))
