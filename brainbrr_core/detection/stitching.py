"""Overlapping windows become one row of scores for the whole recording.

The scores are logits: where windows overlap their logits are averaged, so that a network whose
logits are all multiplied, or moved, gives the same order of frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.constants import FRAME_SAMPLES
from brainbrr_core.errors import BrainbrrError

Stitching = Literal["average", "triangular", "max"]


def check_finite(scores: NDArray[np.float32], where: str) -> None:
    """Raise :class:`BrainbrrError` where a network's scores have NaN or infinity.

    ``where`` names, in the message, the recording that they are of.
    """
    finite = np.isfinite(scores)
    if not finite.all():
        raise BrainbrrError(
            f"{where}: the network gives NaN or infinity for {scores.size - int(finite.sum()):,} "
            f"of {scores.size:,} scores: correct its forward pass, where something may be divided "
            "by the spread of a flat channel, or leave the recording out"
        )


def frame_count(samples: int) -> int:
    """Frames of a recording; the last one may cover fewer samples than the others."""
    return -(-samples // FRAME_SAMPLES)


def window_starts(samples: int, window: int, stride: int) -> list[int]:
    """First samples of the windows that cover a recording, rising.

    The last window ends with the recording, so nothing is padded, except in a recording that is
    shorter than a window: that has one window, at 0, which reaches beyond its end.

    Parameters
    ----------
    samples : int
        Length of the recording at 256 Hz.
    window, stride : int
        Length of a window, and distance from one to the next, in samples.

    Returns
    -------
    list of int
        The first sample of each window.

    Raises
    ------
    ValueError
        Where a number is below 1, or the stride is longer than the window.
    """
    if min(samples, window, stride) < 1:
        raise ValueError(f"{samples} samples, window {window} and stride {stride} must be positive")
    if stride > window:
        raise ValueError(f"a stride of {stride} samples leaves gaps between windows of {window}")
    last = max(samples - window, 0)
    return [*range(0, last, stride), last]


class Stitcher:
    """Overlapping windows, one after the other, become the frames of a recording.

    Where windows overlap, a sample's score is the ``average`` of theirs, or their average
    weighted by a triangle that is highest in a window's middle, where the network sees both sides
    (``triangular``), or the highest of them (``max``). A frame is the mean of its samples.
    Only one window's samples are in memory at a time, however long the recording is.

    Parameters
    ----------
    window : int
        Length of a window in samples at 256 Hz.
    stitching : {"average", "triangular", "max"}
        How the scores of overlapping windows are combined.
    """

    def __init__(self, window: int, stitching: Stitching = "triangular") -> None:
        self._window, self._stitching = window, stitching
        if stitching == "triangular":
            rising, falling = np.arange(1, window + 1), np.arange(window, 0, -1)
            self._weight = np.minimum(rising, falling).astype(np.float64)
        else:
            self._weight = np.ones(window)
        self._nothing = -np.inf if stitching == "max" else 0.0
        self._held = np.full(window, self._nothing)
        self._weights = np.zeros(window, dtype=np.float64)
        self._start = 0
        #: The sum of the samples so far of the first frame that is not complete.
        self._open = np.zeros(1)

    def add(self, start: int, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Take the window at sample ``start``; give the frames that no later one changes.

        Windows come in rising order, the first one at 0, and leave no gap. Raises ``ValueError``
        where they do not, or where ``scores`` are not ``(window,)``.
        """
        if scores.shape != (self._window,):
            raise ValueError(f"a window has {scores.shape} scores, not {self._window}")
        if not self._start <= start <= self._start + self._window or (
            start and not self._weights.any()
        ):
            raise ValueError(f"a window at sample {start} does not follow one at {self._start}")
        frames = self._up_to(start)
        if self._stitching == "max":
            np.maximum(self._held, scores, out=self._held)
            self._weights[:] = 1.0
        else:
            # Infinities of both signs are told by check_finite, with the name of the recording.
            with np.errstate(invalid="ignore"):
                self._held += self._weight * scores
            self._weights += self._weight
        return frames

    def finish(self, samples: int) -> NDArray[np.float32]:
        """The remaining frames of a recording of ``samples``; the last one may be shorter."""
        frames = self._up_to(samples)
        rest = samples % FRAME_SAMPLES
        return np.append(frames, (self._open / rest).astype(np.float32)) if rest else frames

    def _up_to(self, stop: int) -> NDArray[np.float32]:
        """Complete frames before sample ``stop``: no later window reaches back before it."""
        final = stop - self._start
        if not final:
            return np.empty(0, np.float32)
        first = self._start // FRAME_SAMPLES
        sums = np.zeros(frame_count(stop) - first)
        sums[0] = self._open[0]
        samples = self._held[:final] / self._weights[:final]
        edges = np.arange(first + 1, first + sums.size) * FRAME_SAMPLES - self._start
        with np.errstate(invalid="ignore"):
            sums += np.add.reduceat(samples, np.concatenate([[0], edges]))
        whole = stop // FRAME_SAMPLES - first
        self._open = sums[whole:] if whole < sums.size else np.zeros(1)
        self._held = _shift(self._held, final, self._nothing)
        self._weights = _shift(self._weights, final, 0.0)
        self._start = stop
        return (sums[:whole] / FRAME_SAMPLES).astype(np.float32)


class RecordingStitcher:
    """The frames of one recording, from the scores of its windows in the order of ``starts``.

    :class:`Stitcher` says what becomes of them.
    """

    def __init__(
        self, samples: int, window: int, stride: int, stitching: Stitching = "triangular"
    ) -> None:
        self._samples = samples
        #: First samples of the windows (:func:`window_starts`).
        self.starts = window_starts(samples, window, stride)
        self._stitcher = Stitcher(window, stitching)
        self._frames: list[NDArray[np.float32]] = []

    @property
    def share(self) -> float:
        """Which share of the windows was taken."""
        return len(self._frames) / len(self.starts)

    @property
    def complete(self) -> bool:
        """Whether every window was taken."""
        return len(self._frames) == len(self.starts)

    def take(self, scores: NDArray[np.floating]) -> None:
        """Take the scores (window,) of the next window; ``ValueError`` for another length."""
        self._frames.append(self._stitcher.add(self.starts[len(self._frames)], scores))

    def frames(self) -> NDArray[np.float32]:
        """Scores of the frames, float32 ``(ceil(samples / 32),)``, once it is complete."""
        if not self.complete:
            raise ValueError(f"{len(self._frames)} of {len(self.starts)} windows were scored")
        return np.concatenate([*self._frames, self._stitcher.finish(self._samples)])


def stitch(
    network_scores: Iterable[NDArray[np.floating]],
    samples: int,
    window: int,
    stride: int,
    stitching: Stitching = "triangular",
) -> NDArray[np.float32]:
    """Scores of a recording's frames from those of its windows' samples.

    Parameters
    ----------
    network_scores : iterable of array, shape (window,)
        Scores of the samples of each window, in the order of :func:`window_starts`.
    samples : int
        Length of the recording at 256 Hz.
    window, stride : int
        Length of a window, and distance from one to the next, in samples.
    stitching : {"average", "triangular", "max"}
        How overlapping windows are combined (:class:`Stitcher`).

    Returns
    -------
    array of float32, shape (ceil(samples / 32),)
        A score for each frame of 1/8 s.

    Raises
    ------
    ValueError
        Where the number of windows or the length of one is wrong.
    """
    recording = RecordingStitcher(samples, window, stride, stitching)
    for _, scores in zip(recording.starts, network_scores, strict=True):
        recording.take(scores)
    return recording.frames()


def _shift(values: NDArray[np.float64], by: int, fill: float) -> NDArray[np.float64]:
    shifted = np.full_like(values, fill)
    shifted[: max(values.size - by, 0)] = values[by:]
    return shifted
