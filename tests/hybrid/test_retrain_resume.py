"""Trainings that were interrupted, killed or are asked for again: they end as one that was not."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from hybridseg.hybrid.distort import DistortOptions
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.retrain import retrain
from hybridseg.models.store import read_card


@pytest.mark.slow
def test_a_run_on_distorted_tiles_goes_on_where_it_was_interrupted(
    train, tile_dir, tiny, tmp_path, monkeypatch, paths_in
):
    monkeypatch.setattr("hybridseg.hybrid.head._SECONDS_BETWEEN_CHECKPOINTS", 0)
    distort = DistortOptions(flip_left_right=True, random_crop=20, random_scale=20, random_brightness=20)
    options = replace(tiny, distort=distort)
    whole, model = train(options)
    made = []

    def progress(items, *, label):
        for item in items:
            if label == "training the head":
                if made == list(range(1, 18)):
                    raise KeyboardInterrupt
                made.append(item)
            yield item

    paths = paths_in(tmp_path / "b", tile_dir)
    with pytest.raises(KeyboardInterrupt):
        retrain(paths, options=options, progress=progress)
    assert not paths.output_graph.exists() and made == list(range(1, 18))
    made.append("interrupted")
    result = retrain(paths, options=options, progress=progress)
    assert made == [*range(1, 18), "interrupted", *range(18, 31)]
    assert paths.output_graph.read_bytes() == model
    assert result.curve == whole.curve and result.scores == whole.scores


@pytest.mark.slow
def test_a_finished_head_is_not_taken_for_another(train, tile_dir, tiny, tmp_path):
    """Everything that the head depends on is in the name of its checkpoint."""
    changes = ({}, {"distort": DistortOptions(flip_left_right=True)}, {"head": replace(tiny.head, seed=1)})
    fresh = [train(replace(tiny, **change), folder=f"fresh{i}")[1] for i, change in enumerate(changes)]
    assert [train(replace(tiny, **change), folder="b")[1] for change in changes] == fresh
    train(tiny, folder="b", intermediate_output_graphs_dir=tmp_path / "mid", intermediate_store_frequency=10)
    assert len(list((tmp_path / "mid").iterdir())) == 3, "also when the head was trained before without them"


@pytest.mark.slow
@pytest.mark.usefixtures("no_runtime")
def test_fine_tuning_goes_on_from_fewer_epochs(train, tiny, tmp_path):
    def options(epochs):
        return replace(tiny, fine_tune=True, tuning=FineTuneOptions(epochs=epochs, learning_rate=0.01))

    _, whole = train(options(2))
    _, one = train(options(1), folder="b")
    [checkpoint] = (tmp_path / "b" / "bottlenecks").glob("fine_tune_*.npz")
    before = checkpoint.stat().st_mtime_ns
    train(options(1), folder="b")
    assert checkpoint.stat().st_mtime_ns == before, "an epoch that is done is not done again"
    _, resumed = train(options(2), folder="b")
    assert resumed == whole != one
    assert read_card(tmp_path / "b" / "model.pb").fine_tuned


# Runs that are killed, without a chance to clean up, each in a process of its own. They share the import of TensorFlow.
KILLED_RUNS = """
import os, pickle, signal, sys
import tensorflow, tf_keras
from hybridseg.hybrid import features
from hybridseg.hybrid.retrain import retrain

features._CHUNK = 16
paths, options, moments = pickle.load(sys.stdin.buffer)
for moment in moments:
    def progress(items, *, label):
        for i, item in enumerate(items):
            if (label, i) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

    child = os.fork()
    if child == 0:
        retrain(paths, options=options, progress=progress)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, moment
"""


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_result(train, tile_dir, tiny, tmp_path, paths_in):
    tuning = FineTuneOptions(epochs=3, learning_rate=0.01)
    options = replace(tiny, fine_tune=True, tuning=tuning, validation_percentage=0)
    _, whole = train(options)
    paths = paths_in(tmp_path / "b", tile_dir)
    labels = ("computing features", "training the head", "fine-tuning")
    moments = list(zip(labels, (1, 20, 3), strict=True))
    program = [sys.executable, "-c", KILLED_RUNS]
    subprocess.run(program, input=pickle.dumps((paths, options, moments)), check=True, timeout=120)
    assert not paths.output_graph.exists()
    stages, ahead = [], []

    def progress(items, *, label):
        stages.append((label, list(items)))
        ahead.append(items.after)
        return items

    retrain(paths, options=options, progress=progress)
    assert ahead[0] > ahead[1] > ahead[2] == 0, "the time that is left is that of all parts"
    assert stages[-1] == (labels[2], [2, 3, 4, 5]), "two steps an epoch, and epoch 1 is not trained again"
    assert paths.output_graph.read_bytes() == whole
    assert (tmp_path / "b" / "model.json").read_text() == (tmp_path / "a" / "model.json").read_text()
