"""The folder of a training run: what its files are called, and the network in it or one of its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.batch.jobs import load_once
from hybridseg.batch.madeby import list_changes
from hybridseg.errors import BadInput, MissingInput, join_names
from hybridseg.io.jsonfiles import as_read
from hybridseg.markup import count_of
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.engines import LITERT

CHECKPOINT_NAME, BEST_NAME, LOG_NAME = "checkpoint.npz", "best.npz", "log.csv"
# The result of `fcn` and `unet`.
MODEL_NAME = "model.h5"
# The folder of numbered checkpoints, each with its card; earlier versions had epoch_0010.h5 in the folder of the run.
_NUMBERED_DIR = "checkpoints"
_NUMBERED = re.compile(r"CP_epoch(\d+)\.(h5|card\.json)|epoch_(\d{4,})(\.card)?\.(h5|json)")
# What the settings of a run are called on the command line, where that is something else.
_NAMES = {"top": "learning_rate", "n_crops": "crops", "first_epochs": "first_restart"}


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
        return self.path / _NUMBERED_DIR / f"CP_epoch{epoch}.h5"

    def list_checkpoints(self) -> dict[int, Path]:
        """Return the weights of the numbered checkpoints that are there, by their number."""
        found = [(_NUMBERED.fullmatch(path.name), path) for path in self._list_files() if path.suffix == ".h5"]
        return dict(sorted((int(match[1] or match[3]), path) for match, path in found if match))

    def accept(self, record: Mapping[str, Any], *, n_epochs: int) -> bool:
        """Return True if a recorded run can be continued with these settings, up to `n_epochs` in total.

        Raises
        ------
        BadInput
            When it cannot.
        """
        if "settings" not in record:
            raise BadInput(f"{self.path} holds a run of an earlier version; --overwrite starts over")
        changes = list_changes(record["settings"], as_read(dict(self.settings)))
        if changes:
            raise BadInput(
                f"{self.path} holds a run with other settings ({describe_changes(changes)}); give those again, or "
                "--overwrite to start over"
            )
        if len(record["history"]) > n_epochs:
            raise BadInput(
                f"{self.path} holds a run of {count_of(len(record['history']), 'epoch')} already; ask for at least as "
                "many"
            )
        return True

    def clear(self) -> None:
        """Remove what an earlier run left: only files with the names of a run."""
        for path in self._list_files():
            if path.name in (CHECKPOINT_NAME, BEST_NAME, LOG_NAME) or _NUMBERED.fullmatch(path.name):
                path.unlink()

    def _list_files(self) -> list[Path]:
        return [
            path for folder in (self.path, self.path / _NUMBERED_DIR) for path in folder.glob("*") if path.is_file()
        ]


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
    checkpoints = folder.list_checkpoints()
    path = run_dir / MODEL_NAME
    if checkpoint is not None:
        path = checkpoints.get(checkpoint, folder.weights_path(checkpoint))
    if not path.exists():
        kept = f"; there are the checkpoints {', '.join(map(str, checkpoints))}" if checkpoints else ""
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


def describe_changes(changes: Mapping[tuple[str, ...], tuple[Any, Any]]) -> str:
    """Return what `list_changes` found in the words of the options: the values of the run, where they can be given."""
    names = {key[-1] for key in changes}
    shown = {}
    for key, (before, _) in changes.items():
        # The other rates follow from the peak.
        if key[-1] in ("start", "bottom") and "top" in names:
            continue
        name = next((part for part in key if " " in part), _NAMES.get(key[-1], key[-1]))
        value = ",".join(f"{part:g}" for part in before) if isinstance(before, list) else before
        shown[name] = name if " " in name else f"no {name}" if before is None else f"{name}={value}"
    return join_names(shown.values(), 200)
