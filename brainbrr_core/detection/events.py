"""Probabilities become events: smoothing, two thresholds, gaps, shortest duration.

Pure functions of arrays. A frame ``i`` covers the seconds ``i / 8`` to ``(i + 1) / 8``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection.stitching import FRAME_HZ

Floats = NDArray[np.floating]
Indices = NDArray[np.intp]


def detect(
    probabilities: NDArray[np.float32],
    duration_s: float,
    settings: Detection,
    on_threshold: float | None = None,
) -> list[Event]:
    """Seizures of one recording, sorted and disjoint, with label ``seiz``.

    ``probabilities`` are its frames ``(ceil(duration_s * 8),)``. They are smoothed; an event
    begins where they reach the on-threshold and ends where they fall below the off-threshold
    (on-threshold times ``off_ratio``); gaps of at most ``merge_gap_s`` are closed; then events
    shorter than ``min_duration_s`` are dropped. ``on_threshold`` replaces that of ``settings``.
    An event's confidence is the mean of its probabilities before smoothing.

    Raises ``ValueError`` where the frames do not fit the duration or are not finite.
    """
    if abs(len(probabilities) - duration_s * FRAME_HZ) > FRAME_HZ:
        raise ValueError(
            f"{len(probabilities)} frames of 1/{FRAME_HZ} s do not fit a recording of "
            f"{duration_s:g} s"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    on = settings.on_threshold if on_threshold is None else on_threshold
    smoothed = smooth(probabilities, settings.smooth_s)
    first, stop = hysteresis(smoothed, on, on * settings.off_ratio)
    first, stop = _merged(first, stop, settings.merge_gap_s)
    sums = np.concatenate([[0.0], np.cumsum(probabilities, dtype=np.float64)])
    events = []
    for begin, end in zip(first.tolist(), stop.tolist(), strict=True):
        start_s, stop_s = begin / FRAME_HZ, min(end / FRAME_HZ, duration_s)
        if stop_s > start_s and stop_s - start_s >= settings.min_duration_s:
            confidence = min(max((sums[end] - sums[begin]) / (end - begin), 0.0), 1.0)
            events.append(Event(start_s, stop_s, "seiz", float(confidence)))
    return events


def smooth(probabilities: Floats, smooth_s: float) -> NDArray[np.float64]:
    """Centred moving average over ``smooth_s`` seconds, to the nearest odd number of frames.

    At the ends it is the average of the frames that exist.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    half = round(smooth_s * FRAME_HZ / 2)
    if half == 0 or not values.size:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(values.size)
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, values.size)
    averages: NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)
    return averages


def hysteresis(probabilities: Floats, on: float, off: float) -> tuple[Indices, Indices]:
    """First frames and frames after the last of the stretches above a double threshold.

    A stretch begins at a frame of at least ``on`` and lasts while frames are at least ``off``.
    Raises ``ValueError`` where ``off`` is above ``on``.
    """
    if off > on:
        raise ValueError(f"the off-threshold {off:g} is above the on-threshold {on:g}")
    above = np.concatenate([[False], probabilities >= off, [False]])
    changes = np.flatnonzero(above[1:] != above[:-1])
    run_first, run_stop = changes[::2], changes[1::2]
    starting = np.flatnonzero(probabilities >= on)
    # Of each run of frames above the off-threshold, the first that reaches the on-threshold.
    position = np.searchsorted(starting, run_first)
    reached = position < np.searchsorted(starting, run_stop)
    return starting[position[reached]], run_stop[reached]


def _merged(first: Indices, stop: Indices, gap_s: float) -> tuple[Indices, Indices]:
    """Stretches, those with a gap of at most ``gap_s`` joined."""
    if not first.size:
        return first, stop
    apart = (first[1:] - stop[:-1]) / FRAME_HZ > gap_s
    return first[np.append(True, apart)], stop[np.append(apart, True)]
