"""One computation at a time for a page that moves on: outdated requests are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Newest:
    """Computes one answer at a time, and only the newest that was asked for."""

    def __init__(self) -> None:
        self._newest = 0
        self._counting, self._computing = threading.Lock(), threading.Lock()

    def ask(self, compute: Callable[[], T]) -> T | None:
        """Return what a function returns; None when a newer request came in between."""
        with self._counting:
            self._newest += 1
            mine = self._newest
        with self._computing:
            if mine != self._newest:
                return None
            found = compute()
        return found if mine == self._newest else None
