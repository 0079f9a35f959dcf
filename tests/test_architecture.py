"""The house rules that a machine can check: directions of imports, homes of packages, names of files."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from hybridseg.cli.main import COMMANDS

PACKAGE = Path(__file__).parent.parent / "hybridseg"
# A room may import any room on a line above its own, and itself; never one on its own line.
LEVELS = (
    *(
        ("errors",),
        ("options",),
        ("progress", "interrupts"),
        ("forecast",),
        ("machine",),
        ("palette",),
        ("markup",),
        ("classes",),
        ("confusion",),
        ("ranking",),
        ("calibration",),
        ("verdict",),
        ("draw",),
        ("resample",),
        ("majority",),
        ("panels",),
        ("layout",),
    ),
    *(("io",), ("page",), ("figures",), ("sheets",), ("crf",), ("models",), ("learning",), ("batch",)),
    ("data", "hybrid", "dense", "labelling", "evaluation"),
    *(
        ("apply",),
        ("oneimage",),
        ("prediction",),
        ("suggestion",),
        ("vectors",),
        ("study",),
        ("demo",),
        ("doctor",),
        ("web",),
        ("cli",),
        ("api",),
    ),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
HOMES = {
    "click": {"cli", "api/calls.py"},
    "tqdm": {"cli"},
    "tensorflow": {"models", "hybrid", "dense", "io/tfrecords.py"},
    "tf_keras": {"models", "hybrid", "dense"},
    "tensorflow_hub": {"models"},
    "h5py": {"models"},
    "ai_edge_litert": {"models"},
    "pydensecrf": {"crf"},
    "matplotlib": {"figures.py", "sheets.py"},
    "rasterio": {"io"},
    "onnx": {"models/sam.py"},
    "onnxruntime": {"models/sam.py"},
    "lmdb": {"io"},
    "PIL": {"io", "resample.py", "layout.py"},
    "imageio": {"io"},
    "tomllib": {"io/jsonfiles.py"},
    "csv": {"io/tables.py", "io/labels/classfiles.py"},
    "tarfile": {"io/archives.py"},
    "gzip": {"io/archives.py"},
    "dask": {"batch/cluster.py"},
    "distributed": {"batch/cluster.py"},
    "pickle": set(),
    "yaml": set(),
    "sklearn": {"hybrid"},
    "flask": {"web"},
    "werkzeug": {"web"},
    "waitress": {"web"},
}
# Functions that read whatever they are given: a file from elsewhere goes through the one place that checks it first.
READERS = {
    "json.load": set(),
    "json.loads": {"io/jsonfiles.py"},
    # The latter reads the weights that come with the package.
    "np.load": {"io/arrays.py", "models/mobilenet.py"},
    "read_text": set(),
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc"}
MAX_LINES = 400
# What is started from outside rather than imported.
ENTRIES = {"hybridseg.__main__", *(place.partition(":")[0] for place in COMMANDS.values())}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The first part of a module's path below the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_module(path: Path) -> str:
    """Name a module as an import does."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def list_imports(path: Path) -> list[str]:
    """List the modules that a module imports; of ``from a import b`` both ``a`` and ``a.b``, which may be a module."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def find_wrong_directions(path: Path, imports: list[str]) -> list[str]:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return []
    others = {name.split(".")[1] for name in imports if name.startswith("hybridseg.")} - {"__version__"}
    return [
        f"{path.name}: {room} imports {other}"
        for other in sorted(others)
        if other != room and LEVEL_OF[other] >= LEVEL_OF[room]
    ]


def find_unused(imports: dict[str, list[str]]) -> list[str]:
    """Name the modules that no other module imports."""
    used = {name for module, names in imports.items() for name in names if name != module}
    packages = {name.rpartition(".")[0] for name in imports}
    return sorted(imports.keys() - used - packages - ENTRIES)


def find_wrong_homes(path: Path, imports: list[str]) -> list[str]:
    place = path.relative_to(PACKAGE).as_posix()
    wrong = []
    for name in imports:
        homes = HOMES.get(name.split(".")[0])
        if homes is not None and not any(place == home or place.startswith(f"{home}/") for home in homes):
            wrong.append(f"{place} imports {name}, whose home is {', '.join(sorted(homes))}")
    return wrong


def find_unguarded(path: Path, code: str) -> list[str]:
    """List the calls of readers outside the module that checks what they read."""
    place = path.relative_to(PACKAGE).as_posix()
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            owner = f"{node.value.id}." if isinstance(node.value, ast.Name) else ""
            wrong += [
                f"{place}, line {node.lineno}: {name}"
                for name in {owner + node.attr, node.attr}
                if name in READERS and place not in READERS[name]
            ]
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_module_keeps_the_house_rules(path):
    imports = list_imports(path)
    assert find_wrong_directions(path, imports) == []
    assert find_wrong_homes(path, imports) == []
    assert find_unguarded(path, path.read_text(encoding="utf-8")) == []
    assert path.stem not in FORBIDDEN_NAMES
    assert path.read_text(encoding="utf-8").count("\n") <= MAX_LINES


def test_every_module_is_imported_by_another():
    assert find_unused({name_module(path): list_imports(path) for path in MODULES}) == []


def test_every_module_is_on_the_page_of_the_design():
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = page.partition("## 2.")[2].partition("## 3.")[0]
    # The commands go by their groups.
    modules = [path for path in PACKAGE.rglob("[!_]*.py") if "cli" not in path.parts]
    missing = [path.relative_to(PACKAGE).as_posix() for path in modules if not re.search(rf"\b{path.stem}\b", rooms)]
    assert not missing and len(modules) > 150


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "tests/benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path):
    """They run for hours, and therefore rarely."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "hybridseg":
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), name


def test_rules_notice_what_is_wrong():
    path = PACKAGE / "io" / "images.py"
    assert find_wrong_directions(path, ["hybridseg.cli.main"]) == ["images.py: io imports cli"]
    assert find_wrong_directions(path, ["hybridseg.errors", "hybridseg.io.atomic"]) == []
    sibling = PACKAGE / "dense" / "feed.py"
    assert find_wrong_directions(sibling, ["hybridseg.hybrid.head"]) == ["feed.py: dense imports hybrid"]
    assert len(find_wrong_homes(path, ["matplotlib.figure", "click"])) == 2
    assert find_wrong_homes(PACKAGE / "cli" / "main.py", ["click"]) == []
    code = "json.loads(path.read_text())\nnp.load(path)\nrasterio.load(path)\njson.dumps(1)\n"
    assert find_unguarded(path, code) == [f"io/images.py, line {line}" for line in ("1: json.loads", "2: np.load")] + [
        "io/images.py, line 1: read_text"
    ]
    assert find_unused({"hybridseg.a": [], "hybridseg.b": ["hybridseg.b"], "hybridseg.c": ["hybridseg.a"]}) == [
        "hybridseg.b",
        "hybridseg.c",
    ]


def test_help_is_light():
    """Neither help nor a usage error may import TensorFlow or any package that takes long."""
    script = (
        "import sys\n"
        "from hybridseg.cli.main import find_commands, main\n"
        "names = [name.split() for name in find_commands()]\n"
        "for words in (['--help'], ['no-such-command'], *([*name, '--help'] for name in names),\n"
        "              *([*name, '--no-such-option'] for name in names)):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == (0 if words[-1] == '--help' else 2), (words, stop.code)\n"
        "slow = {'tensorflow', 'tf_keras', 'keras', 'scipy', 'sklearn', 'matplotlib', 'rasterio', 'imageio', 'flask',\n"
        "        'lmdb'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip().splitlines()[-1] == "[]"
