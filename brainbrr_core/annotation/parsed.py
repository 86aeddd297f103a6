"""The content of a parsed annotation file, and fitting it to the signal that it belongs to."""

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
from brainbrr_core.display.counts import count

#: How many findings of one code are listed for one file.
_SHOWN = 10
#: Rows that say where a seizure is.
_SEIZURE = (Meaning.ONSET, Meaning.END, Meaning.SEIZURE)
#: The label of a seizure of unknown type.
_UNTYPED = "seiz"


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of an annotation file that says something about seizures.

    ``start`` and ``stop`` are in seconds; ``stop`` is None where the row does not give it.
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
        """Whether the row itself says where its event ends.

        An onset does not, even if it has a duration: programs also write one second for an instant.
        """
        return (
            self.meaning is not Meaning.ONSET and self.stop is not None and self.stop > self.start
        )

    def until(self, stop: float) -> Event:
        """The event of the row if it ends at ``stop``."""
        return Event(self.start, stop, self.label, self.confidence, self.channels)


@dataclass(frozen=True, slots=True)
class Endless:
    """A row without an end: its start, and the start of the next row (None where it is the last).

    ``certain`` is False for a text that is not understood, which may be past the end of the signal.
    """

    start: float
    limit: float | None
    line: int
    certain: bool = True


@dataclass(frozen=True, slots=True)
class ParsedAnnotation:
    """A parsed file: its events as written, in order, its background, and its findings.

    ``lines`` has the line of each event. ``duration_s`` is the duration that the file states, None
    where it states none, and ``duration_line`` its line. Rows without an end become events when the
    length of the signal is known (:func:`on_signal`).
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
    """The parsed file with these ``marks``, given in any order; ``rows`` counts the file's rows.

    An onset lasts until the next end, unless another mark of a seizure comes first. After a seizure
    without an end, the time until the next row is unknown; before an end without an onset, the time
    since the last event is. Neither is background.
    """
    # An end comes before what starts at the same time.
    ordered = sorted(marks, key=lambda m: (m.start, m.meaning is not Meaning.END, m.line))
    next_start, next_seizure = _following(ordered)
    # Rows with the same start describe one seizure: a row with an end counts, then one with a type.
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
        location, at = f"{where}:{mark.line}", f"at {mark.start:.4f} s"
        open_row = Endless(mark.start, next_start[number], mark.line)
        end = next_seizure[number]
        if mark.meaning is Meaning.BACKGROUND:
            if mark.has_length and mark.stop is not None:
                background.append(mark.until(mark.stop))
        elif mark.meaning is Meaning.UNCLEAR:
            unclear.append(replace(open_row, certain=False))
        elif mark.meaning is Meaning.END:
            # An event with a duration may have a separate row for its end.
            if number not in paired and mark.start > reached + (ROUNDING_S if reached else 0.0):
                findings.append(Finding("end_without_onset", location, at))
                events.append((Event(reached, mark.start, UNKNOWN), mark.line))
            reached = max(reached, mark.start)
        elif mark.has_length and mark.stop is not None:
            events.append((mark.until(mark.stop), mark.line))
            reached = max(reached, mark.stop)
        elif mark.meaning is Meaning.UNKNOWN:
            findings.append(Finding("event_without_end", location, at))
            endless.append(open_row)
        elif mark.start in timed or (mark.label == _UNTYPED and mark.start in typed):
            continue
        elif (mark.start, mark.label) not in opened:
            opened.add((mark.start, mark.label))
            if end is not None and ordered[end].meaning is Meaning.END:
                paired.add(end)
                events.append((mark.until(ordered[end].start), mark.line))
            else:
                findings.append(Finding("event_without_end", location, at))
                endless.append(open_row)
    events.sort()
    for open_row in _remarks_outside(unclear, [event for event, _ in events]):
        at = f"at {open_row.start:.4f} s"
        findings.append(Finding("unclear_text", f"{where}:{open_row.line}", at))
        endless.append(open_row)
    understood = any(m.meaning in (*_SEIZURE, Meaning.BACKGROUND) for m in ordered)
    if rows and not understood and not any(excludes(finding.code) for finding in findings):
        findings.append(Finding("no_known_row", where, count(rows, "row")))
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
    """Texts outside of all events; a text within an event is a remark about it."""
    spans = merge_overlapping(events)
    starts = [span.start for span in spans]

    def is_outside(open_row: Endless) -> bool:
        before = bisect_right(starts, open_row.start)
        return before == 0 or open_row.start > spans[before - 1].stop

    return [open_row for open_row in unclear if is_outside(open_row)]


def _following(ordered: list[Mark]) -> tuple[list[float | None], list[int | None]]:
    """For each mark: when the next later mark starts, and which is the next about a seizure.

    Marks with the same start do not count as later. The second is a position in ``ordered``.
    """
    starts: list[float | None] = []
    seizures: list[int | None] = []
    at, start, seizure = float("inf"), None, None
    later_start: float | None = None
    later_seizure: int | None = None
    for number in reversed(range(len(ordered))):
        mark = ordered[number]
        if mark.start != at:
            # All marks that were visited before start later.
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
    """Fit an annotation to a signal of ``signal_s`` seconds (None where that is unknown).

    Events that end shortly after the signal are cut. Overlapping events of one label are merged,
    unless they are ``per_channel``; unknown intervals are reduced by the other events. Rows without
    an end are unknown until the next row or the end of the signal. Events that cannot belong to the
    signal become findings that make the annotation unusable; its events then stay as written.
    """
    findings = list(parsed.findings)
    lengths = [length for length in (signal_s, parsed.duration_s) if length is not None]
    end = min(lengths, default=float("inf"))
    if signal_s is not None and parsed.duration_s is not None:
        difference = abs(parsed.duration_s - signal_s)
        if difference > ROUNDING_S:
            code = "duration_contradicts" if difference > CONTRADICTION_S else "duration_mismatch"
            detail = f"annotated {parsed.duration_s:.2f} s, signal {signal_s:.2f} s"
            findings.append(Finding(code, f"{parsed.where}:{parsed.duration_line}", detail))
    for event, line in zip(parsed.events, parsed.lines, strict=True):
        location = f"{parsed.where}:{line}"
        late = event.stop - end
        if event.start >= end or late > CONTRADICTION_S:
            detail = f"{event.start:.4f} to {event.stop:.4f} s of {end:.2f} s"
            findings.append(Finding("event_outside", location, detail))
        elif late > EVENT_ROUNDING_S:
            findings.append(Finding("event_past_end", location, f"by {late:.4f} s"))
    last = end if signal_s is None else signal_s
    for open_row in parsed.endless:
        if open_row.start >= last and open_row.certain:
            detail = f"from {open_row.start:.4f} s of {last:.2f} s"
            findings.append(Finding("event_outside", f"{parsed.where}:{open_row.line}", detail))
    checked = replace(parsed, findings=at_most(findings))
    if not checked.usable:
        return checked
    rows = [
        (replace(event, stop=min(event.stop, end)), line)
        for event, line in zip(parsed.events, parsed.lines, strict=True)
    ]
    for open_row in parsed.endless:
        stop = last if open_row.limit is None else min(open_row.limit, last)
        if open_row.start < stop < float("inf"):
            rows.append((Event(open_row.start, stop, UNKNOWN), open_row.line))
    if not per_channel:
        rows = _merge_rows(rows, parsed.where, findings)
    rows.sort()
    return replace(
        parsed,
        events=tuple(event for event, _ in rows),
        lines=tuple(line for _, line in rows),
        findings=at_most(findings),
        endless=(),
    )


def _merge_rows(
    rows: list[tuple[Event, int]], where: str, findings: list[Finding]
) -> list[tuple[Event, int]]:
    """Merge overlapping events of one label, and reduce unknown intervals by the other events.

    Overlaps are added to ``findings``.
    """
    merged: list[tuple[Event, int]] = []
    unknown: list[tuple[Event, int]] = []
    for label in sorted({event.label for event, _ in rows}):
        own = sorted(row for row in rows if row[0].label == label)
        lines: dict[float, int] = {}
        reached = 0.0
        for event, line in own:
            # An unknown interval without an end overlaps only because the program extends it.
            if event.start < reached and label != UNKNOWN:
                detail = f"by {min(reached, event.stop) - event.start:.4f} s"
                findings.append(Finding("overlapping_events", f"{where}:{line}", detail))
            reached = max(reached, event.stop)
            lines.setdefault(event.start, line)
        target = unknown if label == UNKNOWN else merged
        for event in merge_overlapping((event for event, _ in own), touching=False):
            target.append((event, lines[event.start]))
    merged.sort()
    reached = 0.0
    for event, line in merged:
        if event.start < reached:
            detail = f"by {min(reached, event.stop) - event.start:.4f} s"
            findings.append(Finding("overlapping_labels", f"{where}:{line}", detail))
        reached = max(reached, event.stop)
    seizures = [event for event, _ in merged]
    return merged + [(rest, line) for event, line in unknown for rest in outside(event, seizures)]


def at_most(findings: list[Finding]) -> tuple[Finding, ...]:
    """The first ten findings of each code, and one that says how many more there are."""
    counts = Counter(finding.code for finding in findings)
    shown: list[Finding] = []
    so_far: Counter[str] = Counter()
    for finding in findings:
        so_far[finding.code] += 1
        if so_far[finding.code] <= _SHOWN:
            shown.append(finding)
        elif so_far[finding.code] == counts[finding.code]:
            more = counts[finding.code] - _SHOWN
            shown.append(Finding(finding.code, finding.where, f"the last of {more} more"))
    return tuple(shown)
