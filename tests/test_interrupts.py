import os
import signal
import subprocess
import sys
import threading

import pytest

from hybridseg.interrupts import hold_interrupts, on_interrupt, shield_children


def test_ctrl_c_is_answered_by_a_function_in_the_main_thread(hears_ctrl_c):
    pressed, before = [], signal.getsignal(signal.SIGINT)
    with on_interrupt(lambda: pressed.append(1)):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert pressed == [1, 1] and signal.getsignal(signal.SIGINT) is before

    def elsewhere():
        with on_interrupt(lambda: None):
            pressed.append(signal.getsignal(signal.SIGINT))

    (thread := threading.Thread(target=elsewhere)).start()
    thread.join()
    assert pressed[2] is before


def test_a_program_in_the_background_of_a_script_hears_no_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hold_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_waits_for_an_import(hears_ctrl_c):
    done, before = False, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), hold_interrupts():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done and signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_waits_until_processes_have_started(hears_ctrl_c):
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    found, earlier = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), hold_interrupts(), shield_children():
        os.kill(os.getpid(), signal.SIGINT)
        found.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert found == ["True\n"], "they never hear it"
    assert signal.getsignal(signal.SIGINT) is earlier
