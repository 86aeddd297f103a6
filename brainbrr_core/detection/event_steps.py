"""The steps from thresholds to events, compiled: for one operating point and for thousands.

Intervals of frames are two arrays, first frames and frames after the last, both rising, of which
the first ``count`` entries are in use; a step works in place and returns the new count. A frame
``i`` covers the seconds ``i / 8`` to ``(i + 1) / 8``. What the steps are for is said in
:mod:`brainbrr_core.detection.events`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import FRAME_HZ
from brainbrr_core.machine.compiled import compiled

Frames = NDArray[np.int64]
Floats = NDArray[np.float64]


@compiled
def drop_short(
    first: Frames, stop: Frames, count: int, shortest_s: float
) -> int:  # pragma: no cover - compiled
    """Intervals of at least ``shortest_s``."""
    remaining = 0
    for i in range(count):
        if (stop[i] - first[i]) / FRAME_HZ >= shortest_s:
            first[remaining], stop[remaining] = first[i], stop[i]
            remaining += 1
    return remaining


@compiled
def join(
    first: Frames, stop: Frames, count: int, gap_s: float, inclusive: bool
) -> int:  # pragma: no cover - compiled
    """Intervals, those with a gap below ``gap_s`` (``inclusive``: of at most that) joined."""
    remaining = 0
    for i in range(count):
        gap = (first[i] - stop[remaining - 1]) / FRAME_HZ if remaining else np.inf
        if gap < gap_s or (inclusive and gap == gap_s):
            stop[remaining - 1] = stop[i]
        else:
            first[remaining], stop[remaining] = first[i], stop[i]
            remaining += 1
    return remaining


@compiled
def shape(
    first: Frames,
    stop: Frames,
    count: int,
    opening_s: float,
    closing_s: float,
    merge_gap_s: float,
) -> int:  # pragma: no cover - compiled
    """Opening, closing and merging."""
    if opening_s > 0:
        count = drop_short(first, stop, count, opening_s)
    if closing_s > 0:
        count = join(first, stop, count, closing_s, False)
    return join(first, stop, count, merge_gap_s, True)


@compiled
def parts_of(length_s: float, longest_s: float) -> int:  # pragma: no cover - compiled
    """Into how many pieces an event is cut."""
    return max(int(np.ceil(length_s / longest_s)), 1)


@compiled
def time(
    first: Frames,
    stop: Frames,
    count: int,
    duration_s: float,
    shortest_s: float,
    longest_s: float,
    start_s: Floats,
    stop_s: Floats,
    at: int,
) -> int:  # pragma: no cover - compiled
    """Write the events of some intervals to ``start_s`` and ``stop_s`` from ``at`` on.

    Events shorter than ``shortest_s`` are dropped, those longer than ``longest_s`` are cut into
    as few equal pieces as are not longer. Returns the index after the last; the arrays must have
    the room that :func:`room` states.
    """
    for i in range(count):
        begin, end = first[i] / FRAME_HZ, min(stop[i] / FRAME_HZ, duration_s)
        if end > begin and end - begin >= shortest_s:
            pieces = parts_of(end - begin, longest_s)
            length = (end - begin) / pieces
            for piece in range(pieces):
                start_s[at] = begin + piece * length
                # A piece ends exactly where the next one, or the event, does.
                stop_s[at] = end if piece == pieces - 1 else begin + (piece + 1) * length
                at += 1
    return at


@compiled
def room(
    first: Frames, stop: Frames, count: int, longest_s: float
) -> int:  # pragma: no cover - compiled
    """No fewer entries than :func:`time` writes."""
    needed = 0
    for i in range(count):
        needed += parts_of((stop[i] - first[i]) / FRAME_HZ, longest_s)
    return needed


@compiled
def crossings(
    levels: Frames, rising: bool, points: int
) -> tuple[Frames, Frames]:  # pragma: no cover - compiled
    """Where runs of frames begin (``rising``) or end, for each of ``points`` thresholds.

    ``levels[i]`` is the number of thresholds, from the lowest, that frame ``i`` reaches. Returns
    offsets ``(points + 1,)`` and frames: those of threshold ``k`` are ``offsets[k]`` to
    ``offsets[k + 1]``, rising. The recording is taken to lie between frames that reach none.
    """
    size = levels.shape[0]
    changes = np.zeros(points + 1, dtype=np.int64)
    for i in range(size + 1):
        before = levels[i - 1] if i else 0
        here = levels[i] if i < size else 0
        low, high = (before, here) if rising else (here, before)
        if high > low:
            changes[low] += 1
            changes[high] -= 1
    offsets = np.zeros(points + 1, dtype=np.int64)
    running = 0
    for k in range(points):
        running += changes[k]
        offsets[k + 1] = offsets[k] + running
    frames = np.empty(offsets[points], dtype=np.int64)
    following = offsets[:points].copy()
    for i in range(size + 1):
        before = levels[i - 1] if i else 0
        here = levels[i] if i < size else 0
        low, high = (before, here) if rising else (here, before)
        for k in range(low, high):
            frames[following[k]] = i
            following[k] += 1
    return offsets, frames


@compiled
def between(
    begins: Frames, ends: Frames, first: Frames, stop: Frames
) -> int:  # pragma: no cover - compiled
    """Intervals from a frame that reaches the on-threshold to the end of its run.

    ``begins`` are the first frames of the runs that reach the on-threshold, ``ends`` the frames
    after those that reach the off-threshold. Returns how many are written.
    """
    count, place = 0, 0
    for begin in begins:
        if count and begin < stop[count - 1]:
            continue
        while ends[place] <= begin:
            place += 1
        first[count], stop[count] = begin, ends[place]
        count += 1
    return count


@compiled
def table(
    on_levels: Frames,
    off_levels: Frames,
    points: int,
    duration_s: float,
    opening_s: float,
    closing_s: float,
    merge_gap_s: float,
    shortest_s: float,
    longest_s: float,
) -> tuple[Frames, Floats, Floats]:  # pragma: no cover - compiled
    """The events at every point: offsets ``(points + 1,)``, starts and stops in seconds.

    ``on_levels`` and ``off_levels`` say of each frame how many of the rising on-thresholds, and
    of the off-thresholds that belong to them, it reaches.
    """
    on_offsets, begins = crossings(on_levels, True, points)
    off_offsets, ends = crossings(off_levels, False, points)
    longest = 0
    for k in range(points):
        longest = max(longest, on_offsets[k + 1] - on_offsets[k])
    first, stop = np.empty(longest, dtype=np.int64), np.empty(longest, dtype=np.int64)
    offsets = np.zeros(points + 1, dtype=np.int64)
    start_s, stop_s = np.empty(64), np.empty(64)
    at = 0
    for k in range(points):
        count = between(
            begins[on_offsets[k] : on_offsets[k + 1]],
            ends[off_offsets[k] : off_offsets[k + 1]],
            first,
            stop,
        )
        count = shape(first, stop, count, opening_s, closing_s, merge_gap_s)
        needed = at + room(first, stop, count, longest_s)
        if needed > start_s.shape[0]:
            larger_start, larger_stop = np.empty(2 * needed), np.empty(2 * needed)
            for i in range(at):
                larger_start[i], larger_stop[i] = start_s[i], stop_s[i]
            start_s, stop_s = larger_start, larger_stop
        at = time(first, stop, count, duration_s, shortest_s, longest_s, start_s, stop_s, at)
        offsets[k + 1] = at
    return offsets, start_s[:at].copy(), stop_s[:at].copy()
