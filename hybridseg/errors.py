"""Every error that a user can cause.

A message says what is wrong, where, what would be valid, and what to do next. Each kind also has a
built-in parent, so that ``except FileNotFoundError`` works for people who use the library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


class HybridSegError(Exception):
    """Anything that went wrong for a reason the user can fix."""


class MissingInput(HybridSegError, FileNotFoundError):
    """A file or folder that was requested does not exist."""


class BadInput(HybridSegError, ValueError):
    """A file, an array or an option holds something unusable."""


class BadUsage(BadInput):
    """Options were given that do not go together."""


class OutputExists(HybridSegError, FileExistsError):
    """The result exists already, and replacing it was not requested."""


class WriteFailed(HybridSegError, OSError):
    """The result could not be written (a full disk, a folder without permission)."""


class Conflict(HybridSegError):
    """Someone else changed what was to be changed."""


class MissingPackage(HybridSegError, ImportError):
    """A feature needs a package that is not installed."""


@dataclass(frozen=True)
class Problem:
    """One input of many that could not be used; the others are still processed.

    Examples
    --------
    >>> str(Problem("a_mres.mat", "has no image beside it"))
    'a_mres.mat: has no image beside it'
    """

    where: str
    message: str

    @classmethod
    def of(cls, path: object, error: Exception) -> Problem:
        """Make a problem from an error, whose message often begins with the path already."""
        message = str(error)
        return cls(str(path), message.removeprefix(f"{path}: ").removeprefix(f"{path} "))

    def __str__(self) -> str:
        """Return the line for a summary."""
        return f"{self.where}: {self.message}"


def count_problems(problems: Sequence[Problem]) -> str:
    """Return how a short line on a result ends: with the number of files that could not be used, if there are any.

    Examples
    --------
    >>> count_problems([Problem("a.jpg", "is damaged")])
    '; 1 file could not be used, see .problems'
    """
    n = len(problems)
    return f"; {n} file{'s' * (n > 1)} could not be used, see .problems" if n else ""


def list_problems(problems: Sequence[Problem], *, most: int = 20) -> str:
    """Return a line for each problem, as the end of a message; of more than `most` how many there are besides.

    Examples
    --------
    >>> print("unusable:" + list_problems([Problem("a.jpg", "is damaged"), Problem("b.jpg", "is empty")], most=1))
    unusable:
      a.jpg: is damaged
      and 1 more
    """
    lines = [str(problem) for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"and {len(problems) - most} more")
    return "".join(f"\n  {line}" for line in lines)


@contextmanager
def located(where: object) -> Iterator[None]:
    """Prefix the message of a BadInput with the file, and the line if known.

    Examples
    --------
    >>> with located("colors.txt, line 3"):
    ...     raise BadInput("'rde' is not a colour")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: colors.txt, line 3: 'rde' is not a colour
    """
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
