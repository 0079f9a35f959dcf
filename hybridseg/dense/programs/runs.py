"""The folder of a training run of `fcn` or `unet`: the network in it, or one of its checkpoints."""

from __future__ import annotations

from pathlib import Path

from hybridseg.batch.jobs import load_once
from hybridseg.dense.fit import CHECKPOINT_NAME, RunFolder
from hybridseg.errors import MissingInput
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.engines import LITERT

MODEL_NAME = "model.h5"


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
    path = run_dir / MODEL_NAME
    if checkpoint is not None:
        path = RunFolder(run_dir).weights_path(checkpoint)
    if not path.exists():
        numbers = sorted(int(p.stem[6:]) for p in run_dir.glob("epoch_*.h5") if p.stem[6:].isdecimal())
        kept = f"; there are the checkpoints {', '.join(map(str, numbers))}" if numbers else ""
        if (run_dir / CHECKPOINT_NAME).exists() and checkpoint is None:
            raise MissingInput(
                f"the training in {run_dir} is not finished{kept}; give its `hybridseg {program} train` command again, "
                "with --resume"
            )
        advice = " --checkpoint-interval 1" if checkpoint is not None else ""
        raise MissingInput(
            f"there is no {path}{kept}; train it with `hybridseg {program} train --name {run_dir.name}{advice} ...`"
        )
    return load_once(load_dense, path, engine=engine)
