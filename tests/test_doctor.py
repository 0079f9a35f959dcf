import json
import sys

import pytest

import hybridseg.doctor as doctor
from hybridseg.doctor import Check, check_package, is_fit


def test_a_package_that_works_and_one_that_does_not(monkeypatch):
    assert check_package("numpy").status == "ok"
    monkeypatch.setitem(doctor._PROBES, "numpy", "import no_such_module")
    check = check_package("numpy")
    assert check.status == "missing" and "no_such_module" in check.detail
    assert check.mend.startswith(f'{sys.executable} -m pip install "numpy')
    monkeypatch.setitem(doctor._PROBES, "numpy", "import os; os.kill(os.getpid(), 4)")
    assert "kills its process (signal 4)" in check_package("numpy").detail
    monkeypatch.setitem(doctor._PROBES, "pydensecrf", "import no_such_module")
    check = check_package("pydensecrf")
    assert check.status == "warning" and ("pydensecrf2" in check.mend or sys.version_info >= (3, 13))
    monkeypatch.setitem(doctor._PROBES, "pydensecrf", "out = {'version': '1.1', 'whole': False}")
    check = check_package("pydensecrf")
    assert check.status == "warning" and "without its constants" in check.detail and "--force-reinstall" in check.mend


def test_fit():
    ok, warning, missing = (Check("x", status, "") for status in ("ok", "warning", "missing"))
    assert is_fit([ok, warning]) and not is_fit([ok, missing])


def test_hub_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert doctor._check_hub_cache().status == "ok"


def test_command(run, monkeypatch):
    for name in list(doctor._PROBES):
        monkeypatch.setitem(doctor._PROBES, name, "out = {'version': '1.0', 'whole': True}")
    result = run("doctor")
    assert result.exit_code == 0 and "The main job can run." in result.stdout
    monkeypatch.setitem(doctor._PROBES, "tensorflow", "raise ImportError('libsomething.so is missing')")
    result = run("doctor")
    assert result.exit_code == 1 and "MISS  tensorflow" in result.stdout and "pip install" in result.stdout
    result = run("doctor", "--json")
    record = json.loads(result.stdout)
    assert result.exit_code == 1 and record["fit"] is False
    assert {"name", "status", "detail", "mend"} == set(record["checks"][0])


@pytest.mark.filterwarnings("ignore")
def test_everything_works_here(monkeypatch):
    """The suite needs what a user needs: if this fails, the environment is broken.

    In this process, which imports most of it anyway.
    """

    def run_probe(code):
        found = {}
        exec(code, found)
        return json.loads(json.dumps(found["out"])), ""

    monkeypatch.setattr(doctor, "_run_probe", run_probe)
    monkeypatch.setattr(doctor, "count_cores", lambda: 1)
    broken = [check for check in doctor.examine_system() if check.status == "missing"]
    assert broken == []
