"""Every setting of a configuration with its value and what set it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.configuration.differences import by_key, default_settings
from brainbrr_core.configuration.layers import Layer, read_layer
from brainbrr_core.configuration.settings import Configuration
from brainbrr_core.configuration.yaml_file import key_lines
from brainbrr_core.remote.address import redact


class SourceKind(StrEnum):
    """What sets a setting."""

    DEFAULT = "default"
    PROFILE = "profile"
    #: A bundled device, such as ``cpu`` or ``a100``.
    DEVICE = "hardware preset"
    FILE = "file"
    VARIABLE = "environment variable"
    OPTION = "command-line option"


@dataclass(frozen=True, slots=True)
class ResolvedSetting:
    """A setting of a configuration, and where its value comes from.

    Attributes
    ----------
    key : str
        Section and name, such as ``preprocessing.notch_hz``.
    value : JSON value
        The value that holds; names, passwords and signatures in addresses are replaced by ``***``.
    default : JSON value
        What it is where nothing sets it; None where that depends on the machine.
    kind : SourceKind
        What set it.
    source : str
        The option, the variable, or the file's path; empty for a default.
    line : int or None
        Line of the file that sets it.
    """

    key: str
    value: JsonValue
    default: JsonValue
    kind: SourceKind
    source: str = ""
    line: int | None = None

    @property
    def changed(self) -> bool:
        """Whether the value is not the default."""
        return self.kind is not SourceKind.DEFAULT and self.value != self.default

    @property
    def where(self) -> str:
        """Kind and source as text, such as ``profile: /x/full.yaml, line 4``."""
        line = "" if self.line is None else f", line {self.line}"
        return f"{self.kind}: {self.source}{line}" if self.source else str(self.kind)


def resolved_settings(configuration: Configuration) -> list[ResolvedSetting]:
    """All settings of a loaded configuration in the order of their declaration.

    Parameters
    ----------
    configuration : Configuration
        A configuration that :func:`~brainbrr_core.configuration.load` returned.

    Returns
    -------
    list of ResolvedSetting
        Each setting with its value, its default and what set it.

    Raises
    ------
    BrainbrrError
        Where a configuration file can no longer be read.
    """
    sources, defaults = configuration.origin.sources, default_settings()
    layers = {str(layer.path): layer for layer in map(read_layer, configuration.origin.layers)}
    lines: dict[str, dict[str, int]] = {path: key_lines(Path(path)) for path in layers}
    settings = []
    for key, value in by_key(configuration.model_dump(mode="json")).items():
        source = sources.get(key, "")
        settings.append(
            ResolvedSetting(
                key,
                _redacted(value),
                defaults.get(key),
                _kind(source, layers),
                source,
                lines.get(source, {}).get(key),
            )
        )
    return settings


def _kind(source: str, layers: dict[str, Layer]) -> SourceKind:
    layer = layers.get(source)
    if not source:
        return SourceKind.DEFAULT
    if source.startswith("--"):
        return SourceKind.OPTION
    if layer is None:
        return SourceKind.VARIABLE
    if not layer.bundled:
        return SourceKind.FILE
    return SourceKind.PROFILE if layer.sets_profile else SourceKind.DEVICE


def _redacted(value: JsonValue) -> JsonValue:
    """A value without the secrets of addresses in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(one) for one in value]
    if isinstance(value, dict):
        return {key: _redacted(one) for key, one in value.items()}
    return value
