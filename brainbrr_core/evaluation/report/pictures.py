"""The pictures of a report, with their captions, and the segments of EEG that it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import CHANNELS, FRAME_HZ
from brainbrr_core.evaluation.report.highlights import Highlight


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG with its title and caption; ``name`` is unique within a report."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A highlight with the EEG to draw.

    Attributes
    ----------
    highlight : Highlight
        The event and the segment to draw.
    signal : array of float32, shape (channels, samples)
        The segment, z-scored.
    scores : array of float32, shape (frames,)
        Scores of the frames of the whole recording.
    rate_hz, frame_hz : float
        Samples and frames per second.
    channel_names : tuple of str
        Names of the channels, in the order of the signal.
    """

    highlight: Highlight
    signal: NDArray[np.float32]
    scores: NDArray[np.float32]
    rate_hz: float = 256.0
    channel_names: tuple[str, ...] = CHANNELS
    frame_hz: float = float(FRAME_HZ)
