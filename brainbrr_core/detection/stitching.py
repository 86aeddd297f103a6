"""Overlapping windows become one row of probabilities for the whole recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Frames per second of a recording's probabilities, and samples of 256 Hz in one frame.
FRAME_HZ = 8
FRAME_SAMPLES = 32
Stitching = Literal["average", "triangular", "max"]


def frame_count(samples: int) -> int:
    """Frames of a recording; the last one may cover fewer samples than the others."""
    return -(-samples // FRAME_SAMPLES)


def window_starts(samples: int, window: int, stride: int) -> list[int]:
    """First samples of the windows that cover a recording, rising.

    The last window ends with the recording, so nothing is padded, except in a recording that is
    shorter than a window: that has one window, at 0, which reaches beyond its end.
    """
    if min(samples, window, stride) < 1:
        raise ValueError(f"{samples} samples, window {window} and stride {stride} must be positive")
    if stride > window:
        raise ValueError(f"a stride of {stride} samples leaves gaps between windows of {window}")
    last = max(samples - window, 0)
    return [*range(0, last, stride), last]


def stitch(
    network_probabilities: Iterable[NDArray[np.floating]],
    samples: int,
    window: int,
    stride: int,
    stitching: Stitching = "triangular",
) -> NDArray[np.float32]:
    """Probabilities of a recording's frames from those of its windows' samples.

    ``network_probabilities`` gives one array ``(window,)`` for each of :func:`window_starts`, in
    their order. Where windows overlap, a sample's probability is the ``average`` of theirs, or
    their average weighted by a triangle that is highest in a window's middle, where the network
    sees both sides (``triangular``), or the highest of them (``max``). A frame is the mean of
    its samples. Returns float32 ``(ceil(samples / 32),)``.

    Only one window's samples are held at a time, however long the recording is.
    Raises ``ValueError`` where the number of windows or the length of one is wrong.
    """
    starts = window_starts(samples, window, stride)
    if stitching == "triangular":
        weight = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1)).astype(np.float64)
    else:
        weight = np.ones(window)
    frames = np.zeros(frame_count(samples), dtype=np.float64)
    held = np.zeros(window, dtype=np.float64)
    weights = np.zeros(window, dtype=np.float64)
    for index, (start, probabilities) in enumerate(zip(starts, network_probabilities, strict=True)):
        if probabilities.shape != (window,):
            raise ValueError(f"a window has {probabilities.shape} probabilities, not {window}")
        if stitching == "max":
            np.maximum(held, probabilities, out=held)
            weights[:] = 1.0
        else:
            held += weight * probabilities
            weights += weight
        following = starts[index + 1] if index + 1 < len(starts) else samples
        # No later window reaches back before its own start: those samples are final.
        final = following - start
        _add_to_frames(frames, start, held[:final] / weights[:final])
        held, weights = _shifted(held, final), _shifted(weights, final)
    sizes = np.full(frames.size, FRAME_SAMPLES)
    sizes[-1] = samples - FRAME_SAMPLES * (frames.size - 1)
    means: NDArray[np.float32] = (frames / sizes).astype(np.float32)
    return means


def _add_to_frames(
    frames: NDArray[np.float64], start: int, probabilities: NDArray[np.float64]
) -> None:
    """Add samples that begin at ``start`` to the sums of the frames they lie in."""
    if not probabilities.size:
        return
    first = start // FRAME_SAMPLES
    edges = np.arange(first + 1, frame_count(start + probabilities.size)) * FRAME_SAMPLES - start
    sums = np.add.reduceat(probabilities, np.concatenate([[0], edges]))
    frames[first : first + sums.size] += sums


def _shifted(values: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    shifted = np.zeros_like(values)
    shifted[: max(values.size - by, 0)] = values[by:]
    return shifted
