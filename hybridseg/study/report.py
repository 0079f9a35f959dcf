"""The report of a study: one HTML file that holds its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hybridseg.batch.madeby import hash_file
from hybridseg.classes import ClassTable, color_labels, hex_color
from hybridseg.evaluation.errorpanels import pick_extremes
from hybridseg.evaluation.page import Picture, Section, Strip, Table, embed_picture, write_page
from hybridseg.figures import draw_calibration
from hybridseg.io.images import as_rgb8, encode_image, read_image
from hybridseg.models.cards import combine_fingerprint, list_versions
from hybridseg.panels import Legend, list_legend, show_errors, shrink_to
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
from hybridseg.study.steps import Step
from hybridseg.study.story import show_share, spell_command

REPORT_NAME = "report.html"
_N_LISTED, _N_UNCERTAIN = 40, 4
_PICTURE_PIXELS = 440


def write_report(paths: StudyPaths, inputs: Inputs, steps: Sequence[Step], findings: Findings) -> Path:
    """Write ``report.html`` and return its path."""
    best, sets = findings.best, inputs.sets
    verdict = best.verdict
    text = verdict.text if verdict else "Nothing could be compared."
    if len(findings.methods) > 1:
        text = f"The better of the two methods on these photos is {METHOD_TITLES[best.name]}. {text}"
    sections = [
        _tell_scores(findings, inputs),
        _show_extremes(best, inputs.table),
        _tell_confidence(best),
        _tell_what_to_label(findings, inputs),
        Section(
            "What was done",
            f"Of {sum(sets.values())} photos, {sets['train']} were for training and {sets['test']} for testing; "
            f"{sets['unlabelled']} have no mask. No photo for testing was used in training. Each command can be run "
            f"alone, in the folder {Path.cwd()}.\n\n" + " ".join(f"{line}." for line in inputs.warnings),
            commands=[spell_command(step.words) for step in steps],
        ),
        _tell_versions(paths, inputs),
    ]
    path = paths.out / REPORT_NAME
    name = paths.images_dir.resolve().name
    next_step = f"\n\nNext: {verdict.choose_step(findings.next_steps)}" if verdict else ""
    write_page(path, f"Land cover of {name}", text + next_step, sections)
    return path


def _tell_scores(findings: Findings, inputs: Inputs) -> Section:
    rows, best = [], findings.best
    for method in findings.methods:
        macro = method.pooled["macro"]
        rows.append(
            (METHOD_TITLES[method.name], *map(show_share, (method.pooled["accuracy"], macro["iou"], macro["f1"])))
        )
    majority = best.verdict.majority if best.verdict else None
    rows.append(("always the commonest class", show_share(majority), "", ""))
    classes = [
        (
            row["class"],
            *(show_share(row[name]) for name in ("precision", "recall", "f1", "iou")),
            f"{row['support']:,}",
            f"{inputs.shares.get(row['class'], 0.0):.1%}",
        )
        for row in best.pooled["classes"]
    ]
    confusion = (best.scores_dir / "eval_pixels_confusion.png").read_bytes()
    return Section(
        "How good it is",
        f"Every pixel of {len(best.tested)} photos that the model has not seen, compared with their masks. Precision: "
        "what share of the pixels that were given a class are of it. Recall: what share of the pixels of a class was "
        f"found. The table of classes is of {METHOD_TITLES[best.name]}.",
        tables=[
            Table(("method", "accuracy", "mean IoU", "mean F1"), rows, strong=[findings.methods.index(best)]),
            Table(("class", "precision", "recall", "F1", "IoU", "pixels", "of all masks"), classes),
        ],
        pictures=[Picture(embed_picture(confusion, ".png"), "What each true class was taken for.")],
    )


def _show_extremes(method: MethodFindings, table: ClassTable) -> Section:
    worst, best = pick_extremes(method.tested)
    drawn = [
        _draw_strip(f"{kind}: {photo.image_path.name}", photo, table)
        for kind, photos in (("best", best), ("worst", worst))
        for photo in photos
    ]
    n = len(method.tested)
    rows = [(photo.image_path.name, show_share(photo.accuracy)) for photo in method.tested[:_N_LISTED]]
    more = f" (the worst {_N_LISTED} of {n})" if n > _N_LISTED else ""
    return Section(
        "The best and the worst photos",
        f"Of {METHOD_TITLES[method.name]}. Pixels that differ from the mask are marked in the last picture.",
        tables=[Table((f"photo{more}", "accuracy"), rows)],
        strips=[strip for strip, _ in drawn],
        legend=_join_legends(drawn),
    )


def _join_legends(drawn: Sequence[tuple[Strip, Legend]]) -> list[tuple[str, str]]:
    found = dict.fromkeys(item for _, legend in drawn for item in legend)
    return [(name, hex_color(color)) for name, color in found]


def _draw_strip(title: str, photo: PhotoResult, table: ClassTable) -> tuple[Strip, Legend]:
    """Draw image, mask, result and errors of a photo, with their legend; without a mask image and result alone."""
    image = as_rgb8(read_image(photo.image_path))
    shape = shrink_to(image.shape[:2], _PICTURE_PIXELS)
    if photo.truth_path is None:
        result = resize_nearest(read_result(photo, table), shape)
        shown = [(shrink_image(image, *shape), ".jpg", "photo"), (color_labels(result, table), ".png", "result")]
        remark, legend = "", list_legend(table, result)
    else:
        panels = show_errors(image, *read_both(photo, table), table, shape=shape)
        endings, names = (".jpg", ".png", ".png", ".jpg"), ("photo", "mask", "result", "errors")
        shown = list(zip(panels.pictures, endings, names, strict=True))
        remark, legend = f"{photo.accuracy:.1%} right".replace("%", " %"), panels.legend
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
    surplus = float(((found.confidence - found.accuracy)[filled] * weights).sum())
    points = f"{abs(surplus) * 100:.0f} points"
    much = "about as often right as it says" if abs(surplus) < 0.02 else (
        f"surer than it is right, by {points}" if surplus > 0 else f"right more often than it says, by {points}"
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.png"
        draw_calibration(path, found, unit="pixels")
        picture = Picture(
            embed_picture(path.read_bytes(), ".png"), "How often it is right at each level of confidence."
        )
    return Section(heading, f"Over all pixels of the photos for testing, it is {much}.", pictures=[picture])


def _tell_what_to_label(findings: Findings, inputs: Inputs) -> Section:
    method = findings.best
    weakest = method.verdict.weakest if method.verdict else None
    text = f"The class with the lowest F1 is '{weakest}': photos that show it teach the most. " if weakest else ""
    if not method.unlabelled:
        worst = method.tested[0].image_path.name
        text += (
            "There are no photos without a mask to choose from. Photos like the worst one for testing, "
            f"{worst}, are the ones to add."
        )
        return Section("What to label next", text)
    text += (
        f"Of the {len(method.unlabelled)} photos without a mask, these are the ones whose result is the least "
        f"certain (the lowest {CERTAINTIES[method.name]})."
    )
    rows = [
        (photo.image_path.name, show_share(photo.certainty))
        for photo in method.unlabelled[:_N_LISTED]
    ]  # fmt: skip
    drawn = [_draw_strip(photo.image_path.name, photo, inputs.table) for photo in method.unlabelled[:_N_UNCERTAIN]]
    table = Table(("photo, the least certain first", CERTAINTIES[method.name]), rows)
    strips = [strip for strip, _ in drawn]
    return Section("What to label next", text, tables=[table], strips=strips, legend=_join_legends(drawn))


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
