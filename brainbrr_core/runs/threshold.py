"""A run's operating threshold on disk: tuned on dev, then frozen with the settings it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from brainbrr_core.configuration import Detection
from brainbrr_core.configuration.settings import Precision
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import replacing
from brainbrr_core.scoring import OperatingPoint, SweepRow

THRESHOLD = "threshold.json"


class OperatingThreshold(BaseModel):
    """The operating point, its event F1 on dev, and the settings under which it was tuned.

    ``tuned_on`` is the hash of the recordings and references it was tuned on, ``at_limits`` are
    the points that keep a limit of false alarms there (None where none does), and ``rows`` the
    curve.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Thresholds of this file are logits; before format 2 they were probabilities.
    format: Literal[2]
    point: OperatingPoint
    dev_f1: Annotated[float, Field(ge=0, le=1)]
    detection: Detection
    tuned_on: str
    at_limits: dict[str, OperatingPoint | None] = {}
    rows: tuple[SweepRow, ...] = ()
    #: Of the scores it was tuned on.
    precision: Precision = "float32"

    @model_serializer(mode="wrap")
    def _without_float32(self, values_of: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        # Younger than the format, and float32 is what every threshold without it was tuned in.
        values: dict[str, JsonValue] = values_of(self)
        if self.precision == "float32":
            del values["precision"]
        return values


class _EarlierThreshold(BaseModel):
    """What a file of before format 2 has."""

    on_threshold: float


def read_threshold(directory: Path) -> OperatingThreshold | None:
    """The threshold stored in a run's folder, None where it was not tuned yet.

    One of before format 2 counts as not tuned: it is a probability for scores that were averaged
    as probabilities, which are no longer formed. Raises :class:`BrainbrrError` where the file is
    damaged.
    """
    path = directory / THRESHOLD
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    try:
        _EarlierThreshold.model_validate_json(text)
    except ValidationError:
        pass
    else:
        return None
    try:
        return OperatingThreshold.model_validate_json(text)
    except ValidationError:
        raise BrainbrrError(
            f"{path} is damaged: remove it and run `brainbrr evaluate`, which tunes it on dev"
        ) from None


def write_threshold(directory: Path, threshold: OperatingThreshold) -> None:
    """Write a threshold to a run's folder, whole or not at all."""
    with replacing(directory / THRESHOLD) as temporary:
        temporary.write_text(threshold.model_dump_json(indent=1) + "\n", encoding="utf-8")
