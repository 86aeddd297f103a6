"""The signal chain of version 2, from µV at any rate to 16-bit blocks at 256 Hz.

Resample, band-pass, notch, interpolate missing electrodes, z-score per channel over the recording,
clip. Memory is bounded for any length of a recording: the chain runs over minutes of signal, once
for mean and standard deviation (three times for the scale ``robust``) and, for recordings too long
to keep in memory, again for the samples. With given statistics it runs once. Where the settings ask
for a causal z-score, each block has its own statistics (``signal.trailing``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import BLOCK_S
from brainbrr_core.signal.edges import SignalSource, level, read_reflected
from brainbrr_core.signal.filters import at_rest, sections
from brainbrr_core.signal.interpolation import rounded_weights
from brainbrr_core.signal.quantization import SCALE, quantize
from brainbrr_core.signal.resampling import BlockResampler, InterpolatingResampler, design
from brainbrr_core.signal.statistics import Statistics
from brainbrr_core.signal.trailing import TrailingStatistics

#: To be increased by hand when the chain's output changes though its parameters do not.
ALGORITHM_VERSION = 2
_CHUNK_BLOCKS = 6
#: Samples at 256 Hz that are made at a time from a signal that is still being recorded.
STREAM_STEP = 2560
#: Most bytes of filtered signal that are kept between two passes; a longer one is filtered again.
KEEP_BYTES = 150_000_000


class Filtering:
    """From raw samples to filtered µV of all channels of the montage, in steps of a fixed length.

    ``step`` is the number of outputs at 256 Hz that are made at a time, rounded up to whole periods
    of the resampler. It changes no bit of the signal.
    """

    def __init__(
        self, rate: Fraction, missing: tuple[str, ...], settings: Preprocessing, step: int
    ) -> None:
        self._settings = settings
        self._resampler = design(rate, settings.rate_hz)
        self._blocks: BlockResampler | InterpolatingResampler = (
            InterpolatingResampler(self._resampler)
            if self._resampler.is_interpolated
            else BlockResampler(self._resampler)
        )
        names = settings.channels
        self._present = [n for n, name in enumerate(names) if name not in missing]
        self._absent = [n for n, name in enumerate(names) if name in missing]
        self._weights = rounded_weights(missing) if self._absent else None
        self._state = at_rest(settings, len(self._present))
        self._made = 0
        self.step = -(-step // self._blocks.period) * self._blocks.period

    def output_samples(self, input_samples: int) -> int:
        """Samples at 256 Hz that lie within the input."""
        return self._resampler.output_samples(input_samples)

    def input_range(self, first: int, count: int) -> tuple[int, int]:
        """Raw samples needed for ``count`` outputs from ``first``, a multiple of ``step``."""
        return self._blocks.input_range(first, count)

    def apply(self, raw: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """The next outputs (channels, count), from the raw samples of :meth:`input_range`.

        They are µV relative to the level at which the recording begins. ``raw`` may be overwritten.
        """
        # A heavy import, needed only where signals are computed.
        from brainbrr_core.signal.recurrence import filter_in_place

        resampled = self._resampled(raw, count)
        self._made += count
        filter_in_place(resampled, sections(self._settings), self._state)
        if self._weights is None:
            return resampled
        # A heavy import, needed only where signals are computed.
        from brainbrr_core.signal.products import weighted_sums

        filtered = np.empty((len(self._settings.channels), count), np.float32)
        filtered[self._present] = resampled
        made = np.empty((len(self._absent), count), np.float32)
        weighted_sums(self._weights, resampled, made)
        filtered[self._absent] = made
        return filtered

    def _resampled(self, raw: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if isinstance(self._blocks, InterpolatingResampler):
            return self._blocks.apply(raw, self._made, count)
        return np.ascontiguousarray(self._blocks.apply(raw, count))


def filter_signal(
    source: SignalSource, settings: Preprocessing, step: int
) -> Iterator[NDArray[np.float32]]:
    """Resample, filter and interpolate a recording, some seconds at a time.

    Parameters
    ----------
    source : SignalSource
        The recording, at any rate from 100 Hz to 100 kHz.
    settings : Preprocessing
        Band-pass and notch.
    step : int
        Samples at 256 Hz per array, rounded up to whole periods of the resampler. It changes no
        sample.

    Yields
    ------
    array of float32, shape (channels, n)
        Consecutive parts of the signal at 256 Hz in µV, channels in the order of
        ``settings.channels``.

    Raises
    ------
    UnsupportedRate
        For a sampling rate below 100 Hz or above 100 kHz.
    """
    filtering = Filtering(source.rate, source.missing, settings, step)
    samples = filtering.output_samples(source.samples)
    zero = level(source)
    for first in range(0, samples, filtering.step):
        count = min(filtering.step, samples - first)
        raw = read_reflected(source, zero, *filtering.input_range(first, count))
        yield filtering.apply(raw, count)


class Quantizer:
    """From filtered µV to stored samples, with fixed statistics."""

    def __init__(self, statistics: Statistics, settings: Preprocessing) -> None:
        # A flat channel has a standard deviation of zero and is stored as zeros.
        self._factor = np.divide(
            1.0,
            statistics.deviation * SCALE,
            out=np.zeros(len(statistics.deviation)),
            where=statistics.deviation > 0,
        ).astype(np.float32)
        self._mean = statistics.mean.astype(np.float32)
        self._limit = round(settings.clip_sd / SCALE)
        self._block_samples = BLOCK_S * settings.rate_hz

    def apply(self, filtered: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        """Blocks (n, channels, 2560), the last padded with zeros, and their clipped samples."""
        count = -(-filtered.shape[1] // self._block_samples)
        blocks = np.zeros((count, len(filtered), self._block_samples), np.int16)
        clipped = np.empty(blocks.shape[:2], np.int32)
        quantize(filtered, self._mean, self._factor, self._limit, blocks, clipped)
        return blocks, clipped


class Chain:
    """The signal chain over one recording.

    Parameters
    ----------
    source : SignalSource
        The recording, at any rate from 100 Hz to 100 kHz.
    settings : Preprocessing
        Filters, z-score and clipping.
    statistics : Statistics, optional
        Used for the z-score instead of the recording's own. Without it, and where
        ``settings.zscore_minutes`` is set, each 10 s are z-scored by the minutes that end with
        them.

    Attributes
    ----------
    samples : int
        Length in samples at 256 Hz.
    blocks : int
        Number of stored blocks of 10 s, the last one padded with zeros.
    statistics : Statistics
        Those that were given, or else those of the whole recording.

    Raises
    ------
    UnsupportedRate
        For a sampling rate below 100 Hz or above 100 kHz.
    """

    def __init__(
        self, source: SignalSource, settings: Preprocessing, statistics: Statistics | None = None
    ) -> None:
        self._source, self._settings = source, settings
        self.samples = design(source.rate, settings.rate_hz).output_samples(source.samples)
        self.block_samples = BLOCK_S * settings.rate_hz
        self.blocks = -(-self.samples // self.block_samples)
        self._kept: list[NDArray[np.float32]] | None = None
        self._trailing = statistics is None and settings.zscore_minutes is not None
        self.statistics = statistics if statistics is not None else self._measure()

    def quantized(self) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int32]]]:
        """Compute the stored samples, some blocks at a time.

        Yields
        ------
        blocks : array of int16, shape (n, channels, 2560)
            Consecutive blocks of 10 s; one unit is ``SCALE`` standard deviations.
        clipped : array of int32, shape (n, channels)
            How many samples of each block and channel were clipped.
        """
        chunks = self._kept if self._kept is not None else self._chunks()
        if self._trailing:
            yield from self._quantized_by_block(chunks)
            return
        quantizer = Quantizer(self.statistics, self._settings)
        for chunk in chunks:
            yield quantizer.apply(chunk)

    def _quantized_by_block(
        self, chunks: Iterable[NDArray[np.float32]]
    ) -> Iterator[tuple[NDArray[np.int16], NDArray[np.int32]]]:
        trailing = TrailingStatistics(self._settings)
        for chunk in chunks:
            for block, statistics in trailing.push(chunk):
                yield Quantizer(statistics, self._settings).apply(block)
        for block, statistics in trailing.finish():
            yield Quantizer(statistics, self._settings).apply(block)

    def _chunks(self) -> Iterator[NDArray[np.float32]]:
        """The filtered signal, six blocks at a time."""
        size = _CHUNK_BLOCKS * self.block_samples
        return regroup(filter_signal(self._source, self._settings, size), size)

    def _measure(self) -> Statistics:
        pieces = self._chunks
        if self.samples * len(self._settings.channels) * 4 <= KEEP_BYTES:
            chunks = self._kept = list(self._chunks())
            pieces = partial(iter, chunks)
        return Statistics.of_passes(pieces, self.samples, self._settings)


def regroup(pieces: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """Regroup the pieces (channels, n) of a signal into pieces of ``length``, the last shorter."""
    pending: list[NDArray[np.float32]] = []
    size = 0
    for piece in pieces:
        if not pending and piece.shape[1] == length:
            yield piece
            continue
        pending.append(piece)
        size += piece.shape[1]
        if size >= length:
            signal = np.concatenate(pending, axis=1)
            for start in range(0, size - length + 1, length):
                yield np.ascontiguousarray(signal[:, start : start + length])
            rest = signal[:, size - size % length :]
            pending, size = ([rest], rest.shape[1]) if rest.shape[1] else ([], 0)
    if pending:
        yield np.concatenate(pending, axis=1)
