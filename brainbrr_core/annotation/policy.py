"""What follows from each finding about an annotation file.

Nothing odd about an annotation is passed over: it excludes the recording, or is corrected, or is
only counted. ``README.md`` shows this list.
"""

from __future__ import annotations

from enum import StrEnum


class Consequence(StrEnum):
    """What a finding leads to."""

    EXCLUDES = "excludes"
    CORRECTED = "corrected"
    COUNTED = "counted"


#: Seconds by which an annotation may reach past the signal, or its stated duration may differ
#: from the signal's, before it is taken for the annotation of something else. One block.
CONTRADICTION_S = 10.0
#: Seconds by which the stated duration may differ without a finding: files give whole seconds.
ROUNDING_S = 1.0
#: Seconds by which an event may end late without a finding: files give hundredths.
EVENT_ROUNDING_S = 0.05

_EXCLUDES, _CORRECTED, _COUNTED = Consequence
#: Every code a finding about an annotation can have. Closed.
ANNOTATION_FINDINGS: dict[str, tuple[Consequence, str]] = {
    "unreadable_annotation": (_EXCLUDES, "the file cannot be opened"),
    "missing_header": (_EXCLUDES, "the row that names the columns is missing or another one"),
    "no_rows": (_EXCLUDES, "the file has no row: it is cut short"),
    "no_duration": (_EXCLUDES, "no usable `# duration` line: the head of the file is missing"),
    "malformed_row": (_EXCLUDES, "a row has too few cells, or a time that is no number"),
    "unknown_label": (_EXCLUDES, "a label that is not in the list of labels"),
    "stop_before_start": (_EXCLUDES, "an event stops before it starts"),
    "channel_rows": (_EXCLUDES, "a `csv_bi` with rows of single channels is no `csv_bi`"),
    "event_outside": (
        _EXCLUDES,
        "an event starts past the end of the signal, or stops more than 10 s past it",
    ),
    "duration_contradicts": (
        _EXCLUDES,
        "the stated duration and the signal's differ by more than 10 s",
    ),
    "event_past_end": (_CORRECTED, "an event stops at most 10 s past the end: it is cut there"),
    "overlapping_events": (_CORRECTED, "two events overlap: they become one (touching ones stay)"),
    "empty_event": (_CORRECTED, "an event of no length is left out"),
    "unusable_types": (_CORRECTED, "the per-channel `csv` is malformed: events keep `seiz`"),
    "untyped_event": (_COUNTED, "no row of the per-channel `csv` overlaps the event: it is `seiz`"),
    "csv_without_csv_bi": (_COUNTED, "a `csv` alone gives no events; the recording has none"),
    "no_recording_duration": (_COUNTED, "an events.tsv does not say how long the recording is"),
    "duration_mismatch": (_COUNTED, "the stated duration and the signal's differ by 1 to 10 s"),
}


def excludes(code: str) -> bool:
    """Whether a finding with this code leaves a recording without usable annotation."""
    return ANNOTATION_FINDINGS[code][0] is Consequence.EXCLUDES
