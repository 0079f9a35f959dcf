"""The group ``models``: the models that are there, what they are, and which is the best."""

from __future__ import annotations

from pathlib import Path

import click

from hybridseg.cli.console import Console, add_manners, pass_console
from hybridseg.cli.options import join_options, overwrite_option, path_type
from hybridseg.markup import count_of, spell_command
from hybridseg.models.catalog import SCORES, TEST, VALIDATION, ModelEntry, find_models, read_entry, sort_models
from hybridseg.models.documents import write_documents
from hybridseg.models.modelcard import describe_model
from hybridseg.models.promotion import choose_best, promote_model
from hybridseg.verdict import NextSteps

score_options = join_options(
    click.option(
        "--by", type=click.Choice(SCORES), default=SCORES[0], show_default=True,
        help="The score that tells which is the best; means are those over the classes.",
    ),
    click.option(
        "--on", type=click.Choice((VALIDATION, TEST)),
        help="Scores on these images.  [default: validation images, and the test tiles of a tile classifier]",
    ),
)  # fmt: skip
places_argument = click.argument("places", metavar="[FOLDER|MODEL]...", type=path_type, nargs=-1)
model_argument = click.argument("path", metavar="MODEL", type=path_type)


@click.group()
@add_manners
def models() -> None:
    """List, show and promote the models that you have trained."""


@models.command("list")
@places_argument
@score_options
@pass_console
def list_models(console: Console, *, places: tuple[Path, ...], by: str, on: str | None) -> None:
    """List the models that are there, the best first.

    Finds every model with a card in the FOLDERs (default: the current one) and all that lies below them; the
    checkpoints of a training are left out.

    Result: for each model its kind, classes, scores, what they were measured on, the first digits of the hash of that
    data, date and size. Only scores with the same hash can be compared.

    \b
    Example:
      hybridseg models list --by dice
    """
    entries, problems = find_models(places or (Path(),))
    entries = sort_models(entries, by, on)
    columns = (by, *(name for name in ("mean_iou", "dice", "accuracy") if name != by))
    rows = [_make_row(entry, columns, by, on) for entry in entries]
    header = ("model", "kind", "classes", *(name.replace("_", " ") for name in columns), "on", "data", "date", "size")
    if rows:
        console.table(header, rows)
    else:
        console.say("no model with a card was found; give the folder where one is, or train one")
    console.record(models=[entry.to_record() for entry in entries])
    console.finish(problems, n_done=len(entries))


def _make_row(entry: ModelEntry, columns: tuple[str, ...], by: str, on: str | None) -> tuple[str, ...]:
    found = entry.find(by, on) or next((one for one in entry.measured if on in (None, one.on)), None)
    scores = found.scores if found else {}
    shown = (f"{scores[name]:.3f}" if name in scores else "-" for name in columns)
    measured, data = (found.photos, (found.sha256 or "-")[:8]) if found else ("-", "-")
    date = entry.written.astimezone().strftime("%Y-%m-%d %H:%M")
    size = f"{entry.n_bytes / 1e6:,.1f} MB"
    return (str(entry.path), entry.kind, str(len(entry.table)), *shown, measured, data, date, size)


@models.command("show")
@model_argument
@pass_console
def show_model(console: Console, *, path: Path) -> None:
    """Show all that the card of a model says.

    MODEL is NAME.pb, NAME.h5, or a folder that holds one of them.

    Result: what it does, its classes with their colours and scores, the verdict, the images that it takes, how it was
    trained, the hash of its data, versions, and its files with their hashes; `models card` writes the same text.

    \b
    Example:
      hybridseg models show runs/coast
    """
    entry = read_entry(path)
    console.say(describe_model(entry).rstrip())
    console.record(model=entry.to_record(), training=entry.card.training, scores=entry.card.scores)


@models.command("promote")
@places_argument
@score_options
@click.option(
    "--to", metavar="DIR", type=path_type, default=Path("models"), show_default=True,
    help="Folder of the models in use; each has a folder of its own in it.",
)  # fmt: skip
@click.option("--name", help="Name of the folder in --to.  [default: the name of the model]")
@overwrite_option
@pass_console
def promote(
    console: Console, *, places: tuple[Path, ...], by: str, on: str | None, to: Path, name: str | None, overwrite: bool
) -> None:
    """Copy the best model to the folder of the models in use.

    Compares the models that are given, or found in the FOLDERs (default: the current one) as `models list` finds them.
    The best by the score wins, whenever it was trained. Scores are compared only where they were measured on the same
    images, masks and classes; models without that score are left out, and named.

    Result: DIR/NAME with the weights, the card, the runtime graph, MODEL_CARD.md, NAME.mlm.json, and promoted.json,
    which says what it won against; whole or not at all.

    \b
    Example:
      hybridseg models promote runs --by mean_iou
    """
    entries, problems = find_models(places or (Path(),))
    for problem in problems:
        console.warn(f"left out: {problem}")
    contest = choose_best(entries, by=by, on=on)
    for entry, why in contest.left_out:
        console.warn(f"left out: {entry.path} {why}")
    result = promote_model(contest, to, name=name, overwrite=overwrite)
    console.say(contest.text)
    if result.written:
        folder = result.entry.path.parent
        console.wrote(*result.written, text=f"wrote {folder} ({count_of(len(result.written), 'file')})")
    else:
        console.say(f"{result.entry.path} is this model already: nothing was copied")
    console.record(
        model=result.entry.to_record(), promoted_from=contest.winner.path, by=by,
        score=contest.score_of(contest.winner),
        against={str(entry.path): contest.score_of(entry) for entry in contest.beaten},
        left_out=[str(entry.path) for entry, _ in contest.left_out],
    )  # fmt: skip
    steps = NextSteps(
        good=f"use it: {spell_command(('predict', '-m', result.entry.path, '-i', 'PHOTOS'))}",
        few="measure it on more photos before it is relied on",
    )
    console.conclude(contest.measured.scores, result.entry.verdict, steps)


@models.command("card")
@model_argument
@click.option("--out", "out_dir", metavar="DIR", type=path_type, help="Where to write.  [default: beside MODEL]")
@pass_console
def card(console: Console, *, path: Path, out_dir: Path | None) -> None:
    """Write the card of a model for people and for catalogs.

    Result: MODEL_CARD.md, a page that reads well on a website that shows Markdown, and NAME.mlm.json, a STAC Item with
    the Machine Learning Model extension. Every training writes both. A MODEL_CARD.md of another model, or one that you
    have changed, stays as it is, and the new one is called NAME_MODEL_CARD.md.

    \b
    Example:
      hybridseg models card runs/coast --out website
    """
    console.wrote(*write_documents(read_entry(path), out_dir))
