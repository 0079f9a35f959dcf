"""The hook through which long work tells how far it is: a wrapper around an iterable.

The library calls it and knows nothing of terminals; the bars live in `hybridseg.cli`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a sequence of work items; `label` says what is being done to them."""

    def __call__(self, items: Sequence[Item], *, label: str) -> Iterable[Item]:
        """Give the items back one by one."""
        ...


def no_progress(items: Sequence[Item], *, label: str) -> Iterable[Item]:
    """Tell nobody: the default of every library function."""
    return items
