"""The notebooks give what they show, and the web page of the tutorial is that of its notebook."""

import base64
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_notebook_shows_what_it_gives(tmp_path):
    shown, again = run_again("notebook", tmp_path)
    assert sum("image/png" in one for one in shown) == 3 and sum("text/html" in one for one in shown) >= 5
    for old, new in zip(shown, again, strict=True):
        if "image/png" in old:
            first, second = (read_png(one["image/png"]) for one in (old, new))
            assert first.shape == second.shape and np.abs(first - second).mean() < 10
        # Another processor may round otherwise; words and counts of tiles stay.
        numbers = [[float(n) for n in re.findall(r"\d+\.\d+", one.get("text/html", ""))] for one in (old, new)]
        assert np.allclose(*numbers, atol=0.1) or "%" in old["text/html"]


@pytest.mark.slow
def test_the_tutorial_shows_what_it_gives(tmp_path):
    """A training of some epochs ends with other figures on another processor, but it ends well."""
    shown, again = run_again("tutorial", tmp_path)
    assert sum("image/jpeg" in one for one in shown) == 6
    for results in (shown, again):
        words = "".join(text for one in results for kind, text in one.items() if kind in ("stream", "text/plain"))
        assert "nothing stands in the way of a training" in words and "wrote reports/predict/sample.png" in words
        assert "runs/second/model.h5 is the best: dice" in words
        first, second = map(float, re.findall(r"accuracy (\d\.\d+) on 2 held-out images", words))
        [tested] = re.findall(r"3 pairs of label maps, accuracy (\d\.\d+)", words)
        assert first < 0.5 < second and float(tested) > 0.5


def run_again(name, folder):
    """Run a notebook; return what its cells show as it is, and what they show now: outputs of the same kinds."""
    pytest.importorskip("nbclient")
    command = [sys.executable, REPOSITORY / "tools" / "run_notebook.py", name, folder / "again.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    page = REPOSITORY / "docs" / f"{name}.ipynb"
    assert page.stat().st_size < 1_500_000 and "/tmp/" not in page.read_text(encoding="utf-8")
    shown, again = (list_results(path) for path in (page, folder / "again.ipynb"))
    assert [sorted(one) for one in shown] == [sorted(one) for one in again], "run `make notebook`"
    return shown, again


def test_the_page_of_the_tutorial_is_that_of_the_notebook():
    """It shows every cell with its results, holds all that it shows, and loads nothing."""
    path = REPOSITORY / "docs" / "tutorial.ipynb"
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert len(page) < 1_500_000 and "<script" not in page and "/tmp/" not in page
    assert not re.findall(r"""(?:src|@import|url)\s*[=(]\s*["']?(?!["']?data:)""", page)
    text = strip_tags(page)
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        told = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            told = re.sub(r"^#+ |\n#+ |[`*]", " ", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", told))
        assert "".join(told.split()) in text, "run `make notebook`"
    for result in list_results(path):
        for kind, shown in result.items():
            if kind.startswith("image/"):
                assert "".join(shown.split()) in page
            elif kind != "text/plain":
                assert strip_tags(shown) in text
    for target in set(re.findall(r'href="([^"#]+)', page)):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def strip_tags(page):
    """The text of a page, without blanks and the signs that stand for links to headings."""
    return "".join(html.unescape(re.sub(r"<[^>]*>|¶", "", page)).split())


def list_results(path):
    """What each cell shows, by its kind."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    found = [output.get("data", {"stream": output.get("text")}) for cell in cells for output in cell["outputs"]]
    return [{kind: "".join(text) for kind, text in one.items()} for one in found]


def read_png(text):
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture, np.float32)
