"""Loading TensorFlow without the lines about processor features and plug-ins that it prints whatever it is told."""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow and start it; what it prints meanwhile is shown only if it fails."""
    if "tensorflow" in sys.modules:
        return
    try:
        terminal = os.dup(2)
    except OSError:  # Standard error is closed: there is nothing to keep clean.
        import tensorflow  # noqa: F401

        return
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            import tensorflow as tf

            tf.constant(0)
        except BaseException:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
