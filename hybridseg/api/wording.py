"""Messages in Python's words: functions and parameters for the commands and options that the library names as typed."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Mapping
from typing import Any

import hybridseg

# A flag, and its value if it looks like one: DIR, labels.txt, '*_ares_96.mat', or =ramp.
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z_-]*)(=\w[\w.-]*| (?:'[^']*'|[A-Z]{2,}\b|\d+\b|[\w*]+\.\w+))?")
# What the commands call otherwise.
_OTHER_NAMES = {
    "images": "photos", "image_folder": "images", "mask_folder": "masks", "output_folder": "out", "test": "test_list",
    "output_graph": "out", "import": "import_", "first_restart": "first_epochs",
}  # fmt: skip
_SHORT_FLAG = re.compile(r" \(-\w\)")
# The functions of commands that are called otherwise.
_FUNCTIONS = {
    "crf": "spread", "eval-pixels": "evaluate", "eval-tiles": "evaluate_tiles", "tune-crf": "tune_crf",
    "fcn": "train_fcn", "fcn train": "train_fcn", "unet train": "train_unet", "resunet train": "train_resunet",
    "semseg": "segment", "fcn infer": "segment", "unet infer": "segment", "resunet segment": "segment",
    "resunet make-tfrecords": "make_tfrecords", "resunet init-config": "init_config",
    "unet show-augmentation": "show_augmentation", "unet build-lmdb": "build_lmdb",
    "coco import": "import_coco", "coco export": "export_coco",
    **{name: name for name in ("run", "split", "convert", "retile", "retrain", "label")},
}  # fmt: skip
_NAMES = "|".join(sorted(_FUNCTIONS, key=len, reverse=True))
# In quotes, with all that follows there; or bare, with flags and what may be their values.
_COMMAND = re.compile(
    rf"`hybridseg (?P<quoted>{_NAMES})(?P<words>(?! [a-z]+-[a-z]) [^`]*)?`|"
    rf"hybridseg (?P<bare>{_NAMES})(?![\w-]| [a-z]+-[a-z])(?P<flags>(?: --?[a-z][a-z-]*(?: [^\s;,):-][^\s;,):]*)?)*)"
)


def speak_python(message: str, defaults: Mapping[str, Any]) -> str:
    """Return a message that names commands and options as it names functions and their parameters.

    Parameters
    ----------
    defaults : mapping of str to object
        The parameters of the function that raised it, with their defaults.

    Examples
    --------
    >>> speak_python("give --overwrite to replace it, or --out DIR", {"out": None, "overwrite": False})
    'give overwrite=True to replace it, or out=DIR'
    >>> speak_python("say --labels labels.txt (-t), or hybridseg convert --to png", {"labels": None})
    "say labels='labels.txt', or hs.convert(to='png')"
    """

    def rename(match: re.Match[str]) -> str:
        name, value = _find_name(match[1], defaults), match[2] or ""
        if name is None:
            return match[0]
        if name not in defaults:
            return name + value
        if defaults[name] is False:
            return f"{name}=True{'' if value == ' 1' else value}"
        is_text = "'" not in value and ("." in value or value.startswith("="))
        return f"{name}=" + (repr(value[1:]) if is_text else value[1:])

    return _SHORT_FLAG.sub("", _FLAG.sub(rename, _COMMAND.sub(_spell_call, message)))


def _find_name(flag: str, defaults: Mapping[Any, Any]) -> str | None:
    """Return the parameter of a flag, or where among the parameters an options object has it."""
    name = flag.replace("-", "_")
    for known in (name, f"n_{name}", _OTHER_NAMES.get(name)):
        if known in defaults:
            return known
    owners = (owner for owner, value in defaults.items() if name in getattr(value, "__dataclass_fields__", ()))
    return next((f"{name} of {owner}" for owner in owners), None)


def _spell_call(match: re.Match[str]) -> str:
    """Return the call that is a command."""
    quote = "`" if match["quoted"] else ""
    function = _FUNCTIONS[match["quoted"] or match["bare"]]
    defaults: dict[Any, Any] = {
        p.name: p.default for p in inspect.signature(getattr(hybridseg, function)).parameters.values()
    }
    places, keywords, rest, is_more = [], [], "", False
    words = _split(match["words"] or match["flags"] or "")
    while words:
        word = words.pop(0)
        if word == "...":
            is_more = True
        elif not word.startswith("-"):
            if quote:
                places.append(_spell_value(word))
            else:
                rest += f" {word}"
        else:
            name = _find_name(word.lstrip("-"), defaults)
            is_flag = defaults.get(name) is False
            has_value = words and not words[0].startswith("-") and words[0] != "..." and not is_flag
            value = _spell_value(words.pop(0)) if has_value else "True" if is_flag else "..."
            is_more = is_more or (name not in defaults and word.startswith("--"))
            keywords += [f"{name}={value}"] if name in defaults else []
    inside = ", ".join([*places, *keywords, *(["..."] if is_more else [])])
    return f"{quote}hs.{function}" + (f"({inside})" if inside else "") + quote + rest


def _split(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError:
        return words.split()


def _spell_value(word: str) -> str:
    """Return a number or a placeholder, such as DIR, as it is, and text in quotes."""
    return word if re.fullmatch(r"-?[\d.]+|[A-Z]{2,}", word) else repr(word)
