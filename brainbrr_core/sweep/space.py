"""The file of a sweep: which settings are searched, in which ranges, and by which figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

from brainbrr_core.configuration.yaml_file import read_mapping
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest

#: The value of a setting.
Value: TypeAlias = "bool | int | float | str | None"
#: Figures of a validation that trials can be compared by; more is better for all of them.
OBJECTIVES = ("score", "f1", "auroc", "auprc")
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "none")
KINDS = ("float", "log", "int", "choice")
#: Sections whose settings need no other cache and no other manifest.
SECTIONS = ("model", "training", "detection", "hardware")
_KEYS = (
    "settings",
    "objective",
    "trials",
    "seed",
    "sampler",
    "pruner",
    "startup_trials",
    "warmup_steps",
)


@dataclass(frozen=True)
class Dimension:
    """The values that one setting may have.

    ``kind`` is one of :data:`KINDS`: an interval of numbers, one that is searched by its logarithm,
    an interval of whole numbers, or ``choices``. Intervals have both of their ends.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Value, ...] = ()

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that decide whether all are valid: both ends, or all choices."""
        if self.kind == "choice":
            return self.choices
        if self.kind == "int":
            return int(self.low), int(self.high)
        return self.low, self.high

    def as_written(self) -> dict[str, JsonValue]:
        """As the file has it."""
        return {self.kind: list(self.ends)}


@dataclass(frozen=True)
class Space:
    """The content of a file of a sweep.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    settings : dict of str to Dimension
        The settings that are searched, by their keys such as ``training.learning_rate``.
    objective : str
        The figure of a validation, one of :data:`OBJECTIVES`.
    trials : int
        How many trials the sweep has in all.
    seed : int
        What the drawn settings follow from.
    sampler, pruner : str
        One of :data:`SAMPLERS` and of :data:`PRUNERS`.
    startup_trials : int
        Finished trials before the first one may be given up.
    warmup_steps : int
        Steps of a training in which it is not given up.
    """

    path: Path
    settings: dict[str, Dimension]
    objective: str = "score"
    trials: int = 20
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "median"
    startup_trials: int = 5
    warmup_steps: int = 0


def read_space(path: Path) -> Space:
    """Read the file of a sweep.

    Raises :class:`BrainbrrError`, naming the file and the key, for anything that it may not have.
    """
    content = read_mapping(path)
    for key in content:
        if key not in _KEYS:
            raise BrainbrrError(
                f"{path}: unknown key {key}: the nearest valid key is {nearest(key, _KEYS)}"
            )
    settings = content.get("settings")
    if not isinstance(settings, dict) or not settings:
        raise BrainbrrError(
            f"{path}: settings must say what is searched, such as "
            "`training.learning_rate: {log: [1e-4, 1e-2]}`"
        )
    return Space(
        path,
        {str(key): _dimension(value, f"{path}: settings.{key}") for key, value in settings.items()},
        objective=_one_of(content, "objective", OBJECTIVES, path),
        trials=_whole(content, "trials", 20, 1, path),
        seed=_whole(content, "seed", 0, 0, path),
        sampler=_one_of(content, "sampler", SAMPLERS, path),
        pruner=_one_of(content, "pruner", PRUNERS, path),
        startup_trials=_whole(content, "startup_trials", 5, 1, path),
        warmup_steps=_whole(content, "warmup_steps", 0, 0, path),
    )


def check_space(
    space: Space, shaping: Callable[[Mapping[str, Value]], dict[str, JsonValue]]
) -> None:
    """Check that each value of a space is one of its setting, and leads to a run of its own.

    ``shaping`` gives what shapes a run with some settings, and raises :class:`BrainbrrError` for a
    setting that does not exist or a value out of range. This raises the same, also for a setting
    that shapes no run or needs another cache.
    """
    for key, dimension in space.settings.items():
        section, *rest = key.split(".")
        # First, so that a wrong key is one.
        identities = [shaping({key: value}) for value in dimension.ends]
        if section not in SECTIONS or not rest:
            raise BrainbrrError(
                f"{space.path}: settings.{key} needs another cache or manifest for each value: "
                f"search settings of {', '.join(SECTIONS)}"
            )
        if all(identity == identities[0] for identity in identities[1:]):
            raise BrainbrrError(
                f"{space.path}: settings.{key} shapes no run: its values would all give the same "
                "one; leave it out"
            )


def _dimension(value: object, where: str) -> Dimension:
    """One setting of a space, from the mapping of its kind to its values."""
    if not isinstance(value, dict) or len(value) != 1:
        raise BrainbrrError(f"{where}: write one of {', '.join(KINDS)}, such as {{int: [1, 4]}}")
    [(kind, values)] = value.items()
    if kind not in KINDS:
        near = nearest(str(kind), KINDS)
        raise BrainbrrError(f"{where}: {kind} is none of {', '.join(KINDS)}: the nearest is {near}")
    if kind == "choice":
        return Dimension(kind, choices=_choices(values, where))
    if not isinstance(values, list) or len(values) != 2:
        raise BrainbrrError(f"{where}: {kind} takes the lowest and the highest value: [LOW, HIGH]")
    low, high = (_number(each, where) for each in values)
    if not low < high:
        raise BrainbrrError(f"{where}: {low:g} is not below {high:g}")
    if kind == "log" and low <= 0:
        raise BrainbrrError(f"{where}: log takes numbers above 0, not {low:g}")
    if kind == "int" and not (low.is_integer() and high.is_integer()):
        raise BrainbrrError(f"{where}: int takes whole numbers")
    return Dimension(kind, low, high)


def _choices(values: object, where: str) -> tuple[Value, ...]:
    if not isinstance(values, list) or len(values) < 2:
        raise BrainbrrError(f"{where}: choice takes at least two values: [A, B]")
    for each in values:
        if not (each is None or isinstance(each, bool | int | float | str)):
            raise BrainbrrError(f"{where}: {each} is no number, text, true, false or null")
    if len({(type(each), each) for each in values}) != len(values):
        raise BrainbrrError(f"{where}: a value is there twice: keep one of them")
    return tuple(values)


def _number(value: object, where: str) -> float:
    """A finite number. YAML takes one such as 1e-4, without a point, for text."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BrainbrrError(f"{where}: {value!r} is not a number")
    return number


def _one_of(content: Mapping[str, object], key: str, names: tuple[str, ...], path: Path) -> str:
    """One of some names, by default the first of them."""
    value = content.get(key, names[0])
    if not isinstance(value, str) or value not in names:
        raise BrainbrrError(f"{path}: {key} is {value!r}: it must be one of {', '.join(names)}")
    return value


def _whole(content: Mapping[str, object], key: str, default: int, least: int, path: Path) -> int:
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BrainbrrError(f"{path}: {key} is {value!r}: it must be a whole number from {least}")
    return value
