"""What results look like to a person, in a terminal or a notebook; and the tables of pages."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

_SQUARE = "display:inline-block;width:.85em;height:.85em;margin:0 .35em 0 0;border:1px solid #888;background:"


def escape_html(text: object) -> str:
    """Escape a text, of which bytes that are not UTF-8 (of a file name) are replaced.

    Examples
    --------
    >>> escape_html("sand & <dune>")
    'sand &amp; &lt;dune&gt;'
    """
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def short_path(path: Path) -> Path:
    """Return a path as a person in the current folder would write it: below that folder without its name."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return path


def render_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, strong: Collection[int] = ()) -> str:
    """Return a table; the rows whose numbers are in `strong` are of the class ``strong``."""
    head = "".join(f"<th>{escape_html(cell)}</th>" for cell in header)
    lines = []
    for i, row in enumerate(rows):
        mark = " class='strong'" if i in strong else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in row) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def render_text(*sentences: object) -> str:
    """Return sentences as paragraphs; those that are empty are left out."""
    return "".join(f"<p>{escape_html(sentence)}</p>" for sentence in sentences if sentence)


def render_classes(names: Iterable[str], colors: Iterable[str]) -> str:
    """Return names, each after a square of its colour, ``#rrggbb``."""
    items = (
        f"<span style='white-space:nowrap;margin-right:1.2em'><span style='{_SQUARE}{color}'></span>"
        f"{escape_html(name)}</span>"
        for name, color in zip(names, colors, strict=True)
    )
    return f"<div>{' '.join(items)}</div>"
