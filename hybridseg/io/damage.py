"""What the libraries raise that decode files, and what they say besides: the one list, for every reader."""

from __future__ import annotations

import logging
import lzma
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from hybridseg.errors import BadInput, HybridSegError

_MAX_LETTERS = 160
# Whatever a decoder meets in a file that somebody forged: also an index, a division or a type that cannot be.
_BUILT_IN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError)
_OF_LIBRARIES = (RuntimeError, AssertionError, MemoryError, struct.error, zlib.error, lzma.LZMAError)
# Those that descend from none of them; of a library that is not imported there is nothing to catch.
_THEIR_OWN = (
    # Numpy takes apart a header that is no Python.
    *(("zipfile", "BadZipFile"), ("tokenize", "TokenError"), ("PIL.Image", "DecompressionBombError")),
    *(("rasterio.errors", "RasterioError"), ("rasterio._err", "CPLE_BaseError")),
)
# The libraries that warn of what is odd in a file.
_TALKATIVE = r"(PIL|imageio|rasterio)(\.|$)"


def list_damage() -> tuple[type[Exception], ...]:
    """Return the exceptions of Pillow, rasterio, GDAL, numpy and the standard library for a file that is damaged."""
    own = (getattr(sys.modules.get(module), name, None) for module, name in _THEIR_OWN)
    return (*_BUILT_IN, *_OF_LIBRARIES, *(kind for kind in own if kind is not None))


@contextmanager
def refuse_damage(
    where: object, *, what: str = "is damaged or cut short", remedy: str = "copy it again from its source"
) -> Iterator[None]:
    """Turn what a library raises for a damaged file into a BadInput that begins with the file.

    Examples
    --------
    >>> with refuse_damage("a.png"):
    ...     struct.unpack(">I", b"12")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: a.png is damaged or cut short (it ends too early); copy it again from its source
    """
    try:
        yield
    except HybridSegError:
        raise
    except MemoryError as error:
        raise BadInput(f"{where} is damaged, or too large for the memory of this machine; {remedy}") from error
    except list_damage() as error:
        raise BadInput(f"{where} {what} ({describe_damage(error)}); {remedy}") from error


def describe_damage(error: BaseException) -> str:
    """Return what a library said, in one short line."""
    cause = error.__cause__ or error
    if isinstance(cause, struct.error):
        return "it ends too early"
    if isinstance(cause, RecursionError):
        return "it is nested too deep"
    text = " ".join(str(cause).split()) or type(cause).__name__
    return text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]}..."


class _Silence:
    """Keeps warnings of the libraries from people, while any thread is inside: an image is read, or refused.

    Warning filters belong to the process: a thread that restored its own would let the others warn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._filters = warnings.catch_warnings()

    @contextmanager
    def __call__(self, *kinds: type[Warning]) -> Iterator[None]:
        with self._lock:
            if self._n_inside == 0:
                # What GDAL says goes to a log that prints where nobody listens.
                logging.getLogger("rasterio").addHandler(_NOWHERE)
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=_TALKATIVE)
            for kind in kinds:
                warnings.simplefilter("ignore", kind)
            self._n_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if self._n_inside == 0:
                    self._filters.__exit__(None, None, None)


_NOWHERE = logging.NullHandler()
hush = _Silence()
