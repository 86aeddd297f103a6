"""SzCORE's event file: a TSV with one row per event.

Columns (Dan et al. 2024, the BIDS score extension they use): onset, duration, eventType,
confidence, channels, dateTime, recordingDuration. A recording without seizures has one
``bckg`` row that spans it, so that its duration is known.
"""

from __future__ import annotations

import datetime

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
#: What the start of a recording without a date is written as.
UNKNOWN_START = datetime.datetime(1985, 1, 1)


def format_tsv(
    events: list[Event], duration_s: float, start: datetime.datetime | None = None
) -> str:
    """Text of the TSV of one recording, times to a tenth of a millisecond.

    ``start`` is the recording's. Where it is not known, the column says what EDF's own header says
    then, 1985-01-01: readers of the SzCORE benchmark stop at ``n/a``. Confidence is the event's,
    between 0 and 1.
    """
    begins = f"{start or UNKNOWN_START:%Y-%m-%d %H:%M:%S}"
    rows = ["\t".join(COLUMNS)]
    for event in sorted(events) or [Event(0.0, duration_s, "bckg")]:
        kind = "bckg" if event.label == "bckg" else "sz"
        channels = ",".join(event.channels) or "n/a"
        rows.append(
            f"{event.start:.4f}\t{event.duration:.4f}\t{kind}\t{event.confidence:.4f}\t"
            f"{channels}\t{begins}\t{duration_s:.4f}"
        )
    return "\n".join(rows) + "\n"
