import logging
import os
import subprocess
import sys
import time

import pytest

from hybridseg.models.startup import hold_messages
from hybridseg.models.store import load_classifier
from hybridseg.progress import say_if_slow


def test_messages_are_held_and_shown_only_after_an_error(capfd):
    with hold_messages():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), hold_messages():
        os.write(2, b"the reason\n")
        raise RuntimeError
    assert capfd.readouterr().err == "the reason\n"
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


@pytest.mark.slow
def test_tensorflow_brings_no_other_keras():
    """It would import scikit-learn and pyplot as well, which takes a third of the time."""
    program = (
        "import sys; from hybridseg.models.startup import import_tensorflow; import_tensorflow(); import tf_keras\n"
        "print(sorted({'keras', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_only_what_is_slow_is_said_and_never_when_quiet(capfd, monkeypatch):
    monkeypatch.setattr("hybridseg.progress.SECONDS_OF_SILENCE", 0.05)
    logger = logging.getLogger("hybridseg.progress")
    before = logger.level
    cases = ((logging.INFO, 0.3, "loading it ...\n"), (logging.INFO, 0, ""), (logging.WARNING, 0.3, ""))
    for level, seconds, said in cases:
        logger.setLevel(level)
        with say_if_slow("loading it"), hold_messages():
            os.write(2, b"chatter\n")
            time.sleep(seconds)
        assert capfd.readouterr().err == said
    logger.setLevel(before)


@pytest.mark.slow
def test_loading_a_model_is_said(capfd, monkeypatch, tiny_model):
    monkeypatch.setattr("hybridseg.progress.SECONDS_OF_SILENCE", 0.0)
    logger = logging.getLogger("hybridseg.progress")
    before = logger.level
    logger.setLevel(logging.INFO)
    load_classifier(tiny_model)
    logger.setLevel(before)
    assert f"loading {tiny_model} ...\n" in capfd.readouterr().err


def test_a_model_that_is_not_there_needs_no_tensorflow(tmp_path):
    """Nor its messages, which are shown with an error."""
    command = [sys.executable, "-m", "hybridseg", "semseg", "photo.jpg", "--model", "none.pb"]
    (tmp_path / "photo.jpg").write_bytes(b"")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: there is no model none.pb; train one with `hybridseg retrain`\n"


@pytest.mark.parametrize(("words", "level"), [(["--quiet"], logging.WARNING), ([], logging.INFO)])
def test_the_command_line_says_what_is_slow_unless_it_is_quiet(run, words, level):
    assert run(*words, "split", "nowhere").exit_code == 1
    assert logging.getLogger("hybridseg.progress").level == level


LIBRARY = """
import sys
from pathlib import Path

from hybridseg.data.split import split_folder
from hybridseg.demo.demoscenes import SceneOptions, write_demo_scenes
from hybridseg.evaluation.pairs import find_result_pairs
from hybridseg.evaluation.pixels import evaluate_pixels
from hybridseg.hybrid.retile import retile
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.io.masks import find_labelled
from hybridseg.apply import segment_files

write_demo_scenes("scenes", options=SceneOptions(n=2, rows=64, cols=96))
split_folder("scenes", out_dir=".")
retile(find_labelled([Path("scenes")]).pairs, tiles_dir="tiles", options=RetileOptions(tile_size=16, purity=0.5))
result = segment_files(["scenes"], [sys.argv[1]], options=HybridOptions(decimation=1, scale=1.0))
pairs, _ = find_result_pairs(Path("scenes"), None, None)
evaluate_pixels(pairs, out_dir="scores")
assert len(result.images) == len(pairs) == 2
"""


@pytest.mark.slow
def test_the_library_prints_nothing_by_itself(tmp_path, tiny_model):
    """As in a notebook, where standard error is no terminal."""
    command = [sys.executable, "-W", "error", "-c", LIBRARY, str(tiny_model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
