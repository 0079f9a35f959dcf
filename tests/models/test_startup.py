import logging
import os
import subprocess
import sys
import time

import pytest

from hybridseg.models.startup import hold_messages
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


@pytest.mark.parametrize(("words", "level"), [(["--quiet"], logging.WARNING), ([], logging.INFO)])
def test_the_command_line_says_what_is_slow_unless_it_is_quiet(run, words, level):
    assert run(*words, "split", "nowhere").exit_code == 1
    assert logging.getLogger("hybridseg.progress").level == level
