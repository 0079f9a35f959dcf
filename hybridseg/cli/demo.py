"""Commands that show the two methods at work: ``demo`` and ``demo-dense``."""

from __future__ import annotations

from pathlib import Path

import click

from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.options import path_type
from hybridseg.cli.study import conclude_study

_scenes_option = click.option(
    "--scenes", "scenes_dir", metavar="DIR", type=path_type,
    help="Demo scenes to use; drawn there if there are none.  [default: DIR_scenes]",
)  # fmt: skip


@click.command()
@click.argument("out_dir", metavar="[DIR]", type=path_type, default="demo_out")
@_scenes_option
@pass_console
def demo(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the hybrid method on demo scenes, as `run` does on photos.

    What the classic constants give with the same classifier is compared as well. The same command goes on after an
    interruption.

    Result: DIR/report.html (default: demo_out), the report of `run` with that comparison; beside it the classifier
    hybrid/model.pb and the label maps. The commands are shown as they run.

    \b
    Example:
      hybridseg demo demo_out
    """
    from hybridseg.demo.hybrid import run_demo

    conclude_study(
        console,
        run_demo(
            out_dir,
            scenes_dir,
            run_command=console.run_command,
            say=console.say,
            warn=console.warn,
            progress=console.progress,
        ),
    )


@click.command("demo-dense")
@click.argument("out_dir", metavar="[DIR]", type=path_type, default="demo_dense_out")
@_scenes_option
@pass_console
def demo_dense(console: Console, *, out_dir: Path, scenes_dir: Path | None) -> None:
    """Run the three dense networks on demo scenes, command by command.

    Result: DIR/report.html (default: demo_dense_out), a page with every command, table and picture; beside it the
    trained networks and the label maps. A few minutes on two cores; the commands are shown as they run.

    \b
    Example:
      hybridseg demo-dense demo_dense_out
    """
    from hybridseg.demo.dense import run_dense_demo

    page = run_dense_demo(out_dir, scenes_dir, run_command=console.run_command, say=console.say)
    console.wrote(page, text=f"\nThe page with all pictures and tables: {page.resolve()}")
