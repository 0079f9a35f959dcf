"""A self-contained HTML page of commands, tables and pictures, for the screen, light or dark, and for paper."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybridseg.classes import hex_color
from hybridseg.io.atomic import write_text
from hybridseg.markup import escape_html, render_command, render_legend, render_points, render_table, render_text
from hybridseg.palette import Color
from hybridseg.panels import Legend

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2a3a; --soft: #5b6b7b; --line: #dde4ea; --accent: #1f5fa8; --paper: #fff;
  --shade: #f3f6f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9ef; --soft: #9fb0c0; --line: #2f3c49; --accent: #7db4f0;
  --paper: #131b23; --shade: #1c2732; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--paper); }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
h3 small { color: var(--soft); font-weight: 400; }
p, ul { max-width: 46rem; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
ul { padding-left: 1.2em; }
li { margin: .3rem 0; }
p code, li code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; background: var(--shade);
  padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
p.lead { font-size: 1.12rem; }
pre { background: var(--shade); border-left: 3px solid var(--accent); padding: .7rem 1rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre code { font: inherit; display: block; padding-left: 1.2em; text-indent: -1.2em; margin: .2rem 0; }
pre code span { display: inline-block; max-width: 100%; text-indent: 0; }
pre code::before { content: "$ "; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: break-word; max-width: 22rem; }
th { color: var(--soft); font-weight: 600; }
tr.strong td { font-weight: 650; }
figure { margin: 1rem 0 1.4rem; }
figure img { max-width: min(100%, 46rem); height: auto; border: 1px solid var(--line); border-radius: 4px;
  background: #fff; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .3rem; max-width: 46rem; }
.text th, .text td { text-align: left; vertical-align: top; max-width: 30rem; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .75em; margin-right: .6em; border: 1px solid #8888; vertical-align: baseline; }
th.bars, td.bars { text-align: left; white-space: nowrap; }
.stack { position: relative; display: block; }
.stack img + img { position: absolute; inset: 0; height: 100%; opacity: .55; background: none;
  image-rendering: pixelated; }
.stack:hover img + img { opacity: 0; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; }
.strip figure { margin: 0; }
.strip img { display: block; width: 100%; max-width: 100%; }
@media (max-width: 40rem) { .strip { grid-template-columns: repeat(2, 1fr); } main { padding-top: 1.5rem; }
  table { font-size: .74rem; } th, td { padding-right: .28rem; } th:last-child, td:last-child { padding-right: 0; }
  main { padding-left: 1rem; padding-right: 1rem; } pre { padding: .6rem .7rem; font-size: 12.5px; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --accent: #1f5fa8; --paper: #fff;
  --shade: #f3f3f3; } main { max-width: none; padding: 0; } figure, tr, h2, h3 { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .scroll { overflow: visible; } body { font-size: 11pt; }
  * { print-color-adjust: exact; } }
"""


_BLANK_LINE = "\n\n"
_BAR_LENGTH = 8


@dataclass(frozen=True)
class Table:
    """A header and rows of text; the rows named in `strong` are set in bold. One of sentences is set to the left."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()
    of_sentences: bool = False


@dataclass(frozen=True)
class Bars:
    """A histogram: a header, and rows of a name, its colour, and a share from 0 to 1 for each further column."""

    header: Sequence[str]
    rows: Sequence[tuple[str, Color, Sequence[float]]]


@dataclass(frozen=True)
class Picture:
    """A picture file beside the page, or the picture itself as `embed_picture` gives it, and its caption.

    An overlay is drawn half transparent on it; the pointer on the picture takes it away.
    """

    path: str
    caption: str
    overlay: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures side by side, with a title and a remark above them if there is a title."""

    title: str
    remark: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Section:
    """A heading, a few paragraphs, commands, tables, a histogram, pictures, and strips of them with a legend.

    The `points` are texts by what each is about, which a list tells after the paragraphs.
    """

    heading: str
    text: str
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    strips: Sequence[Strip] = ()
    legend: Legend = ()
    bars: Bars | None = None
    points: Mapping[str, str] = field(default_factory=dict)


def embed_picture(content: bytes, suffix: str) -> str:
    """Return a picture file as a page holds it in itself.

    Examples
    --------
    >>> embed_picture(b"abc", ".jpg")
    'data:image/jpeg;base64,YWJj'
    """
    kind = {".jpg": "jpeg"}.get(suffix, suffix.removeprefix("."))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_MARK = "<meta name='generator' content='hybridseg'>"


def write_page(path: str | os.PathLike[str], title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> page = pathlib.Path(tempfile.mkdtemp()) / "index.html"
    >>> write_page(page, "A & B", "Two.", [Section("First", "It is.")])
    >>> "<h1>A &amp; B</h1>" in page.read_text()
    True
    """
    parts = (f"<h1>{escape_html(title)}</h1>", render_text(*lead.split(_BLANK_LINE), kind="lead"))
    write_text(path, frame_page(title, "\n".join((*parts, *map(_render_section, sections)))))


def is_page_of_ours(path: Path) -> bool:
    """Return whether a file is a page of this program."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK.encode() in file.read(1000)


def frame_page(title: str, body: str, *, style: str = "") -> str:
    """Return a page in the style of all pages of the program, and in more of it, around what it shows."""
    return (
        f"<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f"{_MARK}\n<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape_html(title)}</title>\n"
        f"<style>{_STYLE}{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _render_section(section: Section) -> str:
    parts = [f"<h2>{escape_html(section.heading)}</h2>"]
    parts.append(render_text(*section.text.split(_BLANK_LINE)))
    if section.points:
        parts.append(render_points(section.points))
    if section.commands:
        # The prompt is not part of the text, so that what is copied can be run.
        parts.append("<pre>" + "".join(map(render_command, section.commands)) + "</pre>")
    if section.legend:
        parts.append(render_legend((name, hex_color(color)) for name, color in section.legend))
    for strip in section.strips:
        if strip.title:
            parts.append(f"<h3>{escape_html(strip.title)} <small>{escape_html(strip.remark)}</small></h3>")
        parts.append(f"<div class='strip'>{''.join(map(_render_picture, strip.pictures))}</div>")
    parts += [_render_bars(section.bars)] if section.bars else []
    parts += [_render_table(table) for table in section.tables]
    parts += [_render_picture(picture) for picture in section.pictures]
    return "\n".join(parts)


def _render_picture(picture: Picture) -> str:
    source, caption = escape_html(picture.path), escape_html(picture.caption)
    image = f"<img src='{source}' alt='{caption}'>"
    if picture.overlay:
        image = f"<span class='stack'>{image}<img src='{escape_html(picture.overlay)}' alt=''></span>"
    if not picture.path.startswith("data:"):
        image = f"<a href='{source}'>{image}</a>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _render_table(table: Table) -> str:
    kind = "scroll text" if table.of_sentences else "scroll"
    return f"<div class='{kind}'>{render_table(table.header, table.rows, strong=table.strong)}</div>"


def _render_bars(bars: Bars) -> str:
    """Return a histogram as a table, each share as a bar with its number; the longest bar of all has a fixed length."""
    longest = max((share for _, _, shares in bars.rows for share in shares), default=0.0) or 1.0
    head = "".join(f"<th class='bars'>{escape_html(cell)}</th>" for cell in bars.header)
    rows = []
    for name, color, shares in bars.rows:
        cells = "".join(
            f"<td class='bars'><span class='bar' style='width:{_BAR_LENGTH * share / longest:.2f}em;"
            f"background:{hex_color(color)}'></span>{share:.1%}</td>".replace("%<", "&nbsp;%<")
            for share in shares
        )
        rows.append(f"<tr><td>{escape_html(name)}</td>{cells}</tr>")
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
