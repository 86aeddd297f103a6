"""``events.tsv``: a table with one row per event, as SzCORE or BIDS has it.

SzCORE's columns (Dan et al. 2024, the BIDS score extension they use): onset, duration, eventType,
confidence, channels, dateTime, recordingDuration. A recording without seizures has one
``bckg`` row that spans it, so that its duration is known. Seizure types are those of HED-SCORE:
``sz``, ``sz_foc_ia``, ``sz_gen_m_tonicClonic``, ... Other tables name what happened in BIDS's
columns of free text, ``trial_type`` or ``value``, often as points in time.
"""

from __future__ import annotations

import datetime
import math
from pathlib import Path

from brainbrr_core.annotation.events import Event
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Meaning, Texts
from brainbrr_core.annotation.times import duration_to, seconds_text
from brainbrr_core.constants import BACKGROUND

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
#: Columns that every events.tsv must have, beside one of ``KINDS``.
REQUIRED = COLUMNS[:2]
#: Columns that say what a row is: SzCORE's, whose words are fixed and which goes first, and those
#: of BIDS with free text, of which the first holds that speaks of seizures.
KINDS = ("eventType", "trial_type", "value")
#: How BIDS writes that a cell has nothing to say.
_NOTHING = ("", "n/a")
#: What a row means of which no column speaks of seizures.
_SILENT = (Meaning.NOTHING, "")


def read(path: Path, texts: Texts = DEFAULT_TEXTS) -> ParsedAnnotation:
    """Read an ``events.tsv``. Raises ``OSError`` when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name, texts)


def parse(text: str, where: str, texts: Texts = DEFAULT_TEXTS) -> ParsedAnnotation:
    """Parse the text of an ``events.tsv``; ``where`` names it in findings.

    Columns are found by their names; further ones are allowed. What ``texts`` finds of no concern
    to seizures is passed over in a column of free text, and a finding in ``eventType``.
    """
    duration: tuple[float, int] | None = None
    rows = 0
    marks: list[Mark] = []
    findings: list[Finding] = []
    lines = text.removeprefix("\ufeff").splitlines()
    names = [name.strip() for name in lines[0].split("\t")] if lines else []
    if not set(REQUIRED) <= set(names) or not set(KINDS) & set(names):
        return ParsedAnnotation(where, findings=(Finding("missing_header", f"{where}:1"),))
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        rows += 1
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(names):
            detail = f"{len(cells)} of {len(names)} cells"
            findings.append(Finding("malformed_row", f"{where}:{number}", detail))
            continue
        row = dict(zip(names, cells, strict=True))
        mark = _mark(row, number, f"{where}:{number}", findings, texts)
        if mark is not None:
            marks.append(mark)
        stated = _number(row.get("recordingDuration", ""))
        if duration is None and stated is not None and stated >= 0:
            duration = stated, number
    if not rows:
        findings.append(Finding("no_rows", where))
    if duration is None:
        findings.append(Finding("no_recording_duration", where))
    return in_order(where, marks, rows, duration, findings)


def _mark(
    row: dict[str, str], line: int, place: str, findings: list[Finding], texts: Texts
) -> Mark | None:
    filled = [name for name in KINDS if row.get(name, "") not in _NOTHING]
    columns = filled or [name for name in KINDS if name in row]
    if columns[0] == KINDS[0]:
        meaning, label = texts.meaning(row[columns[0]])
        if meaning in (Meaning.UNCLEAR, Meaning.NOTHING):
            findings.append(Finding("unknown_label", place))
            return None
    else:
        said = (texts.meaning(row[name]) for name in columns)
        meaning, label = next((m for m in said if m[0] is not Meaning.NOTHING), _SILENT)
        if meaning is Meaning.NOTHING:
            return None
    start = _number(row["onset"])
    length = 0.0 if row["duration"] in _NOTHING else _number(row["duration"])
    if start is None or length is None or start < 0:
        findings.append(Finding("malformed_row", place, "a time is no number or negative"))
        return None
    if length < 0:
        findings.append(Finding("stop_before_start", place, f"duration {length:.4f} s"))
        return None
    confidence = _number(row.get("confidence", ""))
    channels = row.get("channels", "n/a")
    return Mark(
        start,
        start + length,
        meaning,
        label,
        line,
        1.0 if confidence is None else confidence,
        () if channels in _NOTHING else tuple(name.strip() for name in channels.split(",")),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def clock_time(start: datetime.datetime) -> str:
    """``2012-01-01 10:00:00.753``; whole seconds without a point, as the format has them."""
    digits = "milliseconds" if start.microsecond % 1000 == 0 else "microseconds"
    return start.isoformat(" ", digits if start.microsecond else "seconds")


def format_tsv(
    events: list[Event], duration_s: float, start: datetime.datetime | None = None
) -> str:
    """Text of the TSV of one recording; onset and duration add up to the very end of the event.

    ``start`` is that of the recording's first sample, with a part of a second where it has one.
    Where it is not known, the column says what EDF's own header says
    then, 1985-01-01: readers of the SzCORE benchmark stop at ``n/a``. Confidence is the event's,
    between 0 and 1.
    """
    begins = clock_time(start or UNKNOWN_START)
    rows = ["\t".join(COLUMNS)]
    for event in sorted(events) or [Event(0.0, duration_s, BACKGROUND)]:
        kind = BACKGROUND if event.label == BACKGROUND else "sz"
        channels = ",".join(event.channels) or "n/a"
        rows.append(
            f"{seconds_text(event.start)}\t{seconds_text(duration_to(event.start, event.stop))}\t"
            f"{kind}\t{event.confidence:.4f}\t{channels}\t{begins}\t{seconds_text(duration_s)}"
        )
    return "\n".join(rows) + "\n"
