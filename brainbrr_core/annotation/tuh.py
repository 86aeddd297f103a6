"""TUSZ 2.0 annotation files: ``csv_bi`` (events) and ``csv`` (per channel, with types).

Both are text: comment lines ``# key = value``, a header row
``channel,start_time,stop_time,label,confidence`` and one row per event, times in seconds.
``csv_bi`` has only the channel TERM and the labels seiz and bckg; ``unknown`` is accepted as well.
A seizure row of zero length is a seizure without an end.

The findings are those of ``policy``. A malformed row means that the file was cut short or is not
what its name says, so the annotation is not usable.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from brainbrr_core.annotation.events import UNKNOWN, Event, merge_overlapping, outside
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.parsed import (
    Mark,
    ParsedAnnotation,
    at_most,
    in_order,
    on_signal,
)
from brainbrr_core.annotation.policy import CONTRADICTION_S, ROUNDING_S, excludes
from brainbrr_core.annotation.texts import Meaning
from brainbrr_core.annotation.times import seconds_text
from brainbrr_core.configuration.settings import SEIZURE_LABELS
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.files.regular import read_text

#: The meaning of each label; ``unknown`` and ``unkn`` were set by the annotator.
_MEANINGS: dict[str, Meaning] = {
    **dict.fromkeys(SEIZURE_LABELS, Meaning.SEIZURE),
    BACKGROUND: Meaning.BACKGROUND,
    UNKNOWN: Meaning.UNKNOWN,
    "unkn": Meaning.UNKNOWN,
}
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
    has_header = False
    rows, binary = 0, where.endswith(".csv_bi")
    marks: list[Mark] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        location = f"{where}:{number}"
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
            findings.append(Finding("malformed_row", location, "not comma-separated"))
            continue
        if not has_header:
            if tuple(row) != COLUMNS:
                findings.append(Finding("missing_header", location))
                break
            has_header = True
            continue
        rows += 1
        mark = _mark(row, number, location, findings)
        if mark is None:
            continue
        if mark.channels and binary:
            findings.append(Finding("channel_rows", location))
        marks.append(mark)
    if not has_header and not findings:
        findings.append(Finding("missing_header", where))
    if has_header and not rows:
        findings.append(Finding("no_rows", where))
    if has_header and duration is None:
        findings.append(Finding("no_duration", where))
    return in_order(where, marks, rows, duration, findings)


def _mark(row: list[str], line: int, where: str, findings: list[Finding]) -> Mark | None:
    if len(row) != len(COLUMNS):
        findings.append(Finding("malformed_row", where, f"{len(row)} of {len(COLUMNS)} cells"))
        return None
    channel, start_text, stop_text, label, confidence_text = row
    try:
        start, stop, confidence = float(start_text), float(stop_text), float(confidence_text)
    except ValueError:
        findings.append(Finding("malformed_row", where, "a time is not a number"))
        return None
    if not (all(map(math.isfinite, (start, stop, confidence))) and start >= 0):
        findings.append(Finding("malformed_row", where, "a number is negative or not finite"))
        return None
    meaning = _MEANINGS.get(label)
    if meaning is None:
        findings.append(Finding("unknown_label", where))
        return None
    if stop < start:
        findings.append(Finding("stop_before_start", where, f"{start:.4f} to {stop:.4f} s"))
        return None
    channels = () if channel == "TERM" else (channel,)
    label = UNKNOWN if meaning is Meaning.UNKNOWN else label
    return Mark(start, stop, meaning, label, line, confidence, channels)


def read(path: Path) -> ParsedAnnotation:
    """Read a ``csv`` or ``csv_bi`` file. Raises ``OSError`` when it cannot be opened."""
    return parse(read_text(path), path.name)


def typed_events(annotation: ParsedAnnotation) -> list[Event]:
    """The seizures of a per-channel ``csv``: overlapping rows of one label are merged.

    An event has the channels of all its rows.
    """
    by_label: dict[str, list[Event]] = {}
    for event in annotation.events:
        if event.label != UNKNOWN:
            by_label.setdefault(event.label, []).append(event)
    return sorted(event for rows in by_label.values() for event in merge_overlapping(rows))


def with_types(
    binary: ParsedAnnotation, typed: ParsedAnnotation, signal_s: float | None = None
) -> ParsedAnnotation:
    """The events of a ``csv_bi`` with the types and channels of the ``csv`` next to it.

    Each event takes those of the typed event that it overlaps most. Both files describe a signal of
    ``signal_s`` seconds; ``binary`` has been fitted to it (:func:`on_signal`), ``typed`` has not.
    Where they contradict each other, the result is not usable. An interval that is unknown in
    either file is unknown.
    """
    if not typed.usable:
        first = next(finding for finding in typed.findings if excludes(finding.code))
        finding = Finding("unusable_types", first.where, first.code)
        return replace(binary, findings=(*binary.findings, finding))
    typed = on_signal(typed, signal_s, per_channel=True)
    findings = [*binary.findings, *typed.findings]
    if not typed.usable:
        return replace(binary, findings=at_most(findings))
    findings += _contradictions(binary, typed)
    types = typed_events(typed)
    rows: list[tuple[Event, int]] = []
    for event, line in zip(binary.events, binary.lines, strict=True):
        overlaps = [min(event.stop, t.stop) - max(event.start, t.start) for t in types]
        most = max(overlaps, default=0.0)
        if event.label == UNKNOWN:
            rows.append((event, line))
        elif most > 0:
            best = types[overlaps.index(most)]
            rows.append((replace(event, label=best.label, channels=best.channels), line))
        else:
            findings.append(Finding("untyped_event", f"{binary.where}:{line}"))
            rows.append((event, line))
    unknown = merge_overlapping(event for event in typed.events if event.label == UNKNOWN)
    # Events of the csv_bi with an end are certain, and its unknown intervals are among the rows.
    rows += [
        (Event(rest.start, rest.stop, UNKNOWN), 0)
        for event in unknown
        for rest in outside(event, binary.events)
    ]
    rows.sort()
    return replace(
        binary,
        events=tuple(event for event, _ in rows),
        lines=tuple(line for _, line in rows),
        findings=at_most(findings),
    )


def _contradictions(binary: ParsedAnnotation, typed: ParsedAnnotation) -> list[Finding]:
    """Findings for intervals that are seizure in one file and background in the other.

    Everything outside of the events of a ``csv_bi`` is background. In a ``csv``, only the rows that
    say so are background: it says nothing about an interval without rows.
    """
    background = [
        rest
        for rows in merge_overlapping(Event(b.start, b.stop) for b in typed.background)
        for rest in outside(rows, typed.events)
    ]
    findings = []
    for event, line in zip(typed.events, typed.lines, strict=True):
        if event.label != UNKNOWN:
            denied = outside(event, binary.events)
            location = f"{typed.where}:{line}"
            findings += _difference(event, denied, binary.events, location, binary.where)
    for event, line in zip(binary.events, binary.lines, strict=True):
        if event.label != UNKNOWN:
            both = [Event(max(event.start, b.start), min(event.stop, b.stop)) for b in background]
            denied = [overlap for overlap in both if overlap.duration > 0]
            location = f"{binary.where}:{line}"
            findings += _difference(event, denied, typed.events, location, typed.where)
    return findings


def _difference(
    event: Event, denied: list[Event], others: Sequence[Event], where: str, other: str
) -> list[Finding]:
    """Findings for an event of which the intervals ``denied`` are background in the other file.

    Edges may differ by as much as the tools that write these files round and smooth. An event that
    is near none of the ``others`` does not exist in the other file.
    """
    if not denied:
        return []
    longest = max(denied, key=lambda interval: interval.duration)
    near = [Event(o.start - ROUNDING_S, o.stop + ROUNDING_S) for o in others]
    overlaps = any(o.start < event.stop and event.start < o.stop for o in others)
    detail = f"{longest.start:.4f} to {longest.stop:.4f} s is background in {other}"
    if longest.duration > CONTRADICTION_S or (not overlaps and outside(event, near)):
        return [Finding("types_contradict", where, detail)]
    if longest.duration > ROUNDING_S:
        return [Finding("types_differ", where, detail)]
    return []


def format_csv_bi(events: list[Event], duration_s: float, name: str) -> str:
    """Text of a ``csv_bi`` file: ``events`` as seiz, the time between them as bckg.

    Overlapping events are merged, touching ones are not, and times are not rounded, so that the
    file gets the same scores as the events.
    """
    rows: list[tuple[float, float, str, float]] = []
    position = 0.0
    for event in merge_overlapping(events, touching=False):
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
            f"TERM,{seconds_text(start)},{seconds_text(stop)},{label},{confidence:.4f}"
            for start, stop, label, confidence in rows
        ],
    )


def format_csv(events: list[Event], duration_s: float, name: str) -> str:
    """Text of a per-channel ``csv`` file: one row for each event and each of its channels."""
    return _format(
        name,
        duration_s,
        [
            f"{channel},{seconds_text(event.start)},{seconds_text(event.stop)},{event.label},"
            f"{event.confidence:.4f}"
            for event in sorted(events)
            for channel in event.channels
        ],
    )


def _format(name: str, duration_s: float, rows: list[str]) -> str:
    return "\n".join(
        [
            "# version = csv_v1.0.0",
            f"# bname = {name}",
            f"# duration = {seconds_text(duration_s)} secs",
            "# montage_file = $NEDC_NFC/lib/nedc_eas_default_montage.txt",
            "#",
            ",".join(COLUMNS),
            *rows,
            "",
        ]
    )
