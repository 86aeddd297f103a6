"""Scores become events: smoothing, two thresholds, morphology, gaps, durations.

A score is one number for each frame of 1/8 s, higher where a seizure is more likely: a network's
logit, or what another detector gives. No step but the confidence of an event looks at anything
but the order of the scores, so that any strictly rising change of them (another temperature, a
sigmoid) leaves the events of an operating point that is changed likewise as they are.

Intervals are two arrays, first frames and frames after the last, both rising. The steps
themselves are in :mod:`brainbrr_core.detection.event_steps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.constants import FRAME_HZ
from brainbrr_core.detection import event_steps
from brainbrr_core.scoring import EventTable, Find, OperatingPoint, sigmoid
from brainbrr_core.scoring.event_table import Spans

Scores = NDArray[np.float32]
Intervals = tuple[NDArray[np.int64], NDArray[np.int64]]


def detect(
    scores: Scores, duration_s: float, settings: Detection, point: OperatingPoint
) -> list[Event]:
    """Find the seizures of one recording in the scores of its frames.

    Scores are smoothed; an event begins where they reach ``point.on`` and ends where they fall
    below ``point.off``; then the settings' steps follow in their order.

    Parameters
    ----------
    scores : array of float32, shape (ceil(duration_s * 8),)
        A logit for each frame of 1/8 s.
    duration_s : float
        Length of the recording in seconds.
    settings : Detection
        How events are shaped.
    point : OperatingPoint
        The logits at which an event begins and ends.

    Returns
    -------
    list of Event
        Sorted and disjoint, with the label ``seiz``. The confidence is the mean (or the highest)
        probability of the event's frames before smoothing.

    Raises
    ------
    ValueError
        Where the frames do not fit the duration, or are not finite.
    """
    spans = finder(scores, duration_s, settings).at(point)
    certain = confidences(scores, spans, settings.confidence)
    return [
        Event(start, stop, "seiz", value)
        for (start, stop), value in zip(spans, certain, strict=True)
    ]


def configured_point(settings: Detection) -> OperatingPoint:
    """The operating point of a configuration, whose thresholds are probabilities.

    Parameters
    ----------
    settings : Detection
        ``on_threshold`` is a probability, and ``off_ratio`` times it ends an event.

    Returns
    -------
    OperatingPoint
        The same thresholds as logits.
    """
    return OperatingPoint.of_probability(settings.on_threshold, settings.off_ratio)


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """The smoothed scores of a recording, and its events at any operating point."""

    scores: Scores
    duration_s: float
    settings: Detection

    def at(self, point: OperatingPoint) -> Spans:
        """Events, (start, stop) in seconds, at one point."""
        return self.table(np.array([point.on]), np.array([point.off])).spans(0)

    def table(self, on: NDArray[np.float64], off: NDArray[np.float64]) -> EventTable:
        """Events at each of some points, whose thresholds rise and ``off`` is never above."""
        how = self.settings
        longest_s = math.inf if how.max_duration_s is None else how.max_duration_s
        return EventTable(
            *event_steps.table(
                np.searchsorted(on, self.scores, side="right"),
                np.searchsorted(off, self.scores, side="right"),
                len(on),
                float(self.duration_s),
                how.opening_s,
                how.closing_s,
                how.merge_gap_s,
                how.min_duration_s,
                longest_s,
            )
        )


def finder_for(settings: Detection) -> Find:
    """What a sweep asks for the events of each recording: :func:`finder` with these settings."""
    return lambda scores, duration_s: finder(scores, duration_s, settings)


def finder(scores: Scores, duration_s: float, settings: Detection) -> Finder:
    """What gives a recording's events at any operating point. Raises as :func:`detect`."""
    if abs(len(scores) - duration_s * FRAME_HZ) > FRAME_HZ:
        raise ValueError(
            f"{len(scores)} frames of 1/{FRAME_HZ} s do not fit a recording of {duration_s:g} s"
        )
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    return Finder(smooth(scores, settings.smooth_s), duration_s, settings)


def smooth(scores: Scores, smooth_s: float) -> Scores:
    """Smooth scores by a centered moving median.

    At the ends it is the median of the frames that exist, and of an even number of them the
    lower of the two in the middle: always one of the scores. A median, unlike a mean, does not
    depend on how far apart scores are, only on their order, and one extreme frame does not
    change its neighbors.

    Parameters
    ----------
    scores : array of float32, shape (frames,)
        A score for each frame of 1/8 s.
    smooth_s : float
        Length of the window in seconds, rounded to an odd number of frames; 0 smooths nothing.

    Returns
    -------
    array of float32, shape (frames,)
        The medians.
    """
    values = np.asarray(scores, dtype=np.float32)
    half = half_width(smooth_s)
    if not half or not values.size:
        return values
    if values.size > 2 * half:
        smoothed: Scores = scipy.ndimage.median_filter(values, 2 * half + 1)
    else:
        smoothed = values.copy()
    for index in {*range(min(half, values.size)), *range(max(values.size - half, 0), values.size)}:
        around = values[max(index - half, 0) : index + half + 1]
        smoothed[index] = np.partition(around, (around.size - 1) // 2)[(around.size - 1) // 2]
    return smoothed


def half_width(smooth_s: float) -> int:
    """Frames on either side of a frame that its smoothed score depends on."""
    return round(smooth_s * FRAME_HZ / 2)


def hysteresis(scores: NDArray[np.floating], point: OperatingPoint) -> Intervals:
    """First frames and frames after the last of the intervals above a double threshold.

    An interval begins at a frame of at least ``point.on`` and lasts while frames are at least
    ``point.off``.
    """
    _, begins = event_steps.crossings((scores >= point.on).astype(np.int64), True, 1)
    _, ends = event_steps.crossings((scores >= point.off).astype(np.int64), False, 1)
    first, stop = np.empty_like(begins), np.empty_like(begins)
    count = event_steps.between(begins, ends, first, stop)
    return first[:count], stop[:count]


def shape_intervals(intervals: Intervals, settings: Detection) -> Intervals:
    """What opening, closing and merging make of the intervals that two thresholds give.

    Opening drops intervals shorter than ``opening_s``, closing fills gaps shorter than
    ``closing_s`` (morphology by flat elements; the recording's ends are no gaps), and intervals
    with a gap of at most ``merge_gap_s`` are joined.
    """
    first, stop = intervals[0].copy(), intervals[1].copy()
    count = event_steps.shape(
        first, stop, first.size, settings.opening_s, settings.closing_s, settings.merge_gap_s
    )
    return first[:count], stop[:count]


def to_spans(intervals: Intervals, duration_s: float, settings: Detection) -> Spans:
    """Events, (start, stop) in seconds: intervals long enough, and cut where too long."""
    first, stop = intervals
    longest_s = math.inf if settings.max_duration_s is None else settings.max_duration_s
    start_s, stop_s = np.empty((2, event_steps.room(first, stop, first.size, longest_s)))
    count = event_steps.time(
        first,
        stop,
        first.size,
        float(duration_s),
        settings.min_duration_s,
        longest_s,
        start_s,
        stop_s,
        0,
    )
    return list(zip(start_s[:count].tolist(), stop_s[:count].tolist(), strict=True))


def confidences(
    scores: Scores,
    spans: Spans,
    kind: Literal["mean", "max"] = "mean",
    first_frame: int = 0,
) -> list[float]:
    """Mean, or highest, probability of the frames that each of some events touches, in 0 to 1.

    ``first_frame`` is the recording's frame at which ``scores`` begin.
    """
    pick = np.mean if kind == "mean" else np.max
    edges = [(int(start * FRAME_HZ), int(np.ceil(stop * FRAME_HZ))) for start, stop in spans]
    return [float(pick(sigmoid(scores[a - first_frame : b - first_frame]))) for a, b in edges]
