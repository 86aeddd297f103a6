"""Where a model comes from, as its checkpoints and its run record it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from blake3 import blake3

import brainbrr_core
from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.configuration import Configuration

LIBRARIES = ("brainbrr", "torch", "numpy", "safetensors")


@cache
def code_version() -> str:
    """The release and the first 12 hex digits of a hash over the library's source files."""
    root = Path(brainbrr_core.__file__).parent
    hasher = blake3()
    for path in sorted(root.rglob("*.py")):
        hasher.update(f"{path.relative_to(root).as_posix()}\n".encode())
        hasher.update(path.read_bytes())
    return f"{library_version('brainbrr')}+{hasher.hexdigest()[:12]}"


def provenance_of(
    configuration: Configuration, manifest: Manifest, device: dict[str, str]
) -> dict[str, Any]:
    """Configuration, seed, versions, manifest, backend and hardware of a training."""
    return {
        "profile": configuration.profile,
        "preset": configuration.model.preset,
        "configuration": configuration.model_dump(mode="json"),
        "seed": configuration.training.seed,
        "preprocessing_version": manifest.version,
        "manifest": manifest.source,
        "code_version": code_version(),
        "ssm_backend": configuration.hardware.ssm_backend,
        "hardware": device,
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }
