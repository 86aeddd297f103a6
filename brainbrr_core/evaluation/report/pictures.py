"""What the report draws: pictures with their captions, and segments of EEG with their events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import CHANNELS, FRAME_HZ
from brainbrr_core.evaluation.report.highlights import Highlight


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG with its title and caption; ``name`` is its own within a report."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A highlight with the EEG to draw it.

    ``signal`` is float32 ``(channels, samples)``, z-scored, from the highlight's start to its
    stop. ``scores`` are the frames of the whole recording.
    """

    highlight: Highlight
    signal: NDArray[np.float32]
    scores: NDArray[np.float32]
    rate_hz: float = 256.0
    channel_names: tuple[str, ...] = CHANNELS
    frame_hz: float = float(FRAME_HZ)
