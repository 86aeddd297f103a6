"""Unknown time, which is neither seizure nor background, and how scores leave it out.

One rule for every way of scoring, in validation, in the choice of the threshold and in evaluation:

- Seconds, samples and epochs in unknown time are not counted at all, nor are its hours in rates
  of false alarms.
- A detected event is left out, neither hit nor false alarm, where at least half of it lies in
  unknown time and it overlaps no reference seizure as annotated (no tolerance). This is decided
  for each event before anything else is done with it. Every other event is scored as a whole: no
  event is cut at the edge of unknown time.
- SzCORE merges and splits the other events. A resulting piece that is false is left out under the
  same condition.
- Where background is a label of its own (NEDC), a reference event of background is left out if at
  least half of it is unknown, and a detected one as above.

Without unknown time nothing of this has any effect.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, uncovered

Span = tuple[float, float]
#: Tolerance, for rounding, when a time is compared with half of an event's duration.
HALF_MARGIN_S = 1e-6


@dataclass(frozen=True, slots=True)
class UnknownTime:
    """The unknown time of one recording: disjoint (start, stop) in seconds, in order."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(
        cls, spans: Sequence[Span], reference: Iterable[Event], duration_s: float
    ) -> UnknownTime:
        """The unknown time of a recording, without time in which the reference has a seizure."""
        if not spans:
            return cls()
        within = [
            Event(max(start, 0.0), min(stop, duration_s))
            for start, stop in spans
            if max(start, 0.0) < min(stop, duration_s)
        ]
        return cls(uncovered(within, reference))

    def __bool__(self) -> bool:
        return bool(self.spans)

    @property
    def seconds(self) -> float:
        """Total length of the unknown time."""
        return math.fsum(stop - start for start, stop in self.spans)

    def known_seconds(self, length_s: float) -> float:
        """Seconds of a recording of ``length_s`` that are not unknown."""
        return max(length_s - self.seconds, 0.0)

    def covers_half(self, start: float, stop: float) -> bool:
        """Whether at least half of an interval is unknown."""
        inside = 0.0
        index = bisect_right(self.spans, start, key=lambda span: span[1])
        while index < len(self.spans) and self.spans[index][0] < stop:
            first, last = self.spans[index]
            inside += min(stop, last) - max(start, first)
            index += 1
        return 2 * inside >= stop - start - HALF_MARGIN_S

    def leaves_out(self, events: Sequence[Span], reference: Sequence[Span]) -> list[bool]:
        """Which detected events are neither hit nor false alarm; both lists sorted and disjoint."""
        if not self.spans:
            return [False] * len(events)
        overlapping = overlapped(events, reference)
        return [
            not hit and self.covers_half(*event)
            for event, hit in zip(events, overlapping, strict=True)
        ]

    def scored(self, events: Sequence[Event], reference: Sequence[Event]) -> list[Event]:
        """The detected events that are not left out."""
        if not self.spans:
            return list(events)
        left_out = self.leaves_out(
            [(event.start, event.stop) for event in events],
            [(event.start, event.stop) for event in reference],
        )
        return [event for event, ignored in zip(events, left_out, strict=True) if not ignored]

    def known_seconds_mask(self, seconds: int) -> NDArray[np.bool_]:
        """Which whole seconds of a recording are known, judged by their middle."""
        mask = np.ones(seconds, dtype=np.bool_)
        for start, stop in self.spans:
            first, last = np.ceil(start - 0.5), np.ceil(stop - 0.5)
            mask[max(int(first), 0) : max(int(last), 0)] = False
        return mask


def overlapped(spans: Sequence[Span], by: Sequence[Span]) -> list[bool]:
    """Which spans overlap any span of ``by``, whose starts and stops rise; empty ones never do."""
    starts, stops = [start for start, _ in by], [stop for _, stop in by]
    hits = []
    for start, stop in spans:
        index = bisect_right(stops, start)
        hits.append(stop > start and index < len(starts) and starts[index] < stop)
    return hits
