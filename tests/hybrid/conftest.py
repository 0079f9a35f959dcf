"""What the tests of trainings share."""

from __future__ import annotations

import pytest

from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.retrain import retrain


@pytest.fixture(scope="session")
def paths_in():
    """Name the files of a training on some tiles, all in one folder."""

    def name_paths(folder, tile_dir, **more):
        return RetrainPaths(tile_dir, folder / "model.pb", **{"bottleneck_dir": folder / "bottlenecks", **more})

    return name_paths


@pytest.fixture(scope="session")
def tiny(tiny_module):
    """Options of a training that takes no time."""
    head = HeadOptions(how_many_training_steps=30, learning_rate=0.3, train_batch_size=10)
    return RetrainOptions(tfhub_module=str(tiny_module), input_size=32, head=head)


@pytest.fixture
def train(tile_dir, tmp_path, paths_in):
    """Train in a folder and return the result and the bytes of the model."""

    def run(options, *, folder="a", **paths):
        own = paths_in(tmp_path / folder, tile_dir, **paths)
        return retrain(own, options=options), own.output_graph.read_bytes()

    return run


@pytest.fixture
def no_runtime(monkeypatch):
    """Leave out the runtime graph of each model, where none is applied: converting takes as long as the rest."""
    monkeypatch.setattr("hybridseg.hybrid.classifier.make_runtime", lambda *_: None)
