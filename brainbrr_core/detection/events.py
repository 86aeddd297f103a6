"""Probabilities become events: smoothing, two thresholds, morphology, gaps, durations.

Pure functions of arrays, one for each step. A frame ``i`` covers the seconds ``i / 8`` to
``(i + 1) / 8``; stretches are two arrays, first frames and frames after the last, both rising.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection.stitching import FRAME_HZ

Floats = NDArray[np.floating]
Indices = NDArray[np.intp]
Stretches = tuple[Indices, Indices]
Spans = list[tuple[float, float]]


def detect(
    probabilities: NDArray[np.float32],
    duration_s: float,
    settings: Detection,
    on_threshold: float | None = None,
) -> list[Event]:
    """Seizures of one recording, sorted and disjoint, with label ``seiz``.

    ``probabilities`` are its frames ``(ceil(duration_s * 8),)``. They are smoothed; an event
    begins where they reach the on-threshold and ends where they fall below the off-threshold
    (on-threshold times ``off_ratio``); then the settings' steps follow in their order.
    ``on_threshold`` replaces that of ``settings``. An event's confidence is the mean (or the
    highest) of its probabilities before smoothing.

    Raises ``ValueError`` where the frames do not fit the duration or are not finite.
    """
    on = settings.on_threshold if on_threshold is None else on_threshold
    spans = finder(probabilities, duration_s, settings)(on)
    certain = confidences(probabilities, spans, settings.confidence)
    return [
        Event(start, stop, "seiz", value)
        for (start, stop), value in zip(spans, certain, strict=True)
    ]


def finder(
    probabilities: NDArray[np.float32], duration_s: float, settings: Detection
) -> Callable[[float], Spans]:
    """What gives a recording's events, (start, stop) in seconds, at any on-threshold.

    What does not depend on the threshold is done once. Raises as :func:`detect`.
    """
    if abs(len(probabilities) - duration_s * FRAME_HZ) > FRAME_HZ:
        raise ValueError(
            f"{len(probabilities)} frames of 1/{FRAME_HZ} s do not fit a recording of "
            f"{duration_s:g} s"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    smoothed = smooth(probabilities, settings.smooth_s)

    def spans_at(on: float) -> Spans:
        found = shaped(hysteresis(smoothed, on, on * settings.off_ratio), settings)
        return timed(found, duration_s, settings)

    return spans_at


def shaped(stretches: Stretches, settings: Detection) -> Stretches:
    """What opening, closing and merging make of the stretches that two thresholds give."""
    if settings.opening_s:
        stretches = opening(stretches, settings.opening_s)
    if settings.closing_s:
        stretches = closing(stretches, settings.closing_s)
    return merge(stretches, settings.merge_gap_s)


def timed(stretches: Stretches, duration_s: float, settings: Detection) -> Spans:
    """Events, (start, stop) in seconds: stretches long enough, and cut where too long."""
    first, stop = stretches
    start_s, stop_s = first / FRAME_HZ, np.minimum(stop / FRAME_HZ, duration_s)
    long_enough = (stop_s > start_s) & (stop_s - start_s >= settings.min_duration_s)
    start_s, stop_s = start_s[long_enough], stop_s[long_enough]
    if settings.max_duration_s is not None:
        start_s, stop_s = cut(start_s, stop_s, settings.max_duration_s)
    return list(zip(start_s.tolist(), stop_s.tolist(), strict=True))


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


def hysteresis(probabilities: Floats, on: float, off: float) -> Stretches:
    """First frames and frames after the last of the stretches above a double threshold.

    A stretch begins at a frame of at least ``on`` and lasts while frames are at least ``off``.
    Raises ``ValueError`` where ``off`` is above ``on``.
    """
    if off > on:
        raise ValueError(f"the off-threshold {off:g} is above the on-threshold {on:g}")
    starting = np.flatnonzero(probabilities >= on)
    if not starting.size:
        return starting, starting
    above = np.concatenate([[False], probabilities >= off, [False]])
    changes = np.flatnonzero(above[1:] != above[:-1])
    run_first, run_stop = changes[::2], changes[1::2]
    # Of each run of frames above the off-threshold, the first that reaches the on-threshold.
    position = np.searchsorted(starting, run_first)
    reached = position < np.searchsorted(starting, run_stop)
    return starting[position[reached]], run_stop[reached]


def opening(stretches: Stretches, opening_s: float) -> Stretches:
    """Morphological opening by a flat element of ``opening_s``: shorter stretches are dropped."""
    first, stop = stretches
    kept = (stop - first) / FRAME_HZ >= opening_s
    return first[kept], stop[kept]


def closing(stretches: Stretches, closing_s: float) -> Stretches:
    """Morphological closing by a flat element of ``closing_s``: shorter gaps are filled.

    The recording's ends are no gaps.
    """
    first, stop = stretches
    return _joined(stretches, (first[1:] - stop[:-1]) / FRAME_HZ < closing_s)


def merge(stretches: Stretches, gap_s: float) -> Stretches:
    """Stretches, those with a gap of at most ``gap_s`` joined."""
    first, stop = stretches
    return _joined(stretches, (first[1:] - stop[:-1]) / FRAME_HZ <= gap_s)


def cut(
    start_s: NDArray[np.float64], stop_s: NDArray[np.float64], longest_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Events longer than ``longest_s`` cut into as few equal parts as are not longer."""
    parts = np.maximum(np.ceil((stop_s - start_s) / longest_s), 1).astype(np.intp)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    length = np.repeat((stop_s - start_s) / parts, parts)
    starts = np.repeat(start_s, parts) + number * length
    # A part ends exactly where the next one, or the event, does.
    last = number == np.repeat(parts, parts) - 1
    return starts, np.where(last, np.repeat(stop_s, parts), np.append(starts[1:], 0.0))


def confidences(
    probabilities: Floats,
    spans: Spans,
    kind: Literal["mean", "max"] = "mean",
    first_frame: int = 0,
) -> list[float]:
    """Mean, or highest, probability of the frames that each of some events touches, in 0 to 1.

    ``first_frame`` is the recording's frame at which ``probabilities`` begin.
    """
    frames = np.clip(np.asarray(probabilities, dtype=np.float64), 0.0, 1.0)
    pick = np.mean if kind == "mean" else np.max
    edges = [(int(start * FRAME_HZ), int(np.ceil(stop * FRAME_HZ))) for start, stop in spans]
    return [float(pick(frames[a - first_frame : b - first_frame])) for a, b in edges]


def _joined(stretches: Stretches, join: NDArray[np.bool_]) -> Stretches:
    """Stretches, joined with the next where ``join`` (one shorter than they are) says so."""
    first, stop = stretches
    if not first.size:
        return stretches
    return first[np.append(True, ~join)], stop[np.append(~join, True)]
