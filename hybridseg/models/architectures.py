"""Every dense network by its name. A new one is a file with such a dataclass, and an entry here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hybridseg.errors import BadInput
from hybridseg.models.cards import parse_fields
from hybridseg.models.encoders import Weights
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.resunet import ResUnet
from hybridseg.models.unet import Unet

if TYPE_CHECKING:
    import tf_keras


class Architecture(Protocol):
    """A frozen dataclass of checked settings that can build its network.

    The network takes normalized pixels, (n, rows, cols, n_bands) float32 with sides that `stride` divides, and returns
    scores, (n, rows, cols, n_outputs); one output means one class against the rest.

    A setting may be of any type that JSON holds: bool, int, float, str, a tuple or a dict of these, or None. Settings
    that cards of earlier versions lack have defaults, and stand in ``newer``.
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

    def start(self, network: tf_keras.Model, weights: Weights = None) -> str:
        """Load pretrained weights into a new network; return in words which ones, for the user to read.

        Raises
        ------
        MissingInput, BadInput
            When they cannot be read, or are those of another network.
        """
        ...

    def choose_weights(self, weights: Weights = None) -> Path | str:
        """Return what `start` loads: nothing (`RANDOM`), the weights of `IMAGENET`, or a file."""
        ...

    def find_encoder(self, network: tf_keras.Model) -> list[Any]:
        """Return the layers that have pretrained weights and can be kept as they are in training."""
        ...


ARCHITECTURES: dict[str, Any] = {kind.name: kind for kind in (Fcn8s, ResUnet, Unet)}


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
    settings = {key: value for key, value in record.items() if key != "name"}
    try:
        kind = ARCHITECTURES[name]
        return parse_fields(kind, settings, what=f"the network {name}", newer=getattr(kind, "newer", ()))
    except TypeError as error:
        raise BadInput(str(error)) from None
