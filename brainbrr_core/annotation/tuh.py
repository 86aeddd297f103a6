"""TUSZ 2.0 annotation files: ``csv_bi`` (events) and ``csv`` (per channel, with types).

Both are text: comment lines ``# key = value``, a header row
``channel,start_time,stop_time,label,confidence`` and one row per event, times in seconds.
``csv_bi`` has the channel TERM and the labels seiz and bckg only.

The findings are those of ``policy``. Any malformed row means that the file was cut short or is
not what its name says, so it gives no usable annotation.
"""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation.events import Event, merge_overlapping
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import ParsedAnnotation, in_order
from brainbrr_core.annotation.policy import excludes
from brainbrr_core.configuration.model import SEIZURE_LABELS

BACKGROUND = "bckg"
KNOWN_LABELS = frozenset((*SEIZURE_LABELS, BACKGROUND))
COLUMNS = ("channel", "start_time", "stop_time", "label", "confidence")


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


def parse(text: str, where: str) -> ParsedAnnotation:
    """Parse the text of a ``csv`` or ``csv_bi`` file; ``where`` names it in findings."""
    duration: tuple[float, int] | None = None
    header_seen = False
    rows, binary = 0, where.endswith(".csv_bi")
    events: list[tuple[Event, int]] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        place = f"{where}:{number}"
        if not line.strip():
            continue
        if line.startswith("#"):
            seconds = _duration(line)
            if duration is None and seconds is not None:
                duration = seconds, number
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
        if event.channels and binary:
            findings.append(Finding("channel_rows", place))
        if event.label != BACKGROUND:
            events.append((event, number))
    if not header_seen and not findings:
        findings.append(Finding("missing_header", where))
    if header_seen and not rows:
        findings.append(Finding("no_rows", where))
    if header_seen and duration is None:
        findings.append(Finding("no_duration", where))
    return in_order(where, events, duration, findings)


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


def read(path: Path) -> ParsedAnnotation:
    """Read a ``csv`` or ``csv_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name)


def typed_events(annotation: ParsedAnnotation) -> list[Event]:
    """Events of a per-channel ``csv``: rows with one label that overlap become one event.

    The event's channels are those of its rows.
    """
    by_label: dict[str, list[Event]] = {}
    for event in annotation.events:
        by_label.setdefault(event.label, []).append(event)
    return sorted(joined for rows in by_label.values() for joined in merge_overlapping(rows))


def with_types(binary: ParsedAnnotation, typed: ParsedAnnotation) -> ParsedAnnotation:
    """The events of a ``csv_bi`` with the types and channels of the ``csv`` beside it.

    Each takes those of the typed event that it overlaps most.
    """
    if not typed.usable:
        first = next(finding for finding in typed.findings if excludes(finding.code))
        finding = Finding("unusable_types", first.where, first.code)
        return replace(binary, findings=(*binary.findings, finding))
    types = typed_events(typed)
    events, findings = [], [*binary.findings, *typed.findings]
    for event, line in zip(binary.events, binary.lines, strict=True):
        overlaps = [min(event.stop, t.stop) - max(event.start, t.start) for t in types]
        most = max(overlaps, default=0.0)
        if most > 0:
            best = types[overlaps.index(most)]
            event = replace(event, label=best.label, channels=best.channels)
        else:
            findings.append(Finding("untyped_event", f"{binary.where}:{line}"))
        events.append(event)
    return replace(binary, events=tuple(events), findings=tuple(findings))


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
