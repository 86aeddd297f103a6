"""The signal chain of version 1, from µV at any rate to 16-bit blocks at 256 Hz.

Resample, band-pass, notch, interpolate missing electrodes, z-score per channel over
the recording, clip. Memory is bounded whatever the recording's length: the chain runs over
minutes of signal, once for the mean and deviation and, for recordings too long to keep, a
second time for the samples. With a mean and deviation that are given, it runs once, and over
seconds of signal, as ``signal.stream`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.configuration.model import BLOCK_S
from brainbrr_core.signal.filters import filter_in_place, sections, steady_state
from brainbrr_core.signal.interpolation import interpolation_weights
from brainbrr_core.signal.montage import CHANNELS
from brainbrr_core.signal.quantization import SCALE, add_moments, quantize
from brainbrr_core.signal.resampling import BlockResampler, InterpolatingResampler, design

#: A person bumps this when the chain's output changes though its parameters do not.
ALGORITHM_VERSION = 1
_CHUNK_BLOCKS = 6
#: Samples at 256 Hz that are made at a time where the mean and deviation are given.
STREAM_STEP = 2560
#: Filtered signal kept in memory between the two passes, in bytes; longer ones run twice.
_KEEP_BYTES = 150_000_000


class SignalSource(Protocol):
    """A recording's raw signal: the electrodes it has, in the order of ``CHANNELS``."""

    @property
    def rate(self) -> Fraction:
        """Samples per second."""

    @property
    def samples(self) -> int:
        """Samples per channel."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes to be interpolated."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the present channels, (channels, n).

        In µV from each channel's first sample. The band-pass removes a constant anyway and starts
        from its steady state; without an electrode's offset, float32 is exact enough.
        """


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation in µV, per channel (19,), after the filters."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, filtered: Iterable[NDArray[np.float32]], samples: int) -> Statistics:
        """Those of the first ``samples`` of a signal (19, n) that comes in pieces."""
        sums = np.zeros((len(CHANNELS), 2))
        counted = 0
        for piece in filtered:
            taken = piece[:, : samples - counted]
            add_moments(np.ascontiguousarray(taken), sums)
            counted += taken.shape[1]
            if counted == samples:
                break
        mean, square = sums.T / max(counted, 1)
        return cls(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


class Filtering:
    """From raw samples to filtered µV of all 19 channels, in steps of a fixed length.

    ``step`` is the number of outputs at 256 Hz that are made at a time: at least the number that
    is asked for, in whole periods of the resampler. The products of the resampler depend on it in
    their last bits, so what must be equal must have the same step. A last, shorter step is made of
    products of the same size, too: BLAS takes another way for those of one row, whose last bits
    depend on where in memory the samples lie.
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
        self._present = [n for n, name in enumerate(CHANNELS) if name not in missing]
        self._absent = [n for n, name in enumerate(CHANNELS) if name in missing]
        self._weights = interpolation_weights(missing) if self._absent else None
        self._state: NDArray[np.float64] | None = None
        self._made = 0
        self.step = -(-step // self._blocks.period) * self._blocks.period

    def output_samples(self, input_samples: int) -> int:
        """Samples at 256 Hz that lie within the input."""
        return self._resampler.output_samples(input_samples)

    def input_range(self, first: int, count: int) -> tuple[int, int]:
        """Raw samples needed for ``count`` outputs from ``first``, a multiple of ``step``."""
        return self._blocks.input_range(first, count)

    def apply(self, raw: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """The next ``count`` outputs (19, count), from the raw samples of :meth:`input_range`."""
        resampled = self._resampled(raw, count)
        self._made += count
        if self._state is None:
            self._state = steady_state(self._settings, resampled[:, 0].astype(np.float64))
        filter_in_place(resampled, sections(self._settings), self._state)
        if self._weights is None:
            return resampled
        filtered = np.empty((len(CHANNELS), count), np.float32)
        filtered[self._present] = resampled
        filtered[self._absent] = self._weights @ resampled
        return filtered

    def _resampled(self, raw: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if isinstance(self._blocks, InterpolatingResampler):
            return self._blocks.apply(raw, self._made, count)
        if count < self.step:
            start, stop = self._blocks.input_range(0, self.step)
            raw = np.pad(raw, ((0, 0), (0, stop - start - raw.shape[1])))
        return np.ascontiguousarray(self._blocks.apply(raw, self.step)[:, :count])


def filtered(
    source: SignalSource, settings: Preprocessing, step: int
) -> Iterator[NDArray[np.float32]]:
    """Filtered signal of all 19 channels in µV, ``step`` samples (or a few more) at a time."""
    filtering = Filtering(source.rate, source.missing, settings, step)
    samples = filtering.output_samples(source.samples)
    for first in range(0, samples, filtering.step):
        count = min(filtering.step, samples - first)
        yield filtering.apply(read_reflected(source, *filtering.input_range(first, count)), count)


class Quantizer:
    """From filtered µV to stored samples, with a fixed mean and deviation."""

    def __init__(self, statistics: Statistics, settings: Preprocessing) -> None:
        # A flat channel has no deviation: it is stored as zero.
        self._factor = np.divide(
            1.0,
            statistics.deviation * SCALE,
            out=np.zeros(len(CHANNELS)),
            where=statistics.deviation > 0,
        ).astype(np.float32)
        self._mean = statistics.mean.astype(np.float32)
        self._limit = round(settings.clip_sd / SCALE)
        self._block_samples = BLOCK_S * settings.rate_hz

    def apply(self, filtered: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
        """Blocks (n, 19, 2560), the last one padded with zeros, and how many samples it clipped."""
        count = -(-filtered.shape[1] // self._block_samples)
        blocks = np.zeros((count, len(CHANNELS), self._block_samples), np.int16)
        return blocks, quantize(filtered, self._mean, self._factor, self._limit, blocks)


class Chain:
    """The chain over one recording.

    ``samples`` is the length at 256 Hz, ``blocks`` the number of stored 10 s blocks, the last
    one padded with zeros. ``statistics`` replaces the recording's own mean and deviation.
    """

    def __init__(
        self, source: SignalSource, settings: Preprocessing, statistics: Statistics | None = None
    ) -> None:
        self._source, self._settings = source, settings
        self.samples = design(source.rate, settings.rate_hz).output_samples(source.samples)
        self.block_samples = BLOCK_S * settings.rate_hz
        self.blocks = -(-self.samples // self.block_samples)
        self._kept: list[NDArray[np.float32]] | None = None
        self._fixed = statistics is not None
        self.statistics = statistics if statistics is not None else self._measure()

    def quantized(self) -> Iterator[tuple[NDArray[np.int16], int]]:
        """The stored samples, (blocks, 19, 2560) int16, some blocks at a time.

        With each, the number of samples that were clipped.
        """
        quantizer = Quantizer(self.statistics, self._settings)
        for chunk in self._kept if self._kept is not None else self._chunks():
            yield quantizer.apply(chunk)

    def _chunks(self) -> Iterator[NDArray[np.float32]]:
        """Filtered signal, some whole blocks of it at a time."""
        size = _CHUNK_BLOCKS * self.block_samples
        step = STREAM_STEP if self._fixed else size
        return joined(filtered(self._source, self._settings, step), size)

    def _measure(self) -> Statistics:
        keep = self.samples * len(CHANNELS) * 4 <= _KEEP_BYTES
        kept: list[NDArray[np.float32]] = []

        def chunks() -> Iterator[NDArray[np.float32]]:
            for chunk in self._chunks():
                if keep:
                    kept.append(chunk)
                yield chunk

        statistics = Statistics.of(chunks(), self.samples)
        self._kept = kept if keep else None
        return statistics


def joined(pieces: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """A signal (channels, n) that comes in pieces, in pieces of ``length`` and a last one."""
    held: list[NDArray[np.float32]] = []
    size = 0
    for piece in pieces:
        if not held and piece.shape[1] == length:
            yield piece
            continue
        held.append(piece)
        size += piece.shape[1]
        if size >= length:
            signal = np.concatenate(held, axis=1)
            for start in range(0, size - length + 1, length):
                yield np.ascontiguousarray(signal[:, start : start + length])
            rest = signal[:, size - size % length :]
            held, size = ([rest], rest.shape[1]) if rest.shape[1] else ([], 0)
    if held:
        yield np.concatenate(held, axis=1)


def read_reflected(source: SignalSource, start: int, stop: int) -> NDArray[np.float32]:
    """Samples ``start`` to ``stop`` of a source, extended at both ends by odd reflection."""
    samples = source.samples
    parts = []
    if start < 0:
        # The first sample is zero (SignalSource.read), so its reflection is a change of sign.
        parts.append(-source.read(1, min(1 - start, samples))[:, ::-1])
    parts.append(source.read(max(start, 0), min(stop, samples)))
    if stop > samples:
        last = source.read(samples - 1, samples)
        parts.append(2 * last - source.read(max(2 * samples - 1 - stop, 0), samples - 1)[:, ::-1])
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    # Outputs of the last period that lie past the recording's end are thrown away: what they are
    # made of must exist, but does not matter.
    beyond = stop - start - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, beyond))) if beyond else signal
