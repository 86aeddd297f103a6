"""What any annotation file gives once it is parsed, and how it is laid onto its signal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from brainbrr_core.annotation.events import Event, merge_overlapping
from brainbrr_core.annotation.findings import Finding
from brainbrr_core.annotation.policy import (
    CONTRADICTION_S,
    EVENT_ROUNDING_S,
    ROUNDING_S,
    excludes,
)

#: Findings of one code that one file lists one by one.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ParsedAnnotation:
    """One parsed file: its events as written (background left out) and what was odd about it.

    ``lines`` holds the line of each event, ``duration_line`` that of the stated duration (in
    seconds, None where the file states none). Events are in order.
    """

    where: str
    events: tuple[Event, ...] = ()
    lines: tuple[int, ...] = ()
    duration_s: float | None = None
    duration_line: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the events can be trusted."""
        return not any(excludes(finding.code) for finding in self.findings)


def in_order(
    where: str,
    rows: list[tuple[Event, int]],
    duration: tuple[float, int] | None,
    findings: list[Finding],
) -> ParsedAnnotation:
    """The parsed file of ``rows``, events with their lines; those of no length are left out."""
    kept = []
    for event, line in sorted(rows):
        if event.duration > 0:
            kept.append((event, line))
        else:
            findings.append(Finding("empty_event", f"{where}:{line}", f"at {event.start:.4f} s"))
    stated, stated_line = duration if duration is not None else (None, 0)
    return ParsedAnnotation(
        where=where,
        events=tuple(event for event, _ in kept),
        lines=tuple(line for _, line in kept),
        duration_s=stated,
        duration_line=stated_line,
        findings=at_most(findings),
    )


def on_signal(parsed: ParsedAnnotation, signal_s: float | None) -> ParsedAnnotation:
    """The annotation of a signal of ``signal_s`` seconds (None where its length is not known).

    Events that reach a little past the end are cut there, and events that overlap become one;
    what cannot belong to the signal is a finding after which the annotation is not usable, and
    its events stay as written.
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
    rows = []
    for event, line in zip(parsed.events, parsed.lines, strict=True):
        place = f"{parsed.where}:{line}"
        late = event.stop - end
        if event.start >= end or late > CONTRADICTION_S:
            detail = f"{event.start:.4f} to {event.stop:.4f} s of {end:.2f} s"
            found.append(Finding("event_outside", place, detail))
        elif late > EVENT_ROUNDING_S:
            found.append(Finding("event_past_end", place, f"by {late:.4f} s"))
        rows.append((event, line))
    placed = replace(parsed, findings=at_most(found))
    if not placed.usable:
        return placed
    reached = 0.0
    lines: dict[float, int] = {}
    for event, line in rows:
        if event.start < reached:
            detail = f"by {min(reached, event.stop) - event.start:.4f} s"
            found.append(Finding("overlapping_events", f"{parsed.where}:{line}", detail))
        reached = max(reached, event.stop)
        lines.setdefault(event.start, line)
    cut = (replace(event, stop=min(event.stop, end)) for event, _ in rows)
    events = tuple(merge_overlapping(cut, touching=False))
    return replace(
        parsed,
        events=events,
        lines=tuple(lines[event.start] for event in events),
        findings=at_most(found),
    )


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
