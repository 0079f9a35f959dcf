"""Keeping the terminal clean of what compiled libraries print when they start, whatever they are told."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow() -> None:
    """Import TensorFlow and start it quietly."""
    if "tensorflow" in sys.modules:
        return
    with hold_messages():
        import tensorflow as tf

        tf.constant(0)
    # What it calls deprecated is no concern of a user.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def hold_messages() -> Iterator[None]:
    """Hold back everything that is written to standard error meanwhile; it is shown only if there is an error."""
    try:
        terminal = os.dup(2)
    except OSError:  # Standard error is closed: there is nothing to keep clean.
        yield
        return
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def make_deterministic(seed: int) -> None:
    """Give the same numbers on every run: some fast kernels add in any order, and new weights are random."""
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
