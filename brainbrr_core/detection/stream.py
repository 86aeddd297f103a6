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
from brainbrr_core.detection.events import confidences, hysteresis, shaped, timed
from brainbrr_core.detection.stitching import FRAME_HZ


@dataclass(frozen=True)
class News:
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

    def __init__(self, settings: Detection, on_threshold: float) -> None:
        self._settings, self._on = settings, on_threshold
        self._off = on_threshold * settings.off_ratio
        self._smoothing = _Smoothing(settings.smooth_s)
        #: The recording's frame at which the two arrays below begin.
        self._first = 0
        self._smoothed = np.empty(0)
        self._probabilities = np.empty(0, np.float32)
        self._announced: float | None = None

    def add(self, probabilities: NDArray[np.float32]) -> News:
        """Take the next frames, each a whole 1/8 s of signal.

        A last frame that the recording's end cuts short belongs to :meth:`finish`: counted as
        whole it could make an event seem long enough that is not. Raises ``ValueError`` where a
        probability is not finite.
        """
        self._take(probabilities)
        known = self._first + self._smoothed.size
        first, stop = self._raw()
        # A gap that will not be closed: what lies before it and after it are independent.
        following = np.append(first[1:], known)[: first.size]
        gap_s = (following - stop) / FRAME_HZ
        how = self._settings
        apart = np.flatnonzero((gap_s > how.merge_gap_s) & (gap_s >= how.closing_s))
        settled = int(apart[-1]) + 1 if apart.size else 0
        events = self._events(first[:settled], stop[:settled], float("inf"))
        pending = shaped((first[settled:], stop[settled:]), self._settings)
        lasting = (pending[1] - pending[0]) / FRAME_HZ >= self._settings.min_duration_s
        onsets = self._new([event.start for event in events] + (pending[0][lasting] / 8).tolist())
        self._forget(int(first[settled]) if settled < first.size else known)
        return News(onsets, tuple(events))

    def finish(self, probabilities: NDArray[np.float32], duration_s: float) -> News:
        """Take the last frames of a recording of ``duration_s`` seconds; there may be none.

        The last one may be shorter than 1/8 s. Raises ``ValueError`` where all frames together are
        not the ``ceil(duration_s * 8)`` of the recording, or a probability is not finite.
        """
        whole = self._first + self._probabilities.size
        frames = whole + probabilities.size
        if not whole <= duration_s * FRAME_HZ or frames != np.ceil(duration_s * FRAME_HZ):
            raise ValueError(
                f"{whole} whole frames of 1/{FRAME_HZ} s and {probabilities.size} last ones are "
                f"not those of a recording of {duration_s:g} s"
            )
        self._take(probabilities)
        self._smoothed = np.append(self._smoothed, self._smoothing.finish())
        events = self._events(*self._raw(), duration_s)
        return News(self._new([event.start for event in events]), tuple(events))

    def _take(self, probabilities: NDArray[np.float32]) -> None:
        if not np.isfinite(probabilities).all():
            raise ValueError("a probability is not finite")
        self._probabilities = np.append(self._probabilities, probabilities)
        self._smoothed = np.append(self._smoothed, self._smoothing.add(probabilities))

    def _raw(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        first, stop = hysteresis(self._smoothed, self._on, self._off)
        return first + self._first, stop + self._first

    def _events(
        self, first: NDArray[np.intp], stop: NDArray[np.intp], duration_s: float
    ) -> list[Event]:
        spans = timed(shaped((first, stop), self._settings), duration_s, self._settings)
        certain = confidences(self._probabilities, spans, self._settings.confidence, self._first)
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
        self._probabilities = self._probabilities[before - self._first :]
        self._first = before


class _Smoothing:
    """``detection.smooth`` on frames that arrive in pieces: the same sums, carried on."""

    def __init__(self, smooth_s: float) -> None:
        self._half = round(smooth_s * FRAME_HZ / 2)
        #: The sum of all frames before each frame from ``_first`` on, and of all frames.
        self._sums = np.zeros(1)
        self._first = 0
        self._given = 0

    def add(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take frames, give the averages that no later frame changes."""
        values = np.asarray(probabilities, dtype=np.float64)
        if not self._half:
            self._given += values.size
            return values
        self._sums = np.append(self._sums, np.cumsum(np.append(self._sums[-1], values))[1:])
        return self._averages(self._first + self._sums.size - 1 - self._half)

    def finish(self) -> NDArray[np.float64]:
        """The averages at the end, of the frames that exist."""
        return self._averages(self._first + self._sums.size - 1) if self._half else np.empty(0)

    def _averages(self, stop: int) -> NDArray[np.float64]:
        if stop <= self._given:
            return np.empty(0)
        index = np.arange(self._given, stop)
        frames = self._first + self._sums.size - 1
        low = np.maximum(index - self._half, 0)
        high = np.minimum(index + self._half + 1, frames)
        averages: NDArray[np.float64] = (
            self._sums[high - self._first] - self._sums[low - self._first]
        ) / (high - low)
        self._given = stop
        keep = max(stop - self._half, 0)
        self._sums, self._first = self._sums[keep - self._first :], keep
        return averages
