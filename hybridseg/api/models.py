"""List, promote and describe the models that are there, as `models list`, `models promote` and `models card` do."""

from __future__ import annotations

import logging
from pathlib import Path

from hybridseg.api.arguments import find_path, list_paths
from hybridseg.api.calls import public_function
from hybridseg.apply import PathLike
from hybridseg.models.catalog import SCORES, ModelEntry, check_score, find_models, read_entry, sort_models
from hybridseg.models.documents import write_documents
from hybridseg.models.promotion import Promotion, choose_best
from hybridseg.models.promotion import promote_model as copy_best

logger = logging.getLogger(__name__)


@public_function()
def list_models(*places: PathLike, by: str = SCORES[0], on: str | None = None) -> tuple[ModelEntry, ...]:
    """List the models that are there, the best by a score first.

    Parameters
    ----------
    places
        Folders, in which and below which models are found by their cards, or models; by default the current folder.
    by
        The score: ``mean_iou``, ``dice``, ``accuracy``, ``precision`` or ``recall``.
    on
        ``validation`` or ``test``: where it was measured; by default what the model was chosen by.

    Returns
    -------
    tuple of ModelEntry
        Each with its `path`, `kind`, `scores`, `verdict` and `card`. Only scores that were measured on the same data
        (``measured[0].sha256``) can be compared.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.list_models("runs", by="dice")[0]  # doctest: +SKIP
    <ModelEntry: unet runs/coast/model.h5, mean_iou 0.668, dice 0.781, accuracy 0.852>
    """
    check_score(by, on)
    return tuple(sort_models(_find(places), by, on))


@public_function()
def promote_model(
    *places: PathLike,
    by: str = SCORES[0],
    on: str | None = None,
    to: PathLike = "models",
    name: str | None = None,
    overwrite: bool = False,
) -> Promotion:
    """Copy the best model by a score, with all that belongs to it, to the folder of the models in use.

    Parameters
    ----------
    places
        Models, or folders with some; by default the current folder.
    by, on
        The score, and where it was measured, as for `list_models`.
    to
        The folder; each model has a folder in it.
    name
        Of that folder; by default the name of the model.
    overwrite
        Replace another model that was promoted under this name.

    Returns
    -------
    Promotion
        With the `entry` of the copy, and the `contest`: what it won against.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.promote_model("runs", by="dice").entry.path  # doctest: +SKIP
    PosixPath('models/coast/model.h5')
    """
    check_score(by, on)
    return copy_best(choose_best(_find(places), by=by, on=on), Path(to), name=name, overwrite=overwrite)


@public_function()
def write_model_card(model: PathLike, *, out: PathLike | None = None) -> tuple[Path, ...]:
    """Write ``MODEL_CARD.md`` for people and ``NAME.mlm.json`` (STAC) for catalogs, and return their paths.

    Parameters
    ----------
    model
        ``NAME.pb``, ``NAME.h5``, or a folder that holds one of them.
    out
        The folder; by default that of the model.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.write_model_card("runs/coast")  # doctest: +SKIP
    (PosixPath('runs/coast/MODEL_CARD.md'), PosixPath('runs/coast/model.mlm.json'))
    """
    return tuple(write_documents(read_entry(Path(model)), find_path(out)))


def _find(places: tuple[PathLike, ...]) -> list[ModelEntry]:
    entries, problems = find_models(list_paths(places) or [Path()])
    for problem in problems:
        logger.warning("left out: %s", problem)
    return entries
