"""Commands that give every pixel of new images a class: ``semseg``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import read_table
from hybridseg.crf.options import ENGINES, CrfOptions
from hybridseg.inference.hybrid import SEED_SOURCES, HybridOptions
from hybridseg.inference.semseg import ImageResult, SemsegOutputs, SemsegResult
from hybridseg.inference.tiles import PATTERNS

path_type = click.Path(path_type=Path)

_CLASSIC = ("IMAGE", "MODEL", "LABELS", "COLORS", "TILE", "THRESH", "PROB", "DECIM", "SCALE")


_CRF_HELP = {
    "theta": "How far pixels speak to one another, in pixels of the reduced image.",
    "color_scale": "How far colours are alike, in levels of 0..255.",
    "space_compat": "What it costs near pixels to differ.",
    "color_compat": "What it costs near pixels of like colour to differ.",
    "n_iterations": "Rounds of the CRF, at most.",
    "tolerance": "Stop when fewer than this share of the pixels changed; 0 never.",
    "max_memory": "GiB that the CRF may take; beyond, it works in blocks.",
    "n_threads": "Threads of the CRF; 0 is one for each core.",
}


def number_options(defaults: object, help_of: dict[str, str]) -> Any:
    """Add an option for each named number of an options object, with its default and type."""

    def add(function: Any) -> Any:
        for name, text in reversed(help_of.items()):
            default = getattr(defaults, name)
            flag = f"--{name.removeprefix('n_').replace('_', '-')}"
            add_one = click.option(flag, name, type=type(default), default=default, show_default=True, help=text)
            function = add_one(function)
        return function

    return add


@click.command()
@click.argument("words", metavar="IMAGE... | IMAGE MODEL LABELS COLORS TILE THRESH PROB DECIM SCALE", nargs=-1)
@click.option("--model", "model_path", type=path_type, help="The classifier.  [default: model.pb]")
@click.option("--labels", "labels_path", type=path_type, help="Its classes, for a .pb of the classic script.")
@click.option("--colors", "colors_path", type=path_type, help="Their colours; needs --labels.")
@click.option("--tile-size", type=int, help="Side of the tiles.  [default: as the model says]")
@number_options(
    HybridOptions(),
    {
        "threshold": "THRESH: only tiles that are so sure of their class seed the CRF.",
        "decimation": "DECIM: classify one tile in so many.",
        "scale": "SCALE: size at which the CRF works, as a share of the image's own.",
    },
)
@click.option(
    "--prob",
    "gt_prob",
    type=float,
    default=CrfOptions.gt_prob,
    show_default=True,
    help="PROB: how far a seed is trusted.",
)
@click.option("--stride", type=int, help="Pixels from one tile to the next.  [default: the size of a tile]")
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default=HybridOptions.pattern,
    show_default=True,
    help="Count tiles line after line, or spread as many evenly.",
)
@click.option(
    "--seed-from",
    type=click.Choice(SEED_SOURCES),
    default=HybridOptions.seed_from,
    show_default=True,
    help="Seed the CRF with the class of each tile, or with the probabilities of all.",
)
@number_options(CrfOptions(), _CRF_HELP)
@click.option(
    "--engine", type=click.Choice(ENGINES), default=CrfOptions.engine, show_default=True, help="What computes the CRF."
)
@click.option("--reference-geometry", is_flag=True, help="Exchange width and height as the classic program does.")
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Write here.  [default: beside each image]")
@click.option("--probabilities", is_flag=True, help="Also write how sure the result is.")
@click.option("--report", is_flag=True, help="Also write class shares and timings as JSON.")
@click.option("--keep-seeds", is_flag=True, help="Also write what the tiles alone say.")
@click.option("--resume", is_flag=True, help="Leave out images that have a result.")
@pass_console  # fmt: skip
def semseg(console: Console, *, words: tuple[str, ...], **settings: Any) -> None:
    """Give every pixel of images a class.

    Tiles of each image are classified; those that are sure seed a dense CRF on the reduced image, which finds the
    borders. Images are files, folders or patterns. The nine words of the classic script work as they did.

    Result: for each image NAME_ares_TILE.mat (class, sparse, labels), NAME_ares_TILE_label.png (painted in the
    colours of the classes), NAME_ares_TILE.png (a picture of how it came about); of a GeoTIFF also
    NAME_ares_TILE_label.tif in the same place on Earth.

    \b
    Examples:
      hybridseg semseg photos --model model.pb --out results
      hybridseg semseg photo.jpg model.pb labels.txt colors.txt 96 0.5 0.5 8 0.25
    """
    from hybridseg.inference.semseg import segment_files
    from hybridseg.io.pairing import find_images
    from hybridseg.models.startup import import_tensorflow
    from hybridseg.models.store import load_classifier

    images = _read_words(words, settings)
    options = _make_options(settings)
    names = SemsegOutputs.__dataclass_fields__
    outputs = SemsegOutputs(**{name: settings[name] for name in names})
    given = read_table(settings["labels_path"], settings["colors_path"])
    paths = find_images([Path(word) for word in images])
    import_tensorflow()
    classifier = load_classifier(
        settings["model_path"], labels_path=settings["labels_path"], tile_size=settings["tile_size"]
    )
    table = classifier.table.with_colors_of(given) if given and settings["colors_path"] else classifier.table
    result = segment_files(
        paths, classifier, options=options, outputs=outputs, table=table, progress=console.progress,
        on_done=lambda image: _tell_image(console, image),
    )  # fmt: skip
    _tell_end(console, result)
    console.finish(result.problems)


def _read_words(words: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """Take the nine words of the classic script into the settings; give the images."""
    if not words:
        raise click.UsageError("name the images: files, a folder or a pattern.")
    is_classic = settings["model_path"] is None and len(words) > 1 and words[1].lower().endswith(".pb")
    if not is_classic:
        settings["model_path"] = settings["model_path"] or Path("model.pb")
        return words
    if len(words) != len(_CLASSIC):
        raise click.UsageError(f"the classic form has nine words, {' '.join(_CLASSIC)}; these are {len(words)}.")
    kinds = {
        "model_path": Path, "labels_path": Path, "colors_path": Path,
        "tile_size": int, "threshold": float, "gt_prob": float, "decimation": int, "scale": float,
    }  # fmt: skip
    context = click.get_current_context()
    for (name, kind), title, word in zip(kinds.items(), _CLASSIC[1:], words[1:], strict=True):
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{title} is given twice: as the word {word} and as an option.")
        try:
            settings[name] = kind(word)
        except ValueError:
            raise click.UsageError(f"{title} is {word!r}, which is no number.") from None
    return words[:1]


def _make_options(settings: dict[str, Any]) -> HybridOptions:
    crf = CrfOptions(**{name: settings[name] for name in CrfOptions.__dataclass_fields__})
    own = HybridOptions.__dataclass_fields__.keys() - {"crf"}
    return HybridOptions(**{name: settings[name] for name in own}, crf=crf)


def _tell_image(console: Console, image: ImageResult) -> None:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in image.shares.items())
    console.say(f"{image.image_path.name}: {shares} ({sum(image.seconds.values()):.1f} s)")
    for path in image.written:
        console.say(f"  wrote {path}")
    for warning in image.warnings:
        click.echo(f"  warning: {warning}", err=True)


def _tell_end(console: Console, result: SemsegResult) -> None:
    if result.skipped:
        console.say(f"{len(result.skipped)} images had a result already and were left out (--resume)")
    if len(result.images) > 1:
        console.say(f"{len(result.images)} images done")
