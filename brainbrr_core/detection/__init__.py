"""From a network and a recording to events: windows, stitching, thresholds.

Here belongs what happens between a network's output and a list of events. The network belongs
to ``model``, the reading of signals to ``cache`` and ``signal``, event files to ``annotation``,
and the judgement of events to ``scoring``. Importing this package does not import torch.
"""

from brainbrr_core.detection.events import (
    Finder,
    confidences,
    configured_point,
    detect,
    finder,
    found_by,
    hysteresis,
    shaped,
    smooth,
    timed,
)
from brainbrr_core.detection.infer import (
    network_scores,
    padded_window,
    recording_scores,
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
    "Finder",
    "Stitcher",
    "confidences",
    "configured_point",
    "detect",
    "finder",
    "found_by",
    "frame_count",
    "hysteresis",
    "network_scores",
    "padded_window",
    "recording_scores",
    "shaped",
    "smooth",
    "stitch",
    "timed",
    "window_starts",
]
