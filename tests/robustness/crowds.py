"""Attacks by many connections at once: what they hold is bounded in number and time, and the page is still there."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from hostile import Attack, Request, Site

N_THREADS = 16
N_HELD = 150
# How long a connection may take that asks for nothing: what `hybridseg.web` promises, and some time to notice.
MOST_SILENCE = 20.0


def send_at_once(attacks: Iterable[Attack], send: Callable[[Attack], None]) -> None:
    """Send attacks from many threads."""
    with ThreadPoolExecutor(N_THREADS) as pool:
        for _ in pool.map(send, attacks):
            pass


def hold(site: Site, n: int) -> tuple[int, list[str]]:
    """Open connections that say nothing, or say it drop by drop, headers as well as bodies; and ask as the person."""
    head = site.write(Request(f"/api/images/{site.image}/undo", "POST", {"Content-Length": "1000"}), admitted=False)
    n, faults, held = max(n, N_HELD), [], []
    with contextlib.ExitStack() as stack:
        for i in range(n):
            held.append(stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=5)))
            beginning = (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX:", head)[i % 3]
            with contextlib.suppress(OSError):
                held[-1].sendall(beginning)
        try:
            for _ in range(3):
                site.ask("/api/session")
                _drip(held)
        except (OSError, AssertionError, ValueError) as error:
            faults.append(f"{n} connections are held, and the person's page is not answered ({error!r})")
        n_open = _drip(held)
        if n_open > 100:
            faults.append(f"{n_open} connections are held at once")
    return n, faults


def outlast(site: Site, n: int) -> tuple[int, list[str]]:
    """Hold a few connections and let a drop fall each second: they are closed in time."""
    n = min(n, 12)
    faults, held = [], []
    head = site.write(Request(f"/api/images/{site.image}/undo", "POST", {"Content-Length": "1000"}), admitted=False)
    with contextlib.ExitStack() as stack:
        for i in range(n):
            held.append(stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=5)))
            held[-1].sendall((b"GET / HTTP/1.1\r\nX:", head)[i % 2])
        end = time.monotonic() + MOST_SILENCE
        while _drip(held) and time.monotonic() < end:
            time.sleep(0.5)
        if n_open := _drip(held):
            faults.append(f"{n_open} connections of {n} are held after {MOST_SILENCE:.0f} s")
    return n, faults


def _drip(connections: Iterable[socket.socket]) -> int:
    """Send a byte on each connection, and return how many are still open."""
    n_open = 0
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(b"x")
            connection.setblocking(False)
            try:
                n_open += connection.recv(1 << 16) != b""
            except BlockingIOError:
                n_open += 1
    return n_open


KINDS = {"idle connections": hold, "slow connections": outlast}
