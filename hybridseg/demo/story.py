"""A demo that runs the commands that a user would type, and the page that shows them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridseg.demo.overview import draw_scene_overview
from hybridseg.errors import OutputExists
from hybridseg.evaluation.page import Picture, Section, Table, write_page
from hybridseg.io.atomic import write_text

_MARK = "DEMO.txt"


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
        # A folder whose name starts with a dash is not an option.
        arguments = [f"./{w}" if isinstance(w, Path) and str(w).startswith("-") else str(w) for w in words]
        self.commands.append(f"hybridseg {shlex.join(arguments)}")
        self.say(f"\n$ {self.commands[-1]}")
        self.run_command(arguments)

    def tell(self, heading: str, text: str, *, tables: list[Table] | None = None, **pictures: str) -> None:
        """Add a section with the commands since the last one. Pictures are NAME=caption, for NAME.png."""
        shown = [Picture(f"{name}.png", caption) for name, caption in pictures.items()]
        self.sections.append(Section(heading, text, tuple(self.commands), tables or (), shown))
        self.commands = []

    def read(self, name: str) -> Any:
        """Read a JSON file that a command wrote."""
        return json.loads((self.out_dir / name).read_text(encoding="utf-8"))

    def read_verdict(self, name: str) -> str:
        """Read the verdict from a JSON file of scores."""
        return self.read(name)["verdict"]["text"]

    def write_page(self, title: str, lead: str) -> Path:
        """Write all sections as ``index.html``: the last one, which holds the results, comes first."""
        page = self.out_dir / "index.html"
        write_page(page, title, lead, [self.sections[-1], *self.sections[:-1]])
        return page

    def compare(self, folders: Mapping[str, str], *, strong: Sequence[int] = ()) -> list[Table]:
        """Make the tables of the scores that `eval-pixels` wrote into some folders, by the name of the method."""
        pooled = {name: self.read(f"{folder}/eval_pixels.json")["pooled"] for name, folder in folders.items()}
        means = [(n, *map(show_share, (r["accuracy"], r["macro"]["iou"], r["macro"]["f1"]))) for n, r in pooled.items()]
        by_class = [
            (rows[0]["class"], *(show_share(row["iou"]) for row in rows))
            for rows in zip(*(record["classes"] for record in pooled.values()), strict=True)
        ]
        return [
            Table(("against the exact truth", "pixel accuracy", "mean IoU", "mean F1"), means, strong),
            Table(("IoU of each class", *pooled), by_class),
        ]


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration shows: its page, the folders that it clears, and its chapters after the scenes are drawn."""

    title: str
    lead: str
    folders: tuple[str, ...]
    chapters: tuple[Callable[[Story], None], ...]

    def run(
        self,
        out_dir: Path,
        scenes_dir: Path | None,
        *,
        run_command: Callable[[list[str]], object],
        say: Callable[[str], None],
    ) -> Path:
        """Run it on demo scenes; return the page that shows it.

        Parameters
        ----------
        scenes_dir : pathlib.Path or None
            Demo scenes to use; None draws them into `out_dir`.
        run_command, say : callable
            See `Story`.
        """
        claim_demo(out_dir, self.folders)
        story, scenes_dir = Story(out_dir, run_command, say), scenes_dir or out_dir / "scenes"
        story.run("demo-scenes", scenes_dir)
        story.run("split", scenes_dir, "-p", "0.67", "--out", out_dir)
        draw_scene_overview(out_dir / "scenes.png", scenes_dir)
        for chapter in self.chapters:
            chapter(story)
        return story.write_page(self.title, self.lead)


def claim_demo(out_dir: Path, folders: Iterable[str]) -> None:
    """Make the folder, or clear it of an earlier demo; raise OutputExists when it holds other files."""
    mark = out_dir / _MARK
    if out_dir.exists() and any(out_dir.iterdir()) and not mark.exists():
        raise OutputExists(f"{out_dir} holds files that are not from a demo; give an empty folder")
    write_text(mark, "The demo clears this folder when it runs again.\n")
    for name in folders:
        shutil.rmtree(out_dir / name, ignore_errors=True)


def show_share(value: float | None) -> str:
    """Format a share for a table; empty for None."""
    return "" if value is None else f"{value:.3f}"
