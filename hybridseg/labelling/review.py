"""Two results of each image side by side: where they disagree, and which image to look at next."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.batch.manifest import DONE, Manifest
from hybridseg.batch.results import ENTROPY, average_known, find_disagreement, read_confidence
from hybridseg.classes import VOID, ClassTable, labels_to_seeds
from hybridseg.confusion import count_confusion
from hybridseg.errors import BadInput, HybridSegError, MissingInput, Problem, join_names
from hybridseg.io.images import ImageInfo
from hybridseg.io.labelled import check_size
from hybridseg.io.labels.formats import LABELMAP_SUFFIXES, read_labelmap
from hybridseg.io.pairing import (
    MACHINE_KINDS,
    PEOPLE_DIR,
    image_stem,
    list_files,
    list_images,
    machine_ending,
    result_kind,
)
from hybridseg.io.windows import ImageWindows, open_windows
from hybridseg.labelling.copies import Copies
from hybridseg.labelling.entries import name_opaquely
from hybridseg.labelling.maptiles import TILE_SIZE, count_levels, draw_map_tile, draw_picture_tile
from hybridseg.markup import count_of
from hybridseg.progress import Progress, no_progress

_N_CONFUSIONS = 10
_MAX_OPEN = 2
_DIFFERS = ClassTable(("differs",), ((230, 30, 90),))


@dataclass
class ReviewItem:
    """An image, its results and how much they disagree.

    Of two people or runs, the result of the first stands for the manual one, that of the other for the automatic one.

    Parameters
    ----------
    manual_made_by : str or None
        The record in the manual result.
    kappa : float or None
        Cohen's kappa of the two results.
    disagreement : float or None
        Share of differing classes, among the pixels that have a class in both results.
    uncertainty : float or None
        Mean entropy of the automatic result; where that is not known, one minus its mean confidence.
    """

    id: str
    image_path: Path
    manual_path: Path | None
    automatic_path: Path | None
    confidence_path: Path | None
    shape: tuple[int, int]
    measures: dict[str, float] = field(default_factory=dict)
    """Of a run of `segment`, see `hybridseg.batch.results.ImageResult`."""
    disagreement: float | None = None
    kappa: float | None = None
    uncertainty: float | None = None
    manual_made_by: str | None = None
    maps: OpenPair | None = None

    @property
    def layers(self) -> list[str]:
        """The layers that can be shown."""
        found = {"manual": self.manual_path, "automatic": self.automatic_path}
        there = [name for name, path in found.items() if path is not None]
        return [*there, "disagreement"] if len(there) == 2 else there


@dataclass(frozen=True, eq=False)
class OpenPair:
    """The label maps of an image, in the classes of the session."""

    windows: ImageWindows
    layers: dict[str, np.ndarray] = field(default_factory=dict)


class ReviewSession:
    """The images of a folder that have a result, or those with one in each of two folders.

    Parameters
    ----------
    other : pathlib.Path or None
        The results of another person or run, to compare with those in `folder`.
    images_dir : pathlib.Path or None
        Where the images of the two are, if neither beside them nor where a run or `label --annotator` had them.
    fetch : bool
        Show images of a run, too, that are on the web, in archives or opened by GDAL alone, see `Copies`.
    progress : Progress
        Over the images: all results are read once.

    Raises
    ------
    MissingInput
        When no image has a result.
    """

    def __init__(
        self,
        folder: Path,
        other: Path | None = None,
        *,
        images_dir: Path | None = None,
        fetch: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        self.folder, self.sides = folder, ("Manual", "Automatic")
        self.problems: list[Problem] = []
        self.copies = Copies(may_fetch=fetch)
        self.table: ClassTable | None = None
        self._items: dict[str, ReviewItem] = {}
        self._recent: list[str] = []
        self._lock = threading.RLock()
        if other is None:
            items = _find_items(folder, self.copies)
        else:
            self.sides = _name_sides(folder, other)
            items, alone = _find_shared(folder, other, images_dir, self.copies)
            self.problems += alone
        if left_out := self.copies.left_out:
            what = f"{count_of(len(left_out), 'image')} on the web, in archives or readable only by GDAL"
            advice = "add --fetch to show them, if you trust whoever made the run"
            self.problems.insert(0, Problem(str(folder), f"does not show {what}: {join_names(left_out)}; {advice}"))
        for item in progress(items, label="comparing"):
            try:
                self._measure(item)
                self._items[item.id] = item
            except HybridSegError as error:
                self.problems.append(Problem.of(item.image_path.name, error))
        if not self._items and self.copies.left_out:
            raise MissingInput(str(self.problems[0]))
        if not self._items:
            reason = f" ({self.problems[0]})" if self.problems else ""
            if other is not None:
                raise MissingInput(
                    f"no image has a result in both {folder} and {other}{reason}; give the folders of two people or "
                    "runs, and --images DIR where their images lie elsewhere"
                )
            raise MissingInput(
                f"{folder} has no image with a result beside it (NAME_mres.mat, NAME_ares_TILE.mat, NAME_predseg.png)"
                f"{reason}; label some, or run semseg on them"
            )

    def sort_items(self) -> list[ReviewItem]:
        """Return the images, those first that need most attention."""

        def urgency(item: ReviewItem) -> tuple[float, float, float, str]:
            sure = -(item.disagreement or 0.0), -(item.uncertainty or 0.0), -(find_disagreement(item.measures) or 0.0)
            return *sure, item.image_path.name

        return sorted(self._items.values(), key=urgency)

    def list_items(self) -> list[dict[str, Any]]:
        """Return what the page shows of the images, those first that need most attention."""
        return [
            {
                "id": item.id,
                "name": item.image_path.name,
                "rows": item.shape[0],
                "cols": item.shape[1],
                "levels": count_levels(item.shape),
                "tile_size": TILE_SIZE,
                "disagreement": item.disagreement,
                "kappa": item.kappa,
                "uncertainty": item.uncertainty,
                "has": item.layers,
                "here": not self.copies.lacks(item.image_path),
            }
            for item in self.sort_items()
        ]

    def find(self, image_id: str) -> ReviewItem:
        """Return an image; raise `MissingInput` where there is none."""
        if image_id not in self._items:
            raise MissingInput("there is no such image in this session; choose one from the list")
        return self._items[image_id]

    def use_manual(self, item: ReviewItem, path: Path | None) -> None:
        """Show another manual result of an image, or none, and measure again how much they disagree."""
        with self._lock:
            item.manual_path, item.maps, item.manual_made_by = path, None, None
            item.disagreement = item.kappa = None
            self._measure(item)

    def list_confusions(self, image_id: str) -> list[dict[str, Any]]:
        """Return which classes are confused with which, the most pixels first."""
        maps = self._open(image_id).layers
        if "disagreement" not in maps:
            return []
        assert self.table is not None
        matrix = count_confusion(maps["manual"], maps["automatic"], self.table).counts
        shares = matrix / max(matrix.sum(), 1)
        pairs = sorted(((shares[i, j], i, j) for i, j in np.argwhere(matrix) if i != j), reverse=True)
        names = self.table.names
        return [{"manual": names[i], "automatic": names[j], "share": float(s)} for s, i, j in pairs[:_N_CONFUSIONS]]

    def draw_tile(self, image_id: str, layer: str, tile: tuple[int, int, int]) -> bytes:
        """Return a tile of the ``picture`` (JPEG) or of another layer (PNG).

        Raises
        ------
        MissingInput
            When there is no such image, layer or tile.
        """
        pair = self._open(image_id)
        if layer == "picture":
            return draw_picture_tile(pair.windows, *tile)
        if layer not in pair.layers or self.table is None:
            raise MissingInput(f"this image has no {layer} result")
        is_mark, labels = layer == "disagreement", pair.layers[layer]

        def view(rows: slice, cols: slice) -> np.ndarray:
            return labels_to_seeds(labels[rows, cols])

        return draw_map_tile(view, pair.windows.shape, _DIFFERS if is_mark else self.table, tile, keep_thin=is_mark)

    def _measure(self, item: ReviewItem) -> None:
        info = self.copies.describe(item.image_path)
        maps = self._read_maps(item, info)
        # Without results only where they were taken away meanwhile.
        item.shape = info.shape if info else next((labels.shape for labels in maps.values()), item.shape)
        if "disagreement" in maps:
            assert self.table is not None
            manual = np.where(maps["automatic"] == VOID, VOID, maps["manual"])
            confusion = count_confusion(manual, maps["automatic"], self.table)
            item.kappa = confusion.kappa
            item.disagreement = 0.0 if confusion.accuracy is None else 1 - confusion.accuracy
        if ENTROPY in item.measures:
            item.uncertainty = item.measures[ENTROPY]
        elif item.confidence_path is not None:
            known = average_known(read_confidence(item.confidence_path))
            item.uncertainty = None if known is None else 1 - known

    def _read_maps(self, item: ReviewItem, info: ImageInfo | None) -> dict[str, np.ndarray]:
        """Return the label maps of an image, and where they differ; they have its size, where it is here already."""
        maps = {}
        for name, path in (("manual", item.manual_path), ("automatic", item.automatic_path)):
            if path is None:
                continue
            found = read_labelmap(path, with_seeds=False)
            own = found.require_table(path)
            rows, cols = found.labels.shape
            info = info or ImageInfo(item.image_path, "", rows, cols, 3, "uint8", 1, None)
            check_size(path, found.labels.shape, info)
            self.table = own if self.table is None else self.table.union(own)
            maps[name] = found.labels_as(self.table)
            if name == "manual":
                item.manual_made_by = found.made_by
        if len(maps) == 2:
            manual, automatic = maps["manual"], maps["automatic"]
            differs = (manual != automatic) & (manual != VOID) & (automatic != VOID)
            maps["disagreement"] = np.where(differs, np.uint8(0), np.uint8(VOID))
        return maps

    def _open(self, image_id: str) -> OpenPair:
        item = self.find(image_id)
        self.copies.fetch(item.image_path)
        with self._lock:
            if item.maps is None:
                windows = open_windows(item.image_path)
                item.maps = OpenPair(windows, self._read_maps(item, windows.info))
            self._recent = [*(i for i in self._recent if i != image_id), image_id]
            for old in self._recent[:-_MAX_OPEN]:
                self._items[old].maps = None
            self._recent = self._recent[-_MAX_OPEN:]
            return item.maps


def _find_results(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the results of a folder by the names of their images and by their kinds."""
    results: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in list_files(folder, LABELMAP_SUFFIXES):
        kind = result_kind(path)
        if kind == "mres" and path.suffix == ".mat":
            results[image_stem(path)]["manual"].append(path)
        elif kind in MACHINE_KINDS and path.stem.endswith("_confidence"):
            results[image_stem(path)]["confidence"].append(path)
        elif machine_ending(path):
            results[image_stem(path)]["automatic"].append(path)
    return results


def _find_run(folder: Path, copies: Copies) -> dict[Path, dict[str, float]]:
    """Return the images of a run of `segment`, which lie elsewhere, with what it measured."""
    entries = [entry for entry in Manifest.read(folder).entries.values() if entry.result == DONE]
    return {path: entry.measures for entry in entries if (path := copies.place(entry, folder))}


def _find_items(folder: Path, copies: Copies) -> list[ReviewItem]:
    """Find the images that have a result: the first manual one, and the newest automatic one."""
    results, run = _find_results(folder), _find_run(folder, copies)
    for image_path in run:
        # Perhaps with manual results beside them.
        beside = image_path.parent / f"{image_path.stem}_mres.mat"
        # There are names that no file can have.
        with suppress(OSError):
            if beside.is_file():
                results[image_path.stem]["manual"].append(beside)
    items = []
    for image_path, measures in {**{path: {} for path in list_images(folder)}, **run}.items():
        found = results.get(image_path.stem)
        if found is None or not (found["manual"] or found["automatic"]):
            continue
        automatic = _newest(found["automatic"])
        confidence = [p for p in found["confidence"] if automatic and p.stem == f"{automatic.stem}_confidence"]
        manual, confident = next(iter(found["manual"]), None), next(iter(confidence), None)
        items.append(ReviewItem(name_opaquely(image_path), image_path, manual, automatic, confident, (0, 0), measures))
    return items


def _find_shared(
    folder: Path, other: Path, images_dir: Path | None, copies: Copies
) -> tuple[list[ReviewItem], list[Problem]]:
    """Find the images that have a result in both folders; and tell of those that have one in one of them."""
    photos: dict[str, Path] = {}
    best: list[dict[str, Path]] = []
    for home in (folder, other):
        above = home.resolve().parent
        places = [home, *([above.parent] if above.name == PEOPLE_DIR else ()), *([images_dir] if images_dir else ())]
        found = [*(path for place in places for path in list_images(place)), *_find_run(home, copies)]
        photos |= {path.stem: path for path in found if path.stem not in photos}
        results = _find_results(home)
        newest = {stem: _newest(kinds["manual"]) or _newest(kinds["automatic"]) for stem, kinds in results.items()}
        best.append({stem: path for stem, path in newest.items() if path is not None})
    problems = []
    for home, own, others in ((folder, best[0], best[1]), (other, best[1], best[0])):
        if alone := sorted(own.keys() - others.keys()):
            problems.append(Problem(str(home), f"has images that the other lacks ({len(alone)}): {join_names(alone)}"))
    stems = sorted(best[0].keys() & best[1].keys())
    if missing := [stem for stem in stems if stem not in photos]:
        problems.append(Problem(str(folder), f"has results of images that are not there: {join_names(missing)}"))
    return [
        ReviewItem(name_opaquely(photos[stem]), photos[stem], best[0][stem], best[1][stem], None, (0, 0))
        for stem in stems if stem in photos
    ], problems  # fmt: skip


def _newest(paths: list[Path]) -> Path | None:
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def _name_sides(folder: Path, other: Path) -> tuple[str, str]:
    """Return what two folders are called: by their names, or by as much of their paths as they differ in."""
    one, two = folder.resolve(), other.resolve()
    if one == two:
        raise BadInput(f"{folder} and {other} are the same folder; give those of two people or runs")
    for n_parts in range(1, max(len(one.parts), len(two.parts)) + 1):
        names = tuple("/".join(path.parts[-n_parts:]) for path in (one, two))
        if names[0] != names[1]:
            break
    return names[0], names[1]
