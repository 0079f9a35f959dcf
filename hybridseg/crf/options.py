"""The settings of the dense CRF."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hybridseg.options import Span, check_options, option

ENGINES = ("auto", "native", "pydensecrf")
_LEAST_ROOM = 1 << 27
_POSITIVE, _WEIGHT = Span(0, 1e6, above=True, below=True), Span(0, 1e6, below=True)


@dataclass(frozen=True)
class CrfOptions:
    """How far and how strongly neighbouring pixels influence one another.

    The defaults are the constants of Buscombe and Ritchie (2018).

    An image of more than 4 megapixels is refined in overlapping blocks.
    """

    theta: float = option(60.0, "Width of the pairwise kernels, in pixels of the reduced image.", span=_POSITIVE)
    color_scale: float = option(1.0, "Width of the colour kernel, in grey levels of 0 to 255.", span=_POSITIVE)
    space_compat: float = option(5.0, "Weight of the nearness term; 0 leaves it out.", span=_WEIGHT)
    color_compat: float = option(100.0, "Weight of the colour term; 0 leaves it out.", span=_WEIGHT)
    n_iterations: int = option(20, "Largest number of mean field iterations.", span=Span(1, 10_000))
    tolerance: float = option(
        0.0005,
        "Stop iterating when fewer than this share of the pixels change class; 0 runs every iteration.",
        span=Span(0, 1, below=True),
    )
    gt_prob: float = option(
        0.5, "Trust in a seed: the probability of its class at its pixel.", span=Span(0, 1, above=True, below=True)
    )
    engine: str = option(
        "auto", "CRF engine; auto takes the compiled kernel, and pydensecrf where that was not built.", choices=ENGINES
    )
    n_threads: int = option(0, "Threads of the compiled kernel; 0 is one for each core.", span=Span(0, 1024))
    max_memory: float = option(
        4.0,
        "Memory that the CRF may take, in GiB; too little makes its blocks smaller, which changes a few pixels in a "
        "thousand.",
        span=_POSITIVE,
    )
    reference_geometry: bool = option(
        False, "Swap width and height in the nearness kernel, as the classic program does, to reproduce its results."
    )
    space_theta: float | None = option(
        None, "Width of the nearness kernel where it differs, in pixels.", span=_POSITIVE
    )

    def __post_init__(self) -> None:
        check_options(self)

    def widen(self, factor: float) -> CrfOptions:
        """Return the options for the same picture at another size: the pairwise kernels are `factor` times as wide."""
        space_theta = None if self.space_theta is None else self.space_theta * factor
        return replace(self, theta=self.theta * factor, space_theta=space_theta)

    def fit_room(self, room: int) -> CrfOptions:
        """Return the options with no more memory than half of so many bytes, but enough for a small block."""
        return replace(self, max_memory=min(self.max_memory, max(room, _LEAST_ROOM) / 2 / 2**30))

    @property
    def near_theta(self) -> float:
        """Standard deviation of the nearness kernel, in pixels."""
        return self.theta if self.space_theta is None else self.space_theta

    @property
    def reach(self) -> float:
        """The larger standard deviation of the two kernels, in pixels."""
        return max(self.theta, self.near_theta)
