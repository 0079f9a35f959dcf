"""The commands of a study in their order, and the record of those that are done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridseg import __version__
from hybridseg.errors import BadInput
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.io.tables import write_json
from hybridseg.models.cards import combine_fingerprint, stamp_file
from hybridseg.models.runtimes import runtime_path
from hybridseg.study.inputs import LOG_NAME, TEST_NAME, Inputs, StudyOptions, StudyPaths

# Seconds on two cores, see docs/benchmarks.md: of a command, a photo, a megapixel, a tile.
_START = 6.0
_TILES_PER_SECOND = 170
_FCN_IMAGES_PER_SECOND = 8.0
_HYBRID_PHOTO, _HYBRID_MEGAPIXEL = 1.0, 3.0
_FCN_PHOTO, _FCN_MEGAPIXEL = 0.5, 0.5
# More tiles than this teach a classifier little, and take time.
_ENOUGH_TILES = 8000
# Few photos are shown more often.
_EPOCHS, _FEW_EPOCHS, _FEW_PHOTOS = 50, 80, 60


@dataclass(frozen=True)
class Step:
    """A command, the files that it leaves in the folder of the study, and about how long it takes.

    Parameters
    ----------
    method : str
        Empty: a step of all methods.
    outputs : tuple of pathlib.Path
        The first is there when the step is done. All are removed before it is run anew.
    goes_on : bool
        Whether the command, interrupted, goes on with what it has left.
    resuming : tuple of str
        Words that let it do so.
    """

    title: str
    method: str
    words: tuple[object, ...]
    outputs: tuple[Path, ...]
    seconds: float
    goes_on: bool = False
    resuming: tuple[str, ...] = ()


def plan_steps(paths: StudyPaths, options: StudyOptions, inputs: Inputs) -> list[Step]:
    """List the steps: the photos are divided, then each method is trained, used and measured."""
    out = paths.out
    masks = ("--masks", paths.masks_dir) if paths.masks_name else ()
    grouped = ("--group-by", options.group_by) if options.group_by else ()
    aside = ("--set-aside",) if inputs.sets["unlabelled"] else ()
    drawn = (
        "-p", f"{inputs.proportion:g}", "--seed", options.seed, *grouped, "--stratify", *name_classes(paths)
    )  # fmt: skip
    test_list = paths.out / TEST_NAME if inputs.test_names else options.test_list
    sets = ("--test", test_list) if test_list else drawn
    words = ("split", "--images", paths.images_dir, *masks, *sets, *aside, "--link", "--out", out)
    # Not the list of the photos: they stay in the sets that it tells, see `check_inputs`.
    folders = tuple(out / name for name in ("train", "test", "unlabelled"))
    steps = [Step("divide the photos", "", words, folders, 1)]
    plans = {"hybrid": _plan_hybrid, "fcn": _plan_fcn}
    for method in options.methods:
        steps += plans[method](paths, options, inputs)
    return steps


def name_classes(paths: StudyPaths) -> tuple[object, ...]:
    """Return the options that name the class files."""
    labels = ("--labels", paths.labels_path) if paths.labels_path else ()
    return (*labels, *(("--colors", paths.colors_path) if paths.colors_path else ()))


def _name_masks(paths: StudyPaths, set_name: str) -> tuple[object, ...]:
    """Name the masks of a set, where they have a folder of their own."""
    return ("--masks", paths.out / set_name / paths.masks_name) if paths.masks_name else ()


def _plan_hybrid(paths: StudyPaths, options: StudyOptions, inputs: Inputs) -> list[Step]:
    home, seed = paths.out / "hybrid", ("--seed", options.seed)
    tiles, model = home / "tiles", home / "model.pb"
    keep = min(1.0, round(_ENOUGH_TILES / max(inputs.n_tiles, 1), 2))
    n_tiles = min(inputs.n_tiles, _ENOUGH_TILES)
    retile = (
        "retile", paths.out / "train", *_name_masks(paths, "train"), *name_classes(paths), "-t", inputs.tile_size,
        "-b", f"{keep:g}", *seed, "--out", tiles,
    )  # fmt: skip
    retrain = (
        "retrain", "--image_dir", tiles, "--output_graph", model, "--bottleneck_dir", home / "bottlenecks",
        "--testing_percentage", 0, *seed,
    )  # fmt: skip
    beside = ("model.json", "labels.txt", "model_training.png", "bottlenecks")
    made = (model, runtime_path(model), *(home / name for name in beside))
    seconds = _START + 5 + n_tiles / _TILES_PER_SECOND

    def segment(photos: Path, results: Path) -> tuple[object, ...]:
        words = ("--keep-seeds", "--probabilities", "--resume", "--out", results)
        return ("semseg", photos, "--model", model, *words)

    return [
        Step("cut tiles", "hybrid", retile, (tiles,), 2 + inputs.megapixels * 0.2),
        Step("train the classifier of tiles", "hybrid", retrain, made, seconds, goes_on=True),
        *_plan_results(paths, inputs, "hybrid", segment, pace=(_HYBRID_PHOTO, _HYBRID_MEGAPIXEL)),
    ]


def _plan_fcn(paths: StudyPaths, options: StudyOptions, inputs: Inputs) -> list[Step]:
    run = ("--name", "fcn", "--runs-dir", paths.out)
    n_train = inputs.sets["train"]
    epochs = options.epochs or (_FEW_EPOCHS if n_train < _FEW_PHOTOS else _EPOCHS)
    train = (
        "fcn", "train", *run, "--images", paths.out / "train", *_name_masks(paths, "train"), *name_classes(paths),
        "--epochs", epochs, "--seed", options.seed,
    )  # fmt: skip
    made = (paths.out / "fcn/model.h5", paths.out / "fcn")
    seconds = _START + epochs * n_train / _FCN_IMAGES_PER_SECOND

    def segment(photos: Path, results: Path) -> tuple[object, ...]:
        words = ("--probabilities", "--resume", "--output-dir", results)
        return ("fcn", "infer", *run, "--samples-dir", photos, *words)

    return [
        Step("train the network on whole photos", "fcn", train, made, seconds, goes_on=True, resuming=("--resume",)),
        *_plan_results(paths, inputs, "fcn", segment, pace=(_FCN_PHOTO, _FCN_MEGAPIXEL)),
    ]


def _plan_results(
    paths: StudyPaths,
    inputs: Inputs,
    method: str,
    segment: Callable[[Path, Path], tuple[object, ...]],
    *,
    pace: tuple[float, float],
) -> list[Step]:
    """List the steps after a training: segment the photos for testing, score them, segment those without a mask.

    `pace` is the seconds of a photo and of a megapixel.
    """
    out, home = paths.out, paths.out / method
    each = pace[0] + pace[1] * inputs.megapixels / sum(inputs.sets.values())

    def plan_photos(name: str, title: str) -> Step:
        words = segment(out / name, home / name)
        return Step(title, method, words, (home / name,), _START + inputs.sets[name] * each, goes_on=True)

    scores = home / "scores"
    compare = (
        "eval-pixels", home / "test", "--images", out / "test", "--masks", out / "test" / paths.masks_name,
        *name_classes(paths), "--out", scores,
    )  # fmt: skip
    steps = [
        plan_photos("test", "segment the photos for testing"),
        Step("compare them with their masks", method, compare, (scores,), 2 + 0.7 * inputs.sets["test"]),
    ]
    if inputs.sets["unlabelled"]:
        steps.append(plan_photos("unlabelled", "segment the photos without a mask"))
    return steps


class StepLog:
    """Which steps were begun and done, with what: ``steps.json`` in the folder of the study.

    A step counts as done only with the same words, on the same files, after the same steps of its method. What another
    method did is kept.

    Parameters
    ----------
    draw : list
        How the photos are drawn, as `StudyOptions.draw`.
    """

    def __init__(self, out_dir: Path, steps: Sequence[Step], files: Iterable[Path], *, draw: list[Any]) -> None:
        self._path, self._draw = out_dir / LOG_NAME, draw
        self._drawn, self._records = self._read()
        given = combine_fingerprint(__version__, *((path.resolve(), stamp_file(path)) for path in files))
        latest: dict[str, str] = {}
        self._keys: dict[Step, str] = {}
        for step in steps:
            # A method starts with the photos divided, whatever other methods come before it.
            before = latest.get(step.method, latest.get("", given))
            self._keys[step] = latest[step.method] = combine_fingerprint(before, *step.words)

    def _read(self) -> tuple[Any, dict[str, dict[str, str]]]:
        if not self._path.exists():
            return None, {}
        remedy = f"remove {self._path.parent}, or give another --out"
        record = read_json_object(self._path, errors="surrogateescape", remedy=remedy)
        try:
            return record.get("draw"), {str(name): dict(found) for name, found in record["steps"].items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BadInput(f"{self._path} is damaged ({error}); {remedy}") from error

    def is_done(self, step: Step) -> bool:
        """Return whether a step need not be run again."""
        return self._find_state(step) == "done" and step.outputs[0].exists()

    def begin(self, step: Step) -> bool:
        """Note that a step begins, and clear what another run left in its place; return whether this one goes on."""
        goes_on = step.goes_on and self._find_state(step) == "begun"
        if not goes_on:
            for path in step.outputs:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self._note(step, "begun")
        return goes_on

    def finish(self, step: Step) -> None:
        """Note that a step is done."""
        if not step.method:
            self._drawn = self._draw
        self._note(step, "done")

    def _place(self, step: Step) -> str:
        return step.outputs[0].relative_to(self._path.parent).as_posix()

    def _find_state(self, step: Step) -> str | None:
        found = self._records.get(self._place(step), {})
        return found.get("state") if found.get("fingerprint") == self._keys[step] else None

    def _note(self, step: Step, state: str) -> None:
        """Record a step in place of what another run put there."""
        self._records[self._place(step)] = {"fingerprint": self._keys[step], "state": state}
        write_json(self._path, {"version": __version__, "draw": self._drawn, "steps": self._records})
