"""What the header of a checkpoint says of its training, read without loading a tensor."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, JsonValue

#: More than the header of any checkpoint of this program has.
_HEADER_LIMIT = 64 << 20


class CheckpointProvenance(BaseModel):
    """Where a training comes from; what an earlier version of the program left out is empty."""

    preprocessing_version: str
    profile: str = ""
    configuration: dict[str, JsonValue] = {}


class CheckpointHeader(BaseModel):
    """The number of optimizer steps that are done, and where the training comes from."""

    step: int = 0
    provenance: CheckpointProvenance


class _Metadata(BaseModel):
    header: CheckpointHeader


def read_checkpoint_header(path: Path) -> CheckpointHeader:
    """The header of a safetensors file, which begins with the header's size.

    Raises :class:`ValueError`, :class:`KeyError` or :class:`TypeError` where the file is damaged.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _HEADER_LIMIT:
            raise ValueError("no header")
        metadata = json.loads(file.read(size))["__metadata__"]
    return _Metadata.model_validate_json(metadata["brainbrr"]).header
