"""A tile classifier on disk: ``model.pb`` (its graph), ``labels.txt`` (its classes), ``model.json`` (its card).

Beside them lies its runtime graph, ``model.tflite``, see `hybridseg.models.runtimes`.

A ``.pb`` of the classic script has only a ``labels.txt``; it is loaded just the same. A ``labels.txt`` that is there
already with another class list is the user's: ours is then called ``model_labels.txt``.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists, join_names
from hybridseg.io.atomic import write_bytes
from hybridseg.io.jsonfiles import holds_keys
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.locks import lock_output
from hybridseg.io.tables import write_json
from hybridseg.models.bundles import find_programs
from hybridseg.models.cards import FORMAT_VERSION, hash_bytes, parse_fields, read_card_file
from hybridseg.models.engines import LITERT, TENSORFLOW_BATCH, Engine, LiteEngine, TensorFlowEngine, classify
from hybridseg.models.graphs import (
    SIGNED_RANGE,
    UNIT_RANGE,
    FrozenGraph,
    cannot_run,
    check_content,
    check_sizes,
    parse_graph,
    read_content,
)
from hybridseg.models.runtimes import (
    SIGNED_INPUT,
    check_model_place,
    make_runtime,
    open_runtime,
    remove_card,
    runtime_record,
    write_runtime,
)
from hybridseg.models.startup import import_tensorflow
from hybridseg.models.trials import MADE_HERE, TILE_BYTES, remember, run_apart
from hybridseg.progress import say, say_if_slow


@dataclass(frozen=True)
class ModelCard:
    """What ``model.json`` holds.

    Parameters
    ----------
    names, colors : tuple
        The classes, in the order of the outputs.
    tile_size, input_size : int
        Side of the tiles that the graph takes, and the side to which it resizes them, in pixels.
    module : str
        Handle of the backbone.
    versions : dict
        Of the packages that trained it.
    scores : dict
        On held-out tiles; empty when there were none.
    sha256 : str
        Of the ``.pb``.
    runtime : dict or None
        File name and SHA-256 of the runtime graph; None when there is none.
    training : dict
        How it was trained: hashes of the tiles, their numbers, options; empty in cards of earlier versions.

    Raises
    ------
    BadInput
        When the names or colours are not those of a class table.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    tile_size: int
    input_size: int
    module: str
    preprocessing: str
    fine_tuned: bool
    versions: dict[str, str]
    scores: dict[str, Any]
    sha256: str
    runtime: dict[str, str] | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ClassTable(self.names, self.colors)

    @property
    def table(self) -> ClassTable:
        """The classes, in the order of the outputs."""
        return ClassTable(self.names, self.colors)


class TileClassifier:
    """A loaded model: tiles in, class probabilities out."""

    def __init__(self, path: Path, table: ClassTable, tile_size: int, engine: Engine) -> None:
        self.path = path
        self.table = table
        self.tile_size = tile_size
        self.engine_name: str = engine.name
        self._engine = engine

    def classify(self, tiles: np.ndarray) -> np.ndarray:
        """Return class probabilities.

        Parameters
        ----------
        tiles : numpy.ndarray
            (n, tile_size, tile_size, 3) uint8, or float32 in 0..1.

        Returns
        -------
        numpy.ndarray
            (n, n_classes) float32.

        Raises
        ------
        BadInput
            When the tiles are of another size, or the model fails on them.
        """
        if tiles.ndim != 4 or tiles.shape[1:] != (self.tile_size, self.tile_size, 3):
            raise BadInput(
                f"{self.path} takes tiles of {self.tile_size} x {self.tile_size} x 3, these are {tiles.shape[1:]}"
            )
        if tiles.dtype != np.uint8 and tiles.dtype.kind != "f":
            raise BadInput(f"tiles are bytes, or floats in 0..1, not {tiles.dtype}")
        if not len(tiles):
            return np.zeros((0, len(self.table)), np.float32)
        return classify(self._engine, scale_tiles(tiles), model=self.path)


def scale_tiles(tiles: np.ndarray) -> np.ndarray:
    """Return tiles of bytes as float32 in 0..1; others are there already."""
    return tiles.astype(np.float32) / np.float32(255) if tiles.dtype == np.uint8 else tiles.astype(np.float32)


def save_classifier(
    path: str | os.PathLike[str], content: bytes, card: ModelCard, labels_path: Path, *, runtime: bytes | None = None
) -> tuple[list[Path], str]:
    """Write the graph, the labels, the card and the runtime graph.

    No list of classes is overwritten: one that says the same is left as it is, and beside another one ours gets another
    name. The card comes after the graph, so that it never describes another one.

    Returns
    -------
    list of pathlib.Path
        What was written.
    str
        What the user should know about the labels, if anything.
    """
    path = Path(path)
    check_card_place(path)
    card_path = path.with_suffix(".json")
    remove_card(path, card_path)
    # Before it is there: who is killed while it has no card can write it again.
    remember(MADE_HERE, card.sha256)
    write_bytes(path, content)
    # Two models with other classes may not choose the same name at the same time.
    with lock_output(labels_path, wait=True):
        target = next(place for place in _name_labels(path, labels_path) if _is_free_or_lists(place, card.table))
        written = [path, card_path]
        if not os.path.lexists(target):
            write_class_files(card.table, labels_path=target)
            written.insert(1, target)
    card = replace(card, runtime=runtime_record(path, runtime))
    write_json(card_path, {"format": FORMAT_VERSION, **asdict(card)})
    if runtime is not None:
        written.append(write_runtime(path, runtime))
    note = f"{labels_path} has another class list and stays as it is; that of the model is in {target}"
    return written, "" if target == labels_path else note


def tuning_path(model_path: Path) -> Path:
    """Return the file in which the tuned CRF parameters of a classifier are kept."""
    return model_path.with_name(f"{model_path.stem}_crf.json")


def check_card_place(path: Path) -> None:
    """Raise OutputExists where a ``.pb``, its card or its runtime graph would replace a file that was not made here."""
    place = path.with_suffix(".json")
    if place.exists() and not holds_keys(place, "tile_size", "sha256"):
        raise OutputExists(
            f"{place} is another file, and the card of {path.name} would replace it; give the model another name "
            "(--output_graph), or rename that file"
        )
    check_model_place(path, place)


def _name_labels(path: Path, labels_path: Path) -> Iterator[Path]:
    """Name the places for the labels of a model: the one that is wanted, then ``MODEL_labels.txt``, and so on."""
    yield labels_path
    yield labels_path.with_name(f"{path.stem}_labels.txt")
    for number in itertools.count(2):
        yield labels_path.with_name(f"{path.stem}_labels_{number}.txt")


def _is_free_or_lists(path: Path, table: ClassTable) -> bool:
    if not os.path.lexists(path):
        return True
    try:
        return read_class_files(path).keys == table.keys
    except HybridSegError:
        return False


def load_classifier(
    path: str | os.PathLike[str],
    *,
    labels_path: str | os.PathLike[str] | None = None,
    tile_size: int | None = None,
    input_range: str | None = None,
    engine: str = LITERT,
) -> TileClassifier:
    """Load a tile classifier: ours with its card, or a ``.pb`` of the classic script with its labels.

    Parameters
    ----------
    path : path-like
        The ``.pb``.
    labels_path : path-like or None
        ``labels.txt``; default: the card, or the labels beside the ``.pb``.
    tile_size : int or None
        Side of the tiles, in pixels; needed only where neither graph nor card says it.
    input_range : str or None
        The values that a ``.pb`` without a card takes; None: as its input is called.
    engine : str
        What runs it; TensorFlow runs all that LiteRT does not support.

    Raises
    ------
    MissingInput, BadInput
        When a file is missing or damaged, the graph is not safe, or labels or tile size do not fit it.
    """
    path = Path(path)
    if programs := find_programs(path):
        raise BadInput(
            f"{path} is a dense network, which {programs} applies; give a tile classifier, a .pb file that `hybridseg "
            "retrain` wrote"
        )
    content = read_content(path)
    card = read_card(path)
    if card is not None and input_range not in (None, UNIT_RANGE):
        raise BadInput(f"{path} takes values in {UNIT_RANGE}, as its card says; leave --input-range out")
    # What is cheap comes first: converting a graph takes seconds.
    if card is None:
        check_content(path, content)
    if labels_path is not None:
        tables = {Path(labels_path): _match_table(path, labels_path, card)}
    else:
        tables = {path.with_suffix(".json"): card.table} if card else _read_tables(path)
    with say_if_slow(f"loading {path}"):
        runner, size = _load_engine(path, content, card, tile_size, input_range, engine)
        n_outputs = _count_outputs(path, runner, size)
    if tile_size is not None and tile_size != size:
        raise BadInput(f"{path} takes tiles of {size} pixels, not {tile_size}; give the size it was trained with")
    return TileClassifier(path, _choose_table(path, tables, n_outputs), size, runner)


def _load_engine(
    path: Path, content: bytes, card: ModelCard | None, tile_size: int | None, input_range: str | None, engine: str
) -> tuple[Engine, int]:
    """Return what runs a ``.pb``, and the side of its tiles."""
    size = tile_size or (card.tile_size if card else None)

    def attempt(convert: bool) -> bytes:
        arguments = (str(path), size, input_range, convert)
        return run_apart(path, try_graph, *arguments, content=content, max_bytes=TILE_BYTES, with_tensorflow=True)

    key = (hash_bytes(content), size, input_range)
    lite = open_runtime(path, card.runtime if card else None, key, attempt, engine=engine)
    if lite is not None:
        if card is None:
            _say_range(path, is_signed=lite.input_name == SIGNED_INPUT)
        return lite, lite.n_rows
    import_tensorflow()
    graph = _read_graph(path, content, size, input_range)
    if card is None:
        _say_range(path, is_signed=graph.is_signed)
    return TensorFlowEngine(graph), graph.tile_size or 0


def _read_graph(path: Path, content: bytes, tile_size: int | None, input_range: str | None) -> FrozenGraph:
    graph = parse_graph(path, content, input_range=input_range)
    if (size := graph.tile_size or tile_size) is None:
        raise BadInput(f"{path} does not say the size of its tiles; give it, as in --tile-size 96")
    return replace(graph, shape=(graph.batch_size, size, size, 3))


def try_graph(
    name: str, tile_size: int | None, input_range: str | None, convert: bool, content: bytes
) -> bytes | None:  # fmt: skip
    """Run a frozen graph once, and return its runtime graph: None if that is not asked for, or cannot be made.

    Raises
    ------
    BadInput
    """
    path = Path(name)
    graph = _read_graph(path, content, tile_size, input_range)
    n, size = graph.batch_size or TENSORFLOW_BATCH, graph.tile_size or 0
    # TensorFlow raises many kinds of errors for a graph that can be read and yet not be run.
    try:
        check_sizes(graph.definition, graph.input_name, graph.output_name, (n, size, size, 3))
        probe = np.random.default_rng(0).random((n, size, size, 3), dtype=np.float32)
        exact = TensorFlowEngine(graph)
        exact.classify(probe)
    except Exception as error:
        raise cannot_run(path, error) from error
    return make_runtime(graph, exact, [probe]) if convert else None


def _count_outputs(path: Path, runner: Engine, size: int) -> int:
    if isinstance(runner, LiteEngine) and runner.n_outputs > 0:
        return runner.n_outputs
    try:
        return runner.classify(np.zeros((1, size, size, 3), np.float32)).shape[-1]
    except Exception as error:
        raise cannot_run(path, error) from error


def _say_range(path: Path, *, is_signed: bool) -> None:
    used, other = (SIGNED_RANGE, UNIT_RANGE) if is_signed else (UNIT_RANGE, SIGNED_RANGE)
    say(f"{path} has no card: it is fed with values in {used}; if it was trained on {other}, give --input-range")


def read_card(path: str | os.PathLike[str]) -> ModelCard | None:
    """Return the card of a ``.pb``; None when it has none.

    Raises
    ------
    BadInput
        When the card is damaged, or belongs to another ``.pb``.
    """
    path = Path(path)
    card_path = path.with_suffix(".json")
    if not card_path.exists():
        return None
    card = read_card_file(
        card_path,
        lambda record: parse_fields(ModelCard, record, what="the card", newer=("runtime", "training")),
        remedy="remove it to use the .pb with a labels.txt alone",
    )
    if path.exists() and hash_bytes(read_content(path)) != card.sha256:
        raise BadInput(
            f"{path} is not the file that {card_path.name} describes (the SHA-256 differs): copy all files of the "
            f"model again, or remove {card_path.name} if the model was replaced on purpose"
        )
    return card


def _match_table(path: Path, labels_path: str | os.PathLike[str], card: ModelCard | None) -> ClassTable:
    """Return the classes of a model whose labels are given: the outputs have the order of its card, if there is one."""
    table = read_class_files(labels_path)
    if card is None:
        return table
    # A class without tiles is in the class file, but not in the model.
    if not set(card.table.keys) <= set(table.keys):
        raise BadInput(
            f"{labels_path} lists {join_names(table.names)} but {path} was trained on {join_names(card.names)}; "
            "leave --labels out to use the model's own"
        )
    return card.table


def _read_tables(path: Path) -> dict[Path, ClassTable]:
    """Return the classes of every list of labels beside a model without a card."""
    beside = [path.with_name("labels.txt"), *sorted(path.parent.glob(f"{glob.escape(path.stem)}_labels*.txt"))]
    tables = {place: read_class_files(place) for place in beside if place.exists()}
    if not tables:
        raise MissingInput(f"{path} has neither {path.stem}.json nor labels.txt beside it; give its labels: --labels")
    return tables


def _choose_table(path: Path, tables: dict[Path, ClassTable], n_outputs: int) -> ClassTable:
    """Return the classes of a model of so many outputs; two lists that differ are never guessed."""
    fitting = {place: table for place, table in tables.items() if len(table) == n_outputs}
    if not fitting:
        place, table = next(iter(tables.items()))
        raise BadInput(
            f"{place} has {len(table)} classes but {path} has {n_outputs} outputs; "
            "give the labels.txt that was written with this model"
        )
    if len({table.keys for table in fitting.values()}) > 1:
        names = ", ".join(place.name for place in fitting)
        raise BadInput(f"{path} has no {path.stem}.json, and {names} beside it differ; say which is its own: --labels")
    return next(iter(fitting.values()))
