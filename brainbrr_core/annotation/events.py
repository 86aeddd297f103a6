"""The event: a labeled interval of a recording."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

#: Label of an interval that may be seizure or background.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """A labeled interval of a recording.

    Attributes
    ----------
    start, stop : float
        Seconds from the first sample of the recording.
    label : str
        A TUSZ label, such as ``seiz`` or ``fnsz``, or ``unknown``.
    confidence : float
        Probability between 0 and 1.
    channels : tuple of str
        The channels concerned; empty for the whole montage.
    """

    start: float
    stop: float
    label: str = "seiz"
    confidence: float = 1.0
    channels: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Duration in seconds."""
        return self.stop - self.start


def merge_overlapping(events: Iterable[Event], *, touching: bool = True) -> list[Event]:
    """Sort events and merge those that overlap.

    A merged event has the label of its first event, the highest confidence, and the channels of
    all.

    Parameters
    ----------
    events : iterable of Event
        In any order.
    touching : bool
        Whether events that touch are merged, too.

    Returns
    -------
    list of Event
        In order, without overlaps.
    """
    merged: list[Event] = []
    for event in sorted(events):
        gap = event.start - merged[-1].stop if merged else float("inf")
        if gap < 0 or (touching and gap == 0):
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
    """The intervals of an event that none of the others covers, in order."""
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
    """Intervals (start, stop) in order that some of ``events`` cover and none of ``by`` does."""
    covering = merge_overlapping(by)
    return tuple(
        (rest.start, rest.stop)
        for event in merge_overlapping(events)
        for rest in outside(event, covering)
    )


def seizure_seconds(events: Iterable[Event]) -> float:
    """Time that at least one of the events covers.

    Parameters
    ----------
    events : iterable of Event
        In any order; they may overlap.

    Returns
    -------
    float
        Seconds.
    """
    return math.fsum(event.duration for event in merge_overlapping(events))
