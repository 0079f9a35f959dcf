"""The compiled kernel: see `kernel/bindings.cpp`."""

import numpy as np

class TooMuchMemory(MemoryError):
    """Its message is the number of bytes that are needed."""

def list_instruction_sets() -> list[str]:
    """Name the instruction sets that the kernel can use on this processor, the best one last."""

def infer(
    image: np.ndarray,
    *,
    largest_value: float,
    origin: tuple[int, int],
    priors: np.ndarray,
    floor: float,
    row_of_pixel: np.ndarray | None,
    multiplicity: np.ndarray,
    theta: float,
    space_theta: float,
    color_scale: float,
    space_compat: float,
    color_compat: float,
    n_iterations: int,
    tolerance: float,
    exchanged_sides: bool,
    n_threads: int,
    max_bytes: int,
    instruction_set: str,
    want_probs: bool,
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Return winning lanes, probabilities, rounds, and the share of pixels that the last round changed."""
