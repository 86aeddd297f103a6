"""The settings that a network is used with."""

from __future__ import annotations

from dataclasses import dataclass

from brainbrr_core.configuration import Detection, Preprocessing
from brainbrr_core.configuration.settings import Precision


@dataclass(frozen=True)
class Use:
    """How a run's network is used: its signal chain, its detection, and its precision."""

    preprocessing: Preprocessing
    detection: Detection
    precision: Precision
