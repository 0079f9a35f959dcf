import os

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
