"""``hybridseg demo``: the hybrid method from end to end, as the very commands that a user would type."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.data.tileplan import MANIFEST_NAME
from hybridseg.errors import OutputExists
from hybridseg.evaluation.page import Picture, Section, Table, write_page
from hybridseg.io.atomic import write_text
from hybridseg.io.pairing import list_images

_MARK = "DEMO.txt"
_FOLDERS = ("train", "test", "tiles_alone", "best")


@click.command()
@click.argument("out_dir", metavar="[DIR]", type=click.Path(path_type=Path), default="demo_out")
@click.option(
    "--scenes",
    "scenes_dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Demo scenes to use; drawn there if there are none.  [default: DIR/scenes]",
)
@pass_console
def demo(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the hybrid method on demo scenes, command by command.

    Result: DIR/index.html (default: demo_out), a page with every command, table and picture; beside it train/ and
    test/ with their tiles, a classifier model.pb, and the label maps. The commands are shown as they run.

    \b
    Example:
      hybridseg demo demo_out
    """
    _claim_folder(out_dir)
    run = Story(console, out_dir)
    _prepare(run, scenes_dir or out_dir / "scenes")
    _train(run)
    _segment(run)
    page = out_dir / "index.html"
    lead = (
        "Everything below was made just now by the commands that are shown, from synthetic coast scenes whose class is "
        "exactly known for each pixel. The classifier has not seen the scenes on which it is judged. "
        "With photos of your own, the commands are the same."
    )
    # What it comes to first, then how.
    write_page(page, "From photos to land cover: the hybrid method", lead, [run.sections[-1], *run.sections[:-1]])
    console.say(f"\nThe page with all pictures and tables: {page.resolve()}")


@dataclass
class Story:
    """What has been run so far, and the sections of the page that tell of it."""

    console: Console
    out_dir: Path
    sections: list[Section] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def run(self, *words: object) -> None:
        """Show a command, then run it in this process."""
        from hybridseg.cli.main import main

        # A folder whose name begins with a dash is no option.
        arguments = [f"./{w}" if isinstance(w, Path) and str(w).startswith("-") else str(w) for w in words]
        self.commands.append(f"hybridseg {shlex.join(arguments)}")
        self.console.say(f"\n$ {self.commands[-1]}")
        quiet = ["--quiet"] if self.console.quiet else []
        main.main([*quiet, *arguments], prog_name="hybridseg", standalone_mode=False)

    def tell(self, heading: str, text: str, *, tables: list[Table] | None = None, **pictures: str) -> None:
        """End a section: it has the commands since the last one. Pictures are NAME=caption, of NAME.png."""
        shown = [Picture(f"{name}.png", caption) for name, caption in pictures.items()]
        self.sections.append(Section(heading, text, tuple(self.commands), tables or (), shown))
        self.commands = []

    def read(self, name: str) -> Any:
        """Read a JSON file that a command wrote."""
        return json.loads((self.out_dir / name).read_text(encoding="utf-8"))


def _claim_folder(out_dir: Path) -> None:
    """Make the folder, or clear what an earlier demo left; a folder of somebody else's is refused."""
    mark = out_dir / _MARK
    if out_dir.exists() and any(out_dir.iterdir()) and not mark.exists():
        raise OutputExists(f"{out_dir} holds files that are not from a demo; give an empty folder")
    write_text(mark, "The demo clears this folder when it runs again.\n")
    for name in _FOLDERS:
        shutil.rmtree(out_dir / name, ignore_errors=True)


def _prepare(story: Story, scenes_dir: Path) -> None:
    from hybridseg.evaluation.overview import draw_scene_overview, draw_tile_overview

    out_dir = story.out_dir
    story.run("demo-scenes", scenes_dir)
    story.run("split", scenes_dir, "-p", "0.67", "--out", out_dir)
    draw_scene_overview(out_dir / "scenes.png", scenes_dir)
    story.tell(
        "1. Scenes, for training and for judging",
        "Twelve scenes of a coast with their label maps are divided: two thirds to learn from, the rest to judge by.",
        scenes="Scenes above their label maps.",
    )
    for name in ("train", "test"):
        # All tiles are kept (-b 1): a dozen small scenes have none to spare.
        story.run("retile", "-t", "96", "-a", "0.9", "-b", "1", out_dir / name)
    draw_tile_overview(out_dir / "tiles.png", out_dir / "train" / "tile_96" / MANIFEST_NAME)
    story.tell(
        "2. Tiles of one class each",
        "Windows of 96 pixels of which one class covers more than 90 % become tiles; the classifier learns from them.",
        tiles="Tiles to learn from, drawn at random from each class.",
    )


def _train(story: Story) -> None:
    out_dir, model = story.out_dir, story.out_dir / "model.pb"
    words = ["--image_dir", out_dir / "train" / "tile_96", "--output_graph", model]
    story.run("retrain", *words, "--bottleneck_dir", out_dir / "bottlenecks", "--testing_percentage", "0")
    story.tell(
        "3. A classifier",
        "A MobileNetV2 that knows everyday pictures becomes a classifier of tiles: only its last layer is trained.",
        model_training="How the training went.",
    )
    story.run("eval-tiles", "-n", "100", out_dir / "test" / "tile_96", "--model", model, "--out", out_dir)
    classes = story.read("eval_tiles.json")["classes"]
    rows = [(row["class"], *(_share(row[name]) for name in ("precision", "recall", "f1"))) for row in classes]
    story.tell(
        "4. How good it is on tiles",
        "Judged on tiles of the scenes that it has not seen.",
        tables=[Table(("class", "precision", "recall", "F1"), rows)],
        eval_tiles_confusion="What it takes for what.",
        eval_tiles_calibration="How often it is right when it is so sure.",
    )


def _segment(story: Story) -> None:
    from hybridseg.evaluation.overview import draw_result_overview

    out_dir, test, model = story.out_dir, story.out_dir / "test", story.out_dir / "model.pb"
    story.run("semseg", test, "--model", model, "--decimation", "1", "--scale", "0.5", "--keep-seeds")
    story.run("eval-pixels", test)
    truth = ("--truth", "test/*_mres.mat")
    tiles_dir, best_dir = out_dir / "tiles_alone", out_dir / "best"
    story.run("eval-pixels", out_dir, *truth, "--prediction", "test/*_atiles_96.mat", "--out", tiles_dir)
    story.run("semseg", test, "--model", model, "--best", "--out", best_dir)
    story.run("eval-pixels", out_dir, *truth, "--prediction", "best/*_ares_96.mat", "--out", best_dir)
    images = list_images(test)
    maps = {
        "tiles alone": [test / f"{path.stem}_atiles_96.mat" for path in images],
        "semseg": [test / f"{path.stem}_ares_96.mat" for path in images],
        "semseg --best": [best_dir / f"{path.stem}_ares_96.mat" for path in images],
        "truth": [test / f"{path.stem}_mres.mat" for path in images],
    }
    draw_result_overview(out_dir / "results.png", images, maps)
    pooled = {
        name: story.read(f"{folder}/eval_pixels.json")["pooled"]
        for name, folder in zip(maps, ("tiles_alone", "test", "best"), strict=False)
    }
    summary = [
        (n, _share(r["accuracy"]), _share(r["macro"]["iou"]), _share(r["macro"]["f1"])) for n, r in pooled.items()
    ]
    by_class = [
        (rows[0]["class"], *(_share(row["iou"]) for row in rows))
        for rows in zip(*(record["classes"] for record in pooled.values()), strict=True)
    ]
    story.tell(
        f"What it comes to: a class for every pixel of {len(images)} new scenes",
        "The tiles alone give blocks. A dense CRF carries the sure ones along colour and nearness to every pixel: that "
        "is the classic method. With --best the tiles overlap and seed it with their probabilities.",
        tables=[
            Table(("against the exact truth", "pixel accuracy", "mean IoU", "mean F1"), summary, (len(summary) - 1,)),
            Table(("IoU of each class", *pooled), by_class),
        ],
        results="Each scene, what the tiles alone say, what the CRF makes of it, and the truth.",
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
