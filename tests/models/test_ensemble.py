from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.models.ensemble import Ensemble, list_members, order_columns
from hybridseg.models.store import TileClassifier


@dataclass
class Constant:
    probs: tuple[float, ...]
    name: str = "constant"

    def classify(self, tiles):
        return np.tile(np.array(self.probs, np.float32), (len(tiles), 1))


def make_classifier(names, probs, tile_size=8):
    return TileClassifier(Path(f"{'_'.join(names)}.pb"), ClassTable.from_names(names), tile_size, Constant(probs))


def test_the_first_gives_name_size_and_order():
    first, second = make_classifier(["a", "b"], (1, 0)), make_classifier(["b", "A"], (1, 0), tile_size=16)
    both = Ensemble((first, second))
    assert (both.path, both.tile_size, both.table) == (first.path, 8, first.table)
    assert list_members(both) == (first, second) and list_members(first) == (first,)


def test_other_classes_are_refused():
    with pytest.raises(BadInput, match=r"a_c\.pb has the classes a, c, but a_b\.pb has a, b"):
        Ensemble((make_classifier(["a", "b"], (1, 0)), make_classifier(["a", "c"], (1, 0))))
    with pytest.raises(BadInput, match="at least one"):
        Ensemble(())


def test_columns_are_matched_by_name():
    own, wanted = ClassTable.from_names(["c", "a", "b"]), ClassTable.from_names(["a", "b", "c"])
    assert order_columns(np.array([[0.7, 0.2, 0.1]]), own, wanted).tolist() == [[0.2, 0.1, 0.7]]
