"""Event counts of one recording under SzCORE's event rule and OVLP, for thousands of hypotheses.

A sweep scores every recording at thousands of operating points. What depends on the reference is
computed once; each hypothesis then takes microseconds. The figures of a report come from
:mod:`brainbrr_core.scoring.szcore`, which uses the timescoring library, and from
:mod:`brainbrr_core.scoring.nedc`. The comparisons here follow both down to their rounding, so that
the counts agree on every input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.machine.compiled import compiled
from brainbrr_core.scoring.event_table import EventTable, Spans
from brainbrr_core.scoring.recording import normalize_events
from brainbrr_core.scoring.szcore import (
    EVENT_HZ,
    MERGE_MARGIN_S,
    SPLIT_MARGIN_S,
    TIME_DECIMALS,
    TOLERANCE_AFTER_S,
    TOLERANCE_BEFORE_S,
    grid_samples,
)
from brainbrr_core.scoring.unknown import HALF_MARGIN_S, Span, UnknownTime

Floats = NDArray[np.float64]
Counted = NDArray[np.int64]


class EventCounter:
    """Counts hypotheses against the reference of one recording.

    Parameters
    ----------
    reference : iterable of Event
        Annotated events, times in seconds.
    duration_s : float
        Length of the recording in seconds.
    where : str
        Name of the recording in messages.
    unknown : sequence of (float, float)
        Intervals, start and stop in seconds, that are neither seizure nor background.

    Attributes
    ----------
    szcore_reference, ovlp_reference : int
        Number of reference events under each rule.
    szcore_seconds, ovlp_seconds : float
        Length of the recording under each rule, without unknown time; SzCORE's is that of its grid.

    Raises
    ------
    BrainbrrError
        For times that are not finite or run backwards.
    """

    def __init__(
        self,
        reference: Iterable[Event],
        duration_s: float,
        where: str = "",
        unknown: Sequence[Span] = (),
    ) -> None:
        events = list(reference)
        length_s = grid_samples(duration_s, EVENT_HZ) / EVENT_HZ
        joined = normalize_events(events, duration_s, where)
        self._joined = _array([(event.start, event.stop) for event in joined])
        starts, stops = _pieces(_round_times(self._joined[0]), _round_times(self._joined[1]))
        self._extended = np.array(
            [
                np.rint(np.maximum(0.0, starts - TOLERANCE_BEFORE_S) * EVENT_HZ),
                np.rint(np.minimum(length_s, stops + TOLERANCE_AFTER_S) * EVENT_HZ),
            ]
        )
        self.szcore_reference = len(starts)
        self.ovlp_reference = len(joined)
        time = UnknownTime.of(unknown, joined, duration_s)
        self._unknown = _array(list(time.spans))
        self.szcore_seconds = time.known_seconds(length_s)
        self.ovlp_seconds = time.known_seconds(duration_s)

    def count(self, hypothesis: Spans) -> tuple[int, int, int, int]:
        """Count one hypothesis: detected and false under SzCORE's rule, then hits and false (OVLP).

        ``hypothesis`` consists of (start, stop) in seconds, sorted, disjoint and within the
        recording.
        """
        detected, false, hits, alarms = self.count_all(EventTable.of([hypothesis]))[0].tolist()
        return detected, false, hits, alarms

    def count_all(self, table: EventTable) -> Counted:
        """The four counts of :meth:`count` at every point of a table, shape ``(points, 4)``."""
        return _count_all(
            table.offsets,
            table.start_s,
            table.stop_s,
            _round_times(table.start_s),
            _round_times(table.stop_s),
            self._extended[0],
            self._extended[1],
            self._joined[0],
            self._joined[1],
            self._unknown[0],
            self._unknown[1],
        )


def _array(spans: list[tuple[float, float]]) -> Floats:
    """Starts and stops, ``(2, n)``, each contiguous."""
    return np.ascontiguousarray(np.array(spans, dtype=np.float64).reshape(-1, 2).T)


def _round_times(times: Floats) -> Floats:
    """Round times as Python's ``round`` does, which rounds the exact decimal value of a float."""
    scaled = times * 10.0**TIME_DECIMALS
    rounded = np.round(times, TIME_DECIMALS)
    # Close to the middle between two numbers, the product itself may be rounded across it.
    for index in np.flatnonzero(np.abs(np.abs(scaled - np.rint(scaled)) - 0.5) < 1e-3).tolist():
        rounded[index] = round(float(times[index]), TIME_DECIMALS)
    return rounded


@compiled
def _pieces(starts: Floats, stops: Floats) -> tuple[Floats, Floats]:  # pragma: no cover - compiled
    """Spans merged and split as SzCORE does."""
    size = 0
    for i in range(starts.shape[0]):
        size += 2 + int((stops[i] - starts[i] + MERGE_MARGIN_S) / SPLIT_MARGIN_S)
    first, last = np.empty(size), np.empty(size)
    count, i = 0, 0
    while i < starts.shape[0]:
        start, stop = starts[i], stops[i]
        while i + 1 < starts.shape[0] and starts[i + 1] - stop < MERGE_MARGIN_S:
            i += 1
            stop = stops[i]
        while stop - start > SPLIT_MARGIN_S:
            first[count], last[count] = start, start + SPLIT_MARGIN_S
            start += SPLIT_MARGIN_S
            count += 1
        first[count], last[count] = start, stop
        count += 1
        i += 1
    return first[:count], last[:count]


@compiled
def _overlaps(
    start: float, stop: float, starts: Floats, stops: Floats, count: int
) -> bool:  # pragma: no cover - compiled
    """Whether a span overlaps any of the first ``count`` others, whose starts and stops rise."""
    if not stop > start:
        return False
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if stops[middle] <= start:
            low = middle + 1
        else:
            high = middle
    return low < count and starts[low] < stop


@compiled
def _left_out(
    start: float,
    stop: float,
    joined_start: Floats,
    joined_stop: Floats,
    unknown_start: Floats,
    unknown_stop: Floats,
) -> bool:  # pragma: no cover - compiled
    """Whether unknown time leaves an event out, as :meth:`UnknownTime.leaves_out` says."""
    if not unknown_start.shape[0]:
        return False
    inside = 0.0
    for i in range(unknown_start.shape[0]):
        if unknown_start[i] >= stop:
            break
        if unknown_stop[i] > start:
            inside += min(stop, unknown_stop[i]) - max(start, unknown_start[i])
    if 2 * inside < stop - start - HALF_MARGIN_S:
        return False
    return not _overlaps(start, stop, joined_start, joined_stop, joined_start.shape[0])


@compiled
def _count_all(
    offsets: NDArray[np.int64],
    all_starts: Floats,
    all_stops: Floats,
    all_rounded_starts: Floats,
    all_rounded_stops: Floats,
    extended_start: Floats,
    extended_stop: Floats,
    joined_start: Floats,
    joined_stop: Floats,
    unknown_start: Floats,
    unknown_stop: Floats,
) -> Counted:  # pragma: no cover - compiled
    points, references = offsets.shape[0] - 1, joined_start.shape[0]
    longest = 0
    for k in range(points):
        longest = max(longest, offsets[k + 1] - offsets[k])
    start, stop = np.empty(longest), np.empty(longest)
    rounded_start, rounded_stop = np.empty(longest), np.empty(longest)
    detected_start = np.empty(extended_start.shape[0])
    detected_stop = np.empty(extended_start.shape[0])
    counts = np.zeros((points, 4), dtype=np.int64)
    for k in range(points):
        first, last = offsets[k], offsets[k + 1]
        if k and last - first == first - offsets[k - 1]:
            same = True
            for i in range(first, last):
                before = i - (last - first)
                if all_starts[i] != all_starts[before] or all_stops[i] != all_stops[before]:
                    same = False
                    break
            if same:
                for n in range(4):
                    counts[k, n] = counts[k - 1, n]
                continue
        # Events that unknown time leaves out are dropped one by one; then touching ones are merged.
        events = 0
        for i in range(first, last):
            if _left_out(
                all_starts[i], all_stops[i], joined_start, joined_stop, unknown_start, unknown_stop
            ):
                continue
            if events and all_starts[i] <= stop[events - 1]:
                stop[events - 1], rounded_stop[events - 1] = all_stops[i], all_rounded_stops[i]
            else:
                start[events], stop[events] = all_starts[i], all_stops[i]
                rounded_start[events] = all_rounded_starts[i]
                rounded_stop[events] = all_rounded_stops[i]
                events += 1
        covering = 0
        for i in range(events):
            if np.rint(rounded_stop[i] * EVENT_HZ) > np.rint(rounded_start[i] * EVENT_HZ):
                # Never overtakes i, so no event is overwritten before it is read.
                rounded_start[covering], rounded_stop[covering] = rounded_start[i], rounded_stop[i]
                covering += 1
        piece_start, piece_stop = _pieces(rounded_start[:covering], rounded_stop[:covering])
        pieces = piece_start.shape[0]
        on_start, on_stop = np.empty(pieces), np.empty(pieces)
        on_grid_start, on_grid_stop, on_grid = np.empty(pieces), np.empty(pieces), 0
        for i in range(pieces):
            on_start[i] = np.rint(piece_start[i] * EVENT_HZ)
            on_stop[i] = np.rint(piece_stop[i] * EVENT_HZ)
            if on_stop[i] > on_start[i]:
                on_grid_start[on_grid], on_grid_stop[on_grid] = on_start[i], on_stop[i]
                on_grid += 1
        detected = 0
        for i in range(extended_start.shape[0]):
            if _overlaps(extended_start[i], extended_stop[i], on_grid_start, on_grid_stop, on_grid):
                detected_start[detected] = extended_start[i]
                detected_stop[detected] = extended_stop[i]
                detected += 1
        counts[k, 0] = detected
        for i in range(pieces):
            if _overlaps(on_start[i], on_stop[i], detected_start, detected_stop, detected):
                continue
            if _left_out(
                piece_start[i],
                piece_stop[i],
                joined_start,
                joined_stop,
                unknown_start,
                unknown_stop,
            ):
                continue
            counts[k, 1] += 1
        for i in range(references):
            if _overlaps(joined_start[i], joined_stop[i], start, stop, events):
                counts[k, 2] += 1
        for i in range(events):
            if not _overlaps(start[i], stop[i], joined_start, joined_stop, references):
                counts[k, 3] += 1
    return counts
