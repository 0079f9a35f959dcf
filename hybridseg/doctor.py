"""What is installed and works on this machine, and the command that fixes what does not.

Every package is tried in a process of its own: one that is built for another processor kills the process that
imports it.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridseg import __version__
from hybridseg.machine import count_cores
from hybridseg.models.backbones import hub_cache_dir

_PROBE_SECONDS = 180
_LOW_MEMORY_GIB = 4.0
_PYTHON_RANGE = ((3, 11), (3, 14))

# Each prints one JSON object; the exception it raises is shown as the reason.
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
        "       'devices': [d.name.split(':', 1)[1] for d in m.config.list_physical_devices()]}"
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
_COMPILER = "a C++ compiler: apt install g++ python3-dev"
# Either of the two is enough.
_CRF_ENGINES = ("crf kernel", "pydensecrf")


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
    with ThreadPoolExecutor(count_cores()) as pool:
        checks += _require_one_crf_engine(list(pool.map(check_package, _PROBES)))
    checks += [_check_hub_cache(), _check_memory(), _check_disk()]
    return checks


def _require_one_crf_engine(checks: list[Check]) -> list[Check]:
    """Mark the kernel as missing when neither engine works: the main job needs one."""
    if any(check.status == "ok" for check in checks if check.name in _CRF_ENGINES):
        return checks
    return [replace(check, status="missing") if check.name == _CRF_ENGINES[0] else check for check in checks]


def is_fit(checks: list[Check]) -> bool:
    """Return whether the main job can run."""
    return not any(check.status == "missing" for check in checks)


def check_package(name: str) -> Check:
    """Try one package in a process of its own."""
    found, reason = _run_probe(_PROBES[name])
    if found is None:
        status = "warning" if name in _CRF_ENGINES else "missing"
        return Check(name, status, reason, _advise_install(name))
    if name == "pydensecrf" and not found["whole"]:
        detail = f"{found['version']} is installed without its constants (built against a newer Cython)"
        return Check(
            name, "warning", detail, f"{_pip()} install --force-reinstall --no-deps --no-cache-dir pydensecrf2"
        )
    version = found.pop("version")
    extras = {"gdal": "GDAL {}", "pillow": "Pillow {}"}
    notes = [form.format(found[key]) for key, form in extras.items() if key in found]
    notes += [f"on {', '.join(found['devices'])}"] if "devices" in found else []
    notes += [f"using {found['instructions'][-1]} instructions"] if "instructions" in found else []
    return Check(name, "ok", ", ".join([version, *notes]))


def _run_probe(code: str) -> tuple[dict[str, Any] | None, str]:
    """Run a probe; return what it found, or None and the reason."""
    script = f"import json\n{code}\nprint('\\n' + json.dumps(out))"
    settings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script],
            capture_output=True, text=True, env=settings, timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"could not be tried: {error}"
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1]), ""
    if done.returncode < 0:
        return None, f"kills its process (signal {-done.returncode}): it is not built for this processor"
    lines = done.stderr.strip().splitlines() or ["it fails without a message"]
    return None, re.sub(r"^ModuleNotFoundError: No module named (.*)$", r"not installed (no module \1)", lines[-1])


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


def _check_hub_cache() -> Check:
    folder = hub_cache_dir()
    try:
        n_modules = sum(path.is_dir() for path in folder.iterdir()) if folder.is_dir() else 0
    except OSError:
        return Check("hub cache", "warning", f"{folder} cannot be read", "export TFHUB_CACHE_DIR=$HOME/.cache/tfhub")
    parent = folder if folder.exists() else next(p for p in folder.parents if p.exists())
    if not os.access(parent, os.W_OK):
        return Check("hub cache", "warning", f"{folder} cannot be written", "export TFHUB_CACHE_DIR=$HOME/.cache/tfhub")
    return Check("hub cache", "ok", f"{folder}, {n_modules} modules")


def _check_memory() -> Check:
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return Check("machine", "ok", f"{count_cores()} cores")
    detail = f"{count_cores()} cores, {gib:.0f} GiB of memory"
    if gib < _LOW_MEMORY_GIB:
        return Check("machine", "warning", f"{detail}: little for TensorFlow and large photos", "give retile --jobs 1")
    return Check("machine", "ok", detail)


def _check_disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    status = "ok" if free > 1 else "warning"
    return Check("disk", status, f"{free:.1f} GiB free in {Path.cwd()}", "" if free > 1 else "free some space there")
