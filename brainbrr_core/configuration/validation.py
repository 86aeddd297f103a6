"""What is wrong with the content of configuration files, as one line that names file and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError

from brainbrr_core.configuration.keys import nearest_key, section_of
from brainbrr_core.configuration.layers import Layer
from brainbrr_core.configuration.settings import Configuration
from brainbrr_core.errors import BrainbrrError

#: Keys of brain-go-brr v2, and what replaces them.
REPLACED_KEYS = {
    "experiment.cache_dir": "cache_root (one root for every profile)",
    "data.cache_dir": "cache_root (one root for every profile)",
    "cache_dir": "cache_root (one root for every profile)",
    "data.data_dir": "data_dir",
    "data.window_size": "windows.length_s",
    "data.stride": "windows.stride_s",
    "data.max_samples": "selection.recordings",
    "experiment.seed": "training.seed",
    "experiment.output_dir": "runs_dir",
    "training.batch_size": "hardware.batch_size",
    "training.mixed_precision": "hardware.precision",
}


def refuse_replaced_keys(layer: Layer) -> None:
    """Raise :class:`BrainbrrError` for a key of brain-go-brr v2, with what replaces it."""
    for key, replacement in REPLACED_KEYS.items():
        section, _, name = key.rpartition(".")
        mapping = layer.content.get(section) if section else layer.content
        if isinstance(mapping, dict) and name in mapping:
            raise BrainbrrError(f"{layer.path}: the key {key} is replaced by {replacement}")


def refuse_empty_sections(layer: Layer) -> None:
    """Raise :class:`BrainbrrError` for a section without settings.

    Its settings may follow it with the wrong indentation.
    """
    _refuse_empty_sections(layer.content, Configuration, layer, "")


def _refuse_empty_sections(
    content: Mapping[str, object], model: type[BaseModel], layer: Layer, above: str
) -> None:
    for key, value in content.items():
        section = section_of(model, key)
        if section is None:
            continue
        if value is None:
            raise BrainbrrError(
                f"{layer.path}: the section {above}{key} is empty: indent its settings below it, "
                "or remove it"
            )
        if isinstance(value, dict):
            _refuse_empty_sections(value, section, layer, f"{above}{key}.")


def validate(values: Mapping[str, object], layers: Sequence[Layer]) -> Configuration:
    """The configuration of these values, which the layers set.

    Raises :class:`BrainbrrError` with the first error: its file, the key, and the nearest valid key
    or what is wrong with the value.
    """
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise BrainbrrError(_explain(error, layers)) from None


def _explain(error: ValidationError, layers: Sequence[Layer]) -> str:
    """The first error as one line: the file, the key, its value and what is wrong with it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = source_of(first["loc"], layers)
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}: the nearest valid key is {nearest_key(key)}"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        # About settings of several sections, which the message names.
        return f"{where}: {message}"
    value = first["input"]
    shown = "" if isinstance(value, dict | list) else f" is {value!r}"
    return f"{where}: {key}{shown}: {message}"


def source_of(location: tuple[int | str, ...], layers: Sequence[Layer]) -> str:
    """The last file that sets the key at a location; the names of all files where none does."""
    for layer in reversed(layers):
        if location and _sets(layer.content, location):
            return str(layer.path)
    return f"configuration ({', '.join(layer.name for layer in layers)})"


def _sets(content: object, location: tuple[int | str, ...]) -> bool:
    """Whether content has the key at a location; an item of a list counts as the list."""
    if not location or not isinstance(content, dict):
        return True
    return location[0] in content and _sets(content[location[0]], location[1:])
