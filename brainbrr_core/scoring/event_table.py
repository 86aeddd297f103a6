"""The events of one recording at many operating points, in three arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class EventTable:
    """Events of one recording at each of several operating points.

    Attributes
    ----------
    offsets : array of int64, shape (points + 1,)
        The events of point ``k`` are those from ``offsets[k]`` up to ``offsets[k + 1]``.
    start_s, stop_s : array of float64, shape (events,)
        When each event starts and stops, in seconds; sorted and disjoint at each point.
    """

    offsets: NDArray[np.int64]
    start_s: NDArray[np.float64]
    stop_s: NDArray[np.float64]

    @classmethod
    def of(cls, points: list[Spans]) -> EventTable:
        """The table of events given as (start, stop) for each point."""
        spans = np.array([span for events in points for span in events], dtype=np.float64)
        spans = spans.reshape(-1, 2)
        offsets = np.cumsum([0, *(len(events) for events in points)], dtype=np.int64)
        return cls(offsets, spans[:, 0].copy(), spans[:, 1].copy())

    def spans(self, point: int) -> Spans:
        """(start, stop) of the events at one point."""
        rows = slice(self.offsets[point], self.offsets[point + 1])
        return list(zip(self.start_s[rows].tolist(), self.stop_s[rows].tolist(), strict=True))
