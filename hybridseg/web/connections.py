"""How much a connection may take, in time, bytes and number, before and after its browser was let in.

Whoever is let in may upload large files over a slow line. Whoever is not, has nothing to say that is long: other users
and the pages of other sites can open connections too, and must neither fill the disk nor keep the browser out.
"""

from __future__ import annotations

import copy
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from werkzeug.http import parse_cookie

from hybridseg.web.gate import KEY_HEADER, Gate

# Of one that is not let in: from its beginning, or the last answer, to the end of its next request.
MOST_SECONDS = 10.0
MOST_CONNECTIONS = 64
_LARGE_PATH = "/import"


def limit_connections(server: Any, gate: Gate, *, max_body_bytes: int) -> None:
    """Make a server take no longer bodies than `max_body_bytes`, but for the uploads of browsers that are let in."""
    small = copy.copy(server.adj)
    small.max_request_body_size = max_body_bytes

    class Request(HTTPRequestParser):
        """Knows from its headers, before the body is taken, whether it is of a browser that was let in."""

        def __init__(self, adj: Any, channel: Channel) -> None:
            super().__init__(adj)
            self.channel = channel

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            cookie = parse_cookie(self.headers.get("COOKIE")).get(gate.cookie_name, "")
            is_admitted = gate.admits(cookie, self.headers.get(KEY_HEADER.upper().replace("-", "_"), ""))
            self.channel.is_admitted = self.channel.is_admitted or is_admitted
            if not (is_admitted and self.path.endswith(_LARGE_PATH)):
                self.adj = small

    class Channel(HTTPChannel):
        """Knows whether its browser was let in."""

        is_admitted = False

        def parser_class(self, adj: Any) -> Request:
            return Request(adj, self)

    server.channel_class = Channel


def close_idle(server: Any) -> None:
    """Close connections of browsers that are not let in and take too long; and the oldest ones, when there are many."""
    idle = [channel for channel in list(server.active_channels.values()) if not channel.requests]
    # Those of the person come last, and among them the one that was used last.
    idle.sort(key=lambda c: (c.is_admitted, c.last_activity if c.is_admitted else c.creation_time))
    n_too_many = len(server.active_channels) - MOST_CONNECTIONS
    latest = time.time() - MOST_SECONDS
    for i, channel in enumerate(idle):
        if i < n_too_many or (not channel.is_admitted and channel.creation_time < latest):
            channel.will_close = True
