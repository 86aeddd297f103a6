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
    finder_for,
    hysteresis,
    shape_intervals,
    smooth,
    to_spans,
)
from brainbrr_core.detection.infer import padded_window
from brainbrr_core.detection.stitching import (
    RecordingStitcher,
    Stitcher,
    check_finite,
    frame_count,
    stitch,
    window_starts,
)

__all__ = [
    "Finder",
    "RecordingStitcher",
    "Stitcher",
    "check_finite",
    "confidences",
    "configured_point",
    "detect",
    "finder",
    "finder_for",
    "frame_count",
    "hysteresis",
    "padded_window",
    "shape_intervals",
    "smooth",
    "stitch",
    "to_spans",
    "window_starts",
]
