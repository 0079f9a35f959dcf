"""Cut labelled images into tiles that are pure enough to train a classifier on: one folder for each class."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.batch.workers import open_pool
from hybridseg.classes import ClassTable, count_labels
from hybridseg.errors import BadInput, BadUsage, HybridSegError, Problem, WriteFailed, count_problems
from hybridseg.forecast import Weighted
from hybridseg.hybrid.purity import measure_purity
from hybridseg.hybrid.tilefolder import CLASSES_NAME, ClassList, read_class_list, read_made_from, write_class_list
from hybridseg.hybrid.tileplan import (
    MANIFEST_COLUMNS,
    ClassCount,
    PlannedImage,
    RetileOptions,
    TilePlan,
    warn_of_shares,
)
from hybridseg.io.atomic import check_nothing_lost, check_replaceable, publish_folder
from hybridseg.io.images import describe_image, read_rgb8, read_valid, write_image
from hybridseg.io.labelled import fit_labels
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output, remove_leftovers
from hybridseg.io.pairing import MANIFEST_NAME, Pair
from hybridseg.io.tables import read_csv, write_csv
from hybridseg.markup import count_of, render_table, render_text, short_path
from hybridseg.models.cards import hash_bytes
from hybridseg.progress import Progress, no_progress

logger = logging.getLogger(__name__)

COUNT_HEADER = ("class", "of the pixels", "pure windows", "of the windows", "tiles kept")

# Of a photo of half a megapixel.
_PLAN_SECONDS, _TILES_SECONDS = 0.04, 0.12


@dataclass(frozen=True)
class RetileResult:
    """The folder of the tiles, what it holds of each class, what a person should know of it, and the problems.

    Parameters
    ----------
    was_there : bool
        Whether an earlier call has cut these very tiles, so that nothing was written.
    """

    tiles_dir: Path
    counts: tuple[ClassCount, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    was_there: bool = False

    def __repr__(self) -> str:
        n_kept = self.n_kept
        what = (
            f"{count_of(sum(n_kept.values()), 'tile')} of {count_of(len(n_kept), 'class')} in "
            f"{short_path(self.tiles_dir)}"
        )
        warned = f"; warnings: {len(self.warnings)}" if self.warnings else ""
        return f"<RetileResult: {what}{warned}{count_problems(self.problems)}>"

    def _repr_html_(self) -> str:
        return render_table(COUNT_HEADER, self.list_rows()) + render_text(*self.warnings, *self.problems)

    def list_rows(self) -> list[tuple[object, ...]]:
        """Return the rows of a table of the counts, below `COUNT_HEADER`: one for each class, and one for all."""
        n_pixels, n_found = sum(c.n_pixels for c in self.counts), sum(c.n_found for c in self.counts)
        rows: list[tuple[object, ...]] = [
            (c.name, f"{c.n_pixels / n_pixels:.1%}", c.n_found, f"{c.n_found / n_found:.1%}", c.n_kept)
            for c in self.counts
        ]
        return [*rows, ("all classes", "", n_found, "", sum(c.n_kept for c in self.counts))]

    @property
    def n_found(self) -> dict[str, int]:
        """Number of pure windows of each class that has some."""
        return {count.name: count.n_found for count in self.counts if count.n_found}

    @property
    def n_kept(self) -> dict[str, int]:
        """Number of tiles of each class that has pure windows."""
        return {count.name: count.n_kept for count in self.counts if count.n_found}


def retile(
    pairs: Sequence[Pair],
    *,
    tiles_dir: str | os.PathLike[str],
    options: RetileOptions = RetileOptions(),
    table: ClassTable | None = None,
    n_jobs: int = 1,
    overwrite: bool = False,
    problems: Sequence[Problem] = (),
    progress: Progress = no_progress,
) -> RetileResult:
    """Write the pure tiles of all images into ``tiles_dir/CLASS/IMAGE_rROW_cCOL.jpg``, and two lists of them.

    ``tiles.csv`` lists the tiles, ``classes.json`` the classes.

    The folder appears when all of it is written. After an interruption the same call resumes where it stopped; when all
    is done it writes nothing.

    Parameters
    ----------
    pairs : sequence of Pair
        Images with their label maps, see `hybridseg.io.masks.find_labelled`.
    table : ClassTable or None
        The classes of label maps that do not name theirs.
    n_jobs : int
        Processes that read label maps and write tiles.
    overwrite : bool
        Replace `tiles_dir` if it exists.
    problems : sequence of Problem
        Those found while pairing; they are reported with the others.

    Returns
    -------
    RetileResult
        Its `problems` name each input that could not be used; the others are done.

    Raises
    ------
    OutputExists
        When `tiles_dir` exists, `overwrite` is not set, and other photos or settings would give other tiles.
    BadInput
        When no image contains a single pure window.
    WriteFailed
    """
    tiles_dir = Path(tiles_dir).resolve()
    inputs = [path for pair in pairs for path in (pair.labels_path, pair.image_path)]
    problems = list(problems)
    with lock_output(tiles_dir), open_pool(n_jobs) as pool:
        made_from = None if overwrite else read_made_from(tiles_dir)
        if made_from is None:
            _check_target(tiles_dir, inputs, overwrite=overwrite)
        images, unplanned = _plan_images(pool, pairs, options, table, progress)
        problems += unplanned
        if not any(len(image.rows) for image in images):
            raise _nothing_to_cut(problems, _explain_no_window(len(images), options) if images else "")
        plan = TilePlan.draw(images, options)
        fingerprint = _describe_set(plan)
        if made_from is not None:
            if made_from == fingerprint and _has_all_tiles(tiles_dir, plan):
                return _report(tiles_dir, plan, problems, was_there=True)
            _check_target(tiles_dir, inputs, overwrite=overwrite)
        partial_dir = _open_partial(tiles_dir, fingerprint)
        try:
            unread = _write_tiles(pool, plan, partial_dir, progress)
        except WriteFailed as error:
            # What is there stays: with more room, the next call begins with it.
            told = str(error.args[0]).replace(str(partial_dir), str(tiles_dir))
            raise WriteFailed(
                f"{told}; the same command goes on from the tiles in {partial_dir}, which you may remove"
            ) from error
        problems += unread
        if not any(keep.any() for keep in plan.kept):
            share = f"a share of {options.keep} keeps no tile at all; raise it (-b)"
            raise _nothing_to_cut(problems, "" if problems else share)
        remove_leftovers(partial_dir, below=True)
        # A photo that could not be read may be mended.
        _write_lists(partial_dir, plan, made_from=None if unread else fingerprint)
        publish_folder(partial_dir, tiles_dir)
    return _report(tiles_dir, plan, problems)


def _report(tiles_dir: Path, plan: TilePlan, problems: Sequence[Problem], *, was_there: bool = False) -> RetileResult:
    counts = plan.count_classes()
    warnings = warn_of_shares(counts, plan.options)
    return RetileResult(tiles_dir, tuple(counts), tuple(warnings), tuple(problems), was_there)


def place_tiles_dir(pairs: Sequence[Pair], *, beside_images: bool, options: RetileOptions) -> Path:
    """Return where tiles go unless one says so: ``tile_SIZE`` beside the label maps, or beside the images.

    Label maps below their images, where `split` puts them, count as beside them.

    Raises
    ------
    BadUsage
        When they lie in several folders.
    """

    def find_home(pair: Pair) -> Path:
        is_below = pair.image_path.parent in pair.labels_path.parents
        return (pair.image_path if beside_images or is_below else pair.labels_path).parent

    homes = set(map(find_home, pairs))
    if len(homes) > 1:
        raise BadUsage(
            f"the files lie in {len(homes)} folders ({', '.join(map(str, sorted(homes)[:3]))} ...); "
            "say where the tiles go: --out DIR"
        )
    return next(iter(homes), Path()) / f"tile_{options.tile_size}"


def _check_target(tiles_dir: Path, inputs: list[Path], *, overwrite: bool) -> None:
    """Refuse to replace a folder unless that was asked for and it holds nothing but tiles that `retile` wrote."""
    if not tiles_dir.exists():
        return
    check_replaceable(tiles_dir, MANIFEST_NAME, inputs, overwrite=overwrite)
    listed = {row["tile"] for row in read_csv(tiles_dir / MANIFEST_NAME, ("tile",))} | {MANIFEST_NAME}
    if read_class_list(tiles_dir) is not None:
        listed.add(CLASSES_NAME)
    check_nothing_lost(tiles_dir, lambda path: path.as_posix() in listed or str(path).startswith("eval_tiles"))


def _plan_image(pair: Pair, options: RetileOptions, table: ClassTable | None) -> PlannedImage:
    """Find the pure windows of one image.

    Raises
    ------
    HybridSegError
        When the label map or the image cannot be used, or their sizes differ.
    """
    labelmap = read_labelmap(pair.labels_path, table=table, with_seeds=False)
    own_table = labelmap.require_table(pair.labels_path)
    info, valid = describe_image(pair.image_path), read_valid(pair.image_path)
    labels = fit_labels(labelmap.labels, pair.labels_path, info, valid)
    purity = measure_purity(labels, n_classes=len(own_table), tile_size=options.tile_size, stride=options.stride)
    i, j = np.nonzero(purity.shares > options.purity)
    found = purity.rows[i], purity.cols[j], purity.classes[i, j], purity.shares[i, j]
    return PlannedImage(pair, own_table, *found, count_labels(labels)[: len(own_table)])


def _write_strip(strip: np.ndarray, cols: list[int], paths: list[Path]) -> None:
    """Write the tiles of one row of windows; those that an interrupted run has written are kept.

    Parameters
    ----------
    strip : numpy.ndarray
        (tile_size, image cols, bands).
    cols : list of int
        First column of each tile.
    """
    tile_size = strip.shape[0]
    for col, path in zip(cols, paths, strict=True):
        if not (path.exists() and path.stat().st_size):
            write_image(path, strip[:, col : col + tile_size], durable=False)


def _plan_images(
    pool: Any, pairs: Sequence[Pair], options: RetileOptions, table: ClassTable | None, progress: Progress
) -> tuple[list[PlannedImage], list[Problem]]:
    images, problems = [], []
    futures = [(pair, pool.submit(_plan_image, pair, options, table)) for pair in pairs]
    expected = Weighted(futures, _PLAN_SECONDS, after=len(pairs) * _TILES_SECONDS)
    for pair, future in progress(expected, label="measuring label maps"):
        try:
            images.append(future.result())
            logger.debug("%s has %d pure windows", pair.labels_path, len(images[-1].rows))
        except HybridSegError as error:
            problems.append(Problem.of(pair.labels_path, error))
    return images, problems


def _explain_no_window(n_images: int, options: RetileOptions) -> str:
    return (
        f"no window of {options.tile_size} pixels in {count_of(n_images, 'image')} has one class on more than "
        f"{options.purity:.0%} of it; lower the purity (-a) or the tile size (-t)"
    )


def _nothing_to_cut(problems: Sequence[Problem], reason: str) -> BadInput:
    lines = [*map(str, problems), *filter(None, [reason])] or ["no label map was given"]
    return BadInput("nothing to cut:\n" + "\n".join(f"  {line}" for line in lines))


def _describe_set(plan: TilePlan) -> str:
    """Return what is the same for the same tiles alone: a hash of the photos, their class lists and the settings."""
    sources = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for image in plan.images
        for path in (image.pair.labels_path, image.pair.image_path)
    ]
    tables = [image.table.names for image in plan.images]
    return hash_bytes(json.dumps([__version__, asdict(plan.options), sources, tables]).encode())[:12]


def _has_all_tiles(tiles_dir: Path, plan: TilePlan) -> bool:
    return all((tiles_dir / row["tile"]).exists() for row in plan.list_rows(tiles_dir) if row["kept"])


def _write_lists(tiles_dir: Path, plan: TilePlan, *, made_from: str | None) -> None:
    """Write the list of the tiles, and that of the classes with the folders that hold some."""
    rows = plan.list_rows(tiles_dir)
    write_csv(tiles_dir / MANIFEST_NAME, MANIFEST_COLUMNS, rows)
    with_tiles = {row["class"] for row in rows if row["kept"]}
    folders = [plan.folders[key] for key in plan.table.keys]
    places = {folder: i for i, folder in enumerate(folders) if folder in with_tiles}
    write_class_list(tiles_dir, ClassList(plan.table, places), made_from=made_from)


def _open_partial(tiles_dir: Path, fingerprint: str) -> Path:
    """Return the hidden folder for this very set of tiles; the leftovers of another set are removed."""
    partial_dir = tiles_dir.with_name(f".{tiles_dir.name}.{fingerprint}.partial")
    for leftover in tiles_dir.parent.iterdir():
        is_ours = re.fullmatch(rf"\.{re.escape(tiles_dir.name)}\.[0-9a-f]{{12}}\.partial", leftover.name)
        if is_ours and leftover != partial_dir:
            shutil.rmtree(leftover)
    return partial_dir


def _write_tiles(pool: Any, plan: TilePlan, partial_dir: Path, progress: Progress) -> list[Problem]:
    """Decode the images one by one here, while the pool encodes the tiles of the one before."""
    problems = []
    pending: deque[list[Future[None]]] = deque()
    expected = Weighted(list(zip(plan.images, plan.kept, strict=True)), _TILES_SECONDS)
    for image, keep in progress(expected, label="writing tiles"):
        if not keep.any():
            continue
        try:
            pixels = read_rgb8(image.pair.image_path)
        except HybridSegError as error:
            keep[:] = False
            problems.append(Problem.of(image.pair.image_path, error))
            continue
        paths = plan.place_tiles(image, partial_dir)
        futures = []
        for row in np.unique(image.rows[keep]):
            chosen = np.flatnonzero(keep & (image.rows == row))
            strip = pixels[row : row + plan.options.tile_size]
            cols = image.cols[chosen].tolist()
            futures.append(pool.submit(_write_strip, strip, cols, [paths[j] for j in chosen]))
        pending.append(futures)
        if len(pending) > 1:
            _wait_for(pending.popleft())
    while pending:
        _wait_for(pending.popleft())
    return problems


def _wait_for(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        future.result()
