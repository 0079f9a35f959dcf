"""Write synthetic coast scenes with their exact label maps: data to try every command on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.errors import OutputExists, join_names, shorten
from hybridseg.io.atomic import write_bytes
from hybridseg.io.images import encode_image
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.tables import write_json
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress, say_if_slow

RECORD_NAME = "scenes.json"
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
        Replace scenes that were made with other options.

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
    is_known = _check_record(out_dir / RECORD_NAME, record, overwrite=overwrite)
    if not is_known and not overwrite:
        _refuse_strangers(out_dir)
    if not is_known:
        _remove_scenes(out_dir)
    table = demo_table()
    write_json(out_dir / RECORD_NAME, record)
    write_class_files(table, labels_path=out_dir / "labels.txt", colors_path=out_dir / "colors.txt")
    width = max(2, len(str(options.n - 1)))
    paths = []
    for i in progress(range(options.n), label="drawing scenes"):
        path = out_dir / f"scene_{i:0{width}d}.jpg"
        labels_path = path.with_name(f"{path.stem}_mres.mat")
        if not (is_known and path.exists() and labels_path.exists()):
            scene = make_scene(options.seed + i, rows=options.rows, cols=options.cols)
            write_matfile(labels_path, LabelMap(scene.labels, table, scene.seeds))
            write_bytes(path, encode_image(scene.image, suffix=".jpg", quality=_JPEG_QUALITY))
        paths.append(path)
    return paths


def _remove_scenes(out_dir: Path) -> None:
    """Remove scenes of other options, so that an interrupted run never mixes two sets."""
    for path in out_dir.glob("scene_*"):
        if re.fullmatch(r"scene_\d+(\.jpg|_mres\.mat)", path.name):
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


def _check_record(path: Path, record: dict[str, int], *, overwrite: bool) -> bool:
    """Return whether the folder's scenes were made with the same options, so that they need not be drawn again."""
    if not path.exists():
        return False
    found = read_json_object(path, remedy="remove it")
    if found == record:
        return True
    if not overwrite:
        raise OutputExists(
            f"{path.parent} holds scenes made with other options ({_spell(found)}); "
            "give --overwrite to replace them, or another folder"
        )
    return False
