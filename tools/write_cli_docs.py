"""Write ``docs/cli.md`` from the commands' own help. ``make docs`` calls it; a test checks that it was called."""

from __future__ import annotations

from pathlib import Path

import click

from hybridseg.cli.main import COMMANDS, main

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """# Commands

Every command in the order of use, as `hybridseg COMMAND --help` prints it. This page is generated (`make docs`).

Exit codes: 0 done; 1 something in the input could not be used (one message says what, and what to do); 2 wrong
usage; 130 stopped by Ctrl-C.
"""


def describe_commands() -> str:
    """Give the whole page."""
    settings = {**main.context_settings, "terminal_width": 100, "max_content_width": 100}
    root = click.Context(main, info_name="hybridseg", **settings)
    contexts = [root]
    for name in COMMANDS:
        contexts.append(click.Context(main.get_command(root, name), info_name=name, parent=root))
    return "\n".join([HEAD, *(_describe(context) for context in contexts)])


def _describe(context: click.Context) -> str:
    return f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(describe_commands(), encoding="utf-8")
    print(f"wrote {TARGET}")
