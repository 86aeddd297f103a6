"""Events of a recording, and the file formats that they are read from and written to.

Events, labels and the formats of TUSZ, SzCORE and EDF+ belong here. Whether annotations make a
recording usable belongs to ``corpus``; scoring events belongs to ``scoring``.
"""

from brainbrr_core.annotation.events import (
    UNKNOWN,
    Event,
    merge_overlapping,
    seizure_seconds,
    uncovered,
)
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import ParsedAnnotation, on_signal

__all__ = [
    "UNKNOWN",
    "Event",
    "Finding",
    "ParsedAnnotation",
    "merge_overlapping",
    "on_signal",
    "seizure_seconds",
    "uncovered",
]
