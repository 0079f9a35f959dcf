"""The report of a study: one HTML file that holds its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hybridseg.classes import ClassTable, color_labels
from hybridseg.data.reviewpage import tell_faults
from hybridseg.evaluation.errorpanels import pick_extremes
from hybridseg.figures import draw_calibration
from hybridseg.io.images import encode_image, read_rgb8
from hybridseg.markup import count_of, spell_command
from hybridseg.models.cards import combine_fingerprint, hash_file, list_versions
from hybridseg.page import Picture, Section, Strip, Table, embed_picture, write_page
from hybridseg.panels import Legend, join_legends, list_legend, show_errors, shrink_to
from hybridseg.resample import resize_nearest, shrink_image
from hybridseg.study.findings import (
    CERTAINTIES,
    METHOD_TITLES,
    Findings,
    MethodFindings,
    PhotoResult,
    read_both,
    read_result,
)
from hybridseg.study.inputs import Inputs, StudyPaths
from hybridseg.study.steps import Step, name_classes
from hybridseg.study.story import REPORT_NAME, show_share

_N_EXTREMES, _N_LISTED, _N_UNCERTAIN = 3, 40, 4
_PICTURE_PIXELS = 440
# Probabilities that differ by less from how often they are right can be used as they are.
_TRUSTED = 0.03


def write_report(
    paths: StudyPaths,
    inputs: Inputs,
    steps: Sequence[Step],
    findings: Findings,
    *,
    note: str = "",
    more: Sequence[Section] = (),
) -> Path:
    """Write ``report.html`` and return its path.

    Parameters
    ----------
    note : str
        For the lead, where the photos are none of the user's own.
    more : sequence of Section
        What comes after the photos.
    """
    best, sets = findings.best, inputs.sets
    verdict = best.verdict
    text = verdict.text if verdict else "Nothing could be compared."
    if len(findings.methods) > 1:
        text = f"The better of the two methods on these photos is {METHOD_TITLES[best.name]}. {text}"
    sections = [
        _tell_scores(findings, inputs),
        _show_extremes(best, inputs.table),
        *more,
        _tell_confidence(best),
        _tell_what_to_label(paths, findings, inputs, are_own=not note),
        *_tell_review(inputs),
        Section(
            "What was done",
            f"Of {count_of(sum(sets.values()), 'photo')}, {sets['train']} were for training and {sets['test']} for "
            f"testing; {sets['unlabelled']} have no mask. No photo for testing was used in training. Each command can "
            "be run "
            f"alone, in the folder {Path.cwd()}.\n\n" + " ".join(map(_make_sentence, (inputs.kept, *inputs.warnings))),
            commands=[spell_command(step.words) for step in steps],
        ),
        _tell_versions(paths, inputs),
    ]
    path = paths.out / REPORT_NAME
    name = paths.images_dir.resolve().name
    next_step = f"Next: {verdict.choose_step(findings.next_steps)}." if verdict else ""
    lead = (text, _make_sentence(inputs.likeness), note, next_step)
    write_page(path, f"Land cover of {name}", "\n\n".join(lead), sections)
    return path


def _tell_review(inputs: Inputs) -> list[Section]:
    """Show what is amiss in the photos and masks, as `hybridseg review` does."""
    first, *others = tell_faults(inputs.known, inputs.faults)
    return [replace(first, heading="What a review of the photos and masks found"), *others]


def _make_sentence(line: str) -> str:
    return line and f"{line[0].upper()}{line[1:]}."


def _tell_scores(findings: Findings, inputs: Inputs) -> Section:
    rows, best = [], findings.best
    for method in findings.methods:
        macro = method.pooled["macro"]
        rows.append(
            (METHOD_TITLES[method.name], *map(show_share, (method.pooled["accuracy"], macro["iou"], macro["f1"])))
        )
    floors = {**best.verdict.floors, "always the commonest class": best.verdict.majority} if best.verdict else {}
    rows += [(name, show_share(accuracy), "", "") for name, accuracy in floors.items()]
    classes = [
        (
            row["class"],
            *(show_share(row[name]) for name in ("precision", "recall", "f1", "iou")),
            f"{row['support']:,}",
            _percent(inputs.shares.get(row["class"], 0.0)),
        )
        for row in best.pooled["classes"]
    ]
    confusion = (best.scores_dir / "eval_pixels_confusion.png").read_bytes()
    return Section(
        "How good it is",
        f"Every pixel of {count_of(len(best.tested), 'photo')} that the model has not seen, compared with their "
        "masks. Precision: what share of the pixels that were given a class are of it. Recall: what share of the "
        f"pixels of a class was found. The table of classes is of {METHOD_TITLES[best.name]}.",
        tables=[
            Table(("method", "accuracy", "mean IoU", "mean F1"), rows, strong=[findings.methods.index(best)]),
            Table(("class", "precision", "recall", "F1", "IoU", "pixels tested", "share in all masks"), classes),
        ],
        pictures=[Picture(embed_picture(confusion, ".png"), "What each true class was taken for.")],
    )


def _show_extremes(method: MethodFindings, table: ClassTable) -> Section:
    worst, best = pick_extremes(method.tested)
    drawn = [
        _draw_strip(f"{kind}: {photo.image_path.name}", photo, table)
        for kind, photos in (("best by Dice", best), ("worst by Dice", worst))
        for photo in photos
    ]
    n = len(method.tested)
    rows = [
        (photo.image_path.name, show_share(photo.dice), show_share(photo.accuracy))
        for photo in method.tested[:_N_LISTED]
    ]
    more = f" (the worst {_N_LISTED} of {n})" if n > _N_LISTED else ""
    return Section(
        "The best and the worst photos",
        f"Of {METHOD_TITLES[method.name]}. Pixels that differ from the mask are marked in the last picture. The "
        "multi-label Dice of a photo is the mean of the Dice of the classes that its mask or its result has.",
        tables=[Table((f"photo{more}", "multi-label Dice", "accuracy"), rows)],
        strips=[strip for strip, _ in drawn],
        legend=join_legends((own for _, own in drawn), table),
    )


def _draw_strip(title: str, photo: PhotoResult, table: ClassTable) -> tuple[Strip, Legend]:
    """Draw image, mask, result and errors of a photo, with their legend; without a mask image and result alone."""
    image = read_rgb8(photo.image_path)
    shape = shrink_to(image.shape[:2], _PICTURE_PIXELS)
    if photo.truth_path is None:
        result = resize_nearest(read_result(photo, table), shape)
        shown = [(shrink_image(image, *shape), ".jpg", "photo"), (color_labels(result, table), ".png", "result")]
        remark, legend = "", list_legend(table, result)
    else:
        panels = show_errors(image, *read_both(photo, table), table, shape=shape)
        # JPEG would blur the errors, which are often a pixel wide.
        endings, names = (".jpg", ".png", ".png", ".png"), ("photo", "mask", "result", "errors")
        shown = list(zip(panels.pictures, endings, names, strict=True))
        remark, legend = f"Dice {show_share(photo.dice)}, {_percent(photo.accuracy or 0.0)} right", panels.legend
    return Strip(title, remark, [Picture(_embed(picture, ending), name) for picture, ending, name in shown]), legend


def _embed(picture: np.ndarray, suffix: str) -> str:
    return embed_picture(encode_image(picture, suffix=suffix, quality=85), suffix)


def _tell_confidence(method: MethodFindings) -> Section:
    found = method.calibration
    heading = "How far its confidence can be trusted"
    if found is None:
        return Section(heading, "No pixel could be compared.")
    filled = found.counts > 0
    weights = found.counts[filled] / found.counts.sum()
    sure, right = (float((values[filled] * weights).sum()) for values in (found.confidence, found.accuracy))
    text = f"On average its probability is {_percent(sure)} where {_percent(right)} of the pixels are right: "
    if abs(sure - right) < _TRUSTED:
        text += "it can be taken at its word."
    elif sure < right:
        text += "it is right more often than it says."
    else:
        text += "it is surer than it should be, so a high probability alone does not mean that a place is right."
        if method.name == "hybrid":
            text += " A better sign is that the tiles alone, NAME_atiles, give the same class as the result, NAME_ares."
    with TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.png"
        draw_calibration(path, found, unit="pixels")
        picture = Picture(
            embed_picture(path.read_bytes(), ".png"), "How often it is right at each level of confidence."
        )
    return Section(heading, text, pictures=[picture])


def _tell_what_to_label(paths: StudyPaths, findings: Findings, inputs: Inputs, *, are_own: bool) -> Section:
    method, tables = findings.best, []
    weakest = method.verdict.weakest if method.verdict else None
    parts = []
    if weakest:
        photos = sorted(method.tested, key=lambda photo: (-sum(photo.mistakes.get(weakest, ())), photo.image_path.name))
        worst = [photo for photo in photos if sum(photo.mistakes.get(weakest, ()))][:_N_EXTREMES]
        parts.append(
            f"Places with '{weakest}', the class with the lowest F1: {inputs.shown.get(weakest, 0)} of the "
            f"{count_of(inputs.sets['train'], 'photo')} for training show it. Most of its errors are in "
            "the photos for testing that the first table names; further photos that look like these teach the most."
        )
        rows = [(photo.image_path.name, *(f"{n:,}" for n in photo.mistakes[weakest])) for photo in worst]
        tables.append(Table((f"errors with '{weakest}'", "pixels missed", "of others taken for it"), rows))
    heading, first = "What to label next", method.unlabelled[:_N_UNCERTAIN]
    if not first:
        new = "Those of your own that have none are segmented, and listed"
        if are_own:
            new = (
                f"Put new ones into {paths.images_dir} and run the same command again: it segments them, and lists them"
            )
        parts.append(f"All photos have a mask. {new} here with the least certain ones first.")
        return Section(heading, "\n\n".join(parts), tables=tables)
    place = f", and writes a NAME_mres.mat beside each; move these to {paths.masks_dir}" if paths.masks_name else ""
    parts.append(
        f"Of the {count_of(len(method.unlabelled), 'photo')} without a mask, those whose result is "
        f"least certain come first (the "
        f"lowest {CERTAINTIES[method.name]}). This command opens the first {len(first)} of them{place}."
    )
    rows = [
        (photo.image_path.name, show_share(photo.certainty), _percent(_measure_share(photo, weakest, inputs.table)))
        for photo in method.unlabelled[:_N_LISTED]
    ]
    tables.append(Table(("photo without a mask", CERTAINTIES[method.name], f"found as '{weakest}'"), rows))
    drawn = [_draw_strip(photo.image_path.name, photo, inputs.table) for photo in first]
    words = ("label", *(paths.images_dir / photo.image_path.name for photo in first), *name_classes(paths))
    return Section(
        heading,
        "\n\n".join(parts),
        commands=[spell_command(words)],
        tables=tables,
        strips=[strip for strip, _ in drawn],
        legend=join_legends((own for _, own in drawn), inputs.table),
    )


def _measure_share(photo: PhotoResult, name: str | None, table: ClassTable) -> float:
    """Return the share of the pixels to which the result gives a class."""
    return float(np.mean(read_result(photo, table) == table.names.index(name))) if name in table.names else 0.0


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _tell_versions(paths: StudyPaths, inputs: Inputs) -> Section:
    files = {"class list": paths.labels_path, "split.csv": paths.out / "split.csv"}
    files |= {name: paths.out / name for name in ("hybrid/model.pb", "fcn/model.h5")}
    hashes = [(name, found) for name, path in files.items() if path is not None and (found := hash_file(path))]
    hashes.append((f"{len(inputs.files)} photos and masks", combine_fingerprint(*map(hash_file, inputs.files))))
    return Section(
        "Versions and hashes",
        "The same photos, masks, versions and commands give the same result.",
        tables=[Table(("program", "version"), list(list_versions().items())), Table(("file", "SHA-256"), hashes)],
    )
