"""SzCORE's event file: a TSV with one row per event.

Columns (Dan et al. 2024, the BIDS score extension they use): onset, duration, eventType,
confidence, channels, dateTime, recordingDuration. A recording without seizures has one
``bckg`` row that spans it, so that its duration is known.
"""

from __future__ import annotations

from brainbrr_core.annotation.events import Event

COLUMNS = (
    "onset",
    "duration",
    "eventType",
    "confidence",
    "channels",
    "dateTime",
    "recordingDuration",
)


def format_tsv(events: list[Event], duration_s: float, start: str = "n/a") -> str:
    """Text of the TSV of one recording.

    ``start`` is the recording's start as ``YYYY-MM-DD hh:mm:ss``, or ``n/a`` where the header
    gives none. Confidence is the event's, between 0 and 1.
    """
    rows = ["\t".join(COLUMNS)]
    for event in sorted(events) or [Event(0.0, duration_s, "bckg")]:
        kind = "bckg" if event.label == "bckg" else "sz"
        channels = ",".join(event.channels) or "n/a"
        rows.append(
            f"{event.start:.2f}\t{event.duration:.2f}\t{kind}\t{event.confidence:.4f}\t"
            f"{channels}\t{start}\t{duration_s:.2f}"
        )
    return "\n".join(rows) + "\n"
