"""What is installed and works on this machine, and the command that fixes what does not.

Packages are tried in other processes: one that is built for another processor kills the process that imports it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg import __version__
from hybridseg.io.jsonfiles import parse_json
from hybridseg.machine import count_cores, count_memory
from hybridseg.markup import count_of
from hybridseg.models.backbones import hub_cache_dir
from hybridseg.progress import say_if_slow

_PROBE_SECONDS = 180
_GPU_SECONDS = 20
_LOW_MEMORY_GIB = 4.0
_PYTHON_RANGE = ((3, 11), (3, 14))

# What one process tries, one after the other; each makes an `out`, and the exception it raises is shown as the reason.
_PROBES = {
    "numpy": "import numpy as m; out = {'version': m.__version__}",
    "scipy": "import scipy.io, scipy as m; out = {'version': m.__version__}",
    "scikit-learn": "import sklearn.metrics, sklearn as m; out = {'version': m.__version__}",
    "imageio": "import imageio.v3, imageio as m, PIL; out = {'version': m.__version__, 'pillow': PIL.__version__}",
    "matplotlib": "import matplotlib.figure, matplotlib as m; out = {'version': m.__version__}",
    "rasterio": (
        "import rasterio as m; from rasterio.crs import CRS; CRS.from_epsg(4326)\n"
        "out = {'version': m.__version__, 'gdal': m.__gdal_version__}"
    ),
    "tensorflow": (
        "import tensorflow as m\n"
        "out = {'version': m.__version__, 'sum': float(m.reduce_sum(m.ones((2, 2)))),\n"
        "       'gpus': [m.config.experimental.get_device_details(d).get('device_name', d.name)\n"
        "                for d in m.config.list_physical_devices('GPU')]}"
    ),
    "ai-edge-litert": (
        "import importlib.metadata as i\nfrom ai_edge_litert.interpreter import Interpreter\n"
        "out = {'version': i.version('ai-edge-litert')}"
    ),
    "tf-keras": "import tf_keras as m; out = {'version': m.__version__}",
    "h5py": "import h5py as m; out = {'version': m.__version__}",
    "tensorflow-hub": "import tensorflow_hub as m; out = {'version': m.__version__}",
    "pydensecrf": (
        "import pydensecrf.densecrf as d, importlib.metadata as i\n"
        "out = {'version': i.version('pydensecrf2'), 'whole': hasattr(d, 'DIAG_KERNEL')}"
    ),
    "crf kernel": (
        "from hybridseg import __version__\nfrom hybridseg.crf import _kernel\n"
        "out = {'version': __version__, 'instructions': _kernel.list_instruction_sets()}"
    ),
}
# These take most of the time, and all of them import the first: they share a process beside that of the others.
_WITH_TENSORFLOW = ("tensorflow", "tf-keras", "tensorflow-hub")
_TRY_ALL = """
import json, sys, traceback
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, scope := {})
        found, reason = scope["out"], ""
    except BaseException as error:
        found, reason = None, traceback.format_exception_only(error)[-1].strip()
    print("\\n\\x1e" + json.dumps([name, found, reason]), flush=True)
"""
_COMPILER = "a C++ compiler: apt install g++ python3-dev"
# Either of the two is enough.
_CRF_ENGINES = ("crf kernel", "pydensecrf")


Found = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Parameters
    ----------
    status : str
        ``ok``, ``warning`` (something is weaker than it could be) or ``missing`` (the main job cannot run).
    mend : str
        The command that fixes it; empty when there is nothing to do.
    """

    name: str
    status: str
    detail: str
    mend: str = ""


def examine_system() -> list[Check]:
    """Try every part of the program."""
    checks = [Check("hybridseg", "ok", f"{__version__} in {Path(__file__).parent}"), _check_python()]
    others = [name for name in _PROBES if name not in _WITH_TENSORFLOW]
    with say_if_slow("trying the packages"), ThreadPoolExecutor(3) as pool:
        trials = [pool.submit(try_packages, names) for names in (_WITH_TENSORFLOW, others)]
        gpus = pool.submit(_list_nvidia_gpus)
        found = {name: outcome for trial in trials for name, outcome in trial.result().items()}
    checks += _require_one_crf_engine([_describe_package(name, *found[name]) for name in _PROBES])
    checks += [_check_gpu(found["tensorflow"][0], gpus.result()), _check_hub_cache(), _check_memory(), _check_disk()]
    return checks


def _require_one_crf_engine(checks: list[Check]) -> list[Check]:
    """Mark the kernel as missing when neither engine works: the main job needs one."""
    if any(check.status == "ok" for check in checks if check.name in _CRF_ENGINES):
        return checks
    return [replace(check, status="missing") if check.name == _CRF_ENGINES[0] else check for check in checks]


def is_fit(checks: list[Check]) -> bool:
    """Return whether the main job can run."""
    return not any(check.status == "missing" for check in checks)


def _describe_package(name: str, found: Found | None, reason: str) -> Check:
    if found is None:
        status = "warning" if name in _CRF_ENGINES else "missing"
        return Check(name, status, reason, _advise_install(name))
    if name == "pydensecrf" and not found["whole"]:
        detail = f"{found['version']} is installed without its constants (built against a newer Cython)"
        return Check(
            name, "warning", detail, f"{_pip()} install --force-reinstall --no-deps --no-cache-dir pydensecrf2"
        )
    extras = {"gdal": "GDAL {}", "pillow": "Pillow {}"}
    notes = [form.format(found[key]) for key, form in extras.items() if key in found]
    notes += [f"using {found['instructions'][-1]} instructions"] if "instructions" in found else []
    return Check(name, "ok", ", ".join([found["version"], *notes]))


def try_packages(names: Sequence[str]) -> dict[str, tuple[Found | None, str]]:
    """Try packages in one process, or in as many as they kill; return for each what was found, or None and why not."""
    outcomes: dict[str, tuple[Found | None, str]] = {}
    while waiting := [name for name in names if name not in outcomes]:
        found, reason = _try_in_one_process({name: _PROBES[name] for name in waiting})
        outcomes |= found
        # The process ended before its work: the first of those that are left ended it.
        outcomes |= dict.fromkeys(waiting[len(found) : len(found) + 1], (None, reason))
    return outcomes


def _try_in_one_process(probes: dict[str, str]) -> tuple[dict[str, tuple[Found | None, str]], str]:
    """Run probes until one ends the process; return what those before it found, and how the process ended."""
    settings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(  # nosec B603 # Python itself, with a program of ours
            [sys.executable, "-P", "-c", _TRY_ALL], input=json.dumps(probes),
            capture_output=True, text=True, errors="replace", env=settings, timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"could not be tried: {error}"
    found = {}
    for line in done.stdout.split("\n"):
        if line.startswith("\x1e"):
            name, value, reason = parse_json(line[1:])
            found[name] = (
                value,
                re.sub(r"^ModuleNotFoundError: No module named (.*)$", r"not installed (no module \1)", reason),
            )
    if done.returncode < 0:
        return found, f"kills its process (signal {-done.returncode}): it is not built for this processor"
    return found, (done.stderr.strip().splitlines() or ["it ends its process without a message"])[-1]


def _advise_install(name: str) -> str:
    if name == "crf kernel":
        return f"{_pip()} install --force-reinstall --no-deps .   (in the folder of hybridseg; needs {_COMPILER})"
    if name == "pydensecrf" and sys.version_info >= (3, 13):
        return "python3.12 -m venv .venv   (this package cannot be built for Python 3.13)"
    if name == "pydensecrf":
        return f'{_pip()} install "{_find_requirement("pydensecrf2")}"   (needs {_COMPILER})'
    return f'{_pip()} install "{_find_requirement(name)}"'


def _find_requirement(package: str) -> str:
    """Return the versions of a package that this program supports."""
    try:
        requirements = importlib.metadata.requires("hybridseg") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        text = requirement.split(";")[0].strip()
        if re.match(rf"{re.escape(package)}(?![\w-])", text, re.IGNORECASE):
            return text
    return package


def _pip() -> str:
    return f"{sys.executable} -m pip"


def _check_python() -> Check:
    low, high = _PYTHON_RANGE
    if low <= sys.version_info[:2] < high:
        return Check("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    return Check(
        "Python", "missing", f"{platform.python_version()} is outside 3.11 to 3.13",
        "python3.12 -m venv .venv   (then install hybridseg there)",
    )  # fmt: skip


def _list_nvidia_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver knows."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        # The tool of the driver, found as the user's own shell would find it.
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True)  # nosec B603
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split("\n")[:-1]


def _check_gpu(tensorflow: Found | None, nvidia_gpus: list[str]) -> Check:
    """Say whether TensorFlow uses a GPU, and what it lacks for one that is there."""
    if tensorflow is not None and tensorflow["gpus"]:
        return Check("GPU", "ok", f"TensorFlow uses {', '.join(tensorflow['gpus'])}")
    if not nvidia_gpus:
        return Check("GPU", "ok", "none that TensorFlow can use: networks run on the CPU")
    detail = f"{', '.join(nvidia_gpus)} is not used: TensorFlow does not find its CUDA libraries"
    if tensorflow is None:
        return Check("GPU", "warning", f"{', '.join(nvidia_gpus)} is not used: TensorFlow does not work")
    return Check("GPU", "warning", detail, f'{_pip()} install "tensorflow[and-cuda]=={tensorflow["version"]}"')


def _check_hub_cache() -> Check:
    folder = hub_cache_dir()
    try:
        n_modules = sum(path.is_dir() for path in folder.iterdir()) if folder.is_dir() else 0
    except OSError:
        return Check("hub cache", "warning", f"{folder} cannot be read", "export TFHUB_CACHE_DIR=$HOME/.cache/tfhub")
    parent = folder if folder.exists() else next(p for p in folder.parents if p.exists())
    if not os.access(parent, os.W_OK):
        return Check("hub cache", "warning", f"{folder} cannot be written", "export TFHUB_CACHE_DIR=$HOME/.cache/tfhub")
    return Check("hub cache", "ok", f"{folder}, {count_of(n_modules, 'module')}")


def _check_memory() -> Check:
    gib = count_memory() / 2**30
    if not gib:
        return Check("machine", "ok", count_of(count_cores(), "core"))
    detail = f"{count_of(count_cores(), 'core')}, {gib:.0f} GiB of memory"
    if gib < _LOW_MEMORY_GIB:
        return Check("machine", "warning", f"{detail}: little for TensorFlow and large photos", "give retile --jobs 1")
    return Check("machine", "ok", detail)


def _check_disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    status = "ok" if free > 1 else "warning"
    return Check("disk", status, f"{free:.1f} GiB free in {Path.cwd()}", "" if free > 1 else "free some space there")
