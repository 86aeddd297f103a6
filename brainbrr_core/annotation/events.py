"""The event: a labelled interval of a recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

#: Label of an interval of which nobody can say whether it is seizure or background.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """An interval of one recording with a label.

    ``start`` and ``stop`` are seconds from the recording's first sample. ``confidence`` is a
    probability between 0 and 1. ``channels`` is empty when the event concerns the whole montage.
    """

    start: float
    stop: float
    label: str = "seiz"
    confidence: float = 1.0
    channels: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.stop - self.start


def merge_overlapping(
    events: Iterable[Event], gap_s: float = 0.0, *, touching: bool = True
) -> list[Event]:
    """Sort events and join those that overlap, touch or lie at most ``gap_s`` apart.

    With ``touching`` off, events that are just ``gap_s`` apart stay two.

    The joined event keeps the first label and the highest confidence; its channels are
    those of all its parts.
    """
    merged: list[Event] = []
    for event in sorted(events):
        gap = event.start - merged[-1].stop if merged else float("inf")
        if gap < gap_s or (touching and gap == gap_s):
            last = merged[-1]
            merged[-1] = Event(
                last.start,
                max(last.stop, event.stop),
                last.label,
                max(last.confidence, event.confidence),
                tuple(dict.fromkeys(last.channels + event.channels)),
            )
        else:
            merged.append(event)
    return merged


def outside(event: Event, others: Iterable[Event]) -> list[Event]:
    """What of an event none of the others covers, in order."""
    rest = []
    start = event.start
    overlapping = (o for o in others if o.start < event.stop and o.stop > start)
    for other in merge_overlapping(overlapping):
        if other.start > start:
            rest.append(replace(event, start=start, stop=other.start))
        start = other.stop
    if start < event.stop:
        rest.append(replace(event, start=start))
    return rest


def uncovered(events: Iterable[Event], by: Iterable[Event]) -> tuple[tuple[float, float], ...]:
    """Time that at least one of ``events`` covers and none of ``by``, as (start, stop) in order."""
    covering = merge_overlapping(by)
    return tuple(
        (rest.start, rest.stop)
        for event in merge_overlapping(events)
        for rest in outside(event, covering)
    )


def seizure_seconds(events: Iterable[Event]) -> float:
    """Seconds covered by at least one of the events."""
    return sum(event.duration for event in merge_overlapping(events))
