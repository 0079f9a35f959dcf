"""Make ground truth, as `label` and `crf` do."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.api.arguments import PATH_TYPES, Labels, find_path, find_table, list_paths
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import Model, PathLike, find_model
from hybridseg.classes import ClassTable
from hybridseg.cli.console import Console
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, BadUsage
from hybridseg.figures import FigureOptions
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.opening import check_together, open_session
from hybridseg.labelling.review import ReviewSession
from hybridseg.labelling.spread import DrawnSeeds, SpreadResult, read_seeds, spread_file
from hybridseg.labelling.spreading import SpreadOptions
from hybridseg.labelling.suggesting import Suggester
from hybridseg.progress import Progress
from hybridseg.suggestion import open_suggester

if TYPE_CHECKING:
    from hybridseg.web.serve import Page


@public_function(SpreadOptions)
def spread(
    photo: PathLike,
    scribbles: PathLike | Any,
    *,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    model: Model | PathLike | None = None,
    scale: float | None = SpreadOptions.scale,
    crf: CrfOptions | None = None,
    features: str = SpreadOptions.features,
    smoothness: int = SpreadOptions.smoothness,
    specks: int = SpreadOptions.specks,
    out: PathLike | None = None,
    overwrite: bool = False,
    figures: FigureOptions = FigureOptions(),
    progress: Progress | None = None,
) -> SpreadResult:
    """Spread scribbles to every pixel of a photo with a dense CRF; with `out`, write the result as ground truth.

    Parameters
    ----------
    photo
        The photo.
    scribbles
        A file: a ``.mat`` that has them, a picture of class ids or colours in which 255 or black is unlabelled,
        ``NAME_doodles.json``, or those of labelme, COCO or Doodler. Or an array of (rows, cols) whole numbers: 0 is
        unlabelled, class k is k + 1. Scribbled pixels keep their class.
    labels, colors
        The classes of scribbles that do not name theirs (a class file, a ClassTable or a list of names), and a file of
        their colours.
    model
        A model that suggests labels, which scribbles correct: a file, its folder, or what `open_model` returns. Classes
        are matched by name.
    crf
        CrfOptions: how the CRF spreads them; by default as it suits the features.
    out
        The folder of the files that the command writes, ``NAME_mres.mat`` and so on; by default none is written.
    overwrite
        Replace files that are there.

    Returns
    -------
    SpreadResult
        `labels`, `table`, `seeds` and `shares`, as a LabelMap has them. It is shown in a notebook.

    Examples
    --------
    >>> import hybridseg as hs
    >>> hs.spread("photo.jpg", "photo_doodles.json", out="masks")  # doctest: +SKIP
    <SpreadResult: 614 x 920 pixels, water 61%, sand 39%>
    """
    table, path = find_table(labels, colors), Path(photo)
    if isinstance(scribbles, PATH_TYPES):
        drawn = read_seeds(scribbles, path, table=table)
    else:
        drawn = _take_seeds(scribbles, table)
    options = SpreadOptions(scale, crf, features, smoothness=smoothness, specks=specks)
    return spread_file(
        path, drawn, options=options, out_dir=find_path(out), write=out is not None, overwrite=overwrite,
        figures=figures, suggester=_open_suggester(model), progress=progress or show_progress(),
    )  # fmt: skip


def _open_suggester(model: Model | PathLike | None) -> Suggester | None:
    if model is None:
        return None
    return open_suggester(model if isinstance(model, Model) else Model((find_model(model),)))


def _take_seeds(scribbles: Any, table: ClassTable | None) -> DrawnSeeds:
    seeds = np.asarray(scribbles)
    if table is None:
        raise BadUsage("an array of scribbles does not name its classes; give --labels")
    is_map = seeds.ndim == 2 and seeds.dtype.kind in "iu"
    if not is_map or not 0 <= seeds.min(initial=0) <= seeds.max(initial=0) <= len(table):
        raise BadInput(
            f"scribbles are (rows, cols) whole numbers from 0, unlabelled, to {len(table)}, the last class; not "
            f"{seeds.shape} of {seeds.dtype}"
        )
    if not seeds.any():
        raise BadInput("there are no scribbles: all is 0; draw some of each class first")
    return DrawnSeeds(seeds.astype(np.uint8), table)


@public_function(SpreadOptions)
def label(
    photos: PathLike | Iterable[PathLike],
    *,
    masks: PathLike | None = None,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    model: Model | PathLike | None = None,
    window: int = 500,
    scale: float | None = SpreadOptions.scale,
    crf: CrfOptions | None = None,
    features: str = SpreadOptions.features,
    others: float = SpreadOptions.others,
    smoothness: int = SpreadOptions.smoothness,
    specks: int = SpreadOptions.specks,
    out: PathLike | None = None,
    figures: FigureOptions = FigureOptions(),
    annotator: str | None = None,
    import_: PathLike | None = None,
    sam_encoder: PathLike | None = None,
    sam_decoder: PathLike | None = None,
    review: bool = False,
    port: int = 0,
    host: str = "127.0.0.1",
    i_know: bool = False,
    no_browser: bool = False,
    block: bool | None = None,
    progress: Progress | None = None,
) -> Page:
    """Label photos with scribbles, in the browser. Every stroke is on disk at once; the same call goes on.

    The page is served on this machine only, until it is stopped.

    Parameters
    ----------
    photos
        Photos, a folder, or a pattern.
    masks
        A folder of masks made by hand, to start from.
    labels, colors
        The classes (a class file, a ClassTable or a list of names), and a file of their colours; by default those of
        earlier work, and else the page asks.
    model
        A model that suggests labels before the first stroke, as for `spread`; without a class list, its classes are
        those of the session.
    window
        Side of the window in which the page walks over a photo, in pixels.
    crf
        CrfOptions: how the CRF spreads scribbles; by default as it suits the features.
    out
        The folder of the results; by default beside each photo.
    annotator
        Who labels: strokes and results are kept apart from those of others, in ``annotators/NAME``.
    import_
        Labels of any tool to start from, a model's too: a file, or a folder with one for each photo.
    sam_encoder, sam_decoder
        Both networks of Segment Anything as ONNX files, for the smart wand; they need onnxruntime and onnx.
    review
        Decide about the automatic results in this folder instead: accept, reject, mend. Of two folders: compare the
        results of two people or runs.
    port
        Port on which the page is served; by default the same as before, or any free one.
    host, i_know
        Another address of this machine to serve it on, and that others on the network can then listen in, since the
        connection is not encrypted.
    no_browser
        Do not open a browser.
    block
        Whether to wait here until the page is stopped, by Ctrl-C; by default in a script, not where lines are typed.

    Returns
    -------
    Page
        Its `address`, `stop()` and `wait()`. In a notebook it shows a link.

    Examples
    --------
    >>> import hybridseg as hs
    >>> page = hs.label("photos", labels=["water", "sand"])  # doctest: +SKIP
    >>> page.stop()  # doctest: +SKIP
    """
    from hybridseg.web.serve import (
        check_host,
        find_usual_port,
        open_comparison_page,
        open_label_page,
        open_review_page,
        serve,
    )

    console, paths, progress = Console(), list_paths(photos), progress or show_progress()
    check_together(
        review=review, has_model=model is not None, has_sam=sam_encoder is not None or sam_decoder is not None,
        has_masks=masks is not None, has_import=import_ is not None,
    )  # fmt: skip
    for warning in check_host(host, i_know=i_know):
        console.warn(warning)
    where: dict[str, Any] = {"host": host, "port": port, "usual_port": find_usual_port(find_path(out) or paths[0])}
    shared: dict[str, Any] = {
        "out_dir": find_path(out), "annotator": annotator, "window": window, "figures": figures,
        "options": SpreadOptions(scale, crf, features, others, smoothness, specks),
    }  # fmt: skip
    if review:
        if len(paths) > 2:
            raise BadUsage("--review shows the results in one folder, or compares those in two; give one or two")
        found = ReviewSession(*paths, progress=progress)
        open_page = partial(open_comparison_page, found)
        if len(paths) == 1:
            open_page = partial(open_review_page, Judging(found, table=find_table(labels, colors), **shared))
    else:
        session, told = open_session(
            paths, **shared, table=find_table(labels, colors), masks_dir=find_path(masks),
            import_path=find_path(import_), sam_encoder=find_path(sam_encoder), sam_decoder=find_path(sam_decoder),
            suggester=_open_suggester(model), progress=progress,
        )  # fmt: skip
        console.say_all(told)
        open_page = partial(open_label_page, session)
    wait = not _is_interactive() if block is None else block
    return serve(open_page, say=console.insist, open_browser=not no_browser, wait=wait, **where)


def _is_interactive() -> bool:
    """Return whether a person types lines, as in a notebook."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or "ipykernel" in sys.modules
