"""SzCORE's event file: a TSV with one row per event.

Columns (Dan et al. 2024, the BIDS score extension they use): onset, duration, eventType,
confidence, channels, dateTime, recordingDuration. A recording without seizures has one
``bckg`` row that spans it, so that its duration is known. Seizure types are those of HED-SCORE:
``sz``, ``sz_foc_ia``, ``sz_gen_m_tonicClonic``, ...
"""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path

from brainbrr_core.annotation.events import Event
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import ParsedAnnotation, in_order

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
#: Columns without which a table says nothing about seizures.
REQUIRED = COLUMNS[:3]
_BACKGROUND = "bckg"
_SEIZURE = re.compile(r"sz(_[a-z0-9]+)*")
#: HED-SCORE's types and the TUSZ labels of the same meaning; the first that a type begins with
#: holds, a motor type wherever it stands last.
_LABELS = (
    ("sz_foc_ia", "cpsz"),
    ("sz_foc_a", "spsz"),
    ("sz_foc", "fnsz"),
    ("sz_gen_nm", "absz"),
    ("sz_gen", "gnsz"),
)
_MOTOR_LABELS = {
    "tonicclonic": "tcsz",
    "tonic": "tnsz",
    "clonic": "cnsz",
    "atonic": "atsz",
    "myoclonic": "mysz",
}


def label_of(event_type: str) -> str | None:
    """The TUSZ label of an eventType, ``bckg`` for background; None for an unknown one."""
    name = event_type.strip().lower()
    if name == _BACKGROUND:
        return _BACKGROUND
    if _SEIZURE.fullmatch(name) is None:
        return None
    if name.startswith("sz_gen_m_"):
        return _MOTOR_LABELS.get(name.rpartition("_")[2], "gnsz")
    return next((label for start, label in _LABELS if name.startswith(start)), "seiz")


def read(path: Path) -> ParsedAnnotation:
    """Read an ``events.tsv``. Raises ``OSError`` when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name)


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of an ``events.tsv``; ``where`` names it in findings.

    Columns are found by their names; further ones are allowed.
    """
    duration: tuple[float, int] | None = None
    rows = 0
    events: list[tuple[Event, int]] = []
    findings: list[Finding] = []
    lines = text.removeprefix("\ufeff").splitlines()
    names = [name.strip() for name in lines[0].split("\t")] if lines else []
    if not set(REQUIRED) <= set(names):
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
        event = _event(row, f"{where}:{number}", findings)
        if event is not None and event.label != _BACKGROUND:
            events.append((event, number))
        stated = _number(row.get("recordingDuration", ""))
        if duration is None and stated is not None and stated >= 0:
            duration = stated, number
    if not rows:
        findings.append(Finding("no_rows", where))
    if duration is None:
        findings.append(Finding("no_recording_duration", where))
    return in_order(where, events, duration, findings)


def _event(row: dict[str, str], place: str, findings: list[Finding]) -> Event | None:
    label = label_of(row["eventType"])
    if label is None:
        findings.append(Finding("unknown_label", place))
        return None
    start, length = _number(row["onset"]), _number(row["duration"])
    if start is None or length is None or start < 0:
        findings.append(Finding("malformed_row", place, "a time is no number or negative"))
        return None
    if length < 0:
        findings.append(Finding("stop_before_start", place, f"duration {length:.4f} s"))
        return None
    confidence = _number(row.get("confidence", ""))
    channels = row.get("channels", "n/a")
    return Event(
        start,
        start + length,
        label,
        1.0 if confidence is None else confidence,
        () if channels in ("", "n/a") else tuple(name.strip() for name in channels.split(",")),
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
    """Text of the TSV of one recording, times to a tenth of a millisecond.

    ``start`` is that of the recording's first sample, with a part of a second where it has one.
    Where it is not known, the column says what EDF's own header says
    then, 1985-01-01: readers of the SzCORE benchmark stop at ``n/a``. Confidence is the event's,
    between 0 and 1.
    """
    begins = clock_time(start or UNKNOWN_START)
    rows = ["\t".join(COLUMNS)]
    for event in sorted(events) or [Event(0.0, duration_s, "bckg")]:
        kind = "bckg" if event.label == "bckg" else "sz"
        channels = ",".join(event.channels) or "n/a"
        rows.append(
            f"{event.start:.4f}\t{event.duration:.4f}\t{kind}\t{event.confidence:.4f}\t"
            f"{channels}\t{begins}\t{duration_s:.4f}"
        )
    return "\n".join(rows) + "\n"
