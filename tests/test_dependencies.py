"""The lock file of development has all that setup.py asks for, and the oldest versions are those that it admits."""

import ast
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parent.parent
LOCK = (REPOSITORY / "tests" / "lock.txt").read_text()


def read_setup():
    """Return the requirements of setup.py, extras too, without running it."""
    lists = {}
    for node in ast.parse((REPOSITORY / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            lists[node.targets[0].id] = ast.literal_eval(node.value)
    names = ("REQUIREMENTS", "PYDENSECRF", "DASK", "SAM", "TEST", "LINT")
    return [Requirement(text) for name in names for text in lists[name]]


def read_lock(python):
    """Return the version of each package that the lock file gives for a Python on Linux."""
    found = {}
    here = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
    here |= {"platform_system": "Linux", "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for line in re.findall(r"^([\w.-]+==[^\\\n]+?) \\$", LOCK, re.MULTILINE):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(here):
            name = canonicalize_name(wanted.name)
            assert name not in found, f"{name} has two versions for Python {python}"
            found[name] = str(wanted.specifier).removeprefix("==")
    return found


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_file_agrees_with_setup(python):
    locked = read_lock(python)
    for wanted in read_setup():
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python}):
            version = locked[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(version), f"{wanted} and {version}: run `make lock`"
    assert ("pydensecrf2" in locked) is (python != "3.13") and "werkzeug" in locked


def test_every_locked_version_has_its_hashes_and_says_no_place():
    """Where packages are fetched from is for each machine to know."""
    parts = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(parts) > 100
    assert [part.partition(" ")[0] for part in parts if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", part)] == []
    assert not re.search(r"://|^-|@ |file:", LOCK, re.MULTILINE)


def test_the_oldest_versions_are_admitted():
    wanted = {canonicalize_name(requirement.name): requirement for requirement in read_setup()}
    lowest = re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "tests" / "lowest.txt").read_text(), re.MULTILINE)
    assert len(lowest) > 20
    for name, version in lowest:
        assert wanted[canonicalize_name(name)].specifier.contains(version), f"{name}=={version} in tests/lowest.txt"
