"""Write synthetic coast scenes with their exact label maps: data to try every command on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import OutputExists, join_names, shorten
from hybridseg.io.atomic import atomic_path, write_bytes
from hybridseg.io.images import encode_image
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_json
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress, say_if_slow

RECORD_NAME = "scenes.json"
# How many scenes of other options have been replaced, where not all have.
_REPLACED = "replaced"
# As of a good camera: photos have some compression noise.
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class SceneOptions:
    """What the scenes are made from; the same options give the same scenes."""

    n: int = option(12, "Number of scenes.", span=Span(1, 10_000))
    rows: int = option(768, "Rows of a scene.", span=Span(48, 8000))
    cols: int = option(1152, "Columns of a scene.", span=Span(64, 12_000))
    seed: int = option(0, "Seed of the first scene; the next ones count up from it.", span=Span(0))

    def __post_init__(self) -> None:
        check_options(self)


def demo_table() -> ClassTable:
    """Return the classes of the demo scenes."""
    from hybridseg.demo.scenes.scene import CLASS_COLORS, CLASS_NAMES

    return ClassTable(CLASS_NAMES, CLASS_COLORS)


def place_scenes(out_dir: Path, scenes_dir: Path | None) -> Path:
    """Return the folder of the scenes of a demo: the given one, or one beside that of its results."""
    home = out_dir if out_dir.name else out_dir.resolve()
    return scenes_dir or home.with_name(f"{home.name}_scenes")


def write_demo_scenes(
    out_dir: str | os.PathLike[str],
    *,
    options: SceneOptions = SceneOptions(),
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write scenes as ``scene_00.jpg`` with ``scene_00_mres.mat``, and their class files; those there are kept.

    Parameters
    ----------
    overwrite : bool
        Replace scenes that were made with other options, one by one: after an interruption the same call goes on.

    Returns
    -------
    list of pathlib.Path
        The images.

    Raises
    ------
    OutputExists
        When the folder holds scenes that were made with other options and `overwrite` is not set.
    WriteFailed
    """
    # Imported on use: drawing needs SciPy, --help does not.
    with say_if_slow("loading SciPy"):
        from hybridseg.demo.scenes.scene import make_scene

    out_dir = Path(out_dir)
    record = {"rows": options.rows, "cols": options.cols, "seed": options.seed, "n": options.n}
    width, table = max(2, len(str(options.n - 1))), demo_table()
    paths = [out_dir / f"scene_{i:0{width}d}.jpg" for i in range(options.n)]
    with lock_output(out_dir / RECORD_NAME):
        n_replaced = _count_replaced(out_dir, record, overwrite=overwrite)
        write_class_files(table, labels_path=out_dir / "labels.txt", colors_path=out_dir / "colors.txt")
        for i, path in enumerate(progress(paths, label="drawing scenes")):
            is_old = n_replaced is not None and i >= n_replaced
            if is_old or not (path.exists() and _labels_path(path).exists()):
                # Until it is the turn of a scene, the one of other options stays.
                write_json(out_dir / RECORD_NAME, {**record, _REPLACED: i} if is_old else record)
                scene = make_scene(options.seed + i, rows=options.rows, cols=options.cols)
                _write_scene(path, scene.image, LabelMap(scene.labels, table, scene.seeds))
        if n_replaced is not None:
            _remove_others(out_dir, paths)
        write_json(out_dir / RECORD_NAME, record)
    return paths


def _labels_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_mres.mat")


def _write_scene(path: Path, image: np.ndarray, labelmap: LabelMap) -> None:
    """Write a scene in the place of another one: an image never lies beside the labels of another."""
    labels_path = _labels_path(path)
    with atomic_path(path, durable=False) as new_image, atomic_path(labels_path, durable=False) as new_labels:
        # Both are on the disk before one of them is in its place.
        write_bytes(new_image, encode_image(image, suffix=".jpg", quality=_JPEG_QUALITY))
        write_matfile(new_labels, labelmap)
        path.unlink(missing_ok=True)


def _remove_others(out_dir: Path, paths: Sequence[Path]) -> None:
    """Remove the scenes of other options that have not been replaced, as there are fewer now."""
    kept = {*paths, *map(_labels_path, paths)}
    for path in out_dir.glob("scene_*"):
        if path not in kept and re.fullmatch(r"scene_\d+(\.jpg|_mres\.mat)", path.name):
            path.unlink()


def _spell(record: dict[str, int]) -> str:
    n, rows, cols, seed = (shorten(str(record.get(name)), 20) for name in ("n", "rows", "cols", "seed"))
    return f"--n {n} --size {rows}x{cols} --seed {seed}"


def _refuse_strangers(out_dir: Path) -> None:
    """Raise before a file that is not ours would be replaced."""
    names = ("labels.txt", "colors.txt", RECORD_NAME)
    taken = [path.name for path in out_dir.glob("*") if path.name in names or path.name.startswith("scene_")]
    if taken:
        raise OutputExists(
            f"{out_dir} holds {join_names(sorted(taken))}, which is not from this command; "
            "give an empty folder, or --overwrite to replace it"
        )


def _count_replaced(out_dir: Path, record: dict[str, int], *, overwrite: bool) -> int | None:
    """Return how many scenes of other options have been replaced, None where the folder has none of those.

    Raises
    ------
    OutputExists
        When there are others, and they may not be replaced.
    """
    path = out_dir / RECORD_NAME
    if not path.exists():
        if not overwrite:
            _refuse_strangers(out_dir)
        return 0
    found = read_json_object(path, remedy="remove it")
    n_replaced = found.pop(_REPLACED, None)
    if found == record:
        return n_replaced if isinstance(n_replaced, int) else None
    if not overwrite:
        raise OutputExists(
            f"{out_dir} holds scenes made with other options ({_spell(found)}); "
            "give --overwrite to replace them, or another folder"
        )
    return 0
