"""Starting TensorFlow: without the messages of compiled libraries, and so that every run gives the same numbers."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from hybridseg.interrupts import hold_interrupts
from hybridseg.progress import say_if_slow


def is_running() -> bool:
    """Return whether TensorFlow is at work in this process: it is too late then for what it must know at its start."""
    if "tensorflow" not in sys.modules:
        return False
    from tensorflow.python.eager import context

    return bool(context.context()._initialized)


def import_tensorflow(*, start: bool = True) -> None:
    """Import TensorFlow and start it quietly.

    Parameters
    ----------
    start : bool
        False: leave it at the import, for it may have to be told of other machines first.
    """
    if "tensorflow" in sys.modules and (not start or is_running()):
        return
    # Ours is tf_keras. Without this, TensorFlow also imports Keras 3, scikit-learn and pyplot: a third of its time.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with hold_interrupts(), say_if_slow("loading TensorFlow"), hold_messages():
        import tensorflow as tf

        if start:
            tf.constant(0)
    # Its deprecation warnings do not concern a user.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def hold_messages() -> Iterator[None]:
    """Hold back what is written to standard error, also by compiled code; it is shown only if an error is raised."""
    try:
        terminal = os.dup(2)
    except OSError:  # Standard error is closed.
        yield
        return
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def make_deterministic(seed: int) -> None:
    """Seed all random numbers, and choose kernels that add in a fixed order: every run then gives the same numbers."""
    import_tensorflow()
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
