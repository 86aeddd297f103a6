"""A model as a folder that has left its run: its weights, ``config.json``, a card for people.

``config.json`` has what a run's ``run.json``, ``threshold.json`` and ``corpus.parquet`` have, as
far as predicting needs it, and no path and no name of a patient. ``export`` writes such folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import digest
from brainbrr_core.files.state import content_hash
from brainbrr_core.runs.record import CONFIG, MODEL, RunRecord
from brainbrr_core.runs.threshold import OperatingThreshold
from brainbrr_core.runs.used_versions import RUN

#: Version of what ``config.json`` has.
FORMAT = 1
#: The entry of ``config.json`` with the SHA-256 of the canonical JSON of all others.
CHECKSUM = "checksum"


class StoredFile(BaseModel):
    """Size and BLAKE3 of a file of the folder."""

    model_config = ConfigDict(frozen=True)

    bytes: Annotated[int, Field(ge=0)]
    blake3: str

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        """Those of the file at ``path``. Raises as :func:`content_hash`."""
        return cls(bytes=path.stat().st_size, blake3=content_hash(path))


#: A file of the folder itself: it cannot lead out of it.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ModelConfig(BaseModel):
    """The content of ``config.json``; what a later version of the program adds is ignored.

    ``run`` is the record of the training without names and paths, ``corpus`` what the model was
    trained on in words, ``threshold`` the one that was tuned on dev, and ``files`` the folder's
    other files but its card, which people may edit.
    """

    model_config = ConfigDict(frozen=True)

    library: Literal["brainbrr"]
    format: Literal[1]
    run: RunRecord
    corpus: str | None = None
    threshold: OperatingThreshold | None = None
    files: dict[FileName, StoredFile]


def with_checksum(values: Mapping[str, JsonValue]) -> bytes:
    """The bytes of a ``config.json`` with these values."""
    content = {**values, CHECKSUM: digest(values)}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def read_exported(directory: Path) -> ModelConfig | None:
    """The ``config.json`` of a model folder; None where there is none, or a run beside it.

    Raises as :func:`read_model_config`.
    """
    if (directory / RUN).is_file() or not (directory / CONFIG).is_file():
        return None
    return read_model_config(directory)


def read_model_config(directory: Path) -> ModelConfig:
    """The ``config.json`` of a model folder.

    Raises :class:`BrainbrrError` where it is missing, damaged, or not of this program.
    """
    path = directory / CONFIG
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BrainbrrError(
            f"no model in {directory}: give a folder that `brainbrr model export` wrote"
        ) from None
    except NotADirectoryError:
        raise BrainbrrError(
            f"{directory} is a file: name the model's folder, which contains {CONFIG} and {MODEL}"
        ) from None
    return parse_model_config(content, str(path))


def parse_model_config(content: bytes, where: str) -> ModelConfig:
    """The content of a ``config.json``; ``where`` it is, for the message.

    Raises :class:`BrainbrrError` where it is damaged or not of this program.
    """
    try:
        values = json.loads(content)
    except ValueError:
        raise BrainbrrError(f"{where} is damaged (no JSON): copy the model again") from None
    if not isinstance(values, dict) or values.get("library") != "brainbrr":
        raise BrainbrrError(
            f"{where} is of a model that another program wrote: give a folder that `brainbrr "
            "model export` wrote"
        )
    if values.get("format") != FORMAT:
        raise BrainbrrError(
            f"{where} is of another version of the program (format {values.get('format')}, not "
            f"{FORMAT}): use the version that wrote it"
        )
    checksum = values.pop(CHECKSUM, None)
    try:
        whole = digest(values) == checksum
        if whole:
            return ModelConfig.model_validate(values)
    except (ValidationError, ValueError):
        pass
    raise BrainbrrError(
        f"{where} is not as it was written (its checksum is another): copy the model again"
    )
