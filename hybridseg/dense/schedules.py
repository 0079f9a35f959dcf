"""The learning rate of every epoch."""

from __future__ import annotations

from dataclasses import dataclass

from hybridseg.errors import BadInput


@dataclass(frozen=True)
class Schedule:
    """A ramp up, a plateau, and an exponential decay, as the published residual U-Net has it.

    Parameters
    ----------
    start : float
        Rate of the first epoch.
    top : float
        Rate after the ramp.
    bottom : float
        What the rate falls to.
    ramp_epochs : int
        Epochs from `start` to `top`; 0 begins at the top.
    sustain_epochs : float
        Epochs at the top.
    decay : float
        What is left of the distance to the bottom after each further epoch; 1 stays at the top.

    Raises
    ------
    BadInput
        For a value out of range.

    Examples
    --------
    >>> schedule = Schedule(start=0.0, top=1.0, bottom=0.0, ramp_epochs=2, sustain_epochs=1, decay=0.5)
    >>> [schedule.rate(epoch) for epoch in range(6)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.25]
    """

    start: float = 1e-4
    top: float = 1e-4
    bottom: float = 1e-4
    ramp_epochs: int = 0
    sustain_epochs: float = 0.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 <= self.start <= self.top < 1000 or not 0 <= self.bottom <= self.top or not self.top > 0:
            raise BadInput(
                f"learning rates from {self.start:g} over {self.top:g} to {self.bottom:g}: none may be below 0, and "
                "the middle one is the largest"
            )
        if self.ramp_epochs < 0 or self.sustain_epochs < 0 or not 0 < self.decay <= 1:
            raise BadInput("a schedule has 0 or more epochs of ramp and plateau, and a decay above 0 and at most 1")

    def rate(self, epoch: int) -> float:
        """Give the rate of an epoch, counted from 0."""
        if epoch < self.ramp_epochs:
            return self.start + (self.top - self.start) / self.ramp_epochs * epoch
        beyond = epoch - self.ramp_epochs - self.sustain_epochs
        return self.top if beyond <= 0 else (self.top - self.bottom) * self.decay**beyond + self.bottom
