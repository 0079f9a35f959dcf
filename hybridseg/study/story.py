"""Commands that are run as a user would type them, and the page that tells what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.confusion import SCORES
from hybridseg.errors import BadInput
from hybridseg.io.jsonfiles import read_json_object
from hybridseg.markup import spell_command, spell_words
from hybridseg.models.cards import parse_value
from hybridseg.page import Picture, Section, Table, write_page

REPORT_NAME = "report.html"


@dataclass
class Story:
    """The commands run so far, and the sections of the page that show them.

    Parameters
    ----------
    run_command : callable
        Runs a command line, without the name of the program.
    say : callable
        Prints a line.
    """

    out_dir: Path
    run_command: Callable[[list[str]], object]
    say: Callable[[str], None]
    sections: list[Section] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def run(self, *words: object) -> None:
        """Show a command, then run it in this process."""
        arguments = spell_words(words)
        self.commands.append(spell_command(words))
        self.say(f"\n$ {self.commands[-1]}")
        self.run_command(arguments)

    def tell(
        self,
        heading: str,
        text: str,
        *,
        points: Mapping[str, str] | None = None,
        tables: list[Table] | None = None,
        **pictures: str,
    ) -> None:
        """Add a section with the commands since the last one. Pictures are NAME=caption, for NAME.png."""
        shown = [Picture(f"{name}.png", caption) for name, caption in pictures.items()]
        self.sections.append(Section(heading, text, tuple(self.commands), tables or (), shown, points=points or {}))
        self.commands = []

    def write_page(self, title: str, lead: str) -> Path:
        """Write all sections as ``report.html``: the last one, which holds the results, comes first."""
        page = self.out_dir / REPORT_NAME
        write_page(page, title, lead, [self.sections[-1], *self.sections[:-1]])
        return page


def read_scores(folder: Path) -> dict[str, Any]:
    """Read the scores that `eval-pixels` wrote into a folder.

    Raises
    ------
    MissingInput, BadInput
        When there are none, or they are damaged.
    """
    path = folder / "eval_pixels.json"
    record = read_json_object(path, errors="surrogateescape")
    with explain_damage(path):
        pooled, share = record["pooled"], float | None
        for value in (pooled["accuracy"], *(pooled["macro"][name] for name in SCORES)):
            parse_value(value, share)
        for row in pooled["classes"]:
            parse_value(row["class"], str)
            parse_value(row["support"], int)
            for name in SCORES:
                parse_value(row[name], share)
    return record


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn what the use of a damaged file of ours raises into one sentence."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path} is damaged ({error}); remove its folder, and give the command again") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise BadInput(f"{path} is damaged ({error!r}); remove its folder, and give the command again") from error


def compare_scores(home: Path, folders: Mapping[str, str], *, strong: Sequence[int] = ()) -> list[Table]:
    """Make the tables of the scores that `eval-pixels` wrote into some folders of a place, by the name of a method."""
    pooled = {name: read_scores(home / folder)["pooled"] for name, folder in folders.items()}
    means = [(n, *map(show_share, (r["accuracy"], r["macro"]["iou"], r["macro"]["f1"]))) for n, r in pooled.items()]
    by_class = [
        (rows[0]["class"], *(show_share(row["iou"]) for row in rows))
        for rows in zip(*(record["classes"] for record in pooled.values()), strict=True)
    ]
    return [
        Table(("against the exact truth", "pixel accuracy", "mean IoU", "mean F1"), means, strong),
        Table(("IoU of each class", *pooled), by_class),
    ]


def show_share(value: float | None) -> str:
    """Format a share for a table; empty for None."""
    return "" if value is None else f"{value:.3f}"
