"""The card of a model as a person reads it: Markdown whose tables are lined up, so that a terminal shows it as well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from hybridseg.classes import hex_color
from hybridseg.markup import count_of, name_some
from hybridseg.models.bundles import DenseCard, find_programs
from hybridseg.models.cards import hash_file
from hybridseg.models.catalog import SCORES, TEST, TILES, ModelEntry
from hybridseg.models.encoders import ENCODERS
from hybridseg.models.normalization import Normalization
from hybridseg.models.store import ModelCard
from hybridseg.models.views import View

_TITLES = {"fcn8s": "FCN-8s", "resunet": "residual U-Net", "unet": "U-Net"}
_HEADS = {"mean_iou": "mean IoU", "dice": "Dice", "accuracy": "accuracy", "precision": "precision", "recall": "recall"}
_OF_A_CLASS = ("precision", "recall", "f1", "iou")
_NORMALIZED = {
    "unit": "divided by {scale:g}",
    "image": "each band of each image brought to mean 0 and standard deviation 1",
    "photo": "each band of each image brought to the mean and standard deviation of photographs in 0..1",
    "dataset": "less the mean of each band ({means}), divided by its deviation ({deviations}), in every image the same",
}
# What has a place of its own on the page.
_APART = ("data_sha256", "validation_sha256", "test_sha256", "held_out", "n_photographs", "n_pairs", "pretrained")
_N_NAMED = 20


def name_architecture(card: ModelCard | DenseCard) -> str:
    """Return what people call a network, with the network that it stands on."""
    if isinstance(card, ModelCard):
        return "MobileNetV2" if card.module == "builtin:mobilenet_v2" else card.module
    title = _TITLES.get(card.architecture.name, card.architecture.name)
    settings: dict[str, Any] = vars(card.architecture)
    encoder = ENCODERS.get(settings.get("encoder") or settings.get("backbone") or "")
    return f"{title} on {encoder.title}" if encoder else title


def describe_model(entry: ModelEntry) -> str:
    """Return the page of a model: what it does, its classes, scores, inputs, training, versions and files."""
    parts = [f"# {entry.name}", _introduce(entry), *([entry.verdict.text] if entry.verdict else [])]
    parts += ["## Classes", _tabulate_classes(entry), "## Scores", _tabulate_scores(entry)]
    parts += [
        "## Images",
        _list_items(_describe_input(entry.card)),
        "## Training",
        _list_items(_describe_training(entry)),
    ]
    parts += ["## Versions", _list_items(entry.card.versions), "## Files", _tabulate_files(entry)]
    # A card from elsewhere brings no HTML.
    return "\n\n".join(parts).replace("<", "&lt;") + "\n"


def list_settings(card: ModelCard | DenseCard) -> dict[str, Any]:
    """Return how a model was trained by name: what its card says besides the data."""
    settings = {name: value for name, value in card.training.items() if name not in _APART}
    if isinstance(card, ModelCard):
        return {"module": card.module, "input_size": card.input_size, "fine_tuned": card.fine_tuned, **settings}
    return {"network": vars(card.architecture), **settings}


def _introduce(entry: ModelEntry) -> str:
    card, architecture = entry.card, name_architecture(entry.card)
    if isinstance(card, ModelCard):
        text = f"A classifier of tiles of {card.tile_size} x {card.tile_size} pixels on {architecture}"
        use = "`hybridseg semseg`, which gives every pixel of a photo a class"
    else:
        text, use = f"A network ({architecture}) that gives every pixel a class", find_programs(entry.path)
    return f"{text}, one of {len(entry.table)}. Apply it with {use}."


def _tabulate_classes(entry: ModelEntry) -> str:
    found = entry.card.scores.get("classes")
    records = found if isinstance(found, list) and len(found) == len(entry.table) else []
    unit = "tiles" if entry.kind == TILES else "pixels"
    rows = []
    for i, (name, color) in enumerate(zip(entry.table.names, entry.table.colors, strict=True)):
        row = [str(i), _escape(name), hex_color(color)]
        if records:
            record = records[i] if isinstance(records[i], dict) else {}
            row += [*(_show(record.get(score)) for score in _OF_A_CLASS), _show(record.get("support"))]
        rows.append(row)
    more = ("precision", "recall", "F1", "IoU", unit) if records else ()
    return _tabulate(("id", "class", "colour", *more), rows)


def _tabulate_scores(entry: ModelEntry) -> str:
    if not entry.measured:
        return "It has no scores: no photo was held out, or it is the checkpoint of an epoch, whose scores log.csv has."
    rows = [[one.photos, *(_show(one.scores.get(name)) for name in SCORES)] for one in entry.measured]
    text = _tabulate(("measured on", *(_HEADS[name] for name in SCORES)), rows)
    notes = [f"- {one.on}: SHA-256 of its images and masks {one.sha256}" for one in entry.measured if one.sha256]
    if entry.kind != TILES and entry.measured[0].on != TEST:
        notes.insert(0, "- The epoch that is kept was chosen on the validation set, which flatters its scores.")
    return "\n\n".join([text, *(["\n".join(notes)] if notes else [])])


def _describe_input(card: ModelCard | DenseCard) -> dict[str, str]:
    if isinstance(card, ModelCard):
        return {
            "bands": "3 (red, green, blue)",
            "values": card.preprocessing,
            "tiles": f"{card.tile_size} x {card.tile_size} pixels, brought to {card.input_size} x {card.input_size}",
        }
    rows, cols = card.size
    crops = card.training.get("crops")
    is_cut = card.view and card.view.windows and not (isinstance(crops, dict) and crops.get("scale"))
    found = {
        "bands": str(card.architecture.n_bands),
        "values": _describe_values(card.normalization),
        "size in training": f"{rows} x {cols} pixels" + (", windows" if is_cut else ""),
    }
    return {**found, **(_describe_view(card.view) if card.view else {})}


def _describe_values(rule: Normalization) -> str:
    means, deviations = (", ".join(f"{value:.4g}" for value in found) for found in (rule.means, rule.deviations))
    return _NORMALIZED[rule.kind].format(scale=rule.scale, means=means, deviations=deviations)


def _describe_view(view: View) -> dict[str, str]:
    low, high = (f"{value:.3g}" for value in view.scale)
    found = {
        "photos in training": f"{view.photo[0]} x {view.photo[1]} pixels (median)",
        "scale in training": f"{low} of their own" if low == high else f"{low} to {high} of their own",
    }
    return {**found, **({"metres of a pixel": f"{view.resolution:.3g}"} if view.resolution else {})}


def _describe_training(entry: ModelEntry) -> dict[str, str]:
    training = entry.card.training
    unknown = "not written down (a checkpoint, or a network of an earlier version)"
    found = {"SHA-256 of the data": entry.data_sha256 or unknown}
    for name, noun in (("n_photographs", "photo"), ("n_pairs", "image")):
        if type(training.get(name)) is int:
            found.setdefault("data", count_of(training[name], noun))
    names = training.get("held_out")
    if isinstance(names, list) and names:
        found["held out"] = name_some(map(_escape, names), _N_NAMED)
    return {**found, **dict(_flatten(list_settings(entry.card)))}


def _flatten(record: Mapping[str, Any], lead: str = "") -> Iterable[tuple[str, str]]:
    """Yield settings within settings by their names in a row; lists as JSON has them."""
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{lead}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{lead}{name}", _escape(text)


def _tabulate_files(entry: ModelEntry) -> str:
    rows = [[_escape(path.name), f"{path.stat().st_size:,}", str(hash_file(path))] for path in entry.files]
    return _tabulate(("file", "bytes", "SHA-256"), rows)


def _list_items(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())


def _tabulate(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = chain((header, ["-" * width for width in widths]), rows)
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def _show(value: Any) -> str:
    return f"{value:.3f}" if type(value) is float else f"{value:,}" if type(value) is int else "-"


def _escape(text: object) -> str:
    """Return a text in which no sign begins something in a table of Markdown, and a line stays one."""
    return " ".join(str(text).encode("utf-8", "replace").decode().replace("|", "\\|").split())
