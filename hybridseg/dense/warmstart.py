"""A warm start: a training that begins with the weights of a model, or a checkpoint, of an earlier one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hybridseg.batch.madeby import hash_file, list_changes
from hybridseg.dense.runs import describe_changes
from hybridseg.errors import BadInput, MissingInput, join_names
from hybridseg.io.jsonfiles import as_read
from hybridseg.markup import count_of
from hybridseg.models.architectures import architecture_record
from hybridseg.models.bundles import DenseCard, DenseModel, load_dense
from hybridseg.models.engines import TENSORFLOW

PYTORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
_REMEDY = "or leave --load out and train from the beginning"


def check_start(path: Path) -> None:
    """Raise MissingInput or BadInput, before any work, for a file that no training can start from."""
    if not path.exists():
        raise MissingInput(f"there is no {path} to start from; give a model or a checkpoint of a training, {_REMEDY}")
    if path.suffix.lower() in PYTORCH_SUFFIXES:
        raise BadInput(
            f"{path} is a file of PyTorch, whose weights these networks cannot take; give NAME.h5 of a training of "
            f"hybridseg, such as runs/NAME/checkpoints/CP_epoch10.h5, {_REMEDY}"
        )


def start_from(path: Path, model: DenseModel) -> str:
    """Give a new network the weights of an earlier training, and note it on its card; return in words which ones.

    Parameters
    ----------
    path : pathlib.Path
        ``NAME.h5`` with its card: the result or a checkpoint; or a folder that holds one.

    Raises
    ------
    MissingInput, BadInput
        When it is not there, damaged, or of another network; the message says what differs.
    """
    start = load_dense(path, engine=TENSORFLOW)
    _check(start.path, start.card, model.card)
    model.network.set_weights(start.network.get_weights())
    model.card = replace(model.card, training={"load": {"file": start.path.name, "sha256": hash_file(start.path)}})
    epoch = start.card.training.get("best_epoch")
    return f"starting from the weights of {start.path}" + (f", epoch {epoch} of its training" if epoch else "")


def _check(path: Path, start: DenseCard, wanted: DenseCard) -> None:
    """Raise BadInput where the network of an earlier training is not the one that is to be trained."""
    old, new = start.architecture, wanted.architecture
    if old.name != new.name:
        raise BadInput(f"{path} is a {old.name}, not a {new.name}; give a model of the same command, {_REMEDY}")
    if old.n_bands != new.n_bands:
        raise BadInput(
            f"{path} was trained on images of {count_of(old.n_bands, 'band')}, and these have {new.n_bands}; give "
            f"images of as many, {_REMEDY}"
        )
    if start.table.keys != wanted.table.keys:
        raise BadInput(
            f"{path} knows the classes {join_names(start.table.names)} in this order, and these masks have "
            f"{join_names(wanted.table.names)}; give masks or --labels with its classes, {_REMEDY}"
        )
    kinds = start.normalization.kind, wanted.normalization.kind
    if kinds[0] != kinds[1]:
        raise BadInput(
            f"{path} was trained on images that were normalized in another way ({kinds[0]}, here {kinds[1]}); give "
            f"images of the same type and the --normalization of that training, {_REMEDY}"
        )
    records = (as_read(architecture_record(one)) for one in (old, new))
    if changes := list_changes(*records):
        raise BadInput(f"{path} is a network with other settings ({describe_changes(changes)}); give those, {_REMEDY}")
