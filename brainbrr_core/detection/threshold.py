"""A run's operating threshold on disk: tuned on dev, then frozen with the settings it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brainbrr_core.atomic import replacing
from brainbrr_core.configuration import Detection
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import Measure, SweepRow

THRESHOLD = "threshold.json"


class OperatingThreshold(BaseModel):
    """The on-threshold, its event F1 on dev, and the settings under which it was tuned.

    ``tuned_on`` is the hash of the recordings and references it was tuned on, ``at_limits`` are
    the thresholds that keep a limit of false alarms there, and ``rows`` the curve.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_threshold: Annotated[float, Field(gt=0, lt=1)]
    dev_f1: Annotated[float, Field(ge=0, le=1)]
    detection: Detection
    tuned_on: str
    at_limits: dict[str, Measure] = {}
    rows: tuple[SweepRow, ...] = ()


def read_threshold(directory: Path) -> OperatingThreshold | None:
    """The threshold kept in a run's folder, None where it was not tuned yet.

    Raises :class:`BrainbrrError` where the file is damaged.
    """
    path = directory / THRESHOLD
    try:
        return OperatingThreshold.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise BrainbrrError(
            f"{path} is damaged: remove it and run `brainbrr evaluate`, which tunes it on dev"
        ) from None


def write_threshold(directory: Path, threshold: OperatingThreshold) -> None:
    """Keep a threshold in a run's folder, whole or not at all."""
    with replacing(directory / THRESHOLD) as temporary:
        temporary.write_text(threshold.model_dump_json(indent=1) + "\n", encoding="utf-8")
