"""Photos and masks that take no time: three areas that differ in colour, with pure tiles of 32 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.cli.main import main
from hybridseg.io.images import write_image
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.study.inputs import StudyOptions, StudyPaths
from hybridseg.study.study import run_study

AREAS = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The current folder, with photos/, six of whose eight photos have a mask in masks/, and labels.txt."""
    monkeypatch.chdir(tmp_path)
    rows, cols = np.mgrid[:128, :160]
    for i in range(8):
        labels = np.where(rows > 64 + 6 * np.sin(cols / 15 + i), 2, cols > 80 + 8 * np.sin(rows / 20 + i))
        noise = np.random.default_rng(i).normal(0, 25, (*labels.shape, 3))
        image = np.clip(np.array(AREAS.colors)[labels] * 0.5 + 60 + noise, 0, 255)
        write_image(tmp_path / f"photos/flight{i % 4}_{i}.jpg", image.astype(np.uint8))
        if i < 6:
            path = tmp_path / f"masks/flight{i % 4}_{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(labels.astype(np.uint8)).save(path)
    (tmp_path / "labels.txt").write_text("water\nsand\ncliff\n")
    return tmp_path


@pytest.fixture
def words(tiny_module):
    """The words that make a command quick."""
    return {
        "retile": ["--jobs", "1"],
        "retrain": ["--tfhub_module", str(tiny_module), "--input-size", "32", "--learning_rate", "0.3",
                    "--how_many_training_steps", "150"],
    }  # fmt: skip


@pytest.fixture
def study(data, words):
    """Run a study of `data` in this process: ``study(method="fcn")`` returns the commands that were run.

    `stop_at` is a command during which Ctrl-C is pressed; `study.lines` are the lines that were said.
    """

    def run(stop_at=None, masks_dir=Path("masks"), check_only=False, labels_path=Path("labels.txt"), **options):
        ran, run.lines = [], []

        def run_command(given):
            ran.append(given)
            if given[0] == stop_at:
                raise KeyboardInterrupt
            main.main(["--quiet", *given, *words.get(given[0], [])], prog_name="hybridseg", standalone_mode=False)

        run.result = run_study(
            StudyPaths(Path("photos"), masks_dir, labels_path),
            run_command=run_command,
            say=run.lines.append,
            warn=run.lines.append,
            options=StudyOptions(**{"tile_size": 32 if options.get("method") != "fcn" else None, **options}),
            table=read_class_files("labels.txt"),
            check_only=check_only,
        )
        return ran

    return run
