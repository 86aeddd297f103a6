"""What follows from each finding about an annotation file.

Nothing odd about an annotation is passed over: it excludes the recording, or is corrected, or is
only counted. ``docs/findings.md`` shows this list.
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
    "no_known_row": (
        _EXCLUDES,
        "no row says that there is a seizure, or that there is none: nothing is known",
    ),
    "types_contradict": (
        _EXCLUDES,
        "`csv` and `csv_bi` contradict each other: one has a seizure where the other has "
        "background, or an event of one reaches more than 10 s further",
    ),
    "overlapping_events": (
        _CORRECTED,
        "two events of one label overlap: they become one (touching ones stay)",
    ),
    "unusable_types": (_CORRECTED, "the per-channel `csv` is malformed: events keep `seiz`"),
    "types_differ": (
        _COUNTED,
        "an event of the per-channel `csv` and that of the `csv_bi` differ by 1 to 10 s",
    ),
    "event_without_end": (
        _COUNTED,
        "a seizure without an end (no length, or an onset alone): unknown until the next row, or "
        "the end of the recording",
    ),
    "end_without_onset": (
        _COUNTED,
        "a seizure's end without its onset: unknown since the last event, or the start",
    ),
    "unclear_text": (
        _COUNTED,
        "a text speaks of a seizure in a way that is not understood: unknown until the next row",
    ),
    "overlapping_labels": (_COUNTED, "two events of different labels overlap: both stay"),
    "untyped_event": (_COUNTED, "no row of the per-channel `csv` overlaps the event: it is `seiz`"),
    "csv_without_csv_bi": (_COUNTED, "a `csv` alone gives no events; the recording has none"),
    "no_recording_duration": (_COUNTED, "an events.tsv does not say how long the recording is"),
    "duration_mismatch": (_COUNTED, "the stated duration and the signal's differ by 1 to 10 s"),
}


def excludes(code: str) -> bool:
    """Whether a finding with this code leaves a recording without usable annotation."""
    return ANNOTATION_FINDINGS[code][0] is Consequence.EXCLUDES
