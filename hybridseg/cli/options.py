"""Options that several commands share, each defined once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, check_path
from hybridseg.figures import FigureOptions
from hybridseg.io.labels.classfiles import read_class_files, read_colors
from hybridseg.io.sources import as_source
from hybridseg.machine import MemoryOptions, count_cores
from hybridseg.models.encoders import IMAGENET, RANDOM
from hybridseg.models.engines import ENGINES, LITERT
from hybridseg.options import make_options, setting_of, type_of


class PathType(click.Path):
    """A path; an empty one, which would mean the current folder, is refused, and one that no file can have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the text of the option."""
        if value == "":
            self.fail("it is empty; write . for the current folder", param, ctx)
        try:
            check_path(value)
        except BadInput as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


path_type = PathType(path_type=Path)


class SourceType(PathType):
    """A path, an address of the web, or a path of GDAL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the text of the argument."""
        source = as_source(value) if isinstance(value, str) and value else None
        is_other = source is not None and source != Path(value)
        return source if is_other else super().convert(value, param, ctx)


class WholeType(click.IntRange):
    """A whole number in a range; a text is told to be none, not to be no range."""

    name = "integer"


class SizeType(click.ParamType):
    """ROWSxCOLS, such as 768x1152."""

    name = "ROWSxCOLS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the text of the option."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", value)
        if not match:
            self.fail(f"{value!r} is not a size; write rows and columns like 768x1152", param, ctx)
        return int(match[1]), int(match[2])


class RangeType(click.ParamType):
    """LOW-HIGH, such as 0.5-2."""

    name = "LOW-HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Parse the text of the option."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d*\.?\d+)-(\d*\.?\d+)", value)
        if not match:
            self.fail(f"{value!r} is not a range; write its ends like 0.5-2", param, ctx)
        return float(match[1]), float(match[2])


class NumbersType(click.ParamType):
    """N,N,..., such as 256,128,64,32."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the text of the option."""
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", value):
            self.fail(f"{value!r} is not a list of whole numbers; write them like 256,128,64,32", param, ctx)
        return tuple(map(int, value.split(",")))


class DigitType(click.ParamType):
    """0 or 1, as some published programs have it for no and yes."""

    name = "0|1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        """Parse the text of the option."""
        if isinstance(value, bool):
            return value
        if value not in ("0", "1"):
            self.fail(f"{value!r} is neither 0 (no) nor 1 (yes)", param, ctx)
        return value == "1"


class WeightsType(PathType):
    """``none``, ``imagenet``, or a file of weights."""

    name = "none|imagenet|FILE"

    def __init__(self) -> None:
        super().__init__(path_type=Path)
        self.name = WeightsType.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return one of the words as it is, and else a path."""
        return value if value in (RANDOM, IMAGENET) else super().convert(value, param, ctx)


def join_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return one decorator that adds several options, in the order in which ``--help`` lists them."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def options_of(
    owner: Any,
    *names: str,
    flags: Mapping[str, tuple[str, ...]] = {},
    unset: Mapping[str, str] = {},
    metavars: Mapping[str, str] = {},
    prefix: str = "",
    classic: bool = False,
    digits: bool = False,
) -> Callable[[Any], Any]:
    """Add a command-line option for each field of an options class: default, type, choices and help are the field's.

    Parameters
    ----------
    owner : type or object
        The class, or an instance whose values are the defaults.
    names : str
        The fields, in the order in which ``--help`` lists them.
    flags : mapping
        Flags of fields that have others than ``--name`` (without ``n_``).
    unset : mapping
        For a field whose default is None, what that stands for in words.
    metavars : mapping
        For a text that has a form, what ``--help`` calls it.
    prefix : str
        Put before the name of each field, on the command line and in the settings.
    classic : bool
        Accept the name with underscores too, as the classic programs have it.
    digits : bool
        A bool is given as 0 or 1.
    """
    options = []
    for name in names:
        own = flags.get(name) or _name_flags(prefix + (name if classic else name.removeprefix("n_")), classic)
        options.append(_make_option(owner, name, own, prefix + name, unset.get(name), metavars.get(name), digits))
    return join_options(*options)


def _name_flags(name: str, classic: bool) -> tuple[str, ...]:
    dashed = f"--{name.replace('_', '-')}"
    return tuple(dict.fromkeys((f"--{name}", dashed))) if classic else (dashed,)


def _make_option(
    owner: Any,
    name: str,
    flags: tuple[str, ...],
    parameter: str,
    unset: str | None,
    metavar: str | None,
    digits: bool,
) -> Any:
    setting, (kind, _) = setting_of(owner, name), type_of(owner, name)
    is_required = not hasattr(owner, name)
    default = getattr(owner, name, None)
    text = f"{setting.help}  [default: {unset}]" if unset else setting.help
    shared: dict[str, Any] = {"help": text, "show_default": not unset and default is not None}
    # A default of None would count as one: the option would not be required.
    shared |= {} if is_required else {"default": default}
    shared["metavar"] = metavar
    if kind is bool and digits:
        shared |= {} if default is None else {"default": str(int(default))}
        return click.option(*flags, parameter, type=DigitType(), required=is_required, **shared)
    if kind is bool and not default:
        # None: neither flag was given.
        is_shown = "/" in flags[0] and not unset
        return click.option(*flags, parameter, is_flag=True, help=text, default=default, show_default=is_shown)
    if kind is bool:
        # The last flag carries the negation: `--flip-cols/--no-flip-cols`.
        return click.option(*flags[:-1], f"{flags[-1]}/--no-{flags[-1].removeprefix('--')}", parameter, **shared)
    kinds: dict[Any, Any] = {
        Path: path_type,
        tuple[int, int]: SizeType(),
        tuple[float, float]: RangeType(),
        tuple[int, ...]: NumbersType(),
    }
    if kind == tuple[str, ...]:
        shared["help"] = f"{setting.help} Several have commas between them, or an option each."
        shared["help"] += f"  [default: {unset}]" if unset else ""
        # None and no text at all are not the same.
        return click.option(*flags, parameter, multiple=True, callback=lambda *given: given[-1] or None, **shared)
    value_type = click.Choice(setting.choices) if setting.choices else kinds.get(kind, kind)
    return click.option(*flags, parameter, type=value_type, required=is_required, **shared)


def read_options(cls: Any, settings: Mapping[str, Any], *, prefix: str = "", **more: Any) -> Any:
    """Make an options object of what a command was given; `more` are fields that no option of the command sets.

    `cls` may also be an instance, whose values are the defaults.

    Examples
    --------
    >>> from hybridseg.crf.options import CrfOptions
    >>> read_options(CrfOptions, {"theta": 30.0, "not_of_the_crf": 1}).theta
    30.0
    """
    with named_as_typed(prefix):
        return make_options(cls, settings, prefix=prefix, **more)


def given_options(cls: Any, settings: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return the fields of an options class that were given on this command line; `prefix` is before their names."""
    names = [name for name in cls.__dataclass_fields__ if prefix + name in settings and is_given(prefix + name)]
    return {name: settings[prefix + name] for name in names}


@contextmanager
def named_as_typed(prefix: str = "") -> Iterator[None]:
    """Let an error in an option call it as the command line does: ``--group-by=(`` in place of ``group_by=(``."""
    try:
        yield
    except BadInput as error:
        context = click.get_current_context(silent=True)
        parameters = context.command.params if context else []
        flags = {p.name: next((flag for flag in p.opts if flag.startswith("--")), None) for p in parameters}
        name, sign, rest = str(error).partition("=")
        flag = flags.get(prefix + name)
        if any(p.name == prefix + name and isinstance(p.type, SizeType) for p in parameters):
            rest = re.sub(r"^\((\d+), (\d+)\)", r"\1x\2", rest).replace("[rows, cols]", SizeType.name)
        if any(p.name == prefix + name and isinstance(p.type, RangeType) for p in parameters):
            rest = re.sub(r"^\(([\d.]+), ([\d.]+)\)", r"\1-\2", rest).replace("[low, high]", RangeType.name)
        if any(p.name == prefix + name and isinstance(p.type, NumbersType) for p in parameters):
            rest = re.sub(r"^\(([\d, ]+?),?\)", lambda found: found[1].replace(" ", ""), rest)
        raise type(error)(f"{flag}{sign}{rest}" if flag else str(error)) from error


seed_option = click.option(
    "--seed",
    type=WholeType(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of every random choice; the same seed, the same result.",
)

resume_option = click.option(
    "--resume", is_flag=True, help="Skip images whose result was made by the same model with the same settings."
)

engine_option = click.option(
    "--engine", "model_engine", type=click.Choice(ENGINES), default=LITERT, show_default=True,
    help="What runs the models; tensorflow is the reference, and takes seconds to start.",
)  # fmt: skip
figure_options = options_of(FigureOptions, "dpi", "figure_format", flags={"figure_format": ("--format",)})

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results that are already there.")


memory_option = options_of(MemoryOptions, "max_memory", unset={"max_memory": "half of what is free"})

sources_argument = click.argument(
    "sources", metavar="SOURCES...", nargs=-1, required=True, type=SourceType(path_type=Path)
)
models_option = click.option(
    "--model", "models", metavar="MODEL", type=path_type, multiple=True, required=True,
    help="The model: a tile classifier (NAME.pb), a dense network (NAME.h5), or the folder of one. Given again, "
    "several of the same classes vote.",
)  # fmt: skip
jobs_option = click.option(
    "--jobs", "n_jobs", type=WholeType(1, 1024), default=count_cores, show_default="all cores",
    help="Processes that work at once; OMP_NUM_THREADS in the environment lowers the default.",
)  # fmt: skip

# `--engine` is what runs the models.
CRF_FLAGS = {"engine": ("--crf-engine",)}

# Images with their masks: `hybridseg.io.masks.find_labelled` finds them.
masks_option = click.option(
    "--masks", "masks_dir", metavar="DIR", type=path_type,
    help="Where the masks (label maps) are, if neither beside their images nor where split has put them; they are "
    "found by name: NAME_mres.mat, NAME.png, NAME_mask.tif ...",
)  # fmt: skip
images_option = click.option(
    "--images", "images_dir", metavar="DIR", type=path_type, help="Where the images are, if not beside their masks."
)
places_options = join_options(images_option, masks_option)


def refuse_twice(given: Path | None, images_dir: Path | None) -> None:
    """Raise a usage error when the images were given as an argument and as --images."""
    if given is not None and images_dir is not None:
        raise click.UsageError(f"the images were given twice, as {given} and as --images {images_dir}; leave one out.")


def colors_option(class_list: str) -> Callable[[Any], Any]:
    """Return the option --colors for a command whose classes are those of `class_list`, as --help calls it."""
    return click.option(
        "--colors", "colors_path", type=path_type,
        help=f"Colours of the classes: one per line in the order of the class list ({class_list}), as in colors.txt; "
        "or lines of name, r, g, b, matched by name, as in labeldefs.txt.",
    )  # fmt: skip


class_files_options = join_options(
    click.option(
        "--labels", "labels_path", type=path_type,
        help="Classes of label maps that do not name theirs: labels.txt (one name per line) or labeldefs.txt "
        "(name, r, g, b). Names inside a file always win.",
    ),
    colors_option("--labels, which it needs"),
)  # fmt: skip


def read_table(labels_path: Path | None, colors_path: Path | None) -> ClassTable | None:
    """Read the class files that were given, if any."""
    if labels_path is None:
        if colors_path is not None:
            raise click.UsageError("--colors needs --labels: colours are given in the order of the class names.")
        return None
    return read_class_files(labels_path, colors_path)


def read_repainted(
    table: ClassTable, labels_path: Path | None, colors_path: Path | None, *, owner: object
) -> ClassTable | None:
    """Return the classes of a model in the colours that --colors gives them; None without it.

    The order of the colours is that of --labels, or of the model where that is left out; `owner` names it.
    """
    if colors_path is None:
        return None
    if labels_path is None:
        return read_colors(colors_path, table, owner=owner)
    return table.with_colors_of(read_class_files(labels_path, colors_path))


def is_given(name: str) -> bool:
    """Return whether a setting was given on this command line."""
    return click.get_current_context().get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
