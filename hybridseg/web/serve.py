"""Serve a page from this machine until it is stopped."""

from __future__ import annotations

import logging
import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from flask import Flask

from hybridseg.errors import BadInput, WriteFailed
from hybridseg.labelling.entries import name_opaquely
from hybridseg.web.app import MAX_IMPORT_BYTES
from hybridseg.web.gate import Gate

# A browser requests six tiles at once; previews and saves must not wait for them.
_N_THREADS = 12


def serve(
    make_app: Callable[[Gate], Flask],
    *,
    say: Callable[[str], None],
    host: str = "127.0.0.1",
    port: int = 0,
    usual_port: int = 0,
    open_browser: bool = True,
) -> None:
    """Serve an application until Ctrl-C.

    Parameters
    ----------
    make_app : callable
        Returns the application for a gate.
    say : callable
        Prints a line.
    port : int
        0: any free port.
    usual_port : int
        The one to try first for port 0, so that a page that is still open finds the restarted program.

    Raises
    ------
    WriteFailed
        When the port is in use.
    """
    from waitress.server import create_server

    listener = _listen(host, port, usual_port)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{listener.getsockname()[1]}"

    def announce(token: str) -> None:
        # Keep serving when the output is closed.
        with suppress(OSError):
            say(f"Opened. For another browser, or to open it again: {base}/?token={token}")

    gate = Gate(host=host, announce=announce)
    app = make_app(gate)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    server = create_server(
        app, sockets=[listener], threads=_N_THREADS, max_request_body_size=MAX_IMPORT_BYTES, ident=None
    )
    address = f"{base}/?token={gate.token}"
    say(f"Open this address in your browser (it works once): {address}")
    say("Stop with Ctrl-C: everything drawn is on disk.")
    if open_browser:
        # Some browsers block the caller until they are closed.
        Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    with listener:
        server.run()


def find_usual_port(folder: Path) -> int:
    """Return the port to try first for a folder: always the same, below the range of ephemeral ports."""
    return 20_000 + int(name_opaquely(folder), 16) % 10_000


def _listen(host: str, port: int, usual_port: int) -> socket.socket:
    if port == 0 and usual_port:
        with suppress(WriteFailed):
            return _listen(host, usual_port, 0)
    if not 0 <= port <= 65535:
        raise BadInput(f"there is no port {port}; give 0 (any free port) to 65535")
    listener = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        if listener is not None:
            listener.close()
        raise WriteFailed(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; give another --port, or 0 for any"
        ) from error
    return listener
