"""Write ``docs/cli.md``, and the keys in ``docs/dense.md``, from what the program says of itself.

``make docs`` calls it; a test checks that it was called.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click

from hybridseg.cli.main import find_commands, main
from hybridseg.cli.resunet import explain_keys
from hybridseg.dense.steps import STEPS
from hybridseg.options import setting_of

DOCS = Path(__file__).parent.parent / "docs"
KEYS_MARK = "<!-- keys: written by `make docs` -->\n"
STEPS_MARK, STEPS_END = "<!-- steps: written by `make docs` -->\n", "<!-- end of steps -->\n"
HEAD = """# Commands

Every command in the order of use, as `hybridseg COMMAND --help` prints it. This page is generated (`make docs`).

Exit codes: 0 done; 1 something in the input could not be used (one message says what, and what to do); 2 wrong
usage; 130 stopped by Ctrl-C (0 from `label`, which ends that way).
"""


def describe_commands() -> str:
    """Return the whole page."""
    settings = {**main.context_settings, "terminal_width": 100, "max_content_width": 100}
    root = click.Context(main, info_name="hybridseg", **settings)
    contexts = [root]
    contexts += [click.Context(command, info_name=name, parent=root) for name, command in find_commands().items()]
    return "\n".join([HEAD, *(_describe(context) for context in contexts)])


def _describe(context: click.Context) -> str:
    return f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n"


def describe_steps() -> str:
    """Return the table of the steps of an augmentation."""
    rows = [("step", "what it does", "settings"), ("---",) * 3]
    for name, kind in STEPS.items():
        settings = [
            f"`{item.name}` ({item.default:.3g}): {setting_of(kind, item.name).help}"
            if isinstance(item.default, float)
            else f"`{item.name}` ({item.default}): {setting_of(kind, item.name).help}"
            for item in fields(kind)
        ]
        rows.append((f"`{name}`", (kind.__doc__ or "").strip(), " ".join(settings)))
    return _tabulate(rows)


def describe_keys() -> str:
    """Return the table of all keys of the config of ``resunet``."""
    rows = [("key", "type and range", "default", "meaning"), ("---",) * 4]
    rows += [(f"`{key}`", kind, default, meaning) for key, kind, default, meaning in explain_keys()]
    return _tabulate(rows)


def _tabulate(rows: list[tuple[str, ...]]) -> str:
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def insert_keys(page: str) -> str:
    """Put the tables into their page, that of the keys at its end."""
    head, _, rest = page.partition(KEYS_MARK)[0].partition(STEPS_MARK)
    return head + STEPS_MARK + describe_steps() + STEPS_END + rest.partition(STEPS_END)[2] + KEYS_MARK + describe_keys()


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(describe_commands(), encoding="utf-8")
    dense = DOCS / "dense.md"
    dense.write_text(insert_keys(dense.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {DOCS / 'cli.md'} and the keys in {dense}")
