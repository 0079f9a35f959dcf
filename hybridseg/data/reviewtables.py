"""The tables of a review: photos with their masks, labels, and the lists for training, validation and testing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hybridseg.classes import VOID
from hybridseg.data.faults import TEST, TRAIN, VALID, Evidence, Fault
from hybridseg.data.likeness import hash_view, spell_hash
from hybridseg.io.tables import format_csv

# As image_segmentation_pytorch calls them.
DATA_NAME, LABELS_NAME = "df_data.csv", "df_label.csv"
LISTS = {TRAIN: "df_train.csv", VALID: "df_valid.csv", TEST: "df_test.csv"}
CLASSES_NAME = "labels_complete.txt"
_DATA_COLUMNS = (
    "image", "mask", "set", "rows", "cols", "bands", "dtype", "min", "max", "mean", "nodata", "mask_rows", "mask_cols",
    "mask_dtype", "mask_min", "mask_max", "label_ids", "label_pixels", "blur", "dark", "bright", "hash", "image_sha256",
    "mask_sha256", "faults",
)  # fmt: skip
_LABEL_COLUMNS = ("id", "name", "pixels", "share", "images", "missing")


def make_tables(known: Evidence, faults: Sequence[Fault], interim_dir: Path, processed_dir: Path) -> dict[Path, str]:
    """Return the text of each file; with them a class list with placeholders, where names are missing."""
    rows = list(_list_photos(known, faults))
    tables = {
        interim_dir / DATA_NAME: format_csv(_DATA_COLUMNS, rows),
        processed_dir / LABELS_NAME: format_csv(_LABEL_COLUMNS, _list_labels(known)),
    }
    for set_name, file_name in LISTS.items():
        listed = [row for row in rows if row["set"] == set_name]
        tables[processed_dir / file_name] = format_csv(
            ("image", "mask"), [_only(row, "image", "mask") for row in listed]
        )
    if known.names.missing and known.names.table:
        tables[processed_dir / CLASSES_NAME] = "".join(f"{name}\n" for name in known.names.table)
    return tables


def _only(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row.get(name) for name in names}


def _list_photos(known: Evidence, faults: Sequence[Fault]) -> Iterable[dict[str, Any]]:
    """Describe each photo that could be read."""
    mask_paths = {pair.image_path: pair.labels_path for pair in known.pairs}
    kinds: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        # Of photos that are alike, the problem names one, and the pictures are of all.
        for where in (*(problem.where for problem in fault.problems), *map(str, fault.photos)):
            kinds[where].append(fault.kind)
    for path, set_name in known.sets.items():
        facts, mask = known.survey.photos[path], known.mask_of.get(path)
        judged, mask_path = facts.suitability, mask_paths.get(path)
        row: dict[str, Any] = {
            "image": path, "mask": mask_path, "set": set_name, "rows": facts.info.rows, "cols": facts.info.cols,
            "bands": facts.info.bands, "dtype": facts.info.dtype, "min": _spell(facts.low), "max": _spell(facts.high),
            "mean": _spell(facts.mean), "nodata": f"{facts.nodata:.4f}", "blur": f"{judged.blur:.4f}",
            "dark": f"{judged.dark:.4f}", "bright": f"{judged.bright:.4f}",
            "hash": spell_hash(hash_view(facts.look.view)), "image_sha256": facts.sha256,
            "faults": ";".join(dict.fromkeys(kinds[str(path)] + kinds[str(mask_path)])),
        }  # fmt: skip
        if mask is not None:
            row |= {
                "mask_rows": mask.shape[0], "mask_cols": mask.shape[1], "mask_dtype": mask.dtype,
                "mask_min": min(mask.counts), "mask_max": max(mask.counts), "label_ids": _spell(mask.counts),
                "label_pixels": _spell(mask.counts.values()), "mask_sha256": mask.sha256,
            }  # fmt: skip
        yield row


def _spell(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:.6g}" if isinstance(number, float) else str(number) for number in numbers)


def _list_labels(known: Evidence) -> list[dict[str, Any]]:
    """Describe each class that has a name or pixels; the pixels without a class are void."""
    names, rows = known.names, []
    totals = sum(names.counts.values(), Counter())
    shown = Counter(name for counts in names.counts.values() for name in counts)
    everything = max(totals.total(), 1)
    missing = {names.table.names[i] for i in names.missing} if names.table else set()
    for name in names.used or ():
        assert names.table is not None
        rows.append(
            {
                "id": names.table.index(name), "name": name, "pixels": totals[name],
                "share": f"{totals[name] / everything:.6f}", "images": shown[name],
                "missing": int(name in missing or name in names.placeholders),
            }
        )  # fmt: skip
    n_void = [facts.counts[VOID] for facts in known.survey.masks.values() if VOID in facts.counts]
    if n_void:
        rows.append({"id": VOID, "name": "(no class)", "pixels": sum(n_void), "images": len(n_void), "missing": 0})
    return rows
