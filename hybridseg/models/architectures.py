"""Every dense network by its name. A new one is a file with such a dataclass, and a line here."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hybridseg.errors import BadInput
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.resunet import ResUnet

if TYPE_CHECKING:
    import tf_keras


class Architecture(Protocol):
    """What makes a network: frozen settings that are checked, and a way to build it.

    The network takes normalized pixels, (n, rows, cols, n_bands) float32 with sides that `stride` divides, and gives
    scores, (n, rows, cols, n_outputs); one output means one class against the rest.
    """

    name: ClassVar[str]
    stride: ClassVar[int]

    @property
    def n_bands(self) -> int:
        """Bands of the image."""
        ...

    @property
    def n_outputs(self) -> int:
        """Scores of each pixel."""
        ...

    def build(self) -> tf_keras.Model:
        """Make it with random weights."""
        ...


ARCHITECTURES: dict[str, Any] = {kind.name: kind for kind in (Fcn8s, ResUnet)}


def architecture_record(architecture: Architecture) -> dict[str, Any]:
    """Give the name and all settings, JSON-ready."""
    return {"name": architecture.name, **asdict(architecture)}  # type: ignore[call-overload]


def parse_architecture(record: Any) -> Architecture:
    """Rebuild the settings from a record; whatever is not exactly as it should be is refused.

    Raises
    ------
    BadInput

    Examples
    --------
    >>> parse_architecture(architecture_record(ResUnet(n_bands=4, n_outputs=3))).n_bands
    4
    """
    if not isinstance(record, dict) or str(record.get("name")) not in ARCHITECTURES:
        raise BadInput(f"there is no such network; known are {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[record["name"]]
    given = {name: value for name, value in record.items() if name != "name"}
    expected = {field.name: _example_of(field.type) for field in fields(kind)}
    if given.keys() != expected.keys():
        raise BadInput(f"the network {kind.name} needs {', '.join(expected)}")
    for name, value in given.items():
        if isinstance(value, list):
            given[name] = value = tuple(value)
        wanted = expected[name]
        members = value if isinstance(value, tuple) else ()
        if type(value) is not type(wanted) or any(type(member) is not int for member in members):
            raise BadInput(f"{name}={value!r} of the network {kind.name} is of the wrong type")
    return kind(**given)


def _example_of(annotation: object) -> Any:
    return {"int": 0, "str": "", "tuple[int, int]": (0, 0)}[str(annotation)]
