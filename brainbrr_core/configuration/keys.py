"""The keys of all settings, and those that an unknown one stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from brainbrr_core.configuration.settings import Configuration
from brainbrr_core.nearest import nearest_names


def nearest_key(key: str) -> str:
    """The valid keys that an unknown one stands for, as the words of a message.

    They have the very same name in other sections, or are those of its own section that are most
    like it.
    """
    section, _, name = key.rpartition(".")
    if elsewhere := [valid for valid in _keys(Configuration) if _last(valid) == name]:
        return " or ".join(elsewhere)
    model: type[BaseModel] = Configuration
    for part in filter(None, section.split(".")):
        # An item of a list has the keys of its section.
        if not part.isdigit():
            model = section_of(model, part) or Configuration
    near = nearest_names(name, model.model_fields)
    return " or ".join(f"{section}.{valid}" if section else valid for valid in near)


def keys_named_like(name: str) -> list[str]:
    """The keys, of any section, whose last word may have been meant by a mistyped name."""
    keys = list(_keys(Configuration))
    near = nearest_names(name, dict.fromkeys(map(_last, keys)), only_alike=True)
    return [key for key in keys if _last(key) in near]


def section_of(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The section that a key names; None where it names a setting or does not exist."""
    if key not in model.model_fields:
        return None
    annotation = model.model_fields[key].annotation
    options = [annotation, *get_args(annotation)]
    return next(
        (kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)), None
    )


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """All keys of a section and of the sections in it."""
    for name in model.model_fields:
        yield above + name
        section = section_of(model, name)
        if section is not None:
            yield from _keys(section, f"{above}{name}.")


def _last(key: str) -> str:
    return key.rpartition(".")[2]
