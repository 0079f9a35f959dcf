"""One computation at a time for a page that moves on: outdated requests are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from hybridseg.progress import ended_by

T = TypeVar("T")


class _Outdated(Exception):
    """There is a newer request."""


class Newest:
    """Computes one answer at a time, and only the newest that was asked for, which ends an earlier one."""

    def __init__(self) -> None:
        self._newest = 0
        self._counting, self._computing = threading.Lock(), threading.Lock()

    def ask(self, compute: Callable[[], T]) -> T | None:
        """Return what a function returns; None when a newer request came in between."""
        with self._counting:
            self._newest += 1
            mine = self._newest

        def check() -> None:
            if mine != self._newest:
                raise _Outdated

        try:
            with self._computing, ended_by(check):
                check()
                found = compute()
                check()
                return found
        except _Outdated:
            return None
