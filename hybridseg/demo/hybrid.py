"""``hybridseg demo``: `hybridseg run` on demo scenes, and beside it the classic constants with the same classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hybridseg.classes import ClassTable, color_labels
from hybridseg.demo.demoscenes import place_scenes
from hybridseg.io.images import encode_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.markup import spell_command
from hybridseg.page import Picture, Section, Strip, embed_picture
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import resize_nearest
from hybridseg.study.findings import Findings, PhotoResult
from hybridseg.study.inputs import StudyPaths, check_out
from hybridseg.study.steps import Step
from hybridseg.study.story import Story, compare_scores
from hybridseg.study.study import StudyResult, Supplement, run_study

_PICTURE_SHAPE = (293, 440)
_NEXT_STEP = "the same with photos of your own, hybridseg run PHOTOS --masks MASKS --labels labels.txt"
# Every eighth tile at a quarter of the size is for photos of many megapixels.
_FINE = ("--classic", "--decimation", 1, "--scale", 0.5, "--keep-seeds")


def run_demo(
    out_dir: Path,
    scenes_dir: Path | None,
    *,
    run_command: Callable[[list[str]], object],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    progress: Progress = no_progress,
) -> StudyResult:
    """Draw the scenes that are not there yet, and study them; see `run_study`.

    Parameters
    ----------
    scenes_dir : pathlib.Path or None
        Demo scenes to use; None: beside `out_dir`.
    """
    scenes_dir = place_scenes(out_dir, scenes_dir)
    paths = StudyPaths(scenes_dir, out_dir=out_dir)
    check_out(paths)
    Story(out_dir, run_command, say).run("demo-scenes", scenes_dir)
    note = (
        f"The scenes are drawn by `{spell_command(('demo-scenes', scenes_dir))}`, so the class of each pixel is "
        "exactly known. Photos of your own get a report like this one."
    )
    supplement = Supplement(note, _NEXT_STEP, _plan_classic, _tell_classic)
    return run_study(
        paths, run_command=run_command, say=say, warn=warn, supplement=supplement, progress=progress
    )  # fmt: skip


def _plan_classic(paths: StudyPaths) -> list[Step]:
    """List the steps: segment the test scenes in the classic way, and score that and the tiles alone."""
    test, model, results = paths.out / "test", paths.out / "hybrid/model.pb", paths.out / "classic"
    steps = [
        Step(
            "segment the same scenes with the classic constants", "hybrid",
            ("semseg", test, "--model", model, *_FINE, "--resume", "--out", results / "maps"), (results / "maps",), 6,
            goes_on=True,
        )
    ]  # fmt: skip
    for name, kind, what in (("crf", "ares", "that result"), ("tiles", "atiles", "the tiles alone")):
        compare = (
            "eval-pixels", paths.out, "--truth", "test/*_mres.mat", "--prediction",
            f"classic/maps/*_{kind}_*[0-9].mat", "--out", results / name,
        )  # fmt: skip
        steps.append(Step(f"compare {what} with the truth", "hybrid", compare, (results / name,), 2))
    return steps


def _tell_classic(paths: StudyPaths, findings: Findings, table: ClassTable) -> Section:
    ways = {"tiles of semseg --classic": "classic/tiles", "semseg --classic": "classic/crf", "semseg": "hybrid/scores"}
    return Section(
        "Beside the classic constants",
        "The tiles alone give blocks. A dense CRF spreads the confident ones to every pixel by colour and distance: "
        "that is the classic method. By default the tiles overlap, and seed the CRF with their probabilities. The "
        "classifier and the scenes are the same.",
        tables=compare_scores(paths.out, ways, strong=[2]),
        strips=[_draw_strip(photo, table) for photo in findings.best.tested],
        legend=tuple(zip(table.names, table.colors, strict=True)),
    )


def _draw_strip(photo: PhotoResult, table: ClassTable) -> Strip:
    assert photo.truth_path is not None
    classic = photo.result_path.parents[2] / "classic/maps" / photo.result_path.name
    maps = {
        "truth": photo.truth_path,
        "tiles of semseg --classic": classic.with_name(classic.name.replace("_ares_", "_atiles_")),
        "semseg --classic": classic,
        "semseg": photo.result_path,
    }
    pictures = []
    for caption, path in maps.items():
        labels = resize_nearest(read_labelmap(path, with_seeds=False).labels_as(table), _PICTURE_SHAPE)
        png = encode_image(color_labels(labels, table), suffix=".png")
        pictures.append(Picture(embed_picture(png, ".png"), caption))
    return Strip(photo.image_path.name, "", pictures)
