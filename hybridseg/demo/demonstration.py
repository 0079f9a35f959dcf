"""A demonstration: demo scenes, the commands that a user would type on them, and the page that shows them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridseg.demo.overview import draw_scene_overview
from hybridseg.errors import OutputExists
from hybridseg.io.atomic import write_text
from hybridseg.study.story import Story

_MARK = "DEMO.txt"


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
