"""The ``hybridseg`` command: finds the requested command, and turns every error into one clear sentence."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from typing import Any

import click

from hybridseg import __version__
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.report import INTERRUPTED, Report, printable
from hybridseg.errors import BadUsage, HybridSegError, is_too_long, shorten, tidy

# In the order of use. A command is imported only when it is needed.
COMMANDS = {
    "run": "hybridseg.cli.study:run",
    "demo-scenes": "hybridseg.cli.prepare:demo_scenes",
    "review": "hybridseg.cli.prepare:review",
    "split": "hybridseg.cli.prepare:split",
    "label": "hybridseg.cli.label:label",
    "crf": "hybridseg.cli.label:crf",
    "convert": "hybridseg.cli.prepare:convert",
    "coco": "hybridseg.cli.coco:coco",
    "retile": "hybridseg.cli.prepare:retile",
    "retrain": "hybridseg.cli.train:retrain",
    "eval-tiles": "hybridseg.cli.train:eval_tiles",
    "tune-crf": "hybridseg.cli.segment:tune_crf",
    "semseg": "hybridseg.cli.segment:semseg",
    "eval-pixels": "hybridseg.cli.evaluate:eval_pixels",
    "agreement": "hybridseg.cli.evaluate:agreement",
    "fcn": "hybridseg.cli.fcn:fcn",
    "resunet": "hybridseg.cli.resunet:resunet",
    "unet": "hybridseg.cli.unet:unet",
    "predict": "hybridseg.cli.predict:predict",
    "segment": "hybridseg.cli.batch:segment",
    "status": "hybridseg.cli.batch:status",
    "estimate": "hybridseg.cli.estimate:estimate",
    "rank": "hybridseg.cli.rank:rank",
    "models": "hybridseg.cli.models:models",
    "demo": "hybridseg.cli.demo:demo",
    "demo-dense": "hybridseg.cli.demo:demo_dense",
    "export-module": "hybridseg.cli.train:export_module",
    "doctor": "hybridseg.cli.system:doctor",
}


def find_commands() -> dict[str, click.Command]:
    """Return every command by its full name, in the order of use, each group before its commands."""
    root = click.Context(main)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = main.get_command(root, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found.update({f"{name} {child}": inner for child, inner in command.commands.items()})
    return found


class HybridSegGroup(click.Group):
    """The group of all commands."""

    def main(self, args: Sequence[str] | None = None, *more: Any, standalone_mode: bool = True, **settings: Any) -> Any:
        """Run a command line; with --json, wherever it stands, also when the command line itself is wrong."""
        words = tuple(sys.argv[1:] if args is None else args)
        console = settings.setdefault("obj", Console(report=Report(words)))
        run = partial(super().main, args, *more, **settings)
        try:
            if standalone_mode and "--json" in words:
                sys.exit(_print_report(console.report, partial(run, standalone_mode=False)))
            return run(standalone_mode=standalone_mode)
        except SystemExit as stop:
            if args is None and stop.code == INTERRUPTED and _is_at_work():
                with suppress(OSError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                # At once: Python would wait for them, or crash while it ends.
                os._exit(INTERRUPTED)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; one that does not exist is answered with those that are called alike."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.NoSuchCommand(args[0], possibilities=find_commands(), ctx=ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read what stands before the name of a command."""
        with _tidied():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that the user can fix ends in a sentence and exit code 1."""
        with _tidied():
            return self._explain(ctx)

    def _explain(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadUsage as error:
            raise click.UsageError(f"{error}.") from error
        except click.UsageError as error:
            if "unexpected extra argument" in error.message and _names_image(error.message):
                advice = "the shell expands a pattern: put it in quotes, or give the folder."
                raise click.UsageError(f"{error.message}; {advice}", error.ctx) from error
            raise
        except HybridSegError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            again = "give the same command again" + " with --resume" * ctx.ensure_object(Console).can_resume
            click.echo(
                f"\nStopped. Every file that was written is complete; {again}, and what was finished is kept.", err=True
            )
            sys.exit(INTERRUPTED)
        except MemoryError as error:
            raise click.ClickException(
                "not enough memory for this image; close other programs, or work on a smaller one"
            ) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            if error.errno == errno.ENAMETOOLONG:
                raise click.ClickException(str(is_too_long(error.filename))) from error
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(
                f"{where}{error.strerror or error}; check that the file exists and that you have permission"
            ) from error


# Of all messages of Click the one that lists what was typed as it is.
_EXTRA = re.compile(r"^(Got unexpected extra arguments? \()(.*)(\))", re.DOTALL)


@contextmanager
def _tidied() -> Iterator[None]:
    """Shorten what a message about the command line echoes of it."""
    try:
        yield
    except click.ClickException as error:
        message = _EXTRA.sub(lambda match: match[1] + shorten(match[2], 200) + match[3], error.message)
        error.message = printable(tidy(message))  # type: ignore[misc]
        raise


def _names_image(text: str) -> bool:
    from hybridseg.io.rasters import IMAGE_SUFFIXES

    return any(suffix in text.lower() for suffix in IMAGE_SUFFIXES)


def _is_at_work() -> bool:
    """Return whether threads still make the batches of a training, or wait for a server."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    return "tensorflow" in sys.modules or any(not thread.daemon for thread in others)


def _print_report(report: Report, run: Callable[[], object]) -> int:
    """Run a command whose text goes to standard error and its report to standard output; return the exit code."""
    out, code = sys.stdout, 0
    try:
        with redirect_stdout(sys.stderr), report.watch():
            run()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = INTERRUPTED
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        # Whoever does not read it, as `head -0`, does not miss it.
        with suppress(BrokenPipeError):
            click.echo(report.to_json(), file=out)
    return code


@click.group(cls=HybridSegGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hybridseg")
@pass_console
def main(console: Console) -> None:
    """Land cover for every pixel of coastal and river photographs.

    \b
    With photos and masks of your own:
      run          train, test and report, all in one
      review       look over photos and masks before a training
      predict      label every pixel of a few images with any model
      segment      or of thousands, with what is done kept
      models       list what you have trained, and promote the best
    \b
    The hybrid method, in the order of use:
      split        divide your photos into train/ and test/
      label        scribble on them in the browser to label every pixel
      convert      or turn masks that you have into label maps
      coco         or a COCO file into photos with label maps
      retile       cut labelled photos into tiles of one class each
      retrain      train a classifier on the tiles of train/
      eval-tiles   evaluate it on the tiles of test/
      semseg       assign a class to every pixel of new photos
      eval-pixels  compare automatic label maps with manual ones
    Networks that work on whole images (fcn, resunet, unet) have commands of their own.
    Without photos of your own, start with demo-scenes.
    """
    console.set_logging()
