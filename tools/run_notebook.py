"""Run the notebooks of ``docs/`` from top to bottom and write them with their results: ``make notebook``.

The tutorial is written as a web page too. With the name of a notebook and a path, the result goes there: a test
compares it with what is in the repository.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from hybridseg.page import frame_page

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOKS = ("notebook", "tutorial")
WITH_PAGE = ("tutorial",)
# Beside the style of all pages of the program: what nbconvert calls the parts of a notebook.
_STYLE = """
.prompt, .jp-InputPrompt, .jp-OutputPrompt, .anchor-link { display: none; }
.jp-OutputArea-output pre { border-left-color: var(--line); }
.jp-RenderedHTMLCommon table { display: block; overflow-x: auto; }
"""


def run_notebook(page: Path, target: Path) -> None:
    """Run it where it is, since it uses files beside it; leave out what differs between two runs."""
    notebook = nbformat.read(page, as_version=4)
    # For cells that are commands.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(page.parent)}}).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _join_texts(cell.outputs)
    nbformat.write(notebook, target)


def _join_texts(outputs: list[Any]) -> list[Any]:
    """Leave out progress, which is for the person who waits, and join what was printed in pieces."""
    joined: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def write_html(page: Path) -> Path:
    """Write a notebook as a page that holds its pictures and loads nothing."""
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(template_name="basic").from_filename(str(page))
    target = page.with_suffix(".html")
    title = nbformat.read(page, as_version=4).cells[0].source.splitlines()[0].lstrip("# ")
    target.write_text(frame_page(title, body, style=_STYLE), encoding="utf-8")
    return target


if __name__ == "__main__":
    names, targets = sys.argv[1:2] or NOTEBOOKS, sys.argv[2:]
    for name in names:
        path = Path(targets[0]) if targets else DOCS / f"{name}.ipynb"
        run_notebook(DOCS / f"{name}.ipynb", path)
        print(f"wrote {path}")
        if not targets and name in WITH_PAGE:
            print(f"wrote {write_html(path)}")
