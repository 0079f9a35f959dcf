"""Every dense network by its name. A new one is a file with such a dataclass, and an entry here."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hybridseg.errors import BadInput
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.resunet import ResUnet

if TYPE_CHECKING:
    import tf_keras


class Architecture(Protocol):
    """A frozen dataclass of checked settings that can build its network.

    The network takes normalized pixels, (n, rows, cols, n_bands) float32 with sides that `stride` divides, and returns
    scores, (n, rows, cols, n_outputs); one output means one class against the rest.

    A setting may be of any type that JSON holds: bool, int, float, str, a tuple or a dict of these, or None.
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
        """Return the network with random weights."""
        ...

    def start(self, network: tf_keras.Model, weights_path: Path | None = None) -> str:
        """Put pretrained weights into a new network; return in words which ones, for the user to read.

        Raises
        ------
        MissingInput, BadInput
            When `weights_path` cannot be read, or has weights of another network.
        """
        ...


ARCHITECTURES: dict[str, Any] = {kind.name: kind for kind in (Fcn8s, ResUnet)}


def architecture_record(architecture: Architecture) -> dict[str, Any]:
    """Return the name and all settings, JSON-ready."""
    return {"name": architecture.name, **asdict(architecture)}  # type: ignore[call-overload]


def parse_architecture(record: Any) -> Architecture:
    """Return the settings that a record holds.

    Raises
    ------
    BadInput
        For an unknown name, a missing or unknown setting, and one of another type than its annotation says.

    Examples
    --------
    >>> parse_architecture(architecture_record(ResUnet(n_bands=4, n_outputs=3))).n_bands
    4
    """
    name = record.get("name") if isinstance(record, dict) else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise BadInput(f"there is no such network; known are {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[name]
    hints = typing.get_type_hints(kind)
    expected = [field.name for field in fields(kind)]
    if record.keys() != {"name", *expected}:
        raise BadInput(f"the network {name} needs {', '.join(expected)}")
    settings = {}
    for key in expected:
        try:
            settings[key] = _parse_setting(record[key], hints[key])
        except (TypeError, OverflowError):
            raise BadInput(f"{key}={record[key]!r} of the network {name} is of the wrong type") from None
    return kind(**settings)


def _parse_setting(value: Any, hint: Any) -> Any:
    """Return a value of JSON as the type of an annotation; TypeError when it is of another type."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        for member in members:
            try:
                return _parse_setting(value, member)
            except TypeError:
                continue
    elif origin is tuple and isinstance(value, (list, tuple)):
        kinds = members[:1] * len(value) if members[-1] is ... else members
        if len(kinds) == len(value):
            return tuple(_parse_setting(part, kind) for part, kind in zip(value, kinds, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {_parse_setting(key, members[0]): _parse_setting(part, members[1]) for key, part in value.items()}
    elif hint is float:
        # JSON may write it as a whole number; it has no NaN.
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    # Not isinstance: a bool is an int to Python.
    elif type(value) is hint:
        return value
    raise TypeError(f"{value!r} is not {hint}")
