"""TUSZ 2.0 annotation files: ``csv_bi`` (events) and ``csv`` (per channel, with types).

Both are text: comment lines ``# key = value``, a header row
``channel,start_time,stop_time,label,confidence`` and one row per event, times in seconds.
``csv_bi`` has the channel TERM and the labels seiz and bckg only.

Findings and what follows from each:

- ``malformed_row``, ``unknown_label``, ``stop_before_start``, ``missing_header``, ``no_rows``,
  ``no_duration``, and in a ``csv_bi`` ``channel_rows``: the file is cut short or is not what its
  name says, so the recording has no usable annotation;
- ``event_past_end``: an event reaches beyond the annotated duration; kept as written;
- ``overlapping_events``: joined where whole-montage events are asked for, and counted.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from brainbrr_core.annotation.events import Event, merge_overlapping
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.configuration.model import SEIZURE_LABELS

BACKGROUND = "bckg"
KNOWN_LABELS = frozenset((*SEIZURE_LABELS, BACKGROUND))
COLUMNS = ("channel", "start_time", "stop_time", "label", "confidence")
#: Codes after which the file gives no usable annotation.
FATAL_CODES = frozenset(
    {
        "malformed_row",
        "unknown_label",
        "stop_before_start",
        "missing_header",
        "no_rows",
        "no_duration",
        "channel_rows",
    }
)


@dataclass(frozen=True, slots=True)
class TuhAnnotation:
    """One parsed file: its events (background rows left out) and what was odd about it."""

    events: tuple[Event, ...]
    duration_s: float | None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether the events can be trusted."""
        return not any(finding.code in FATAL_CODES for finding in self.findings)

    def seizures(self, labels: frozenset[str] = frozenset(SEIZURE_LABELS)) -> list[Event]:
        """Events with one of ``labels``, sorted, those that overlap or touch kept apart."""
        return sorted(event for event in self.events if event.label in labels)


def _duration(comment: str) -> float | None:
    """Seconds of a ``# duration = 1831.00 secs`` line, or None for any other comment."""
    name, _, value = comment.lstrip("#").partition("=")
    if name.strip() != "duration":
        return None
    try:
        seconds = float(value.replace("secs", "").strip())
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def parse(text: str, where: str) -> TuhAnnotation:
    """Parse the text of a ``csv`` or ``csv_bi`` file; ``where`` names it in findings."""
    duration: float | None = None
    header_seen = False
    rows = 0
    events: list[Event] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{where}:{number}"
        if not line.strip():
            continue
        if line.startswith("#"):
            duration = _duration(line) if duration is None else duration
            continue
        try:
            row = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error:
            findings.append(Finding("malformed_row", place, "no comma-separated cells"))
            continue
        if not header_seen:
            if tuple(row) != COLUMNS:
                findings.append(Finding("missing_header", place))
                break
            header_seen = True
            continue
        rows += 1
        event = _event(row, place, findings)
        if event is None:
            continue
        if duration is not None and event.stop > duration:
            findings.append(
                Finding("event_past_end", place, f"{event.stop:.4f} s of {duration:.4f} s")
            )
        if event.label != BACKGROUND:
            events.append(event)
    if not header_seen and not findings:
        findings.append(Finding("missing_header", where))
    if header_seen and not rows:
        findings.append(Finding("no_rows", where))
    if header_seen and duration is None:
        findings.append(Finding("no_duration", where))
    whole = [event for event in events if not event.channels]
    if where.endswith(".csv_bi") and len(whole) < len(events):
        findings.append(Finding("channel_rows", where, f"{len(events) - len(whole)} rows"))
    overlaps = sum(later.start < earlier.stop for earlier, later in pairwise(sorted(whole)))
    if overlaps:
        findings.append(Finding("overlapping_events", where, f"{overlaps} of {len(whole)}"))
    return TuhAnnotation(tuple(sorted(events)), duration, tuple(findings))


def _event(row: list[str], place: str, findings: list[Finding]) -> Event | None:
    if len(row) != len(COLUMNS):
        findings.append(Finding("malformed_row", place, f"{len(row)} of {len(COLUMNS)} cells"))
        return None
    channel, start_text, stop_text, label, confidence_text = row
    try:
        start, stop, confidence = float(start_text), float(stop_text), float(confidence_text)
    except ValueError:
        findings.append(Finding("malformed_row", place, "a time is not a number"))
        return None
    if not (math.isfinite(start) and math.isfinite(stop) and start >= 0):
        findings.append(Finding("malformed_row", place, "a time is not finite or negative"))
        return None
    if label not in KNOWN_LABELS:
        findings.append(Finding("unknown_label", place))
        return None
    if stop < start:
        findings.append(Finding("stop_before_start", place, f"{start:.4f} to {stop:.4f} s"))
        return None
    return Event(start, stop, label, confidence, () if channel == "TERM" else (channel,))


def read(path: Path) -> TuhAnnotation:
    """Read a ``csv`` or ``csv_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name)


def typed_events(annotation: TuhAnnotation) -> list[Event]:
    """Events of a per-channel ``csv``: rows with one label that overlap become one event.

    The event's channels are those of its rows.
    """
    by_label: dict[str, list[Event]] = {}
    for event in annotation.events:
        by_label.setdefault(event.label, []).append(event)
    return sorted(joined for rows in by_label.values() for joined in merge_overlapping(rows))


def format_csv_bi(events: list[Event], duration_s: float, name: str) -> str:
    """Text of a ``csv_bi`` file: ``events`` as seiz, the time between them as bckg."""
    rows: list[tuple[float, float, str, float]] = []
    position = 0.0
    for event in merge_overlapping(events):
        if event.start > position:
            rows.append((position, event.start, BACKGROUND, 1.0))
        rows.append((event.start, event.stop, "seiz", event.confidence))
        position = event.stop
    if position < duration_s:
        rows.append((position, duration_s, BACKGROUND, 1.0))
    return _format(
        name,
        duration_s,
        [
            f"TERM,{start:.4f},{stop:.4f},{label},{confidence:.4f}"
            for start, stop, label, confidence in rows
        ],
    )


def format_csv(events: list[Event], duration_s: float, name: str) -> str:
    """Text of a per-channel ``csv`` file: one row for each event and each of its channels."""
    return _format(
        name,
        duration_s,
        [
            f"{channel},{event.start:.4f},{event.stop:.4f},{event.label},{event.confidence:.4f}"
            for event in sorted(events)
            for channel in event.channels
        ],
    )


def _format(name: str, duration_s: float, rows: list[str]) -> str:
    return "\n".join(
        [
            "# version = csv_v1.0.0",
            f"# bname = {name}",
            f"# duration = {duration_s:.4f} secs",
            "# montage_file = $NEDC_NFC/lib/nedc_eas_default_montage.txt",
            "#",
            ",".join(COLUMNS),
            *rows,
            "",
        ]
    )
