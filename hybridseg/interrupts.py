"""Ctrl-C where it must not cut short what goes on: it is answered later, or by a function."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_interrupt(answer: Callable[[], object]) -> Iterator[None]:
    """Call a function each time that Ctrl-C is pressed meanwhile, and nothing more.

    Only the main thread hears it; a program in the background of a script does not.
    """
    is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: answer())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Answer Ctrl-C only at the end: an import of compiled code that is cut short fails in odd ways, or goes on."""
    pressed: list[bool] = []
    try:
        with on_interrupt(lambda: pressed.append(True)):
            yield
    finally:
        # Whatever else went wrong: it was told to stop.
        if pressed:
            raise KeyboardInterrupt


@contextmanager
def shield_children() -> Iterator[None]:
    """Let the processes that are started meanwhile never hear Ctrl-C: this one decides what is done."""
    from multiprocessing import resource_tracker

    # It lifts the block when it starts, which it does with the first process.
    resource_tracker.ensure_running()
    # What is blocked stays so in new processes. Windows has no such thing.
    block: Callable[..., object] = getattr(signal, "pthread_sigmask", lambda *_: None)
    before = block(getattr(signal, "SIG_BLOCK", 0), {signal.SIGINT})
    try:
        yield
    finally:
        block(getattr(signal, "SIG_SETMASK", 0), before)
