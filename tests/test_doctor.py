import json
import sys

import pytest

import hybridseg.doctor as doctor
from hybridseg.doctor import Check, is_fit, try_packages


@pytest.fixture
def probes(monkeypatch):
    """Packages that work, in no time; a test may set others."""
    for name in doctor._PROBES:
        monkeypatch.setitem(doctor._PROBES, name, "out = {'version': '1.0', 'whole': True, 'gpus': []}")
    return lambda name, code: monkeypatch.setitem(doctor._PROBES, name, code)


def check(name):
    return next(check for check in doctor.examine_system() if check.name == name)


def test_packages_are_tried_in_one_process_or_in_as_many_as_they_kill(probes):
    probes("numpy", "import os; print('chatter'); out = {'version': str(os.getpid())}")
    probes("scipy", "import no_such_module")
    probes("imageio", "import os; os.kill(os.getpid(), 4)")
    probes("matplotlib", "import os; out = {'version': str(os.getpid())}")
    probes("rasterio", "import sys; sys.exit('no licence')")
    probes("h5py", "import os; os._exit(3)")
    names = ["numpy", "scipy", "imageio", "matplotlib", "rasterio", "h5py", "tf-keras"]
    found = try_packages(names)
    assert list(found) == names and found["tf-keras"][0]["version"] == "1.0"
    first, second = (int(found[name][0]["version"]) for name in ("numpy", "matplotlib"))
    assert first != second, "the one that imageio has killed, and the next"
    assert found["scipy"] == (None, "not installed (no module 'no_such_module')")
    assert "kills its process (signal 4)" in found["imageio"][1]
    assert found["rasterio"] == (None, "SystemExit: no licence")
    assert found["h5py"] == (None, "it ends its process without a message")


@pytest.mark.slow
def test_a_package_that_works_and_one_that_does_not(probes):
    assert try_packages(["numpy"])["numpy"][0] == {"version": "1.0", "whole": True, "gpus": []}
    probes("numpy", "import no_such_module")
    assert check("numpy").status == "missing" and "no_such_module" in check("numpy").detail
    assert check("numpy").mend.startswith(f'{sys.executable} -m pip install "numpy')
    probes("pydensecrf", "import no_such_module")
    assert check("pydensecrf").status == "warning"
    assert "pydensecrf2" in check("pydensecrf").mend or sys.version_info >= (3, 13)
    probes("pydensecrf", "out = {'version': '1.1', 'whole': False}")
    found = check("pydensecrf")
    assert found.status == "warning" and "without its constants" in found.detail and "--force-reinstall" in found.mend
    probes("crf kernel", "import no_such_module")
    assert check("crf kernel").status == "missing", "neither engine works"


@pytest.mark.parametrize(
    ("seen", "driver", "status", "detail", "mend"),
    [
        (["H100"], "echo H100", "ok", "TensorFlow uses H100", ""),
        ([], "exit 9", "ok", "networks run on the CPU", ""),
        ([], "echo H100", "warning", "H100 is not used", 'pip install "tensorflow[and-cuda]==2.21.0"'),
        (None, "echo H100", "warning", "TensorFlow does not work", ""),
    ],
)
def test_what_is_said_of_a_gpu(probes, tmp_path, monkeypatch, seen, driver, status, detail, mend):
    """The driver is played by a program of its name."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{driver}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    probes("tensorflow", "oh no" if seen is None else f"out = {{'version': '2.21.0', 'gpus': {seen}}}")
    found = check("GPU")
    assert found.status == status and detail in found.detail and found.mend.endswith(mend)
    assert bool(found.mend) == bool(mend)


def test_fit():
    ok, warning, missing = (Check("x", status, "") for status in ("ok", "warning", "missing"))
    assert is_fit([ok, warning]) and not is_fit([ok, missing])


def test_hub_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert doctor._check_hub_cache().status == "ok"


def test_command(run, probes):
    result = run("doctor")
    assert result.exit_code == 0 and "The main job can run." in result.stdout
    probes("tensorflow", "raise ImportError('libsomething.so is missing')")
    result = run("doctor")
    assert result.exit_code == 1 and "MISS  tensorflow" in result.stdout and "pip install" in result.stdout
    result = run("doctor", "--json")
    record = json.loads(result.stdout)["result"]
    assert result.exit_code == 1 and record["fit"] is False
    assert {"name", "status", "detail", "mend"} == set(record["checks"][0])


@pytest.mark.slow
def test_everything_works_here():
    """The suite needs what a user needs: if this fails, the environment is broken."""
    broken = [check for check in doctor.examine_system() if check.status == "missing"]
    assert broken == []
