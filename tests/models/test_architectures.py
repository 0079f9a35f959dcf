from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from hybridseg.errors import BadInput
from hybridseg.models.architectures import ARCHITECTURES, architecture_record, parse_architecture
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.resunet import ResUnet
from hybridseg.models.unet import Unet

EXAMPLES = (
    ResUnet(n_bands=4, n_outputs=1, kernel_size=(7, 3), filters=16, upsample="bilinear"),
    ResUnet(n_bands=1, n_outputs=9),
    Fcn8s(n_bands=3, n_outputs=5),
    Fcn8s(n_bands=12, n_outputs=2, backbone="vgg16", wide_channels=128),
    Unet(n_bands=5, n_outputs=1, encoder="efficientnet_b4", block="none", widths=(1024, 512, 256, 128), dropout=0.2),
    Unet(n_bands=3, n_outputs=4, encoder="none", block="residual"),
)


@pytest.mark.parametrize("architecture", EXAMPLES, ids=str)
def test_there_and_back_through_json(architecture):
    record = json.loads(json.dumps(architecture_record(architecture)))
    assert parse_architecture(record) == architecture
    assert record["name"] == architecture.name


def test_a_card_of_an_earlier_version_is_the_same_network():
    record = architecture_record(EXAMPLES[-1])
    del record["upsample"]
    assert parse_architecture(record) == EXAMPLES[-1]


def test_every_network_has_an_example_here():
    assert {type(example) for example in EXAMPLES} == set(ARCHITECTURES.values())


@pytest.mark.parametrize("record", [
    None, [], "resunet", 5, {}, {"name": "lambda"}, {"name": None}, {"name": ["resunet"]}, {"name": {"resunet": 1}},
    {"name": "ResUnet"},
], ids=str)  # fmt: skip
def test_what_names_no_network(record):
    with pytest.raises(BadInput, match="there is no such network; known are fcn8s, resunet, unet"):
        parse_architecture(record)


@pytest.mark.parametrize("example", [EXAMPLES[0], EXAMPLES[3]], ids=str)
def test_missing_and_extra_settings(example):
    record = architecture_record(example)
    for name in set(record) - {"name"}:
        with pytest.raises(BadInput, match=f"the network {example.name} needs .*{name}"):
            parse_architecture({key: value for key, value in record.items() if key != name})
    with pytest.raises(BadInput, match=f"the network {example.name} needs n_bands, n_outputs"):
        parse_architecture(record | {"activation": "lambda x: x"})
    with pytest.raises(BadInput, match="needs"):
        parse_architecture(record | {"stride": 1})


@pytest.mark.parametrize(("name", "value"), [
    ("n_bands", "3"), ("n_bands", 3.0), ("n_bands", True), ("n_bands", None), ("n_outputs", [2]), ("filters", {}),
    ("kernel_size", 3), ("kernel_size", "33"), ("kernel_size", [3.0, 3]), ("kernel_size", ["3", "3"]),
    ("kernel_size", [True, 3]), ("upsample", 1), ("upsample", ["bilinear"]),
], ids=str)  # fmt: skip
def test_values_of_the_wrong_type(name, value):
    record = architecture_record(EXAMPLES[0]) | {name: value}
    with pytest.raises(BadInput, match=f"{name}=.* of the network resunet is of the wrong type"):
        parse_architecture(record)


@dataclass(frozen=True)
class Everything:
    """Settings of every type that JSON holds."""

    name: ClassVar[str] = "everything"

    n_bands: int = 3
    rate: float = 0.5
    deep: bool = True
    head: str = "plain"
    sides: tuple[int, int] = (3, 5)
    rates: tuple[float, ...] = (0.5, 2.0, 4.0)
    size: tuple[int, int] | None = None
    widths: dict[str, int] | None = None


@pytest.fixture
def _everything(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "everything", Everything)


@pytest.mark.usefixtures("_everything")
@pytest.mark.parametrize("settings", [
    {}, {"rate": 1e-9, "deep": False, "rates": (), "size": (1, 2), "widths": {"a": 1, "b": 2}}, {"widths": {}},
], ids=str)  # fmt: skip
def test_settings_of_every_type_of_json(settings):
    expected = Everything(**settings)
    found = parse_architecture(json.loads(json.dumps(architecture_record(expected))))
    assert found == expected and repr(found) == repr(expected)


@pytest.mark.usefixtures("_everything")
def test_a_float_may_be_written_as_a_whole_number():
    found = parse_architecture(architecture_record(Everything()) | {"rate": 1, "rates": [1, 2]})
    assert found == Everything(rate=1.0, rates=(1.0, 2.0)) and type(found.rate) is type(found.rates[0]) is float


@pytest.mark.usefixtures("_everything")
@pytest.mark.parametrize(("name", "value"), [
    ("n_bands", True), ("n_bands", 3.0), ("n_bands", None), ("rate", True), ("rate", "0.5"), ("rate", None),
    ("rate", math.nan), ("rate", math.inf), ("rate", 10**400), ("deep", 1), ("deep", "true"), ("deep", None),
    ("head", None), ("head", 1), ("sides", [3]), ("sides", [3, 5, 7]), ("sides", [3, True]), ("sides", {"3": 5}),
    ("rates", ["a"]), ("rates", 0.5), ("rates", "12"), ("size", [1]), ("size", False), ("size", [1, 2.0]),
    ("widths", [1]), ("widths", {"a": "1"}), ("widths", {"a": None}),
], ids=str)  # fmt: skip
def test_settings_of_another_type_than_the_annotation(name, value):
    with pytest.raises(BadInput, match=f"{name}=.* of the network everything is of the wrong type"):
        parse_architecture(architecture_record(Everything()) | {name: value})


@pytest.mark.parametrize("values", [
    {"n_bands": 10**30}, {"n_outputs": 10**9}, {"filters": 10**6}, {"filters": -1}, {"kernel_size": [3, 10**9 + 1]},
    {"kernel_size": []}, {"kernel_size": [3]}, {"kernel_size": [3, 3, 3]}, {"upsample": "code"},
], ids=str)  # fmt: skip
def test_values_that_no_network_has(values):
    with pytest.raises(BadInput):
        parse_architecture(architecture_record(EXAMPLES[0]) | values)
    with pytest.raises(BadInput):
        parse_architecture(architecture_record(EXAMPLES[3]) | {"wide_channels": 10**9})
