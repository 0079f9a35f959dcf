"""What results look like to a person, in a terminal, a notebook or a page: texts, tables and legends in HTML."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

_SQUARE = "display:inline-block;width:.85em;height:.85em;margin:0 .35em 0 0;border:1px solid #888;background:"
_OPTION, _UNBROKEN = re.compile(r"(?<!\S)(--[\w-]+)"), r"<span style='white-space:nowrap'>\1</span>"

_CODE, _DASHED = re.compile(r"`([^`]+)`"), re.compile(r"(\S*-\S*)")


def escape_html(text: object) -> str:
    """Escape a text, of which bytes that are not UTF-8 (of a file name) are replaced.

    Examples
    --------
    >>> escape_html("sand & <dune>")
    'sand &amp; &lt;dune&gt;'
    """
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def count_of(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count_of(1, "image"), count_of(2500, "image"), count_of(2, "class"), count_of(0, "entry"), count_of(3, "epoch")
    ('1 image', '2,500 images', '2 classes', '0 entries', '3 epochs')
    """
    if n != 1:
        noun = re.sub(r"(s|x|sh|[tn]ch)$", r"\1e", re.sub(r"(?<=[^aeiou])y$", "ie", noun)) + "s"
    return f"{n:,} {noun}"


def describe_bytes(n_bytes: float) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> describe_bytes(2.5e12), describe_bytes(12e9), describe_bytes(80_000)
    ('2.5 TB', '12.0 GB', '0.1 MB')
    """
    for power, unit in ((12, "TB"), (9, "GB")):
        if n_bytes >= 10**power:
            return f"{n_bytes / 10**power:,.1f} {unit}"
    return f"{n_bytes / 1e6:,.1f} MB"


def name_some(names: Iterable[object], most: int) -> str:
    """Return the first of several names, and how many more there are.

    Examples
    --------
    >>> name_some(["a", "b", "c"], 2), name_some(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    found = list(map(str, names))
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def short_path(path: Path) -> Path:
    """Return a path as a person in the current folder would write it: below that folder without its name."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return path


def spell_words(words: Sequence[object]) -> list[str]:
    """Return the words of a command as text; a folder whose name starts with a dash is not an option."""
    return [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]


def spell_command(words: Sequence[object]) -> str:
    """Return a command as a shell takes it.

    Examples
    --------
    >>> spell_command(["split", Path("my photos"), "-p", 0.5])
    "hybridseg split 'my photos' -p 0.5"
    >>> spell_command(["label", "--review", Path("-odd")])
    'hybridseg label --review ./-odd'
    """
    return f"hybridseg {shlex.join(spell_words(words))}"


def render_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, strong: Collection[int] = ()) -> str:
    """Return a table; the rows whose numbers are in `strong` are of the class ``strong``."""
    head = "".join(f"<th>{_render_line(cell)}</th>" for cell in header)
    lines = []
    for i, row in enumerate(rows):
        mark = " class='strong'" if i in strong else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in row) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def render_text(*paragraphs: object, kind: str = "") -> str:
    """Return paragraphs, of the class `kind` if it is given; those that are empty are left out.

    No line ends between the dashes and the name of an option, nor between a number and its percent sign. What is
    between backticks is code.
    """
    start = f"<p class='{kind}'>" if kind else "<p>"
    return "".join(f"{start}{_render_line(paragraph)}</p>" for paragraph in paragraphs if paragraph)


def render_points(points: Mapping[str, object]) -> str:
    """Return a list of texts, each after what it is about.

    Examples
    --------
    >>> render_points({"sand": "90 % are right."})
    '<ul><li><strong>sand</strong>: 90&nbsp;% are right.</li></ul>'
    """
    items = (f"<li><strong>{escape_html(name)}</strong>: {_render_line(text)}</li>" for name, text in points.items())
    return f"<ul>{''.join(items)}</ul>"


def _render_line(text: object) -> str:
    text = _OPTION.sub(_UNBROKEN, escape_html(text).replace(" %", "&nbsp;%"))
    return _CODE.sub(r"<code>\1</code>", text)


def render_command(command: str) -> str:
    """Return a command as code in which no line ends within a word, as it may after a dash, unless it fills the line.

    Examples
    --------
    >>> render_command("hybridseg run a-b")
    '<code>hybridseg run <span>a-b</span></code>'
    """
    unbroken = _DASHED.sub(r"<span>\1</span>", escape_html(command))
    return f"<code>{unbroken}</code>"


def render_legend(items: Iterable[tuple[str, str]]) -> str:
    """Return names, each after a square of its colour, ``#rrggbb``."""
    entries = (
        f"<span style='display:inline-block;margin-right:1.2em'><span style='{_SQUARE}{color}'></span>"
        f"{escape_html(name)}</span>"
        for name, color in items
    )
    return f"<div style='margin:.4em 0 .8em'>{' '.join(entries)}</div>"
