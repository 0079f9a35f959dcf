"""Write ``docs/api.md`` from the docstrings and signatures of what ``import hybridseg`` offers.

``make docs`` calls it; a test checks that it was called.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import hybridseg
from hybridseg.batch.results import BatchResult, ImageResult
from hybridseg.confusion import Confusion
from hybridseg.crf.refine import Refinement
from hybridseg.data.cocoexport import CocoExportResult
from hybridseg.data.cocoimport import CocoImportResult
from hybridseg.data.convert import ConvertResult
from hybridseg.data.faults import Fault
from hybridseg.data.review import ReviewResult
from hybridseg.data.split import SplitResult
from hybridseg.data.splitplan import SplitEntry
from hybridseg.dense.fit import Epoch
from hybridseg.dense.programs.configproposal import Proposal
from hybridseg.dense.records import RecordsResult
from hybridseg.dense.trainer import TrainingResult
from hybridseg.errors import Problem
from hybridseg.evaluation.pixels import PixelsResult
from hybridseg.figures import DrawnFigure
from hybridseg.hybrid.evaltiles import TilesResult
from hybridseg.hybrid.head import Measurement
from hybridseg.hybrid.retile import RetileResult
from hybridseg.hybrid.retrain import RetrainResult
from hybridseg.hybrid.tileplan import ClassCount
from hybridseg.hybrid.tuning import TuneResult
from hybridseg.labelling.spread import SpreadResult
from hybridseg.options import describe_range
from hybridseg.study.findings import Findings
from hybridseg.study.steps import Step
from hybridseg.study.study import StudyResult
from hybridseg.verdict import Verdict
from hybridseg.web.serve import Page

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
# In the order of use.
STEPS = (
    "run", "review", "label", "spread", "import_coco", "split", "convert", "retile", "retrain", "evaluate_tiles",
    "train_fcn", "train_unet", "show_augmentation", "init_config", "make_tfrecords", "train_resunet", "open_model",
    "tune_crf", "segment", "evaluate", "export_coco",
)  # fmt: skip
RESULTS = (
    ReviewResult, Fault, Page, SpreadResult, CocoImportResult, CocoExportResult, SplitResult, ConvertResult,
    RetileResult, RetrainResult, TilesResult, TrainingResult, DrawnFigure, Proposal, RecordsResult, TuneResult,
    BatchResult, ImageResult, PixelsResult, Confusion, Verdict, StudyResult, Step, Findings, Refinement, SplitEntry,
    ClassCount, Epoch, Measurement, Problem,
)  # fmt: skip
HEAD = """# In Python

```python
import hybridseg as hs
```

imports nothing until a name is used, and TensorFlow only when a model is trained or applied. Paths may be text or
`Path`, options are keywords, and their defaults are those of the [commands](cli.md). Every error that a user can mend
is a `hs.HybridSegError` with one clear sentence. Results show themselves in a notebook: [this one](notebook.ipynb) goes
from a folder to a map. This page is generated (`make docs`).
"""
_WIDTH = 100
_SECTION = re.compile(r"\n\n(Parameters|Returns|Yields|Raises|Examples)\n-+\n")


def describe_api() -> str:
    """Return the whole page."""
    others = [name for name in hybridseg.__all__ if name not in STEPS]
    functions = [name for name in others if inspect.isfunction(getattr(hybridseg, name))]
    types = [name for name in others if name not in functions]
    parts = [HEAD, "## The steps\n", *(_describe_function(name) for name in STEPS)]
    parts += ["## Images, label maps, and the CRF alone\n", *(_describe_function(name) for name in functions)]
    parts += ["## Types\n", *(_describe_type(getattr(hybridseg, name)) for name in types)]
    parts += ["## What the functions return\n", *(_describe_type(result) for result in RESULTS)]
    return "\n".join(parts)


def _describe_function(name: str) -> str:
    function = getattr(hybridseg, name)
    text, sections = _split_doc(function)
    return f"### {name}\n\n```python\n{_spell_signature(name, function)}\n```\n\n{text}\n\n{_spell_sections(sections)}"


def _describe_type(kind: Any) -> str:
    text, sections = _split_doc(kind)
    described = _add_fields(kind, sections.pop("Parameters", ""))
    lines = [f"### {kind.__name__}\n\n{text}\n"]
    lines += [_spell_section("Attributes", described)] if described.strip() else []
    lines += [_spell_options(kind)] if _is_options(kind) else []
    members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
    methods = [_spell_member(name, member) for name, member in members.items() if _is_documented(member)]
    if methods:
        lines.append("Properties and methods:\n\n" + "\n".join(methods) + "\n")
    return "\n".join([*lines, _spell_sections(sections)]) if "Examples" in sections else "\n".join(lines)


def _add_fields(kind: Any, section: str) -> str:
    """Add the fields of a class that its docstring has nothing to say of beyond their types; options have a table."""
    fields = [] if _is_options(kind) or not dataclasses.is_dataclass(kind) else dataclasses.fields(kind)
    lines = re.findall(r"^(\S.*)$", section, re.MULTILINE)
    names = {name for line in lines for name in line.partition(" : ")[0].split(", ")}
    return section.rstrip("\n") + "".join(f"\n{f.name} : {f.type}" for f in fields if f.name not in names)


def _is_options(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and any("setting" in f.metadata for f in dataclasses.fields(kind))


def _is_documented(member: Any) -> bool:
    return isinstance(member, property | classmethod) or inspect.isfunction(member)


def _spell_member(name: str, member: Any) -> str:
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    first = inspect.getdoc(function).partition("\n\n")[0].replace("\n", " ")
    if not isinstance(member, property):
        name += "(" + ", ".join(list(inspect.signature(function).parameters)[1:]) + ")"
    return f"- `{name}`: {_link(first)}"


def _spell_options(kind: Any) -> str:
    """Return the table of the options of a class."""
    rows = [("option", "what it may be", "default", "meaning"), ("---",) * 4]
    for found in dataclasses.fields(kind):
        if "setting" in found.metadata:
            limits = describe_range(kind, found.name).replace("|", "\\|")
            rows.append((f"`{found.name}`", limits, f"`{found.default!r}`", found.metadata["setting"].help))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _split_doc(thing: Any) -> tuple[str, dict[str, str]]:
    """Return the text before the first section of a docstring, and the sections by name."""
    text, *rest = _SECTION.split("\n\n" + inspect.getdoc(thing) + "\n")
    return _link(text.strip()), dict(zip(rest[::2], rest[1::2], strict=True))


def _spell_sections(sections: dict[str, str]) -> str:
    return "\n".join(_spell_section(name, section) for name, section in sections.items())


def _spell_section(name: str, section: str) -> str:
    if name == "Examples":
        return "```python\n" + re.sub(r" *# doctest:.*", "", section.strip()) + "\n```\n"
    entries = re.split(r"\n(?=\S)", section.strip("\n"))
    return f"{name}:\n\n" + "\n".join(map(_spell_entry, entries)) + "\n"


def _spell_entry(entry: str) -> str:
    head, _, text = entry.partition("\n")
    names, colon, kind = head.partition(" : ")
    words = " ".join(text.split())
    shown = ", ".join(f"`{name}`" for name in names.split(", ")) + (f" ({kind})" if colon else "")
    return f"- {shown}: {_link(words)}" if words else f"- {shown}"


def _link(text: str) -> str:
    """Write code as Markdown has it."""
    return re.sub(r"``(.*?)``", r"`\1`", text)


def _spell_signature(name: str, function: Any) -> str:
    """Spell a signature, on one line or with a line for each parameter."""
    found = inspect.signature(function)
    texts, is_marked = [], False
    for parameter in found.parameters.values():
        # What takes any number of arguments has its star already.
        is_marked = is_marked or parameter.kind is parameter.VAR_POSITIONAL
        if parameter.kind is parameter.KEYWORD_ONLY and not is_marked:
            texts, is_marked = [*texts, "*"], True
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is parameter.empty else f" = {_spell_default(parameter.default)}"
        texts.append(f"{star}{parameter.name}: {parameter.annotation}{default}")
    end = f" -> {found.return_annotation}"
    line = f"{name}({', '.join(texts)}){end}"
    return line if len(line) <= _WIDTH else f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){end}"


def _spell_default(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    if callable(value):
        return value.__name__
    return repr(str(value)) if isinstance(value, Path) else repr(value)


if __name__ == "__main__":
    PAGE.write_text(describe_api(), encoding="utf-8")
    print(f"wrote {PAGE}")
