"""How tests run: on all cores, each file in one worker, and as many random examples as there is time for."""

from __future__ import annotations

import gc
import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from hybridseg.machine import count_cores
from hybridseg.models.architectures import ARCHITECTURES
from hybridseg.models.encoders import ENCODERS

pytest_plugins = ("tests.sessions",)

# How long an example takes depends on what else the machine does.
settings.register_profile("hybridseg", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("hybridseg")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config, specs):
    """Divide the cores among the workers: they inherit these variables before they import numpy or TensorFlow."""
    share = max(1, count_cores() // len(specs))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(share))
    # A thread that waits for another leaves its core to the other workers.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep a file in one worker, where its fixtures are built once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def _others_are_undisturbed():
    """Take back how much a command of a test lets be logged; no test may leave anything else behind in this process."""
    loggers = [logging.getLogger(name) for name in ("hybridseg", "hybridseg.progress", "rasterio")]
    levels = [logger.level for logger in loggers]
    before = _list_shared_state()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    after = _list_shared_state()
    # What is new are variables that libraries set when they are loaded.
    assert not {name for name, value in before.items() if after.get(name) != value}


def _list_shared_state() -> dict[str, object]:
    state = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))}
    tables = {"architectures": dict(ARCHITECTURES), "encoders": dict(ENCODERS)}
    return {**state, **tables, "folder": Path.cwd(), "interrupts": signal.getsignal(signal.SIGINT)}


def pytest_collection_finish(session):
    """Look for garbage less often: thousands of tests and all of TensorFlow are none, and are looked at each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 30)
