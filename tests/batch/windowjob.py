"""A job of a dense network that takes no TensorFlow; a file of its own, so that other processes can import it.

In `log`, whose contents are no setting, each window that is computed leaves a file; what is called ``kill`` there ends
the process of a window, as often as it has bytes.
"""

import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

from hybridseg.dense.predict import PredictJob
from tests.dense.conftest import FakeDense


class LoggedDense(FakeDense):
    def __init__(self, path, log):
        super().__init__(by_place=True)
        self.path, self._log = path, log

    def predict(self, pixels):
        kill = self._log / "kill"
        if kill.exists() and (n_left := len(kill.read_bytes())):
            kill.write_bytes(b"x" * (n_left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        (self._log / f"{uuid.uuid4()}.window").touch()
        return super().predict(pixels)


@dataclass(frozen=True)
class WindowJob(PredictJob):
    log: Path = Path()

    def load(self):
        return [LoggedDense(self.model_paths[0], self.log)]

    def count_windows(self):
        """Return how many were computed, and begin again."""
        return sum(path.unlink() is None for path in self.log.glob("*.window"))
