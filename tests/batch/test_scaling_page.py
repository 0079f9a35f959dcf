"""What docs/scaling.md promises: its commands run, its words are those of `estimate`, and its figures add up."""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from hybridseg.batch.estimate import DRIVER, ONE_IMAGE
from hybridseg.io.images import write_image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_example_runs(run, tiny_model, paint_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in tiny_model.parent.glob("model.*"):
        shutil.copy(path, path.name)
    write_image(Path("photos/a.png"), paint_classes("water", "sand", "veg"))
    [line] = re.findall(r"^hybridseg (estimate .*)$", PAGE, re.MULTILINE)
    result = run(*shlex.split(line), "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert re.findall(r"^([\d,]+) .*\d$", result.output, re.MULTILINE)[-4:] == ["1", "4", "16", "1,600"]
    assert all(f"`{word}`" in PAGE for word in (DRIVER, ONE_IMAGE))


def test_the_benchmarks_have_the_options(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tests/benchmarks"))
    lines = re.findall(r"^python tests/benchmarks/(\w+)\.py (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    for name, words in lines:
        monkeypatch.setattr("sys.argv", [name, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(name).main()
        assert set(re.findall(r"--\w+", words)) <= set(re.findall(r"--\w+", capsys.readouterr().out))


def read_row(name):
    [line] = [line.removeprefix(f"| {name} ") for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return [float(text.replace(",", "")) for text in re.findall(r"\| \**([\d,.]+)", line)]


def test_the_figures_add_up():
    """Hours, days and seconds of the same survey."""
    hours, seconds = read_row("CPU hours"), read_row("**all**")
    assert read_row("laptop, 4 cores") == [round(h / 4 / 24) for h in hours]
    assert read_row("16 cores") == pytest.approx([h / 16 / 24 for h in hours], abs=0.06)
    assert [round(h * 3600 / 1e7, 2) for h in hours] == pytest.approx(seconds[:4], abs=0.011)
