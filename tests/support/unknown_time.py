"""Recordings with unknown time."""

from __future__ import annotations

from collections.abc import Sequence

from brainbrr_core.annotation import Event
from brainbrr_core.scoring import (
    RecordingEvents,
)


def events(
    reference: Sequence[tuple[float, float]],
    hypothesis: Sequence[tuple[float, float]],
    unknown: Sequence[tuple[float, float]],
    duration_s: float = 1000.0,
) -> RecordingEvents:
    return RecordingEvents(
        "p",
        duration_s,
        tuple(Event(start, stop) for start, stop in reference),
        tuple(Event(start, stop) for start, stop in hypothesis),
        "dev/p/t000",
        unknown=tuple(unknown),
    )
