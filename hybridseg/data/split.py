"""Divide a folder of images into ``train/`` and ``test/``; everything that belongs to an image goes with it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridseg.classes import ClassTable
from hybridseg.data.splitplan import ACTIONS, FOLDERS, SETS, SplitEntry, SplitOptions, find_mask, plan_split
from hybridseg.errors import BadInput, BadUsage, OutputExists, Problem, WriteFailed, count_problems
from hybridseg.io.atomic import atomic_path
from hybridseg.io.jsonfiles import parse_json
from hybridseg.io.locks import holds_files, lock_output, remove_leftovers
from hybridseg.io.masks import find_split_masks
from hybridseg.io.pairing import MANIFEST_NAME, SPLIT_NAME, list_images
from hybridseg.io.tables import read_csv, write_csv
from hybridseg.markup import render_table, render_text, short_path
from hybridseg.progress import Progress, no_progress

LIST_COLUMNS = ("image", "set", "group", "action", "source", "companions", "masks_dir", "masks")
# Lists of before masks could have a folder of their own lack the last two.
_LEAST_COLUMNS = LIST_COLUMNS[:6]

# File systems differ in how exactly they keep the time of a copy.
_ONE_SECOND = 1_000_000_000


@dataclass(frozen=True)
class SplitResult:
    """Where the images went; `n_labelled` counts those that have a label map, `problems` those that stay behind."""

    out_dir: Path
    entries: tuple[SplitEntry, ...]
    n_labelled: int
    problems: tuple[Problem, ...]

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {self.count(name)}" for name in self._list_sets())
        return f"<SplitResult: {counts} in {short_path(self.out_dir)}{count_problems(self.problems)}>"

    def _repr_html_(self) -> str:
        rows = [(name, self.count(name), short_path(self.out_dir / name)) for name in self._list_sets()]
        return render_table(("set", "images", "folder"), rows) + render_text(*self.problems)

    def _list_sets(self) -> list[str]:
        return [name for name in FOLDERS if name in SETS or self.count(name)]

    def count(self, set_name: str) -> int:
        """Count the images of one set."""
        return sum(entry.set == set_name for entry in self.entries)

    @property
    def train_dir(self) -> Path:
        """The folder of the images for training."""
        return self.out_dir / "train"

    @property
    def test_dir(self) -> Path:
        """The folder of the images for testing."""
        return self.out_dir / "test"

    @property
    def train_masks(self) -> Path | None:
        """The folder of the masks of the images for training; None where they are beside their images."""
        return self._find_masks("train")

    @property
    def test_masks(self) -> Path | None:
        """The folder of the masks of the images for testing; None where they are beside their images."""
        return self._find_masks("test")

    def _find_masks(self, set_name: str) -> Path | None:
        home = self.entries[0].masks_dir
        return self.out_dir / set_name / Path(home).name if home else None


def split_folder(
    image_dir: str | os.PathLike[str],
    *,
    masks_dir: str | os.PathLike[str] | None = None,
    out_dir: str | os.PathLike[str] | None = None,
    options: SplitOptions = SplitOptions(),
    table: ClassTable | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> SplitResult:
    """Copy, move or link every image of a folder, with all that carries its name, to ``train/`` or ``test/``.

    An image that cannot be opened stays where it is, with its files. The list of the others is written before the
    first file is moved, so the same call resumes an interrupted run.

    Parameters
    ----------
    masks_dir : path-like or None
        A folder of masks that go with their images, to a folder of the same name in ``train/`` and ``test/``; default:
        where an earlier split put them, if any.
    table : ClassTable or None
        The classes of label maps that do not name theirs, to stratify by.
    out_dir : path-like or None
        Gets ``train/``, ``test/`` and ``split.csv``; default: the folder that `image_dir` is in.
    overwrite : bool
        Replace an earlier split. Only copies that its ``split.csv`` lists are removed, and only while their
        originals are there.

    Raises
    ------
    MissingInput, BadInput
        When there is no such folder, or it has no images.
    OutputExists
        When ``train/`` or ``test/`` already hold something else and `overwrite` is not set.
    WriteFailed
    BadUsage
        For a `table` that would not be used.
    """
    if table is not None and not options.stratify:
        raise BadUsage("--labels is for --stratify; a split without it does not read the label maps")
    source_dir = _resolve(image_dir)
    target_dir = _resolve(out_dir) if out_dir is not None else source_dir.parent
    if source_dir in (target_dir / name for name in FOLDERS):
        raise BadInput(f"{source_dir} would be split into itself; give --out for another place")
    own_dir = _resolve(masks_dir or find_split_masks(source_dir) or source_dir)
    # Before the folder is looked at: another run may be moving its files.
    with lock_output(target_dir / SPLIT_NAME):
        earlier = read_split(target_dir / SPLIT_NAME)
        entries, problems = plan_split(
            source_dir,
            masks_dir=own_dir if own_dir != source_dir else None,
            target_dir=target_dir,
            options=options,
            table=table,
            earlier=earlier,
        )
        if entries != earlier:
            _refuse_mixing(target_dir, earlier, overwrite=overwrite)
            _remove_earlier(target_dir, earlier)
            write_csv(target_dir / SPLIT_NAME, LIST_COLUMNS, [_to_row(entry) for entry in entries])
        targets = {(target_dir / entry.set / name).parent for entry in entries for _, name in entry.list_files()}
        for folder in targets.union(target_dir / name for name in SETS):
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
        for entry in progress(entries, label="splitting"):
            for source, name in entry.list_files():
                place_file(source, target_dir / entry.set / name, action=entry.action)
    n_labelled = sum(find_mask(entry) is not None for entry in entries)
    return SplitResult(target_dir, tuple(entries), n_labelled, tuple(problems))


def _refuse_mixing(target_dir: Path, earlier: list[SplitEntry], *, overwrite: bool) -> None:
    """Raise before unlisted files would be mixed in or lost."""
    for name in FOLDERS:
        if os.path.lexists(target_dir / name) and not (target_dir / name).is_dir():
            what = "a file" if (target_dir / name).exists() else "a link to nothing"
            raise BadInput(f"{target_dir / name} is {what}; move it away, or give --out for another place")
    occupied = [name for name in FOLDERS if holds_files(target_dir / name)]
    if not occupied:
        return
    folders = " and ".join(str(target_dir / name) for name in occupied)
    if not overwrite:
        raise OutputExists(
            f"{folders} already hold files; give --overwrite to replace them, or --out for another place"
        )
    stale = [str(path.parent) for name in occupied for path in sorted((target_dir / name).glob(f"*/{MANIFEST_NAME}"))]
    if stale:
        raise OutputExists(
            f"{' and '.join(stale)} was cut from the images of the earlier split, so training tiles would show test "
            "images; remove it first, or give --out for another place"
        )
    _refuse_loss(target_dir, earlier)


def _refuse_loss(target_dir: Path, earlier: list[SplitEntry]) -> None:
    """Raise unless the earlier split lists every image that is there, as it was copied, and all originals are there."""
    listed = {
        target_dir / entry.set / name: (source, entry.action)
        for entry in earlier
        for source, name in entry.list_files()
    }
    for name in FOLDERS:
        for path in list_images(target_dir / name) if (target_dir / name).is_dir() else ():
            if path not in listed:
                raise OutputExists(f"{path} was not put there by an earlier split; move it away first")
    there = {path: entry for path, entry in listed.items() if path.exists()}
    for path, (source, action) in there.items():
        if action == "move" or not source.exists():
            raise OutputExists(f"{path} may be the only copy (its original is gone); move it away first")
    for path, (source, action) in there.items():
        if action == "copy" and path.stat().st_mtime_ns > source.stat().st_mtime_ns + _ONE_SECOND:
            raise OutputExists(f"{path} was changed after it was copied from {source}; move it away first")


def _remove_earlier(target_dir: Path, earlier: list[SplitEntry]) -> None:
    """Remove the copies and links of an earlier split; `_refuse_loss` has checked their originals."""
    for entry in earlier:
        for _, name in entry.list_files():
            (target_dir / entry.set / name).unlink(missing_ok=True)


def place_file(source: Path, target: Path, *, action: str) -> None:
    """Copy, link or move one file, unless that was done before an interruption."""
    if action == "move":
        _move_file(source, target)
    elif not (target.exists() or target.is_symlink()):
        with atomic_path(target, durable=False) as temporary:
            if action == "link":
                temporary.symlink_to(source)
            else:
                shutil.copy2(source, temporary)


def _move_file(source: Path, target: Path) -> None:
    if not (source.exists() or source.is_symlink()):
        return
    if target.exists() or target.is_symlink():
        raise OutputExists(f"{target} is there already, and {source} would replace it; move one of them away")
    if source.is_symlink():
        # A relative link would break at its new place.
        with atomic_path(target, durable=False) as temporary:
            temporary.symlink_to(source.resolve())
        source.unlink()
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise WriteFailed(f"could not move {source} to {target}: {error.strerror or error}") from error
        # Another disk: the original is removed only when the copy is safe.
        with atomic_path(target) as temporary:
            shutil.copy2(source, temporary)
        source.unlink()


def _resolve(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{path} is not a usable folder: {error}") from error


def _to_row(entry: SplitEntry) -> dict[str, Any]:
    return {
        "image": entry.image,
        "set": entry.set,
        "group": entry.group,
        "action": entry.action,
        "source": entry.source,
        "companions": json.dumps(entry.companions, ensure_ascii=False),
        "masks_dir": entry.masks_dir,
        "masks": json.dumps(entry.masks, ensure_ascii=False),
    }


def read_split(path: Path) -> list[SplitEntry]:
    """Read the list of an earlier split; nothing where there is none.

    Raises
    ------
    BadInput
        When it is of something else.
    """
    if not path.exists():
        return []
    entries = []
    for row in read_csv(path, _LEAST_COLUMNS):
        companions, masks = _parse_names(row["companions"]), _parse_names(row.get("masks") or "[]")
        is_ours = row["set"] in FOLDERS and row["action"] in ACTIONS
        if companions is None or masks is None or not is_ours:
            raise BadInput(f"{path} was not written by this program; move it away and split again")
        names = (row["image"], *companions, *masks)
        image, set_name, group, action, source = (row[name] for name in _LEAST_COLUMNS[:5])
        entry = SplitEntry(image, set_name, group, action, source, companions, row.get("masks_dir") or "", masks)
        if any(Path(name).name != name for name in names) or Path(entry.masks_dir).name == "..":
            raise BadInput(f"{path} was not written by this program; move it away and split again")
        entries.append(entry)
    return entries


def _parse_names(text: str) -> tuple[str, ...] | None:
    try:
        names = parse_json(text)
    except BadInput:
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
