"""Start a labelling session, or continue it: the images, where results go, and the labels to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, BadUsage, HybridSegError, Problem, join_names
from hybridseg.figures import FigureOptions
from hybridseg.io.atomic import claim_folder
from hybridseg.io.images import describe_image
from hybridseg.io.pairing import PEOPLE_DIR, find_images
from hybridseg.labelling.album import Album
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SpreadOptions
from hybridseg.labelling.suggesting import Suggester
from hybridseg.models.sam import Sam
from hybridseg.progress import Progress, no_progress


def check_together(*, review: bool, has_model: bool, has_sam: bool, has_masks: bool, has_import: bool) -> None:
    """Raise BadUsage unless what a person gives to `label` goes together."""
    if has_model and review:
        raise BadUsage("--model suggests labels to a person who draws; leave it out with --review")
    if has_sam and review:
        raise BadUsage("--sam-encoder and --sam-decoder are for the smart wand; leave them out with --review")
    if has_masks and (has_import or review):
        raise BadUsage("give --masks alone, without --import or --review")
    if has_import and review:
        raise BadUsage("--import is for labelling; --review shows the results that are there")


def open_session(
    inputs: Iterable[Path],
    *,
    table: ClassTable | None = None,
    out_dir: Path | None = None,
    annotator: str | None = None,
    masks_dir: Path | None = None,
    import_path: Path | None = None,
    options: SpreadOptions = SpreadOptions(),
    window: int = 500,
    figures: FigureOptions = FigureOptions(),
    sam_encoder: Path | None = None,
    sam_decoder: Path | None = None,
    suggester: Suggester | None = None,
    progress: Progress = no_progress,
) -> tuple[LabelSession, list[str]]:
    """Start a session on images, folders or patterns, or continue it.

    Parameters
    ----------
    annotator : str or None
        Who labels: strokes and results are kept apart from those of others, who share the class list.
    masks_dir, import_path
        Masks made by hand, or the labels of any tool, to start from.
    sam_encoder, sam_decoder : pathlib.Path or None
        ONNX files of the networks of SAM, both or none.
    suggester : Suggester or None
        A model that suggests labels; without a class list its classes are those of the session.

    Returns
    -------
    session : LabelSession
    told : list of str
        What the person should know of what was imported and of the model, a line each.

    Raises
    ------
    MissingInput, BadInput
        When no image can be labelled, the networks are not those of SAM, or the model knows none of the classes.
    MissingPackage
        When the networks need a package that is not installed.
    WriteFailed
        When nothing can be written where the results go.
    """
    if (sam_encoder is None) != (sam_decoder is None):
        raise BadUsage("give both networks of SAM: --sam-encoder and --sam-decoder")
    image_paths = find_images(inputs)
    _require_an_image(image_paths)
    sam = Sam(sam_encoder, sam_decoder) if sam_encoder and sam_decoder else None
    album = Album(image_paths, table=table, out_dir=out_dir, person=find_own_folder(annotator))
    for folder in {album.shelf.home(path) for path in image_paths}:
        claim_folder(folder)
    told = _meet_model(album, suggester) if suggester else []
    session = LabelSession(album, options=options, window=window, figures=figures, sam=sam, suggester=suggester)
    source = masks_dir or import_path
    told += session.import_all(source, masks_only=masks_dir is not None, progress=progress) if source else []
    return session, told


def _meet_model(album: Album, suggester: Suggester) -> list[str]:
    """Match the classes of a session with those of the model, or take those; return what the model does not know."""
    if album.table is None:
        album.use_classes(suggester.table, save=True)
        return []
    missing = suggester.match(album.table)
    return [f"the model does not know {join_names(missing)}: scribble on these"] if missing else []


def find_own_folder(annotator: str | None) -> Path:
    """Return where a person's strokes and results are kept, below the folder of the results of all; None: in that.

    Raises
    ------
    BadInput
        When no folder can have that name.
    """
    if annotator is None:
        return Path()
    if not re.fullmatch(r"\w[\w .'\u2019-]{0,59}", annotator) or annotator != annotator.strip(" ."):
        raise BadInput(
            f"--annotator {annotator[:60]!r} becomes the name of a folder: use up to 60 letters, digits, spaces, "
            "dots, apostrophes, - or _, and begin with a letter or digit"
        )
    return Path(PEOPLE_DIR) / annotator


def _require_an_image(paths: Sequence[Path]) -> None:
    """Raise BadInput when none of these can be opened; the page itself tells of single ones."""
    problems = []
    for path in paths:
        try:
            describe_image(path)
            return
        except HybridSegError as error:
            problems.append(Problem.of(path, error))
    raise BadInput("no image can be labelled:" + "".join(f"\n  {problem}" for problem in problems))
