"""Who may talk to the server: a one-time token in the address, a cookie and a key in exchange, and a request's origin.

Every page in every browser of this machine can reach the server. So it answers only the browser in which the person
opened the address, and there only its own page. The cookie is not enough: browsers send it to every port of a host, so
to the servers of other users of this machine. The key is in no cookie; the page keeps it where only pages of the same
port can read it, and sends it with each request for data.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
KEY_HEADER = "X-Page-Key"
_TOKEN_BYTES = 32


class Gate:
    """Distinguishes requests of the person who started the program from all others.

    Parameters
    ----------
    host : str
        The address on which the server listens.
    announce : callable
        Called with a new token each time one was used: it works once.
    """

    def __init__(self, *, host: str = "127.0.0.1", announce: Callable[[str], None] = lambda _: None) -> None:
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.key = secrets.token_urlsafe(_TOKEN_BYTES)
        # Browsers share cookies among all servers of a host: two sessions must not use the same name.
        self.cookie_name = f"hybridseg_{secrets.token_hex(4)}"
        self._cookies: tuple[str, ...] = ()
        self._announce = announce
        self._lock = threading.Lock()
        self._is_open = host not in LOOPBACK_NAMES
        self._names = LOOPBACK_NAMES | ({host, socket.gethostname().lower()} if self._is_open else set())

    def exchange(self, token: str) -> str | None:
        """Return the cookie for the token of the address; None when the token is wrong or was used before."""
        with self._lock:
            if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
                return None
            cookie = secrets.token_urlsafe(_TOKEN_BYTES)
            # Replaced, not changed: other threads read it without the lock.
            self._cookies = (*self._cookies, cookie)
            self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._announce(self.token)
        return cookie

    def knows(self, cookie: str) -> bool:
        """Return whether a cookie was issued here."""
        given = cookie.encode("utf-8", "replace")
        return any(secrets.compare_digest(given, known.encode()) for known in self._cookies)

    def admits(self, cookie: str, key: str) -> bool:
        """Return whether a request is of our own page in a browser that was let in: it has both secrets."""
        return self.knows(cookie) and secrets.compare_digest(key.encode("utf-8", "replace"), self.key.encode())

    def admits_host(self, host: str) -> bool:
        """Return whether a request addresses this server by one of its own names.

        Another site can make its own name resolve to this machine. The port is not checked: a tunnel has its own.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        # A numeric address cannot be the name of another site.
        return self._is_open and _is_address(name)

    def admits_origin(self, origin: str | None, host: str, *, is_change: bool) -> bool:
        """Return whether a request comes from a page of this server; a read may leave the origin out."""
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
