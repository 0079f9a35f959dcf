"""Serve a page from this machine until it is stopped."""

from __future__ import annotations

import logging
import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from flask import Flask

from hybridseg.errors import BadInput, BadUsage, WriteFailed
from hybridseg.labelling.entries import name_opaquely
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.review import ReviewSession
from hybridseg.labelling.session import LabelSession
from hybridseg.machine import share_freed_memory
from hybridseg.markup import count_of, escape_html, render_text
from hybridseg.progress import say_if_slow
from hybridseg.web.app import MAX_BODY_BYTES, MAX_IMPORT_BYTES, create_label_app
from hybridseg.web.connections import close_idle, limit_connections
from hybridseg.web.gate import LOOPBACK_NAMES, Gate
from hybridseg.web.reviewing import create_comparison_app, create_review_app

# A browser requests six tiles at once; previews and saves must not wait for them.
_N_THREADS = 12
# For the answers that are under way when it is stopped: accepting a result writes several files.
_GRACE_SECONDS = 20


class Page:
    """A page that this machine serves, in a thread of its own, until it is stopped. In a notebook it shows a link.

    Parameters
    ----------
    make_app : callable
        Returns the application for a gate.
    describe : callable
        Says in a line what the page is about.
    port : int
        0: any free port.
    usual_port : int
        The one to try first for port 0, so that a page that is still open finds the restarted program.
    is_drawn_on : bool
        Whether a person draws on it.
    announce : callable
        Called with a new address each time one was used: it works once.
    before_stop : callable
        Called when it is to stop: ends what requests may wait for. It may be called again, and so may the next.
    on_stop : callable
        Called when it has stopped.

    Raises
    ------
    WriteFailed
        When the port is in use.
    """

    def __init__(
        self,
        make_app: Callable[[Gate], Flask],
        *,
        describe: Callable[[], str],
        host: str = "127.0.0.1",
        port: int = 0,
        usual_port: int = 0,
        is_drawn_on: bool = True,
        announce: Callable[[str], None] = lambda address: None,
        before_stop: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        from waitress.server import create_server

        share_freed_memory()
        self.is_drawn_on = is_drawn_on
        self._listener = _listen(host, port, usual_port)
        shown = f"[{host}]" if ":" in host else host
        self._base = f"http://{shown}:{self._listener.getsockname()[1]}"
        self._gate = Gate(host=host, announce=lambda token: announce(self._spell(token)))
        self._describe, self._before_stop, self._on_stop = describe, before_stop, on_stop
        self._stopping = Event()
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self._server = create_server(
            make_app(self._gate), sockets=[self._listener], threads=_N_THREADS, max_request_body_size=MAX_IMPORT_BYTES,
            ident=None, map={},
        )  # fmt: skip
        limit_connections(self._server, self._gate, max_body_bytes=MAX_BODY_BYTES)
        self._thread = Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Page: {self._describe()}; {self.address if self.is_running else 'stopped'}>"

    def _repr_html_(self) -> str:
        if not self.is_running:
            return render_text(f"{self._describe()}; the page is stopped")
        link = f"<p><a href='{escape_html(self.address)}' target='_blank' rel='noopener'>Open the page</a>"
        return f"{link}: {escape_html(self._describe())}. The link works once; show this again for another.</p>"

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The address to open in a browser. It works once; then there is another one."""
        return self._spell(self._gate.token)

    @property
    def is_running(self) -> bool:
        """Whether it can be opened."""
        return not self._stopping.is_set()

    def _spell(self, token: str) -> str:
        return f"{self._base}/?token={token}"

    def _run(self) -> None:
        serving, channels = self._server.asyncore, self._server._map
        try:
            while self.is_running:
                serving.loop(timeout=1.0, map=channels, count=1, use_poll=True)
                close_idle(self._server)
        finally:
            self._stopping.set()
        with say_if_slow("finishing what the page asked for; press Ctrl-C again to stop at once"):
            self._server.task_dispatcher.shutdown(timeout=_GRACE_SECONDS)
        serving.close_all(channels, ignore_all=True)

    def open_browser(self) -> None:
        """Open it in the browser of this machine, if there is one."""
        # Some browsers block the caller until they are closed.
        Thread(target=webbrowser.open, args=(self.address,), daemon=True).start()

    def wait(self) -> None:
        """Wait until it is stopped, here by Ctrl-C."""
        try:
            with suppress(KeyboardInterrupt):
                # No thread: one whose `join` is interrupted may count as ended while it goes on.
                self._stopping.wait()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop it; all that was drawn is on disk. It may be called again."""
        if self.is_running:
            self._stopping.set()
            self._server.pull_trigger()
        self._before_stop()
        self._thread.join()
        self._on_stop()


def open_label_page(session: LabelSession, **where: Any) -> Page:
    """Serve the page on which images are labelled, see `Page`."""
    jobs, album = JobRunner(session), session.album
    Thread(target=session.open_ahead, daemon=True).start()
    return Page(
        lambda gate: create_label_app(session, jobs, gate), on_stop=jobs.close,
        describe=lambda: f"{album.n_done} of {count_of(len(album.entries), 'image')} done", **where,
    )  # fmt: skip


def open_review_page(judging: Judging, **where: Any) -> Page:
    """Serve the page that shows manual and automatic results side by side, see `Page`."""
    jobs, n_images = JobRunner(judging.session), len(judging.review.sort_items())
    return Page(
        lambda gate: create_review_app(judging, jobs, gate), before_stop=judging.review.copies.stop, on_stop=jobs.close,
        describe=lambda: f"{count_of(n_images, 'image')} to review", **where,
    )  # fmt: skip


def open_comparison_page(review: ReviewSession, **where: Any) -> Page:
    """Serve the page that shows the results of two people or runs side by side, see `Page`."""
    n_images = len(review.sort_items())
    return Page(
        lambda gate: create_comparison_app(review, gate), before_stop=review.copies.stop, is_drawn_on=False,
        describe=lambda: f"{count_of(n_images, 'image')} to compare", **where,
    )  # fmt: skip


def serve(
    open_page: Callable[..., Page],
    *,
    say: Callable[[str], None],
    open_browser: bool = True,
    wait: bool = True,
    **where: Any,
) -> Page:
    """Serve a page, until Ctrl-C or until it is stopped.

    Parameters
    ----------
    open_page : callable
        Returns the page, see `Page`.
    say : callable
        Prints a line.
    wait : bool
        Wait for Ctrl-C, and say what a person needs to know meanwhile.
    """

    def announce(address: str) -> None:
        # Keep serving when the output is closed.
        with suppress(OSError):
            say(f"Opened. For another browser, or to open it again: {address}")

    page = open_page(**where, **({"announce": announce} if wait else {}))
    try:
        if wait:
            say(f"Open this address in your browser (it works once): {page.address}")
            say("Stop with Ctrl-C: everything drawn is on disk." if page.is_drawn_on else "Stop with Ctrl-C.")
        if open_browser:
            page.open_browser()
        if wait:
            page.wait()
    except BaseException:
        page.stop()
        raise
    return page


def check_host(host: str, *, i_know: bool) -> list[str]:
    """Return what a person should know before a page is served on an address, if anything.

    Raises
    ------
    BadUsage
        When others can reach it, unless that was accepted.
    """
    if host in LOOPBACK_NAMES:
        return []
    if not i_know:
        raise BadUsage("--host lets others reach the page without encryption; add --i-know to accept that")
    return [
        f"the page is served on {host} without encryption. Whoever can read the traffic can use it; an ssh tunnel is "
        "safer."
    ]


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
