"""Write ``docs/cli.md``, and the keys in ``docs/dense.md``, from what the program says of itself.

``make docs`` calls it; a test checks that it was called.
"""

from __future__ import annotations

from pathlib import Path

import click

from hybridseg.cli.main import find_commands, main
from hybridseg.cli.resunet import explain_keys

DOCS = Path(__file__).parent.parent / "docs"
KEYS_MARK = "<!-- keys: written by `make docs` -->\n"
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
    contexts += [click.Context(command, info_name=name, parent=root) for name, command in find_commands().items()]
    return "\n".join([HEAD, *(_describe(context) for context in contexts)])


def _describe(context: click.Context) -> str:
    return f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n"


def describe_keys() -> str:
    """Give the table of all keys of the config of ``resunet``."""
    rows = [("key", "type and range", "default", "meaning"), ("---",) * 4]
    rows += [(f"`{key}`", kind, default, meaning) for key, kind, default, meaning in explain_keys()]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def insert_keys(page: str) -> str:
    """Put the table at the end of its page."""
    return page.partition(KEYS_MARK)[0] + KEYS_MARK + describe_keys()


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(describe_commands(), encoding="utf-8")
    dense = DOCS / "dense.md"
    dense.write_text(insert_keys(dense.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {DOCS / 'cli.md'} and the keys in {dense}")
