"""What ``import hybridseg`` offers: lazily, completely, and with names that hold."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import hybridseg
from hybridseg.classes import ClassTable
from hybridseg.data.cocoplan import CocoImportOptions
from hybridseg.data.convert import ConvertOptions
from hybridseg.dense.crops import CropOptions
from hybridseg.dense.programs.fcn import FcnOptions
from hybridseg.dense.programs.resunet import ResunetExtras
from hybridseg.dense.programs.unet import ScheduleOptions
from hybridseg.hybrid.classifier import RetrainOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.hybrid.tuning import TuneOptions

HOME = Path(hybridseg.__file__)


def run_python(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)


@pytest.mark.slow
def test_the_import_takes_nothing():
    done = run_python(
        "import sys; before = set(sys.modules); import hybridseg\n"
        "print(sorted(set(sys.modules) - before), 'segment' in dir(hybridseg))\n"
        "hybridseg.segment, hybridseg.run, hybridseg.train_fcn\n"
        "print(sorted({'tensorflow', 'tf_keras', 'matplotlib', 'rasterio', 'scipy', 'sklearn'} & set(sys.modules)))\n"
    )
    assert done.stdout == "['hybridseg'] True\n[]\n"


def test_every_name_is_there_and_no_other():
    names = [name for group in hybridseg._HOMES.values() for name in group]
    assert sorted(names) == sorted(hybridseg.__all__) and [
        n for n in dir(hybridseg) if not n.startswith("__")
    ] == sorted(names)
    block = next(node for node in ast.parse(HOME.read_text()).body if isinstance(node, ast.If))
    typed = {f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    assert typed == {f"hybridseg.{home}.{name}" for home, group in hybridseg._HOMES.items() for name in group}
    for name in names:
        assert getattr(hybridseg, name).__name__ == name
        # A module of this name would take its place once it is imported.
        assert not (HOME.parent / name).exists() and not (HOME.parent / f"{name}.py").exists()


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match=r"no attribute 'segmnt'; it has ClassTable, .*segment"):
        hybridseg.segmnt  # noqa: B018


def test_functions_and_types_can_be_pickled():
    for name in hybridseg.__all__:
        thing = getattr(hybridseg, name)
        assert pickle.loads(pickle.dumps(thing)) is thing
    table = ClassTable.from_names(["water", "sand"])
    assert pickle.loads(pickle.dumps(table)) == table


OFFERED = [getattr(hybridseg, name) for name in hybridseg.__all__]
STEPS = [thing for thing in OFFERED if thing.__module__.startswith("hybridseg.api.")]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_every_parameter_is_a_keyword_and_explained_once(step):
    parameters = inspect.signature(step).parameters.values()
    listed = re.split(r"\n-+\n", inspect.getdoc(step))[1].rpartition("\n")[0]
    explained = [name for line in re.findall(r"^\S.*$", listed, re.MULTILINE) for name in line.split(", ")]
    assert explained == [p.name for p in parameters]
    options = [p for p in parameters if p.default is not p.empty]
    assert options and all(p.kind is p.KEYWORD_ONLY for p in options)


@pytest.mark.parametrize(
    ("step", "owners"),
    [
        (hybridseg.retile, [RetileOptions]),
        (hybridseg.retrain, [RetrainOptions, HeadOptions]),
        (hybridseg.train_fcn, [FcnOptions, CropOptions]),
        (hybridseg.train_unet, [ScheduleOptions]),
        (hybridseg.train_resunet, [ResunetExtras]),
        (hybridseg.import_coco, [CocoImportOptions]),
        (hybridseg.convert, [ConvertOptions]),
        (hybridseg.tune_crf, [TuneOptions]),
    ],
)
def test_the_defaults_are_those_of_the_options(step, owners):
    found = {field.name: field for owner in owners for field in fields(owner)}
    parameters = inspect.signature(step).parameters
    assert all(parameters[name].default == found[name].default for name in parameters.keys() & found)
    help_texts = [found[name].metadata["setting"].help for name in parameters.keys() & found if name != "seed"]
    words = " ".join(inspect.getdoc(step).split())
    assert help_texts and all(text in words for text in help_texts)
