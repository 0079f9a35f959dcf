"""Files from the web, by HTTP alone: of a bounded size, whole or absent, and never in the place of another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib import request
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from hybridseg import __version__
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.io.atomic import atomic_path

MAX_BYTES = 1_000_000_000
# Of silence, and of a whole file.
_TIMEOUT, _MOST_SECONDS = 30.0, 1800.0
_CHUNK = 1 << 16
_KEPT_SIGNS = ":/?#[]@!$&'()*+,;=%~"


class Unreachable(MissingInput):
    """A server did not answer at all."""


@cache
def _make_opener() -> request.OpenerDirector:
    """Make what opens addresses of HTTP and no others, wherever a server sends it."""
    opener = request.OpenerDirector()
    opener.addheaders = [("User-Agent", f"hybridseg/{__version__}")]
    for handler in (
        request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPRedirectHandler,
        request.HTTPErrorProcessor, request.HTTPDefaultErrorHandler, request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def download(url: str, path: Path, *, check: Callable[[Path], object], is_stopped: Callable[[], bool]) -> None:
    """Fetch a file.

    Parameters
    ----------
    check : callable
        Raises when what was fetched, at a temporary path, is not what was wanted.
    is_stopped : callable
        Returns whether to give up.

    Raises
    ------
    Unreachable
        When the server does not answer.
    MissingInput, BadInput
        When the address is none of HTTP, the server does not have the file, or it is too large or not whole.
    OutputExists
        When there is a file of this name.
    WriteFailed
    """
    find_host(url)
    with atomic_path(path, durable=False) as temporary:
        # A space or a letter with an accent, as some files have them.
        with _explained(url):
            answer = _make_opener().open(quote(url, safe=_KEPT_SIGNS), timeout=_TIMEOUT)
        with answer:
            _receive(answer, url, temporary, is_stopped)
        check(temporary)
        if os.path.lexists(path):
            raise OutputExists(f"{path} is there already")


def ask_headers(url: str) -> Mapping[str, str]:
    """Return what a server says of a file, without fetching it.

    Raises
    ------
    Unreachable, MissingInput
        As `download`.
    """
    asked = request.Request(quote(url, safe=_KEPT_SIGNS), method="HEAD")
    with _explained(url), _make_opener().open(asked, timeout=_TIMEOUT) as answer:
        return dict(answer.headers)


def ask_length(url: str) -> int:
    """Return how many bytes a server says that a file has, 0 where it does not say.

    Raises
    ------
    Unreachable, MissingInput
        As `download`.
    """
    stated = ask_headers(url).get("Content-Length", "")
    return int(stated) if stated.isdecimal() else 0


def find_host(url: str) -> str:
    """Return the server of an address; BadInput for one that is none of HTTP.

    Examples
    --------
    >>> find_host("https://example.org:8080/a.jpg")
    'example.org'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url[:200]} is no address of the web (http or https)")
    return parts.hostname


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say in a sentence why a connection failed."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise MissingInput(f"{url} cannot be had: the server says {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or reason
        raise Unreachable(f"{find_host(url)} cannot be reached ({text})") from error


def _receive(answer: HTTPResponse, url: str, path: Path, is_stopped: Callable[[], bool]) -> None:
    """Write what a server sends, as far as it is not too much."""
    stated, n_bytes, start = answer.headers.get("Content-Length"), 0, time.monotonic()
    too_large = f"{url} is larger than {MAX_BYTES // 1_000_000} MB; fetch it by hand"
    if stated is not None and stated.isdecimal() and int(stated) > MAX_BYTES:
        raise BadInput(too_large)
    with path.open("wb") as file:
        while True:
            with _explained(url):
                chunk = answer.read(_CHUNK)
            if not chunk:
                break
            n_bytes += len(chunk)
            if n_bytes > MAX_BYTES:
                raise BadInput(too_large)
            if is_stopped() or time.monotonic() - start > _MOST_SECONDS:
                raise BadInput(f"{url} was given up after {time.monotonic() - start:.0f} seconds")
            file.write(chunk)
    if stated is not None and stated != str(n_bytes):
        raise BadInput(f"{url} ended after {n_bytes:,} of {stated} bytes; try again")
