"""Events of a recording, and the files they are read from and written to.

Here belongs what an annotation *is*: events, labels, the TUSZ and SzCORE file formats.
What follows from annotations for a recording (is it usable?) belongs to ``corpus``;
how events are scored belongs to ``scoring``.
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
