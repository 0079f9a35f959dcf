"""The learning rate of every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hybridseg.errors import BadInput
from hybridseg.options import Span, check_options, option


@dataclass(frozen=True)
class Schedule:
    """A ramp up, a plateau, and an exponential decay, as the published residual U-Net has it.

    Examples
    --------
    >>> schedule = Schedule(start=0.0, top=1.0, bottom=0.0, ramp_epochs=2, sustain_epochs=1, decay=0.5)
    >>> [schedule.learning_rate(epoch) for epoch in range(6)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.25]
    """

    start: float = option(1e-4, "Learning rate of the first epoch.", span=Span(0, 1000, below=True))
    top: float = option(1e-4, "Peak learning rate, after the ramp.", span=Span(0, 1000, above=True, below=True))
    bottom: float = option(1e-4, "Learning rate to which it decays.", span=Span(0, 1000, below=True))
    ramp_epochs: int = option(0, "Epochs from the first learning rate to the peak; 0 starts at the peak.", span=Span(0))
    sustain_epochs: float = option(0.0, "Epochs at the peak.", span=Span(0))
    decay: float = option(
        1.0,
        "Share of the distance to the lowest learning rate that is left after each further epoch; 1 stays at the peak.",
        span=Span(0, 1, above=True),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if max(self.start, self.bottom) > self.top:
            raise BadInput(
                f"the learning rate goes from {self.start:g} over {self.top:g} to {self.bottom:g}: the peak between "
                "them must be the largest"
            )

    def find_starts(self) -> dict[str, float]:
        """Return the epoch, counted from 0, that settings first have an effect on; of the ramp, the first at the peak.

        Examples
        --------
        >>> Schedule(ramp_epochs=2, sustain_epochs=10).find_starts()
        {'ramp_epochs': 2, 'sustain_epochs': 3, 'decay': 13}
        """
        ramp = self.ramp_epochs
        return {"ramp_epochs": ramp, "sustain_epochs": ramp + 1, "decay": ramp + self.sustain_epochs + 1}

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.ramp_epochs:
            return self.start + (self.top - self.start) / self.ramp_epochs * epoch
        beyond = epoch - self.ramp_epochs - self.sustain_epochs
        return self.top if beyond <= 0 else (self.top - self.bottom) * self.decay**beyond + self.bottom


@dataclass(frozen=True)
class CosineRestarts:
    """A cosine from the peak down, again and again, as Loshchilov and Hutter (2017) and the published U-Net have it.

    Examples
    --------
    >>> schedule = CosineRestarts(top=1.0, first_epochs=2, t_mul=1.0, m_mul=0.5, alpha=0.0)
    >>> [round(schedule.learning_rate(epoch), 3) for epoch in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    top: float = option(5e-3, "Peak learning rate.", span=Span(0, 1000, above=True, below=True))
    first_epochs: int = option(50, "Epochs before the first restart.", span=Span(1))
    t_mul: float = option(1.0, "How many times longer each period is than the one before.", span=Span(1, 100))
    m_mul: float = option(0.7, "Peak of each period, as a share of the one before.", span=Span(0, 1, above=True))
    alpha: float = option(0.1, "Lowest learning rate, as a share of the peak.", span=Span(0, 1))
    ramp_epochs: int = option(
        0, "Epochs before, in which the learning rate rises from a tenth to the peak.", span=Span(0)
    )

    def __post_init__(self) -> None:
        check_options(self)

    def find_starts(self) -> dict[str, float]:
        """Return the same as `Schedule.find_starts`; of the first period, the epoch of the restart."""
        restart = self.ramp_epochs + self.first_epochs
        return {
            "ramp_epochs": self.ramp_epochs, "first_epochs": restart, "m_mul": restart, "t_mul": restart + 1,
        }  # fmt: skip

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.ramp_epochs:
            return self.top * (0.1 + 0.9 * epoch / self.ramp_epochs)
        n, length, beyond = 0, float(self.first_epochs), float(epoch - self.ramp_epochs)
        while beyond >= length:
            n, beyond, length = n + 1, beyond - length, length * self.t_mul
        share = self.m_mul**n * (1 + math.cos(math.pi * beyond / length)) / 2
        return self.top * ((1 - self.alpha) * share + self.alpha)


@dataclass(frozen=True)
class CosineToEnd(CosineRestarts):
    """One period without a restart, which ends with the training: its length follows from the epochs, not a setting."""


def count_plateaus(losses: Sequence[Any], *, patience: int) -> int:
    """Return how many times what should fall has not become lower for `patience` epochs; 0 where `patience` is 0.

    Examples
    --------
    >>> count_plateaus([3, 2, 2, 2.5, 2, 2, 1], patience=2)
    2
    """
    best, n_waiting, n_plateaus = None, 0, 0
    for loss in losses if patience else ():
        best, n_waiting = (loss, 0) if best is None or loss < best else (best, n_waiting + 1)
        if n_waiting == patience:
            n_plateaus, n_waiting = n_plateaus + 1, 0
    return n_plateaus


def list_stops(n_steps: int, n_validations: int) -> list[int]:
    """Return after which steps of an epoch there is a validation: at the end of its even parts.

    Examples
    --------
    >>> list_stops(5, 2), list_stops(2, 8)
    ([3, 5], [1, 2])
    """
    return sorted({-(-n_steps * part // n_validations) for part in range(1, n_validations + 1)})
