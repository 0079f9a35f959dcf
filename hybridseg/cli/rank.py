"""``rank``: which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.batch.rank import COLUMNS, ORDERS, rank_results
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import path_type
from hybridseg.io.marks import check_table
from hybridseg.io.tables import write_csv
from hybridseg.markup import count_of, spell_command

_MOST_SHOWN = 10


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=path_type)
@click.option(
    "--by", type=click.Choice(ORDERS),
    help="What comes first: where the model is least sure, or where tiles and CRF, or several models, differ most.  "
    "[default: entropy; of several DIR, and where it is not known, disagreement]",
)  # fmt: skip
@click.option("--out", "out_path", metavar="FILE", type=path_type, help="Write all images as CSV.")
@pass_console
def rank(console: Console, folders: tuple[Path, ...], **settings: Any) -> None:
    """List the images to label next: those whose results are least sure.

    Entropy is 0 where a model, before any CRF, is sure of every pixel and 1 where it knows nothing; of dense networks
    it is measured with segment --probabilities. Disagreement is the share of the pixels to which tiles and CRF give
    different classes; where several models voted, those to which they do before any CRF, the mean of all pairs; of
    several DIR, results of the same images by other models, those to which these do.

    Result: the first ten images; with --out a CSV of all: image, entropy, disagreement, result (its label map), with
    absolute paths.

    \b
    Examples:
      hybridseg rank results
      hybridseg rank results --out ranking.csv
    """
    if settings["out_path"]:
        if settings["out_path"].suffix.lower() != ".csv":
            raise click.UsageError(f"--out {settings['out_path']} does not end in .csv; the list is written as CSV.")
        check_table(settings["out_path"], COLUMNS, advice="give another --out")
    found = rank_results(folders, by=settings["by"], progress=console.progress)
    shown = found.images[:_MOST_SHOWN]
    console.record(by=found.by, images=[image.to_record() for image in found.images])
    more = f" (the first {len(shown)})" if len(shown) < len(found.images) else ""
    console.say(f"{count_of(len(found.images), 'image')} by {found.by}, the least sure first{more}:")
    console.table(COLUMNS[:-1], [(Path(i.image).name, _show(i.entropy), _show(i.disagreement)) for i in shown])
    if settings["out_path"]:
        write_csv(settings["out_path"], COLUMNS, [image.to_record() for image in found.images])
        console.wrote(settings["out_path"])
    if len(folders) == 1:
        console.say(f"\nNext: look at them with {spell_command(('label', '--review', folders[0]))}")
    console.finish(found.problems, n_done=len(found.images))


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
