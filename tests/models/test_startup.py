import os
import subprocess
import sys

import pytest

from hybridseg.models.startup import hold_messages


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
