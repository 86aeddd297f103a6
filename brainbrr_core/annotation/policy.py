"""The consequence of each finding about an annotation file.

Every irregularity excludes the recording, is corrected, or is counted. ``docs/findings.md`` shows
this list.
"""

from __future__ import annotations

from enum import StrEnum


class Consequence(StrEnum):
    """What a finding means for its recording."""

    EXCLUDES = "excludes"
    CORRECTED = "corrected"
    COUNTED = "counted"


#: Seconds, one block, by which an event may end after the signal, or the stated duration may differ
#: from that of the signal. An annotation with a larger difference is not one of this signal.
CONTRADICTION_S = 10.0
#: Seconds by which the registration times of a list may differ from those of the EDF: a longer
#: difference is no inaccuracy of a clock, but another time.
CLOCK_MISMATCH_S = 60.0
#: Seconds by which the stated duration may differ without a finding: files give whole seconds.
ROUNDING_S = 1.0
#: Seconds by which an event may end after the signal without a finding: files give hundredths.
EVENT_ROUNDING_S = 0.05

_EXCLUDES, _CORRECTED, _COUNTED = Consequence
#: Consequence and meaning of each code that a finding about an annotation can have. Closed.
ANNOTATION_FINDINGS: dict[str, tuple[Consequence, str]] = {
    "unreadable_annotation": (_EXCLUDES, "the file cannot be opened"),
    "missing_header": (_EXCLUDES, "the row with the column names is missing or different"),
    "no_rows": (
        _EXCLUDES,
        "the file has no rows: it is cut short, or lacks the row of background that a recording "
        "without seizures needs",
    ),
    "no_duration": (
        _EXCLUDES,
        "no usable `# duration` line: the start of the file is missing (of a `tse`: its rows leave "
        "out a part of the recording, without background or seizure)",
    ),
    "malformed_row": (_EXCLUDES, "a row has too few cells, or a time that is not a number"),
    "unknown_label": (_EXCLUDES, "a label that is not in the list of labels"),
    "stop_before_start": (_EXCLUDES, "an event stops before it starts"),
    "channel_rows": (_EXCLUDES, "a `csv_bi` has rows of single channels"),
    "event_outside": (
        _EXCLUDES,
        "an event starts past the end of the signal, or stops more than 10 s past it",
    ),
    "duration_contradicts": (
        _EXCLUDES,
        "the stated duration differs from that of the signal, or from that of another row, by more "
        "than 10 s",
    ),
    "not_listed": (
        _EXCLUDES,
        "the list of the patient's recordings does not name this one",
    ),
    "second_annotator_only": (
        _EXCLUDES,
        "there is the annotation of the second annotator of SeizeIT1 and not that of the first "
        "(`_a1.tsv`), which is read",
    ),
    "names_another_recording": (
        _EXCLUDES,
        "the patient or the recording that the annotation names is not that of its file name",
    ),
    "count_contradicts": (
        _EXCLUDES,
        "the stated number of seizures is not that of the seizures with times",
    ),
    "seizure_without_file": (
        _EXCLUDES,
        "the list has a seizure without the name of a recording: it may be in any of the patient's",
    ),
    "clock_contradicts": (
        _EXCLUDES,
        "the list and the EDF contradict each other about when the recording starts, or neither "
        "says it: clock times cannot be converted to seconds",
    ),
    "clock_corrected": (
        _CORRECTED,
        "the recording starts more than 60 s earlier or later than the list says, and ends when "
        "the list says: clock times count from the start in the EDF",
    ),
    "other_file_name": (
        _CORRECTED,
        "the list names the EDF in another spelling",
    ),
    "event_past_end": (
        _CORRECTED,
        "an event stops at most 10 s past the end of the signal: it is cut there",
    ),
    "no_known_row": (
        _EXCLUDES,
        "no row says whether there is a seizure or not: nothing is known",
    ),
    "types_contradict": (
        _EXCLUDES,
        "`csv` and `csv_bi` contradict each other: one has a seizure where the other has "
        "background, or an event of one reaches more than 10 s further",
    ),
    "overlapping_events": (
        _CORRECTED,
        "two events of one label overlap: they are merged (touching events are not)",
    ),
    "unusable_types": (
        _CORRECTED,
        "the per-channel `csv` is malformed: events keep the label `seiz`",
    ),
    "clock_mismatch": (
        _COUNTED,
        "clock times in the list do not fit the start (by 1 to 60 s) or the length of the EDF: "
        "those of the EDF count",
    ),
    "clock_unchecked": (
        _COUNTED,
        "only the list or only the EDF says when the recording starts: nothing confirms it",
    ),
    "only_in_inventory": (
        _COUNTED,
        "the summary of the case leaves this recording out, and the corpus's list of recordings "
        "with seizures has only others of the case: no seizure",
    ),
    "inventory_contradicts": (
        _COUNTED,
        "the summary of the case and the corpus's list of recordings with seizures contradict each "
        "other about this recording: the summary counts",
    ),
    "alternative_times": (
        _COUNTED,
        "a seizure starts or ends at one of two times: unknown between them",
    ),
    "types_differ": (
        _COUNTED,
        "an event of the per-channel `csv` differs from that of the `csv_bi` by 1 to 10 s",
    ),
    "event_without_end": (
        _COUNTED,
        "a seizure without an end (zero length, or only an onset): unknown until the next row, or "
        "the end of the recording",
    ),
    "end_without_onset": (
        _COUNTED,
        "the end of a seizure without its onset: unknown since the last event, or the start of "
        "the recording",
    ),
    "unclear_text": (
        _COUNTED,
        "a text mentions a seizure in a way that is not understood: unknown until the next row",
    ),
    "overlapping_labels": (_COUNTED, "two events of different labels overlap: both are kept"),
    "untyped_event": (
        _COUNTED,
        "no row of the per-channel `csv` overlaps the event: its label is `seiz`",
    ),
    "csv_without_csv_bi": (
        _COUNTED,
        "a `csv` without a `csv_bi` is not used",
    ),
    "unusable_number": (
        _COUNTED,
        "a recordingDuration or confidence of an events.tsv is negative or not a finite number: it "
        "counts as not stated",
    ),
    "no_recording_duration": (
        _COUNTED,
        "an events.tsv does not give the duration of the recording",
    ),
    "duration_mismatch": (
        _COUNTED,
        "the stated duration differs from that of the signal, or from that of another row, by 1 to "
        "10 s",
    ),
}


def excludes(code: str) -> bool:
    """Whether a finding with this code leaves a recording without usable annotation."""
    return ANNOTATION_FINDINGS[code][0] is Consequence.EXCLUDES
