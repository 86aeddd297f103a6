"""Settings by their keys: how two sets of settings differ, such as those of two runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue

from brainbrr_core.configuration.settings import Configuration


@dataclass(frozen=True, slots=True)
class SettingDifference:
    """A setting that has two values.

    Attributes
    ----------
    key : str
        Section and name, such as ``preprocessing.notch_hz``.
    a, b : JSON value
        The two values.
    """

    key: str
    a: JsonValue
    b: JsonValue

    def __str__(self) -> str:
        """Key and values, such as ``preprocessing.notch_hz: 50 against 60``."""
        return f"{self.key}: {value_text(self.a)} against {value_text(self.b)}"


def value_text(value: JsonValue) -> str:
    """The value of a setting as a configuration file has it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def by_key(values: Mapping[str, JsonValue], above: str = "") -> dict[str, JsonValue]:
    """Nested settings by their full keys, such as ``training.steps``."""
    flat: dict[str, JsonValue] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= by_key(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def default_settings() -> dict[str, JsonValue]:
    """The default of every setting that has one, by its key."""
    return dict(_defaults(Configuration, ""))


def _defaults(model: type[BaseModel], above: str) -> Iterator[tuple[str, JsonValue]]:
    for name, field in model.model_fields.items():
        if field.is_required():
            continue
        default = field.get_default()
        if isinstance(default, BaseModel):
            yield from by_key(default.model_dump(mode="json"), f"{above}{name}.").items()
        else:
            # As JSON has it.
            yield f"{above}{name}", list(default) if isinstance(default, tuple) else default


def setting_differences(
    a: Mapping[str, JsonValue], b: Mapping[str, JsonValue], sections: Iterable[str] | None = None
) -> list[SettingDifference]:
    """The settings that differ between two configurations, in the order of the first one's keys.

    Parameters
    ----------
    a, b : mapping of str to JSON value
        Nested settings, as ``Configuration.model_dump(mode="json")`` gives them. A setting that one
        of them lacks, since an earlier version of the program wrote it, counts as the default.
    sections : iterable of str, optional
        Compare only these sections and top-level settings; by default all.

    Returns
    -------
    list of SettingDifference
        Each key with both values; empty where all are the same.
    """
    only = None if sections is None else set(sections)
    flat_a, flat_b, defaults = by_key(a), by_key(b), default_settings()
    differences = []
    for key in dict.fromkeys([*flat_a, *flat_b]):
        if only is not None and key.partition(".")[0] not in only:
            continue
        value_a = flat_a.get(key, defaults.get(key))
        value_b = flat_b.get(key, defaults.get(key))
        if value_a != value_b:
            differences.append(SettingDifference(key, value_a, value_b))
    return differences
