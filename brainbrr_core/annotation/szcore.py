"""``events.tsv``: a table with one row per event, in the form of SzCORE or of BIDS.

The columns of SzCORE (Dan et al. 2024, based on the BIDS score extension) are onset, duration,
eventType, confidence, channels, dateTime and recordingDuration. A recording without seizures has
one ``bckg`` row that spans it, so that its duration is known. Seizure types are those of HED-SCORE:
``sz``, ``sz_foc_ia``, ``sz_gen_m_tonicClonic``, ... Other tables describe events in the free-text
columns of BIDS, ``trial_type`` or ``value``, often as instants.
"""

from __future__ import annotations

import datetime
import math
from pathlib import Path

from brainbrr_core.annotation.events import Event
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import Mark, ParsedAnnotation, in_order
from brainbrr_core.annotation.policy import CONTRADICTION_S, ROUNDING_S
from brainbrr_core.annotation.texts import DEFAULT_TEXTS, Meaning, Texts
from brainbrr_core.annotation.times import duration_to, seconds_text
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.files.regular import read_text

COLUMNS = (
    "onset",
    "duration",
    "eventType",
    "confidence",
    "channels",
    "dateTime",
    "recordingDuration",
)
#: Written as the start of a recording whose date is unknown.
UNKNOWN_START = datetime.datetime(1985, 1, 1)
#: Columns that every events.tsv must have, in addition to one of ``KINDS``.
REQUIRED = COLUMNS[:2]
#: Columns that say what a row is, in order of precedence: that of SzCORE, with a fixed vocabulary,
#: then the free-text columns of BIDS, of which the first that mentions seizures counts.
KINDS = ("eventType", "trial_type", "value")
#: How many characters of a first line are read to tell whether it is a header.
_LONGEST_HEADER = 10_000
#: Cells that BIDS defines as empty.
_NOTHING = ("", "n/a")
#: The meaning and label of a row in which no column mentions seizures.
_SILENT = (Meaning.NOTHING, "")


def has_events(path: Path) -> bool:
    """Whether the first line of a table has the columns of an ``events.tsv``.

    Raises ``OSError`` when it cannot be opened.
    """
    return _is_header(_cells(read_text(path).partition("\n")[0][:_LONGEST_HEADER]))


def read(path: Path, texts: Texts = DEFAULT_TEXTS) -> ParsedAnnotation:
    """Read an ``events.tsv``. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name, texts)


def parse(text: str, where: str, texts: Texts = DEFAULT_TEXTS) -> ParsedAnnotation:
    """Parse the text of an ``events.tsv``; ``where`` names it in findings.

    Columns are identified by name; additional ones are allowed. A text that has nothing to do with
    seizures, according to ``texts``, is ignored in a free-text column and a finding in
    ``eventType``.
    """
    duration: tuple[float, int] | None = None
    rows = 0
    marks: list[Mark] = []
    findings: list[Finding] = []
    lines = text.splitlines()
    names = _cells(lines[0]) if lines else []
    if not _is_header(names):
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
        stated = _stated(row, "recordingDuration", f"{where}:{number}", findings)
        if stated is None:
            continue
        if duration is None:
            duration = stated, number
        elif (difference := abs(stated - duration[0])) > ROUNDING_S:
            code = "duration_contradicts" if difference > CONTRADICTION_S else "duration_mismatch"
            detail = f"{stated:.2f} s, line {duration[1]} {duration[0]:.2f} s"
            findings.append(Finding(code, f"{where}:{number}", detail))
    if not rows:
        findings.append(Finding("no_rows", where))
    if duration is None:
        findings.append(Finding("no_recording_duration", where))
    return in_order(where, marks, rows, duration, findings)


def _cells(header: str) -> list[str]:
    return [name.strip() for name in header.removeprefix("\ufeff").split("\t")]


def _is_header(names: list[str]) -> bool:
    return set(REQUIRED) <= set(names) and bool(set(KINDS) & set(names))


def _mark(
    row: dict[str, str], line: int, where: str, findings: list[Finding], texts: Texts
) -> Mark | None:
    filled = [name for name in KINDS if row.get(name, "") not in _NOTHING]
    columns = filled or [name for name in KINDS if name in row]
    if columns[0] == KINDS[0]:
        meaning, label = texts.meaning(row[columns[0]])
        if meaning in (Meaning.UNCLEAR, Meaning.NOTHING):
            findings.append(Finding("unknown_label", where))
            return None
    else:
        meanings = (texts.meaning(row[name]) for name in columns)
        meaning, label = next((m for m in meanings if m[0] is not Meaning.NOTHING), _SILENT)
        if meaning is Meaning.NOTHING:
            return None
    start = _number(row["onset"])
    length = 0.0 if row["duration"] in _NOTHING else _number(row["duration"])
    if start is None or length is None or start < 0:
        findings.append(Finding("malformed_row", where, "a time is negative or not a number"))
        return None
    if length < 0:
        findings.append(Finding("stop_before_start", where, f"duration {length:.4f} s"))
        return None
    confidence = _stated(row, "confidence", where, findings)
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


def _stated(row: dict[str, str], column: str, where: str, findings: list[Finding]) -> float | None:
    """A number that a row need not have; None where it has none, or one that is impossible."""
    text = row.get(column, "")
    if text in _NOTHING:
        return None
    value = _number(text)
    if value is None or value < 0:
        findings.append(Finding("unusable_number", where, column))
        return None
    return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def clock_time(start: datetime.datetime) -> str:
    """A date and time as the format has it: ``2012-01-01 10:00:00.753``, or whole seconds."""
    digits = "milliseconds" if start.microsecond % 1000 == 0 else "microseconds"
    return start.isoformat(" ", digits if start.microsecond else "seconds")


def format_tsv(
    events: list[Event], duration_s: float, start: datetime.datetime | None = None
) -> str:
    """Text of the ``events.tsv`` of one recording.

    Onset plus duration gives exactly the end of each event. ``start`` is the time of the first
    sample; where it is unknown, the column has 1985-01-01, as an EDF header does, because readers
    of the SzCORE benchmark fail at ``n/a``.
    """
    start_text = clock_time(start or UNKNOWN_START)
    rows = ["\t".join(COLUMNS)]
    for event in sorted(events) or [Event(0.0, duration_s, BACKGROUND)]:
        kind = BACKGROUND if event.label == BACKGROUND else "sz"
        channels = ",".join(event.channels) or "n/a"
        rows.append(
            f"{seconds_text(event.start)}\t{seconds_text(duration_to(event.start, event.stop))}\t"
            f"{kind}\t{event.confidence:.4f}\t{channels}\t{start_text}\t{seconds_text(duration_s)}"
        )
    return "\n".join(rows) + "\n"
