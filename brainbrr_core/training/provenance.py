"""The provenance of a model, as its checkpoints and its run record it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version as library_version
from pathlib import Path

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, JsonValue

import brainbrr_core
from brainbrr_core.configuration import Model
from brainbrr_core.model.backend import Backend

LIBRARIES = ("brainbrr", "torch", "numpy", "safetensors")


@cache
def code_version() -> str:
    """The release, and the first 12 hex digits of a hash of the library's source files."""
    root = Path(brainbrr_core.__file__).parent
    hasher = blake3()
    for path in sorted(root.rglob("*.py")):
        hasher.update(f"{path.relative_to(root).as_posix()}\n".encode())
        hasher.update(path.read_bytes())
    return f"{library_version('brainbrr')}+{hasher.hexdigest()[:12]}"


def library_versions() -> dict[str, str]:
    """Versions of the libraries that determine a training, by name."""
    return {name: library_version(name) for name in LIBRARIES}


class Provenance(BaseModel):
    """Data, code, settings and hardware of a training."""

    model_config = ConfigDict(frozen=True)

    profile: str
    #: The network.
    model: Model
    #: The whole configuration, as JSON.
    configuration: dict[str, JsonValue]
    seed: int
    preprocessing_version: str
    #: Hash of the recordings, annotations and settings that the windows follow from.
    manifest: str
    ssm_backend: Backend
    #: The device, as :meth:`DeviceDescription.record` describes it.
    hardware: dict[str, str]
    code_version: str = Field(default_factory=code_version)
    libraries: dict[str, str] = Field(default_factory=library_versions)

    def record(self) -> dict[str, JsonValue]:
        """The values in the form that checkpoints and ``run.json`` store."""
        record: dict[str, JsonValue] = self.model_dump(mode="json", exclude={"model"})
        return {**record, **self.model.shaping()}
