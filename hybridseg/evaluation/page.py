"""A self-contained HTML page of commands, tables and pictures; only the pictures are files beside it."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass

from hybridseg.io.atomic import write_text

_STYLE = """
:root { color-scheme: light; --ink: #1b2a3a; --soft: #5b6b7b; --line: #dde4ea; --accent: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink);
  background: #fff; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0 1rem; }
pre { background: #f3f6f9; border-left: 3px solid var(--accent); padding: .7rem 1rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: 14px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 600; }
tr.strong td { font-weight: 650; }
figure { margin: 1rem 0 1.4rem; }
figure img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .3rem; max-width: 46rem; }
"""


@dataclass(frozen=True)
class Table:
    """A header and rows of text; the rows named in `strong` are set in bold."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()


@dataclass(frozen=True)
class Picture:
    """A picture file beside the page, and its caption."""

    path: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, a few sentences, the commands that were run, tables and pictures."""

    heading: str
    text: str
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


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
    body = "\n".join(_render_section(section) for section in sections)
    write_text(
        path,
        f"<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'>\n<title>{html.escape(title)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        f"<p>{html.escape(lead)}</p>\n{body}\n</main>\n</body>\n</html>\n",
    )


def _render_section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.heading)}</h2>", f"<p>{html.escape(section.text)}</p>"]
    if section.commands:
        parts.append("<pre>" + "\n".join(f"$ {html.escape(command)}" for command in section.commands) + "</pre>")
    parts += [_render_table(table) for table in section.tables]
    for picture in section.pictures:
        source, caption = html.escape(picture.path, quote=True), html.escape(picture.caption)
        parts.append(
            f"<figure><a href='{source}'><img src='{source}' alt='{html.escape(picture.caption, quote=True)}'></a>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "\n".join(parts)


def _render_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = []
    for i, row in enumerate(table.rows):
        mark = " class='strong'" if i in table.strong else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
