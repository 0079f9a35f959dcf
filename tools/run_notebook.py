"""Run ``docs/notebook.ipynb`` from top to bottom and write it with its results: ``make notebook``.

With a path, the result goes there: a test compares it with what is in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PAGE = Path(__file__).parent.parent / "docs" / "notebook.ipynb"


def run_notebook(target: Path) -> None:
    """Run it where it is, since it uses files beside it; leave out what differs between two runs."""
    notebook = nbformat.read(PAGE, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(PAGE.parent)}}).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # Progress is for the person who waits.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, target)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    run_notebook(path)
    print(f"wrote {path}")
