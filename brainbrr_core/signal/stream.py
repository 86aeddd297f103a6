"""The signal chain on samples as they arrive: resampled and filtered, causally but for the FIR.

The output equals, to the last bit, that of ``signal.chain.filter_signal`` for the whole recording,
however the samples are divided into pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import STREAM_STEP, Filtering
from brainbrr_core.signal.edges import edge_samples, level, read_reflected


class _Tail:
    """The last samples that have arrived, as ``signal.edges.SignalSource`` reads them."""

    def __init__(self, rate: Fraction, missing: tuple[str, ...]) -> None:
        self.rate, self.missing = rate, missing
        self.samples = 0
        self._first = 0
        self._pieces: list[NDArray[np.float32]] = []

    def append(self, piece: NDArray[np.float32]) -> None:
        self._pieces.append(piece)
        self.samples += piece.shape[1]

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces, axis=1)]
        return self._pieces[0][:, start - self._first : stop - self._first]

    def forget(self, before: int) -> None:
        """Drop the samples before ``before``."""
        if before > self._first:
            self._pieces = [self.read(before, self.samples).copy()]
            self._first = before


class SignalStream:
    """Raw samples in, filtered µV of the montage's channels at 256 Hz out.

    ``missing`` names channels to be interpolated; the others come in the order of
    ``settings.channels``. Memory is bounded by some seconds of signal, and by the pieces that are
    pushed.
    """

    def __init__(self, rate: Fraction, missing: tuple[str, ...], settings: Preprocessing) -> None:
        self._filtering = Filtering(rate, missing, settings, STREAM_STEP)
        self._rate_hz = settings.rate_hz
        self._tail = _Tail(rate, missing)
        self._done = 0
        self._zero: NDArray[np.float32] | None = None
        self._level: NDArray[np.float32] | None = None

    @property
    def delay_s(self) -> float:
        """Seconds of signal that must have arrived after an output before it is made, at most.

        Half of the resampler's filter; and a step, where its end is not that of a block of 10 s,
        at which windows end.
        """
        step = self._filtering.step
        _, stop = self._filtering.input_range(0, step)
        beyond = float(stop / self._tail.rate) - step / self._rate_hz
        return beyond + (0.0 if STREAM_STEP % step == 0 else step / self._rate_hz)

    def push(self, raw: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Add samples (channels, n) in µV; yield the outputs (channels, m) that they complete.

        Values count relative to each channel's first sample, as in ``SignalSource``: a constant
        makes no difference beyond the last bits of float32.
        """
        if not raw.shape[1]:
            return
        if self._zero is None:
            self._zero = raw[:, :1].copy()
        self._tail.append(raw - self._zero)
        step = self._filtering.step
        while True:
            start, stop = self._filtering.input_range(self._done, step)
            # At the beginning the samples are mirrored that lie before it; its level is that of
            # the first second.
            beginning = 1 + edge_samples(self._tail.rate)
            if max(stop, 1 - start, beginning) > self._tail.samples:
                return
            yield self._next(step)
            # What the reflection at the end may need is kept.
            self._tail.forget(start - (stop - start))

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """Yield the remaining outputs: no sample follows."""
        samples = self._filtering.output_samples(self._tail.samples)
        while self._done < samples:
            yield self._next(min(self._filtering.step, samples - self._done))

    def _next(self, count: int) -> NDArray[np.float32]:
        if self._level is None:
            self._level = level(self._tail)
        needed = self._filtering.input_range(self._done, count)
        raw = read_reflected(self._tail, self._level, *needed)
        self._done += count
        return self._filtering.apply(raw, count)
