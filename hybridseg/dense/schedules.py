"""The learning rate of every epoch."""

from __future__ import annotations

from dataclasses import dataclass

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

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.ramp_epochs:
            return self.start + (self.top - self.start) / self.ramp_epochs * epoch
        beyond = epoch - self.ramp_epochs - self.sustain_epochs
        return self.top if beyond <= 0 else (self.top - self.bottom) * self.decay**beyond + self.bottom
