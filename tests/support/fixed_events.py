"""A detector whose events are given by a function of the on-threshold, for tests of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.scoring import EventTable

Spans = list[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class FixedEvents:
    """Scores, and the events at an on-threshold."""

    scores: NDArray[np.float32]
    at: Callable[[float], Spans]

    def table(self, on: NDArray[np.float64], off: NDArray[np.float64]) -> EventTable:
        """The events at each of some points."""
        assert len(on) == len(off)
        return EventTable.of([self.at(threshold) for threshold in on.tolist()])
