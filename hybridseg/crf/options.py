"""The settings of the dense CRF."""

from __future__ import annotations

from dataclasses import dataclass

from hybridseg.errors import BadInput

ENGINES = ("auto", "native", "pydensecrf")


@dataclass(frozen=True)
class CrfOptions:
    """How far and how strongly pixels speak to one another.

    The defaults are the constants of Buscombe and Ritchie (2018).

    Parameters
    ----------
    theta : float
        Standard deviation of both kernels in the image plane, in pixels.
    space_theta : float or None
        That of the nearness kernel alone, where it differs; None: as `theta`.
    color_scale : float
        Standard deviation of the colour kernel, in grey levels of 0..255.
    space_compat, color_compat : float
        What it costs two near pixels, or two near pixels of like colour, to be of different classes. 0 leaves the
        term out.
    n_iterations : int
        At most so many rounds of mean field.
    tolerance : float
        Stop when fewer than this share of the pixels changed their class in a round; 0 goes all the rounds.
        `pydensecrf` has no such thing and always does.
    gt_prob : float
        How far a seed is trusted: the probability of its class at its pixel.
    engine : {"auto", "native", "pydensecrf"}
        ``auto`` takes the native kernel, and pydensecrf where that was not built.
    n_threads : int
        Of the native kernel; 0 is one for each core.
    max_memory : float
        In GiB. A larger image is worked on in overlapping blocks.
    reference_geometry : bool
        Exchange width and height in the nearness kernel, as the classic program does. Only to reproduce its results:
        it scrambles that kernel on images that are not square.

    Raises
    ------
    BadInput
        For a value out of range.
    """

    theta: float = 60.0
    color_scale: float = 1.0
    space_compat: float = 5.0
    color_compat: float = 100.0
    n_iterations: int = 20
    tolerance: float = 0.0005
    gt_prob: float = 0.5
    engine: str = "auto"
    n_threads: int = 0
    max_memory: float = 4.0
    reference_geometry: bool = False
    space_theta: float | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name in ("theta", "color_scale", "max_memory"):
            if not 0 < getattr(self, name) < 1e6:
                raise BadInput(f"{name}={getattr(self, name)} of the CRF must be above 0 (and below a million)")
        if self.space_theta is not None and not 0 < self.space_theta < 1e6:
            raise BadInput(f"space_theta={self.space_theta} of the CRF must be above 0 (and below a million)")
        for name in ("space_compat", "color_compat"):
            if not 0 <= getattr(self, name) < 1e6:
                raise BadInput(f"{name}={getattr(self, name)} of the CRF must be 0 or more (and below a million)")
        if not 1 <= self.n_iterations <= 10_000:
            raise BadInput(f"n_iterations={self.n_iterations} of the CRF must be from 1 to 10000")
        if not 0 <= self.tolerance < 1:
            raise BadInput(f"tolerance={self.tolerance} of the CRF is a share of the pixels, from 0 to below 1")
        if not 0 < self.gt_prob < 1:
            raise BadInput(f"gt_prob={self.gt_prob} of the CRF is a probability between 0 and 1")
        if self.engine not in ENGINES:
            raise BadInput(f"there is no CRF engine {self.engine!r}; choose {', '.join(ENGINES)}")
        if not 0 <= self.n_threads <= 1024:
            raise BadInput(f"n_threads={self.n_threads} of the CRF must be 0 (all cores) or a number of threads")

    @property
    def near_theta(self) -> float:
        """Give the standard deviation of the nearness kernel, in pixels."""
        return self.theta if self.space_theta is None else self.space_theta

    @property
    def reach(self) -> float:
        """Give the larger standard deviation of the two kernels, in pixels."""
        return max(self.theta, self.near_theta)
