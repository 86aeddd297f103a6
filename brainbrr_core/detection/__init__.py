"""From a network and a recording to events: windows, stitching, thresholds.

Here belongs what happens between a network's output and a list of events. The network belongs
to ``model``, the reading of signals to ``cache`` and ``signal``, event files to ``annotation``,
and the judgement of events to ``scoring``. Importing this package does not import torch.
"""

from brainbrr_core.detection.events import (
    closing,
    confidences,
    cut,
    detect,
    finder,
    hysteresis,
    merge,
    opening,
    shaped,
    smooth,
    timed,
)
from brainbrr_core.detection.infer import (
    network_probabilities,
    padded_window,
    recording_probabilities,
)
from brainbrr_core.detection.stitching import (
    FRAME_HZ,
    FRAME_SAMPLES,
    Stitcher,
    frame_count,
    stitch,
    window_starts,
)

__all__ = [
    "FRAME_HZ",
    "FRAME_SAMPLES",
    "Stitcher",
    "closing",
    "confidences",
    "cut",
    "detect",
    "finder",
    "frame_count",
    "hysteresis",
    "merge",
    "network_probabilities",
    "opening",
    "padded_window",
    "recording_probabilities",
    "shaped",
    "smooth",
    "stitch",
    "timed",
    "window_starts",
]
