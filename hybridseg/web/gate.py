"""Who may talk to the server: a token in the address, a cookie made of it, and where a request says it comes from.

The server listens on this machine, where every page in every browser can reach it. So it answers only the browser to
which the person gave the address, and takes changes only from its own page.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_TOKEN_BYTES = 32


class Gate:
    """Tells the requests of the person who started the program from all others.

    Parameters
    ----------
    host : str
        The address on which the server listens.
    announce : callable
        Told of a new token each time one was used: it works once.
    """

    def __init__(self, *, host: str = "127.0.0.1", announce: Callable[[str], None] = lambda _: None) -> None:
        """Make the secrets of this run."""
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.csrf = secrets.token_urlsafe(_TOKEN_BYTES)
        # Browsers keep one set of cookies for all servers of a machine: two sessions must not share a name.
        self.cookie_name = f"hybridseg_{secrets.token_hex(4)}"
        self._cookies: tuple[str, ...] = ()
        self._announce = announce
        self._lock = threading.Lock()
        self._is_open = host not in _LOOPBACK_NAMES
        self._names = _LOOPBACK_NAMES | ({host, socket.gethostname().lower()} if self._is_open else set())

    def exchange(self, token: str) -> str | None:
        """Give the value of a cookie for the token of the address; None when it is not that, or was used before."""
        with self._lock:
            if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
                return None
            cookie = secrets.token_urlsafe(_TOKEN_BYTES)
            # Never changed in place: others look at it meanwhile.
            self._cookies = (*self._cookies, cookie)
            self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._announce(self.token)
        return cookie

    def knows(self, cookie: str) -> bool:
        """Tell whether a cookie was given out."""
        given = cookie.encode("utf-8", "replace")
        return any(secrets.compare_digest(given, known.encode()) for known in self._cookies)

    def checks_csrf(self, value: str) -> bool:
        """Tell whether a change carries what only the page knows."""
        return secrets.compare_digest(value.encode("utf-8", "replace"), self.csrf.encode())

    def admits_host(self, host: str) -> bool:
        """Tell whether a request was sent to this server by one of its own names.

        A page of another site can have its name point at this machine. The port is free: a tunnel has its own.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        # No foreign name can hide behind an address in numbers.
        return self._is_open and _is_address(name)

    def admits_origin(self, origin: str | None, host: str, *, is_change: bool) -> bool:
        """Tell whether a request comes from a page of this server; what changes nothing may leave it out."""
        if origin is None:
            return not is_change
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc == host and f"{parts.scheme}://{host}" == origin


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
