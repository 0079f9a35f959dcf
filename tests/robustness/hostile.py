"""What an attack on the labelling page is: bytes to be sent, and what may come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

REFUSED = frozenset({400, 403, 404, 405, 411, 413, 414, 415, 431, 501, 505})
FORBIDDEN = frozenset({400, 403})
# A connection without an answer.
CLOSED = 0


@dataclass(frozen=True)
class Attack:
    """Bytes to be sent, and what may come back.

    Parameters
    ----------
    may : frozenset of int
        Statuses of the answers; `CLOSED`: none at all, also because the server waits for more.
    most : int
        How many answers there may be.
    is_lawful : bool
        The person may do this: the answer may hold what is hers.
    """

    data: bytes
    may: frozenset[int] = REFUSED
    most: int = 1
    is_lawful: bool = False
    note: str = ""


@dataclass(frozen=True)
class Request:
    """What `Site.write` makes bytes of; a header that is None is left out."""

    target: str = "/api/session"
    method: str = "GET"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes = b""
    version: str = "HTTP/1.1"


class Site(Protocol):
    """The server that is attacked, as `attack.py` starts it."""

    port: int
    image: str
    token: str
    old_token: str
    key: str
    cookie: str
    other: str
    folder: Path
    canary: str

    def write(self, request: Request, *, admitted: bool = True) -> bytes:
        """Return a request as bytes: with the cookie and the key of the person, or without."""

    def ask(self, target: str) -> dict[str, Any]:
        """Return what the page of the person is told."""


Kind = Callable[[Random, Site], Attack]
