"""Jobs of both methods that take no TensorFlow; a file of its own, so that other processes can import it.

In `log`, whose contents are no setting, each window that is computed leaves a file; what is called ``kill`` there ends
the process of a window, as often as it has bytes, and ``wait`` has the seconds that one takes.
"""

import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.dense.predict import PredictJob
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.models.ensemble import Ensemble
from hybridseg.models.store import TileClassifier
from tests.conftest import ByColor
from tests.dense.conftest import FakeDense


class LoggedDense(FakeDense):
    def __init__(self, path, log):
        super().__init__(by_place=True)
        self.path, self._log = path, log

    def predict(self, pixels):
        if (wait := self._log / "wait").exists():
            time.sleep(float(wait.read_text()))
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


class TileJob(SemsegJob):
    def load(self):
        table, path = ClassTable.from_names(["cliff", "veg", "water"]), self.model_paths[0]
        return Ensemble(tuple(TileClassifier(path, table, size, ByColor()) for size in (16, 24)))
