"""What any annotation file gives once it is parsed, and how it is laid onto its signal."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from brainbrr_core.annotation.events import UNKNOWN, Event, merge_overlapping, outside
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.policy import (
    CONTRADICTION_S,
    EVENT_ROUNDING_S,
    ROUNDING_S,
    excludes,
)
from brainbrr_core.annotation.texts import Meaning

#: Findings of one code that one file lists one by one.
_SHOWN = 10
#: What says where a seizure is.
_SEIZURE = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)
#: The label of a seizure of which no type is known.
_UNTYPED = "seiz"


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of an annotation file that says something of seizures.

    ``start`` in seconds; ``stop`` is None where the file does not say how long it lasts.
    """

    start: float
    stop: float | None
    meaning: Meaning
    label: str
    line: int
    confidence: float = 1.0
    channels: tuple[str, ...] = ()

    @property
    def has_length(self) -> bool:
        """Whether the row itself says where its event ends. An onset does not: one second is as
        often what a program writes for a point in time."""
        return (
            self.meaning is not Meaning.ONSET and self.stop is not None and self.stop > self.start
        )

    def until(self, stop: float) -> Event:
        """The row's event, if it ends at ``stop``."""
        return Event(self.start, stop, self.label, self.confidence, self.channels)


@dataclass(frozen=True, slots=True)
class Endless:
    """What starts at ``start`` and has no end; at ``limit`` the next row starts, if there is one.

    ``certain`` is off for a text that is not understood: it may lie past the end of the signal.
    """

    start: float
    limit: float | None
    line: int
    certain: bool = True


@dataclass(frozen=True, slots=True)
class ParsedAnnotation:
    """One parsed file: its events as written (background apart) and what was odd about it.

    ``lines`` holds the line of each event, ``duration_line`` that of the stated duration (in
    seconds, None where the file states none). Events are in order. What has no end becomes an
    event when the length of the signal is known (:func:`on_signal`).
    """

    where: str
    events: tuple[Event, ...] = ()
    lines: tuple[int, ...] = ()
    duration_s: float | None = None
    duration_line: int = 0
    findings: tuple[Finding, ...] = ()
    background: tuple[Event, ...] = ()
    endless: tuple[Endless, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the events can be trusted."""
        return not any(excludes(finding.code) for finding in self.findings)


def in_order(
    where: str,
    marks: Sequence[Mark],
    rows: int,
    duration: tuple[float, int] | None,
    findings: list[Finding],
) -> ParsedAnnotation:
    """The parsed file of ``marks``, in any order; ``rows`` counts the file's rows.

    An onset lasts to the end that comes next, unless something else of a seizure comes before it.
    A seizure without an end is unknown until the next row, an end without an onset since the last
    event: neither is background.
    """
    # What ends at a time comes before what starts then.
    ordered = sorted(marks, key=lambda m: (m.start, m.meaning is not Meaning.END, m.line))
    next_start, next_seizure = _following(ordered)
    # Several rows at one time speak of one seizure: the one with an end says most, then a type.
    timed = {m.start for m in ordered if m.meaning is Meaning.SEIZURE and m.has_length}
    typed = {m.start for m in ordered if m.meaning in _SEIZURE and m.label != _UNTYPED}
    events: list[tuple[Event, int]] = []
    background: list[Event] = []
    endless: list[Endless] = []
    unclear: list[Endless] = []
    paired: set[int] = set()
    opened: set[tuple[float, str]] = set()
    reached = 0.0
    for number, mark in enumerate(ordered):
        place, at = f"{where}:{mark.line}", f"at {mark.start:.4f} s"
        lasting = Endless(mark.start, next_start[number], mark.line)
        end = next_seizure[number]
        if mark.meaning is Meaning.BACKGROUND:
            if mark.has_length and mark.stop is not None:
                background.append(mark.until(mark.stop))
        elif mark.meaning is Meaning.UNCLEAR:
            unclear.append(replace(lasting, certain=False))
        elif mark.meaning is Meaning.END:
            # The end of an event that has a length of its own may be noted once more.
            if number not in paired and mark.start > reached + (ROUNDING_S if reached else 0.0):
                findings.append(Finding("end_without_onset", place, at))
                events.append((Event(reached, mark.start, UNKNOWN), mark.line))
            reached = max(reached, mark.start)
        elif mark.has_length and mark.stop is not None:
            events.append((mark.until(mark.stop), mark.line))
            reached = max(reached, mark.stop)
        elif mark.meaning is Meaning.UNKNOWN:
            findings.append(Finding("event_without_end", place, at))
            endless.append(lasting)
        elif mark.start in timed or (mark.label == _UNTYPED and mark.start in typed):
            continue
        elif (mark.start, mark.label) not in opened:
            opened.add((mark.start, mark.label))
            if end is not None and ordered[end].meaning is Meaning.END:
                paired.add(end)
                events.append((mark.until(ordered[end].start), mark.line))
            else:
                findings.append(Finding("event_without_end", place, at))
                endless.append(lasting)
    events.sort()
    for lasting in _remarks_outside(unclear, [event for event, _ in events]):
        at = f"at {lasting.start:.4f} s"
        findings.append(Finding("unclear_text", f"{where}:{lasting.line}", at))
        endless.append(lasting)
    understood = any(m.meaning in (*_SEIZURE, Meaning.BACKGROUND) for m in ordered)
    if rows and not understood and not any(excludes(finding.code) for finding in findings):
        findings.append(Finding("no_known_row", where, f"{rows} rows"))
    stated, stated_line = duration if duration is not None else (None, 0)
    return ParsedAnnotation(
        where=where,
        events=tuple(event for event, _ in events),
        lines=tuple(line for _, line in events),
        duration_s=stated,
        duration_line=stated_line,
        findings=at_most(findings),
        background=tuple(background),
        endless=tuple(endless),
    )


def _remarks_outside(unclear: list[Endless], events: list[Event]) -> list[Endless]:
    """Those that lie in no event: others are remarks about theirs."""
    spans = merge_overlapping(events)
    starts = [span.start for span in spans]

    def is_outside(lasting: Endless) -> bool:
        before = bisect_right(starts, lasting.start)
        return before == 0 or lasting.start > spans[before - 1].stop

    return [lasting for lasting in unclear if is_outside(lasting)]


def _following(ordered: list[Mark]) -> tuple[list[float | None], list[int | None]]:
    """For each mark, of those that start later: when the first does, and which is the first that
    says where a seizure is."""
    starts: list[float | None] = []
    seizures: list[int | None] = []
    at, start, seizure = float("inf"), None, None
    later_start: float | None = None
    later_seizure: int | None = None
    for number in reversed(range(len(ordered))):
        mark = ordered[number]
        if mark.start != at:
            # Those at the time before are later than this one.
            later_start, later_seizure = start, seizure
            at = mark.start
        starts.append(later_start)
        seizures.append(later_seizure)
        start = mark.start
        if mark.meaning in _SEIZURE:
            seizure = number
    return starts[::-1], seizures[::-1]


def on_signal(
    parsed: ParsedAnnotation, signal_s: float | None, *, per_channel: bool = False
) -> ParsedAnnotation:
    """The annotation of a signal of ``signal_s`` seconds (None where its length is not known).

    Events that reach a little past the end are cut there. Those of one label that overlap become
    one, unless they are ``per_channel``; what is unknown gives way to what is known. What has no
    end is unknown to the next row or the end of the signal. What cannot belong to the signal is a
    finding after which the annotation is not usable, and its events stay as written.
    """
    found = list(parsed.findings)
    known = [length for length in (signal_s, parsed.duration_s) if length is not None]
    end = min(known, default=float("inf"))
    if signal_s is not None and parsed.duration_s is not None:
        difference = abs(parsed.duration_s - signal_s)
        if difference > ROUNDING_S:
            code = "duration_contradicts" if difference > CONTRADICTION_S else "duration_mismatch"
            detail = f"annotated {parsed.duration_s:.2f} s, signal {signal_s:.2f} s"
            found.append(Finding(code, f"{parsed.where}:{parsed.duration_line}", detail))
    for event, line in zip(parsed.events, parsed.lines, strict=True):
        place = f"{parsed.where}:{line}"
        late = event.stop - end
        if event.start >= end or late > CONTRADICTION_S:
            detail = f"{event.start:.4f} to {event.stop:.4f} s of {end:.2f} s"
            found.append(Finding("event_outside", place, detail))
        elif late > EVENT_ROUNDING_S:
            found.append(Finding("event_past_end", place, f"by {late:.4f} s"))
    last = end if signal_s is None else signal_s
    for lasting in parsed.endless:
        if lasting.start >= last and lasting.certain:
            detail = f"from {lasting.start:.4f} s of {last:.2f} s"
            found.append(Finding("event_outside", f"{parsed.where}:{lasting.line}", detail))
    placed = replace(parsed, findings=at_most(found))
    if not placed.usable:
        return placed
    rows = [
        (replace(event, stop=min(event.stop, end)), line)
        for event, line in zip(parsed.events, parsed.lines, strict=True)
    ]
    for lasting in parsed.endless:
        stop = last if lasting.limit is None else min(lasting.limit, last)
        if lasting.start < stop < float("inf"):
            rows.append((Event(lasting.start, stop, UNKNOWN), lasting.line))
    if not per_channel:
        rows = _merged(rows, parsed.where, found)
    rows.sort()
    return replace(
        parsed,
        events=tuple(event for event, _ in rows),
        lines=tuple(line for _, line in rows),
        findings=at_most(found),
        endless=(),
    )


def _merged(
    rows: list[tuple[Event, int]], where: str, found: list[Finding]
) -> list[tuple[Event, int]]:
    """Events of which none overlaps another one of its label, nor an unknown one any other."""
    merged: list[tuple[Event, int]] = []
    unknown: list[tuple[Event, int]] = []
    for label in sorted({event.label for event, _ in rows}):
        own = sorted(row for row in rows if row[0].label == label)
        lines: dict[float, int] = {}
        reached = 0.0
        for event, line in own:
            # What is unknown overlaps by what the program makes of it, too.
            if event.start < reached and label != UNKNOWN:
                detail = f"by {min(reached, event.stop) - event.start:.4f} s"
                found.append(Finding("overlapping_events", f"{where}:{line}", detail))
            reached = max(reached, event.stop)
            lines.setdefault(event.start, line)
        joined = merge_overlapping((event for event, _ in own), touching=False)
        kept = unknown if label == UNKNOWN else merged
        kept += [(event, lines[event.start]) for event in joined]
    merged.sort()
    reached = 0.0
    for event, line in merged:
        if event.start < reached:
            detail = f"by {min(reached, event.stop) - event.start:.4f} s"
            found.append(Finding("overlapping_labels", f"{where}:{line}", detail))
        reached = max(reached, event.stop)
    seizures = [event for event, _ in merged]
    return merged + [(rest, line) for event, line in unknown for rest in outside(event, seizures)]


def at_most(findings: list[Finding]) -> tuple[Finding, ...]:
    """The findings, of each code the first ten and how many more there are."""
    counts = Counter(finding.code for finding in findings)
    kept: list[Finding] = []
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= _SHOWN:
            kept.append(finding)
        elif seen[finding.code] == counts[finding.code]:
            more = counts[finding.code] - _SHOWN
            kept.append(Finding(finding.code, finding.where, f"the last of {more} more"))
    return tuple(kept)
