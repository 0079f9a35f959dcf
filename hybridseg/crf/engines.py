"""The two engines of mean-field inference: the native kernel, and pydensecrf as the reference."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridseg.crf.options import CrfOptions
from hybridseg.crf.priors import Priors
from hybridseg.errors import BadInput, MissingPackage
from hybridseg.machine import count_cores
from hybridseg.progress import checkpoint

GIB = 2**30
_BUILD_ADVICE = (
    "install a C++ compiler (Debian, Ubuntu: apt install g++ python3-dev) and run "
    f"{sys.executable} -m pip install --force-reinstall --no-deps . again in its folder"
)


class NeedsMoreMemory(Exception):
    """The work does not fit into `CrfOptions.max_memory`."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self.n_bytes = n_bytes


@dataclass(frozen=True, eq=False)
class MeanField:
    """The result of an engine for an image or a block of it.

    Parameters
    ----------
    lanes : numpy.ndarray
        (rows, cols) uint8: the lane of the highest probability; the first of equals.
    probs : numpy.ndarray or None
        (rows, cols, lanes) float32: the probability of one class of each lane.
    """

    lanes: np.ndarray
    probs: np.ndarray | None
    n_iterations: int


Engine = Callable[..., MeanField]


def run_native(
    image: np.ndarray,
    priors: Priors,
    *,
    options: CrfOptions,
    origin: tuple[int, int] = (0, 0),
    want_probs: bool = False,
    instruction_set: str = "",
) -> MeanField:
    """Run the compiled kernel of this package.

    Parameters
    ----------
    image : numpy.ndarray
        (rows, cols, bands) uint8 or float32.
    origin : (int, int)
        First row and column, when this is a block of a larger image.
    instruction_set : str
        ``plain``, ``avx2`` or ``avx512``; empty: the best that the processor has.

    Raises
    ------
    BadInput
        When `theta`, `space_theta` or `color_scale` is too small for the size or the colours of the image.
    NeedsMoreMemory
        When it would take more than ``options.max_memory``.
    """
    kernel = _load_kernel()
    try:
        lanes, probs, n_iterations, _ = kernel.infer(
            image,
            largest_value=float(image.max()),
            origin=origin,
            priors=priors.table,
            floor=priors.floor,
            row_of_pixel=priors.row_of_pixel,
            multiplicity=priors.multiplicity,
            theta=options.theta,
            space_theta=options.near_theta,
            color_scale=options.color_scale,
            space_compat=options.space_compat,
            color_compat=options.color_compat,
            n_iterations=options.n_iterations,
            tolerance=options.tolerance,
            exchanged_sides=options.reference_geometry,
            n_threads=options.n_threads or count_cores(),
            max_bytes=int(options.max_memory * GIB),
            instruction_set=instruction_set,
            want_probs=want_probs,
            checkpoint=checkpoint,
        )
    except OverflowError as error:
        thetas = f"theta={options.theta}"
        if options.space_theta is not None:
            thetas += f", space_theta={options.space_theta}"
        raise BadInput(
            f"{thetas} or color_scale={options.color_scale} of the CRF is too small for an image of "
            f"{image.shape[0]} x {image.shape[1]} pixels: positions in its lattice would overflow; give larger ones"
        ) from error
    except kernel.TooMuchMemory as error:
        raise NeedsMoreMemory(int(str(error))) from error
    return MeanField(lanes, probs if want_probs else None, n_iterations)


def run_pydensecrf(
    image: np.ndarray,
    priors: Priors,
    *,
    options: CrfOptions,
    origin: tuple[int, int] = (0, 0),
    want_probs: bool = False,
) -> MeanField:
    """Run pydensecrf, which gives every class a lane of its own; as `run_native`.

    `origin` has no effect: each block has a lattice of its own.
    """
    dcrf, pairwise = _import_pydensecrf()
    rows, cols = priors.shape
    n_labels = int(priors.multiplicity.sum())
    # Measured: it says nothing itself.
    n_bytes = rows * cols * (260 + 44 * n_labels)
    if n_bytes > options.max_memory * GIB:
        raise NeedsMoreMemory(n_bytes)
    energies = -np.log(np.maximum(priors.table, np.float32(priors.floor)))
    energies = np.repeat(energies, priors.multiplicity.astype(int), axis=1)
    if priors.row_of_pixel is not None:
        energies = energies[priors.row_of_pixel.ravel()]
    sides = (rows, cols) if options.reference_geometry else (cols, rows)
    field = dcrf.DenseCRF2D(*sides, n_labels)
    field.setUnaryEnergy(np.ascontiguousarray(energies.T))
    del energies
    terms = {"kernel": dcrf.DIAG_KERNEL, "normalization": dcrf.NORMALIZE_SYMMETRIC}
    if options.space_compat > 0:
        field.addPairwiseGaussian(sxy=(options.near_theta,) * 2, compat=options.space_compat, **terms)
    if options.color_compat > 0:
        scales = (options.color_scale,) * image.shape[2]
        features = pairwise(sdims=(options.theta,) * 2, schan=scales, img=image, chdim=2)
        field.addPairwiseEnergy(features, compat=options.color_compat, **terms)
    beliefs, spare, spare_too = field.startInference()
    for _ in range(options.n_iterations):
        checkpoint()
        field.stepInference(beliefs, spare, spare_too)
    probs = np.asarray(beliefs, np.float32)
    first_label = np.concatenate([[0], np.cumsum(priors.multiplicity)[:-1]]).astype(int)
    probs = np.ascontiguousarray(probs[first_label].T).reshape(rows, cols, priors.n_lanes)
    return MeanField(probs.argmax(axis=2).astype(np.uint8), probs if want_probs else None, options.n_iterations)


def choose_engine(name: str) -> tuple[str, Engine]:
    """Return the name of the engine that is used, and the engine.

    Raises
    ------
    MissingPackage
        When it is not installed; the message says how to install it.
    """
    if name == "native" or (name == "auto" and has_kernel()):
        if not has_kernel():
            raise MissingPackage(
                f"the CRF kernel of hybridseg was not built when it was installed; {_BUILD_ADVICE}, or use pydensecrf"
            )
        return "native", run_native
    if name == "auto" and importlib.util.find_spec("pydensecrf") is None:
        raise MissingPackage(
            f"no CRF engine is installed: the kernel of hybridseg was not built with it; {_BUILD_ADVICE}"
        )
    _import_pydensecrf()
    return "pydensecrf", run_pydensecrf


def has_kernel() -> bool:
    """Return whether the kernel was built and can be loaded."""
    try:
        _load_kernel()
    except ImportError:
        return False
    return True


def _load_kernel() -> Any:
    # Read when the kernel is loaded. Threads that wait for one another would spin for milliseconds, which the one that
    # they wait for has to do without where other programs run too: an image then took three times as long.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from hybridseg.crf import _kernel

    return _kernel


def _import_pydensecrf() -> tuple[Any, Any]:
    try:
        import pydensecrf.densecrf as dcrf
        from pydensecrf.utils import create_pairwise_bilateral
    except ImportError as error:
        raise MissingPackage(
            f"pydensecrf is not installed; {sys.executable} -m pip install pydensecrf2 builds it "
            "(Python 3.11 or 3.12 and a C++ compiler)"
        ) from error
    if not hasattr(dcrf, "DIAG_KERNEL"):
        raise MissingPackage(
            "pydensecrf lacks its constants (DIAG_KERNEL and others): it was built against a newer Cython; "
            f"{sys.executable} -m pip install --force-reinstall --no-deps --no-cache-dir pydensecrf2 rebuilds it "
            "(without --no-build-isolation)"
        )
    return dcrf, create_pairwise_bilateral
