"""An augmentation policy: steps that happen with a chance, one after another, named in a small TOML file."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.dense.pixelmath import ArrayDraws
from hybridseg.dense.steps import STEPS, Draws, Step
from hybridseg.errors import BadInput, MissingInput, located
from hybridseg.io.jsonfiles import read_toml
from hybridseg.models.cards import parse_value
from hybridseg.options import Span, check_options, describe_range, option, setting_of, type_of

NO_POLICY = "none"

_FOLDER = Path(__file__).parent / "policies"
BUILTIN = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
_NAMES = ", ".join((NO_POLICY, *BUILTIN))
POLICY_HELP = f"How images are changed at random in training: {_NAMES}, or a TOML file."
_MAX_BYTES = 100_000


@dataclass(frozen=True)
class Turn:
    """A step, or one of several with equal chances, that an image undergoes with a chance."""

    steps: tuple[Step, ...]
    chance: float = option(1.0, "How often the step happens.", span=Span(0, 1))

    def __post_init__(self) -> None:
        check_options(self)

    def to_record(self) -> dict[str, Any]:
        """Return what a TOML file says, JSON-ready."""
        records = [step.to_record() for step in self.steps]
        return {**(records[0] if len(records) == 1 else {"one-of": records}), "chance": self.chance}

    def change(self, image: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
        """Change an image and its labels, or leave them as they are."""
        import tensorflow as tf

        def change_by(number: int) -> tuple[Any, Any]:
            changed = self.steps[number].change(image, labels, draws.fork(number))
            # A graph wants all branches alike.
            return tf.ensure_shape(changed[0], image.shape), tf.ensure_shape(changed[1], labels.shape)

        which = tf.cast(draws.uniform(0, len(self.steps)), tf.int32)
        branches = {number: (lambda number=number: change_by(number)) for number in range(len(self.steps))}
        happens = draws.uniform(0, 1) < self.chance
        return tf.cond(happens, lambda: tf.switch_case(which, branches), lambda: (image, labels))

    def change_array(self, image: np.ndarray, labels: np.ndarray, draws: Any) -> tuple[np.ndarray, np.ndarray]:
        """Do the same with arrays."""
        number = int(draws.uniform(0, len(self.steps)))
        if draws.uniform(0, 1) >= self.chance:
            return image, labels
        return self.steps[number].change(image, labels, draws.fork(number))


@dataclass(frozen=True)
class Policy:
    """What may happen to an image in training, in this order; nothing when there are no turns."""

    turns: tuple[Turn, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.turns)

    @property
    def steps(self) -> list[Step]:
        """Every step that it names."""
        return [step for turn in self.turns for step in turn.steps]

    def to_record(self) -> dict[str, Any]:
        """Return what a TOML file says, JSON-ready."""
        return {"step": [turn.to_record() for turn in self.turns]}

    def check_bands(self, n_bands: int) -> None:
        """Raise BadInput when a step is for images of more bands."""
        for step in self.steps:
            step.check_bands(n_bands)

    def change_batch(
        self, images: Any, labels: Any, *, seed: tuple[Any, Any], white: float | None, place: Any = None
    ) -> tuple[Any, Any]:
        """Change every image of a batch, see `hybridseg.dense.augment.Augmentation`."""
        import tensorflow as tf

        if not self.any:
            return images, labels
        images, labels = tf.convert_to_tensor(images, tf.float32), tf.convert_to_tensor(labels, tf.uint8)
        if white is None:
            # Each band by itself: an elevation of 2,000 beside reflectances of 0.2 would leave these no range at all.
            low = tf.reduce_min(images, (1, 2), keepdims=True)
            scale = tf.maximum(tf.reduce_max(images, (1, 2), keepdims=True) - low, 1e-12)
        else:
            low, scale = tf.constant(0.0), tf.constant(white)
        whole = Draws(tf.cast(tf.stack(seed), tf.int32))

        def change(parts: tuple[Any, Any, Any]) -> tuple[Any, Any]:
            index, image, own = parts
            draws = whole.fork(index)
            for number, turn in enumerate(self.turns):
                image, own = turn.change(image, own, draws.fork(number))
            return image, own

        signature = (tf.TensorSpec(images.shape[1:], tf.float32), tf.TensorSpec(labels.shape[1:], tf.uint8))
        first = 0 if place is None else place[0]
        parts = (first + tf.range(tf.shape(images)[0]), (images - low) / scale, labels)
        changed, moved = tf.map_fn(change, parts, fn_output_signature=signature)
        return changed * scale + low, moved

    def check_arrays(self) -> None:
        """Raise BadInput when a step is not one of those that take arrays."""
        for step in self.steps:
            if not step.on_arrays:
                known = ", ".join(name for name, kind in STEPS.items() if kind.on_arrays)
                raise BadInput(
                    f"{step.name} of the augmentation is not there for images from a database; take it out of the "
                    f"policy, which can have {known}"
                )

    def change_array(
        self, image: np.ndarray, labels: np.ndarray, *, seed: tuple[int, ...], white: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change an image, (rows, cols, bands) float32, and its labels by means of NumPy, as `change_batch` does."""
        if not self.any:
            return image, labels
        # Each band by itself, unless they are bytes.
        low = image.min((0, 1)) if white is None else np.float32(0)
        scale = np.maximum(image.max((0, 1)) - low, 1e-12) if white is None else np.float32(white)
        draws, image = ArrayDraws(seed), (image - low) / scale
        for number, turn in enumerate(self.turns):
            image, labels = turn.change_array(image, labels, draws.fork(number))
        return image * scale + low, labels


def read_policy(name: str | Path) -> Policy:
    """Read a policy: one of `BUILTIN` or ``none`` by its name, or a TOML file.

    Raises
    ------
    MissingInput, BadInput
        When there is no such file, or it names a step or a setting that does not exist; the message names it.

    Examples
    --------
    >>> [turn.chance for turn in read_policy("efficientnet-blog").turns]
    [0.5, 1.0, 0.2, 0.5, 0.9, 0.9, 0.9]
    """
    if name == NO_POLICY:
        return Policy()
    path = _FOLDER / f"{name}.toml" if name in BUILTIN else Path(name)
    if not path.exists():
        raise MissingInput(f"there is no augmentation policy {name}; give a TOML file, or one of {_NAMES}")
    record = read_toml(path, most=_MAX_BYTES, remedy="give an augmentation policy")
    with located(path):
        turns = record.get("step")
        if record.keys() - {"step"} or not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            wrong = next(iter(sorted(record.keys() - {"step"})), None)
            found = f"it has {wrong!r}, which means nothing here; " if wrong else ""
            raise BadInput(f'{found}give a table [[step]] with do = "NAME" for each step, and nothing else')
        return Policy(tuple(_parse_turn(turn, f"step {number}") for number, turn in enumerate(turns, 1)))


def _parse_turn(record: dict[str, Any], where: str) -> Turn:
    rest = dict(record)
    chance = rest.pop("chance", 1.0)
    group = rest.pop("one-of", None)
    if group is None:
        steps: tuple[Step, ...] = (_parse_step(rest, where),)
    elif rest or not isinstance(group, list) or not group:
        raise BadInput(f"{where} has one-of: give it a list of steps, a chance, and nothing else")
    else:
        steps = tuple(_parse_step(member, f"{where}, number {n} of one-of") for n, member in enumerate(group, 1))
    return Turn(steps, **_parse_settings(Turn, {"chance": chance}, where))


def _parse_step(record: Any, where: str) -> Step:
    if not isinstance(record, dict) or "do" not in record:
        raise BadInput(f'{where} does not say what to do: give do = "NAME", one of {", ".join(STEPS)}')
    name = record["do"]
    if name not in STEPS if isinstance(name, str) else True:
        raise BadInput(
            f"{where}: there is no step {_spell(name)}; do is one of {', '.join(STEPS)}{_guess(name, STEPS)}"
        )
    kind = STEPS[name]
    settings = {key: value for key, value in record.items() if key != "do"}
    known = [item.name for item in fields(kind)]
    for key in settings.keys() - set(known):
        has = f"has {', '.join(known)}" if known else "has no settings"
        raise BadInput(f"{where}: {name} {has}, and no {key}{_guess(key, known)}")
    return kind(**_parse_settings(kind, settings, f"{where}: {name}"))


def _parse_settings(kind: type, settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Return settings of an options class as it takes them; BadInput says which one is wrong, and what is valid."""
    values = {}
    for key, value in settings.items():
        setting = setting_of(kind, key)
        try:
            values[key] = parse_value(value, type_of(kind, key)[0])
            is_valid = values[key] in (setting.choices or setting.span or (values[key],))
        except TypeError:
            is_valid = False
        if not is_valid:
            raise BadInput(f"{where} has {key} = {_spell(value)}; give {describe_range(kind, key)}")
    return values


def _spell(value: Any) -> str:
    """Return a value as TOML has it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _guess(word: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(word), known, 1)
    return f"; did you mean {near[0]}?" if near else ""
