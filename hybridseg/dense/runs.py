"""The folder of a training run: what its files are called, and the network in it or one of its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.batch.jobs import load_once
from hybridseg.errors import MissingInput
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.engines import LITERT

CHECKPOINT_NAME, BEST_NAME, LOG_NAME = "checkpoint.npz", "best.npz", "log.csv"
# The result of `fcn` and `unet`.
MODEL_NAME = "model.h5"
# As `RunFolder.weights_path` has it; a card lies beside the weights.
_NUMBERED = re.compile(r"epoch_(\d{4,})(\.card)?\.(h5|json)")


@dataclass(frozen=True)
class RunFolder:
    """Where the checkpoints and the log of a training run are.

    Parameters
    ----------
    settings : mapping
        Everything that the weights depend on except the number of epochs, JSON-ready: a run is resumed only with the
        settings that it began with.
    resume : bool
        Continue after the last finished epoch.
    """

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False

    def weights_path(self, epoch: int) -> Path:
        """Return the path of the weights of a numbered checkpoint."""
        return self.path / f"epoch_{epoch:04}.h5"

    def list_checkpoints(self) -> list[int]:
        """Return the numbers of the checkpoints that are there."""
        found = (_NUMBERED.fullmatch(path.name) for path in self.path.glob("*.h5"))
        return sorted(int(match[1]) for match in found if match)

    def clear(self) -> None:
        """Remove what an earlier run left: only files with the names of a run."""
        for path in self.path.iterdir():
            if path.name in (CHECKPOINT_NAME, BEST_NAME, LOG_NAME) or _NUMBERED.fullmatch(path.name):
                path.unlink()


def load_run(run_dir: Path, *, program: str, checkpoint: int | None = None, engine: str = LITERT) -> DenseModel:
    """Load the best network of a training run, or a numbered checkpoint.

    Parameters
    ----------
    program : str
        The group of commands that trains such a network.

    Raises
    ------
    MissingInput
        When it is not there; the message names the checkpoints that are.
    """
    folder = RunFolder(run_dir)
    path = run_dir / MODEL_NAME if checkpoint is None else folder.weights_path(checkpoint)
    if not path.exists():
        numbers = folder.list_checkpoints()
        kept = f"; there are the checkpoints {', '.join(map(str, numbers))}" if numbers else ""
        if (run_dir / CHECKPOINT_NAME).exists() and checkpoint is None:
            raise MissingInput(
                f"the training in {run_dir} is not finished{kept}; continue it with the same settings: `hybridseg "
                f"{program} train --resume ...`"
            )
        advice = " --checkpoint-interval 1" if checkpoint is not None else ""
        raise MissingInput(
            f"there is no {path}{kept}; train it with `hybridseg {program} train --name {run_dir.name}{advice} ...`"
        )
    return load_once(load_dense, path, engine=engine)
