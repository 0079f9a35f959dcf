"""The card of a model as catalogs of images of the Earth read it: a STAC Item with the extension for models (MLM)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg import __version__
from hybridseg.classes import ClassTable, class_key, hex_color
from hybridseg.models.bundles import DenseCard
from hybridseg.models.cards import hash_file
from hybridseg.models.catalog import TILES, ModelEntry
from hybridseg.models.encoders import IMAGENET, RANDOM
from hybridseg.models.modelcard import list_settings, name_architecture
from hybridseg.models.normalization import Normalization
from hybridseg.models.runtimes import RUNTIME_SUFFIX
from hybridseg.models.store import ModelCard
from hybridseg.models.weightfile import read_weights

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE_SCHEMA = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_SEGMENTATION, _TILE_CLASSES = "semantic-segmentation", "scene-classification"
_COLORS = ("red", "green", "blue")
# Of a multihash: SHA2-256, 32 bytes.
_SHA256_LEAD = "1220"
_WORD = re.compile(r"[^0-9A-Za-z_-]+")
_ANY = -1


def make_item(entry: ModelEntry, folder: Path) -> dict[str, Any]:
    """Return the item of a model, JSON-ready.

    Parameters
    ----------
    folder : pathlib.Path
        Where the item will lie: it names the files of the model from there.
    """
    card, bands = entry.card, _name_bands(entry.card)
    versions = entry.card.versions
    properties = {
        "title": entry.name,
        "description": f"{name_architecture(card)}: {', '.join(entry.table)}",
        "datetime": entry.written.isoformat().replace("+00:00", "Z"),
        "bands": [{"name": name} for name in bands],
        "mlm:name": _make_name(entry.name),
        "mlm:architecture": name_architecture(card),
        "mlm:tasks": [_SEGMENTATION, _TILE_CLASSES] if isinstance(card, ModelCard) else [_SEGMENTATION],
        "mlm:framework": "TensorFlow",
        **({"mlm:framework_version": versions["tensorflow"]} if "tensorflow" in versions else {}),
        "mlm:accelerator": None,
        **_count_parameters(entry),
        **_describe_start(card),
        "mlm:hyperparameters": {_WORD.sub("_", name): value for name, value in list_settings(card).items()},
        "mlm:input": [_describe_input(card, bands)],
        "mlm:output": [_describe_output(card)],
        "hybridseg:version": __version__,
        "hybridseg:data_sha256": entry.data_sha256,
        "hybridseg:measured": [{**vars(one), "scores": dict(one.scores)} for one in entry.measured],
        "hybridseg:verdict": entry.verdict.text if entry.verdict else None,
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM_SCHEMA, FILE_SCHEMA],
        "id": entry.name,
        # Where on Earth a model is valid is not known.
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {name: _describe_file(path, folder, entry) for name, path in _name_assets(entry).items()},
    }


def _make_name(name: str) -> str:
    """Return a name as the extension has it: a letter first, a letter or digit last, three signs at least.

    Examples
    --------
    >>> _make_name("obx"), _make_name("2024 küste_")
    ('obx', 'model 2024 k_ste')
    """
    plain = re.sub(r"[^0-9A-Za-z_. -]", "_", name).strip("_.- ")
    return plain if len(plain) > 2 and plain[0].isalpha() else f"model {plain or 'unnamed'}"


def _name_bands(card: ModelCard | DenseCard) -> list[str]:
    """Return the names of the bands: colours of what is a photo, and numbers of what may be anything else."""
    n_bands = 3 if isinstance(card, ModelCard) else card.architecture.n_bands
    is_photo = isinstance(card, ModelCard) or card.normalization.kind not in ("image", "dataset")
    return list(_COLORS) if n_bands == 3 and is_photo else [f"band_{i + 1}" for i in range(n_bands)]


def _describe_input(card: ModelCard | DenseCard, bands: list[str]) -> dict[str, Any]:
    rule = Normalization("unit") if isinstance(card, ModelCard) else card.normalization
    tile = card.tile_size if isinstance(card, ModelCard) else _ANY
    whole = isinstance(card, DenseCard) and card.view is not None and not card.view.windows
    return {
        "name": "tiles" if isinstance(card, ModelCard) else "image",
        "bands": bands,
        "input": {
            "shape": [_ANY, tile, tile, len(bands)],
            "dim_order": ["batch", "height", "width", "channel"],
            "data_type": "float32",
        },
        "value_scaling": _describe_scaling(rule),
        "resize_type": "interpolation-linear" if whole else None,
    }


def _describe_scaling(rule: Normalization) -> list[dict[str, Any]]:
    if rule.kind == "unit":
        return [{"type": "scale", "value": rule.scale}]
    if rule.kind == "dataset":
        measured = zip(rule.means, rule.deviations, strict=True)
        return [{"type": "z-score", "mean": mean, "stddev": deviation} for mean, deviation in measured]
    # Of each image by its own statistics, which no other type can say.
    expression = f"hybridseg.models.normalization:Normalization({rule.kind!r}).apply"
    return [{"type": "processing", "format": "python", "expression": expression}]


def _describe_output(card: ModelCard | DenseCard) -> dict[str, Any]:
    is_tile = isinstance(card, ModelCard)
    sides = [] if is_tile else ["height", "width"]
    return {
        "name": "probabilities",
        "tasks": [_TILE_CLASSES if is_tile else _SEGMENTATION],
        "description": "The probability of each class, which sum to 1.",
        "result": {
            "shape": [_ANY] * (1 + len(sides)) + [len(card.table)],
            "dim_order": ["batch", *sides, "class"],
            "data_type": "float32",
        },
        "classification:classes": _list_classes(card.table),
    }


def _list_classes(table: ClassTable) -> list[dict[str, Any]]:
    names = [_WORD.sub("_", class_key(name)).strip("_") or f"class_{i}" for i, name in enumerate(table)]
    return [
        {
            "value": i,
            # Names for machines have no other letters, and two could fall together.
            "name": plain if names.count(plain) == 1 else f"{plain}_{i}",
            "title": name,
            "description": name,
            "color_hint": hex_color(color).removeprefix("#").upper(),
        }
        for i, (plain, name, color) in enumerate(zip(names, table.names, table.colors, strict=True))
    ]


def _count_parameters(entry: ModelEntry) -> dict[str, int]:
    """Return the number of weights: of a classifier as its card says, for its graph has them in other forms."""
    if entry.kind == TILES:
        known = entry.card.training.get("n_parameters")
        return {"mlm:total_parameters": known} if type(known) is int else {}
    return {"mlm:total_parameters": sum(int(np.size(array)) for array in read_weights(entry.path).values())}


def _describe_start(card: ModelCard | DenseCard) -> dict[str, Any]:
    """Return what a training started from; nothing where earlier versions did not write it down."""
    if isinstance(card, ModelCard):
        is_ours = card.module.startswith("builtin:")
        return {"mlm:pretrained": True, "mlm:pretrained_source": "ImageNet" if is_ours else card.module}
    load = card.training.get("load")
    source = load.get("file") if isinstance(load, dict) else card.training.get("pretrained")
    if not isinstance(source, str):
        return {}
    if source == RANDOM:
        return {"mlm:pretrained": False, "mlm:pretrained_source": None}
    return {"mlm:pretrained": True, "mlm:pretrained_source": "ImageNet" if source == IMAGENET else source}


def _name_assets(entry: ModelEntry) -> dict[str, Path]:
    names = {entry.path: "model", entry.card_path: "card"}
    return {names.get(path, path.suffix[1:] if path.suffix == RUNTIME_SUFFIX else "crf"): path for path in entry.files}


def _describe_file(path: Path, folder: Path, entry: ModelEntry) -> dict[str, Any]:
    href = Path(os.path.relpath(path, folder)).as_posix()
    found = {
        "href": href if href.startswith("../") else f"./{href}",
        "file:size": path.stat().st_size,
        "file:checksum": f"{_SHA256_LEAD}{hash_file(path)}",
    }
    if path == entry.path:
        kind = "tf.Graph.as_graph_def" if entry.kind == TILES else "tf.keras.Model.save_weights"
        media = "application/octet-stream" if entry.kind == TILES else "application/x-hdf5"
        return {
            **found,
            "type": media,
            "title": "Weights",
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": kind,
            # Those of the item count only where a file has them too.
            "bands": [{"name": name} for name in _name_bands(entry.card)],
        }
    if path.suffix == RUNTIME_SUFFIX:
        kind = "tf.lite.TFLiteConverter.convert"
        return {
            **found, "type": "application/octet-stream", "title": "Runtime graph for LiteRT",
            "roles": ["mlm:model", "mlm:inference-runtime"], "mlm:artifact_type": kind,
        }  # fmt: skip
    title = "Card of hybridseg" if path == entry.card_path else "Tuned CRF parameters"
    return {**found, "type": "application/json", "title": title, "roles": ["metadata"]}
