"""Which functions of the package read what a user gives it, as their names, their arguments and what they call tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hybridseg

_THROUGH = "it reads files through readers that are listed"
_WRITES = "it writes, and reads no more than what it is about to replace"
NOT_READERS = {
    "apply.make_job": _THROUGH,
    "batch.madeby.add_settings": "it is given a record that this process made",
    "batch.manifest.measure_image": _THROUGH,
    "batch.plan.measure_megapixels": _THROUGH,
    "batch.parts.list_parts": "any bytes are the path of an image",
    "batch.results.is_small": _THROUGH,
    "batch.sending.Parcel.pack": "it copies the bytes of a model that was loaded",
    "data.cocofetch.fetch_images": "it copies what it fetches, and looks at it with describe_image",
    "data.likeness.read_day": "it finds a date in any text",
    "data.split.split_folder": _THROUGH,
    "demo.overview.draw_scene_overview": _THROUGH,
    "dense.datasets.find_folder_pairs": _THROUGH,
    "demo.overview.draw_result_overview": _THROUGH,
    "io.geotiffs.list_files": _THROUGH,
    "io.remote.ask_shapes": _THROUGH,
    "io.remote.read_shape": _THROUGH,
    "io.sources.describe_source": "it works on the text of a path, and opens nothing",
    "dense.datasets.Dataset.open_pairs": _THROUGH,
    "dense.datasets.open_folders": _THROUGH,
    "dense.datasets.open_sets": _THROUGH,
    "dense.predict.predict_file": _THROUGH,
    "dense.team.Team.exchange": "it parses what this process wrote",
    "dense.team.Workers.exchange": "its texts are parsed by a reader that is listed",
    "dense.programs.fcnfolders.open_classic": _THROUGH,
    "dense.programs.resunet.load_resunet": _THROUGH,
    "dense.programs.unet.draw_sheet": _THROUGH,
    "evaluation.errorpanels.draw_errors": _THROUGH,
    "hybrid.head.HeadTrainer.restore": _THROUGH,
    "hybrid.retrain.retrain": _THROUGH,
    "hybrid.semseg.SemsegJob.record": _THROUGH,
    "io.windows.copy_middle": _THROUGH,
    "labelling.thumbnails.Thumbnails.draw": _THROUGH,
    "labelling.wand.View.parse": "it is given a request of the page, which tests/web/test_app.py tries",
    "labelling.wand.View.parse_prompt": "it is given a request of the page, which tests/web/test_app.py tries",
    "models.sam.open_networks": "Sam, which is listed, has it called in a process of its own first",
    "hybrid.classifier.owns_saved_model": "it compares the bytes of two files",
    "hybrid.semseg.load_classifiers": _THROUGH,
    "hybrid.semseg.segment_file": _THROUGH,
    "io.atomic.explain_writing": "it explains what its callers raise",
    "io.atomic.atomic_path": _WRITES,
    "io.atomic.replace_text": _WRITES,
    "io.atomic.back_up": _WRITES,
    "io.cog.writing_band": _WRITES,
    "io.jsonfiles.as_read": "it is given a record that this process made",
    "io.journal.Journal": _WRITES,
    "io.locks.explain_folder": "it explains what its callers raise",
    "io.locks.holds_files": "it reads the names in a folder",
    "io.pairing.rank_photo": "it reads the name of a file",
    "labelling.album.Album": _THROUGH,
    "labelling.copies.Copies.describe": _THROUGH,
    "labelling.copies.Copies.fetch": _THROUGH,
    "labelling.session.LabelSession.import_all": _THROUGH,
    "labelling.shelf.Shelf.read_time": "it asks when a file was written",
    "labelling.spread.sample_file": _THROUGH,
    "models.cards.parse_value": "it is given a value by read_card_file",
    "models.checkpoints.restore_state": _THROUGH,
    "models.runtimes.fetch_runtime": _THROUGH,
    "models.runtimes.open_runtime": _THROUGH,
    "models.trustedmodules.load_trusted": "it reads what is trusted: TensorFlow does what it likes with it",
    "oneimage.segment_pixels": _THROUGH,
    "prediction.PredictionJob.record": _THROUGH,
    "prediction.PredictionJob.segment": _THROUGH,
    "study.story.compare_scores": _THROUGH,
    "study.story.explain_damage": "it explains what its callers raise",
    "study.study.run_study": _THROUGH,
}
"""What looks like a reader to `find_readers` and is none, and why."""

_NOT_BELOW = ("api", "cli", "doctor", "figures", "web")
_VERBS = re.compile(
    "(convert|decode|describe|explain|fetch|fit|holds|import|load|open|paint|parse|propose|read|restore|scan|sniff|stack|"
    "survey)(_|$)"
)
_READS = re.compile(
    r"\b(describe_image|h5py\.File|imread|json\.loads?|lmdb\.open|load_image|np\.load|parse_json_object|read_\w+|"
    r"tarfile|tomllib|ZipFile)\b|\.open\("
)
_CONTENT = ("content", "data", "parts", "record", "row", "size", "text", "value")


@dataclass(frozen=True)
class Reader:
    """A function that reads a file.

    Parameters
    ----------
    name : str
        Its place in the package.
    files : str
        Which seeds are damaged, one at a time, as patterns below the folder of seeds; the others beside it are whole.
    read : callable
        Reads the file that is damaged, by its path.
    share : float
        Of the usual number of mutations: below 1 for a reader that takes long.
    seconds : float or None
        How long it may take, where that is more than other readers: it starts a process that needs TensorFlow.
    writes : bool
        Whether it needs a folder of its own each time.
    """

    name: str
    files: str
    read: Callable[[Path], object]
    share: float = 1.0
    writes: bool = False
    seconds: float | None = None

    def list_seeds(self, folder: Path) -> list[Path]:
        found = sorted(path for pattern in self.files.split() for path in folder.glob(pattern) if path.is_file())
        assert found, self
        return found


def find_readers(package: Path = Path(hybridseg.__file__).parent) -> set[str]:
    """Name every public function that takes a path, or what was in a file, and is called or does what a reader does.

    Commands and the functions of the same names hand on what they are given, so they are left out.
    """
    found = set()
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        if module.split(".")[0] in _NOT_BELOW:
            continue
        for name, function in _list_public(ast.parse(path.read_text(encoding="utf-8"))):
            first = next((one for one in function.args.args if one.arg not in ("self", "cls")), None)
            if first is None or re.match("(lock|save|write)_", function.name):
                continue
            if not (first.arg in _CONTENT or re.search("Path|bytes", ast.unparse(first.annotation))):
                continue
            if _VERBS.match(function.name) or _READS.search(ast.unparse(function)):
                found.add(f"{module}.{name}")
    return found


def _list_public(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the public functions, methods and constructors of a module."""
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inner:
            if not isinstance(function, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if function.name == "__init__":
                yield node.name, function
            elif not function.name.startswith("_"):
                yield function.name if function is node else f"{node.name}.{function.name}", function
