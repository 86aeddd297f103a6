"""Frames become events while they arrive: the events of ``detect``, each as soon as it is certain.

An event is certain when no later frame can change it: its end, and the longest gap that would be
closed after it, are known. Its onset is certain earlier: when it has lasted the shortest duration.
What was announced stands: no onset is withdrawn, and no event changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.constants import FRAME_HZ
from brainbrr_core.detection.events import (
    confidences,
    half_width,
    hysteresis,
    shape_intervals,
    smooth,
    to_spans,
)
from brainbrr_core.scoring import OperatingPoint


@dataclass(frozen=True)
class NewEvents:
    """What some frames made certain: onsets in seconds, and whole events."""

    onsets: tuple[float, ...]
    events: tuple[Event, ...]


class EventStream:
    """The steps of ``detection.events`` on frames that arrive in pieces.

    Memory is bounded by the event in progress: what lies before it is forgotten. Events are those
    that :func:`~brainbrr_core.detection.detect` gives of all frames, to the last bit. Every event
    has one onset, given before it or with it, and every onset is that of an event (or of the first
    of the parts into which ``max_duration_s`` cuts one).
    """

    def __init__(self, settings: Detection, point: OperatingPoint) -> None:
        self._settings, self._point = settings, point
        self._smoothing = _Smoothing(settings.smooth_s)
        #: The recording's frame at which the two arrays below begin.
        self._first = 0
        self._smoothed = np.empty(0, np.float32)
        self._scores = np.empty(0, np.float32)
        self._announced: float | None = None

    def add(self, scores: NDArray[np.float32]) -> NewEvents:
        """Take the next frames, each a whole 1/8 s of signal.

        A last frame that the recording's end cuts short belongs to :meth:`finish`: counted as
        whole it could make an event seem long enough that is not. Raises ``ValueError`` where a
        score is not finite.
        """
        self._take(scores)
        judged_stop = self._first + self._smoothed.size
        first, stop = self._raw()
        # A gap that will not be closed: what lies before it and after it are independent.
        following = np.append(first[1:], judged_stop)[: first.size]
        gap_s = (following - stop) / FRAME_HZ
        how = self._settings
        apart = np.flatnonzero((gap_s > how.merge_gap_s) & (gap_s >= how.closing_s))
        settled = int(apart[-1]) + 1 if apart.size else 0
        events = self._events(first[:settled], stop[:settled], float("inf"))
        pending = shape_intervals((first[settled:], stop[settled:]), self._settings)
        lasting = (pending[1] - pending[0]) / FRAME_HZ >= self._settings.min_duration_s
        onsets = self._new(
            [event.start for event in events] + (pending[0][lasting] / FRAME_HZ).tolist()
        )
        self._forget(int(first[settled]) if settled < first.size else judged_stop)
        return NewEvents(onsets, tuple(events))

    def finish(self, scores: NDArray[np.float32], duration_s: float) -> NewEvents:
        """Take the last frames of a recording of ``duration_s`` seconds; there may be none.

        The last one may be shorter than 1/8 s. Raises ``ValueError`` where all frames together are
        not the ``ceil(duration_s * 8)`` of the recording, or a score is not finite.
        """
        whole = self._first + self._scores.size
        frames = whole + scores.size
        if not whole <= duration_s * FRAME_HZ or frames != np.ceil(duration_s * FRAME_HZ):
            raise ValueError(
                f"{whole} whole frames of 1/{FRAME_HZ} s and {scores.size} last ones are "
                f"not those of a recording of {duration_s:g} s"
            )
        self._take(scores)
        self._smoothed = np.append(self._smoothed, self._smoothing.finish())
        events = self._events(*self._raw(), duration_s)
        return NewEvents(self._new([event.start for event in events]), tuple(events))

    def _take(self, scores: NDArray[np.float32]) -> None:
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
        self._scores = np.append(self._scores, scores)
        self._smoothed = np.append(self._smoothed, self._smoothing.add(scores))

    def _raw(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        first, stop = hysteresis(self._smoothed, self._point)
        return first + self._first, stop + self._first

    def _events(
        self, first: NDArray[np.intp], stop: NDArray[np.intp], duration_s: float
    ) -> list[Event]:
        spans = to_spans(shape_intervals((first, stop), self._settings), duration_s, self._settings)
        certain = confidences(self._scores, spans, self._settings.confidence, self._first)
        return [
            Event(start, end, "seiz", value)
            for (start, end), value in zip(spans, certain, strict=True)
        ]

    def _new(self, onsets: list[float]) -> tuple[float, ...]:
        """Those that were not given yet."""
        last = self._announced
        new = tuple(onset for onset in onsets if last is None or onset > last)
        self._announced = max(new, default=last)
        return new

    def _forget(self, before: int) -> None:
        self._smoothed = self._smoothed[before - self._first :]
        self._scores = self._scores[before - self._first :]
        self._first = before


class _Smoothing:
    """``detection.smooth`` on frames that arrive in pieces."""

    def __init__(self, smooth_s: float) -> None:
        self._smooth_s, self._half = smooth_s, half_width(smooth_s)
        #: The last frames: those that are not smoothed yet, after those that this still needs.
        self._frames = np.empty(0, np.float32)
        self._given = 0

    def add(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take frames, give the medians that no later frame changes."""
        self._frames = np.append(self._frames, scores)
        return self._medians(self._frames.size - self._half)

    def finish(self) -> NDArray[np.float32]:
        """The medians at the end, of the frames that exist."""
        return self._medians(self._frames.size)

    def _medians(self, stop: int) -> NDArray[np.float32]:
        """Those of the frames up to ``stop`` that were not given yet."""
        if stop <= self._given:
            return np.empty(0, np.float32)
        medians = smooth(self._frames, self._smooth_s)[self._given : stop]
        # What lies before the first of these frames is the recording's, or further away than
        # any frame still to be smoothed depends on.
        forgotten = max(stop - self._half, 0)
        self._frames, self._given = self._frames[forgotten:], stop - forgotten
        return medians
