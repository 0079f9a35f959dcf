"""Commands that make ground truth: ``crf`` spreads scribbles to every pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import class_files_options, overwrite_option, read_table
from hybridseg.cli.segment import CRF_HELP, number_options
from hybridseg.crf.options import ENGINES, CrfOptions
from hybridseg.inference.spread import SpreadOptions, read_scribbles, spread_file

_DEFAULTS = SpreadOptions()


@click.command()
@click.argument("image_path", metavar="IMAGE", type=click.Path(path_type=Path))
@click.argument("seeds_path", metavar="SEEDS", type=click.Path(path_type=Path))
@class_files_options
@click.option(
    "-s", "--scale", type=float, default=_DEFAULTS.scale, show_default=True,
    help="Size at which the CRF works, as a share of the image's own.",
)  # fmt: skip
@click.option(
    "--gt-prob", type=float, default=_DEFAULTS.crf.gt_prob, show_default=True, help="How far a scribble is trusted."
)
@number_options(_DEFAULTS.crf, CRF_HELP)
@click.option("--engine", type=click.Choice(ENGINES), default=CrfOptions.engine, show_default=True,
              help="What computes the CRF.")  # fmt: skip
@click.option("--out", "out_dir", metavar="DIR", type=click.Path(path_type=Path),
              help="Write here.  [default: beside the image]")  # fmt: skip
@overwrite_option
@pass_console
def crf(console: Console, *, image_path: Path, seeds_path: Path, **settings: Any) -> None:
    """Spread scribbles to every pixel of an image by a dense CRF.

    SEEDS are the scribbles: a .mat that has them (`sparse`), a picture of class ids or colours in which 255 or black is
    unlabelled, or NAME_doodles.json. Scribbled pixels stay as they are.

    Result: NAME_mres.mat (class, sparse, labels), NAME_mres_label.png, NAME_mres.png (image, scribbles, result) and
    NAME_report.txt (the share of each class); of a GeoTIFF also NAME_mres_label.tif in the same place on Earth.

    \b
    Example:
      hybridseg crf photo.jpg photo_mres.mat --out dense
    """
    table = read_table(settings["labels_path"], settings["colors_path"])
    scribbles = read_scribbles(seeds_path, table=table)
    names = CrfOptions.__dataclass_fields__.keys() & settings.keys()
    options = SpreadOptions(settings["scale"], CrfOptions(**{name: settings[name] for name in names}))
    written = spread_file(
        image_path, scribbles, options=options, out_dir=settings["out_dir"], overwrite=settings["overwrite"],
        progress=console.progress,
    )  # fmt: skip
    for path in written:
        console.say(f"wrote {path}")
