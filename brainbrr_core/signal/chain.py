"""The signal chain of version 1, from µV at any rate to 16-bit blocks at 256 Hz.

Resample, band-pass, notch, interpolate missing midline electrodes, z-score per channel over
the recording, clip. Memory is bounded whatever the recording's length: the chain runs over
minutes of signal, once for the mean and deviation and, for recordings too long to keep, a
second time for the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from brainbrr_core.signal.resampling import BlockResampler, design

#: A person bumps this when the chain's output changes though its parameters do not.
ALGORITHM_VERSION = 1
_CHUNK_BLOCKS = 6
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


class Chain:
    """The chain over one recording.

    ``samples`` is the length at 256 Hz, ``blocks`` the number of stored 10 s blocks, the last
    one padded with zeros.
    """

    def __init__(self, source: SignalSource, settings: Preprocessing) -> None:
        self._source, self._settings = source, settings
        self._resampler = design(source.rate, settings.rate_hz)
        self.samples = self._resampler.output_samples(source.samples)
        self.block_samples = BLOCK_S * settings.rate_hz
        self.blocks = -(-self.samples // self.block_samples)
        self._kept: list[NDArray[np.float32]] | None = None
        self.statistics = self._measure()

    def quantized(self) -> Iterator[tuple[NDArray[np.int16], int]]:
        """The stored samples, (blocks, 19, 2560) int16, some blocks at a time.

        With each, the number of samples that were clipped.
        """
        use = self.statistics
        # A flat channel has no deviation: it is stored as zero.
        factor = np.divide(
            1.0, use.deviation * SCALE, out=np.zeros(len(CHANNELS)), where=use.deviation > 0
        ).astype(np.float32)
        mean = use.mean.astype(np.float32)
        limit = round(self._settings.clip_sd / SCALE)
        for chunk in self._kept if self._kept is not None else self._filtered():
            count = -(-chunk.shape[1] // self.block_samples)
            blocks = np.zeros((count, len(CHANNELS), self.block_samples), np.int16)
            yield blocks, quantize(chunk, mean, factor, limit, blocks)

    def _measure(self) -> Statistics:
        keep = self.samples * len(CHANNELS) * 4 <= _KEEP_BYTES
        kept: list[NDArray[np.float32]] = []
        sums = np.zeros((len(CHANNELS), 2))
        for chunk in self._filtered():
            add_moments(chunk, sums)
            if keep:
                kept.append(chunk)
        self._kept = kept if keep else None
        mean, square = sums.T / max(self.samples, 1)
        return Statistics(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))

    def _filtered(self) -> Iterator[NDArray[np.float32]]:
        """Filtered signal of all 19 channels in µV, about a minute at a time."""
        source = self._source
        present = [index for index, name in enumerate(CHANNELS) if name not in source.missing]
        absent = [index for index, name in enumerate(CHANNELS) if name in source.missing]
        weights = interpolation_weights(source.missing) if absent else None
        blocks = BlockResampler(self._resampler)
        reader = _ReflectedReader(source)
        sos = sections(self._settings)
        state: NDArray[np.float64] | None = None
        step = _CHUNK_BLOCKS * self.block_samples
        step = -(-step // blocks.period) * blocks.period
        for first in range(0, self.samples, step):
            count = min(step, self.samples - first)
            raw = reader.read(*blocks.input_range(first, count))
            resampled = np.ascontiguousarray(blocks.apply(raw, count))
            if state is None:
                state = steady_state(self._settings, resampled[:, 0].astype(np.float64))
            filter_in_place(resampled, sos, state)
            if weights is None:
                yield resampled
                continue
            chunk = np.empty((len(CHANNELS), count), np.float32)
            chunk[present] = resampled
            chunk[absent] = weights @ resampled
            yield chunk


class _ReflectedReader:
    """Reads beyond both ends of a source by odd reflection."""

    def __init__(self, source: SignalSource) -> None:
        self._source = source
        self._last = source.read(source.samples - 1, source.samples)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, which may lie outside the recording."""
        samples = self._source.samples
        parts = []
        if start < 0:
            # The first sample is zero (SignalSource.read), so its reflection is a change of sign.
            parts.append(-self._source.read(1, min(1 - start, samples))[:, ::-1])
        parts.append(self._source.read(max(start, 0), min(stop, samples)))
        if stop > samples:
            mirrored = self._source.read(max(2 * samples - 1 - stop, 0), samples - 1)[:, ::-1]
            parts.append(2 * self._last - mirrored)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        # Outputs of the last period that lie past the recording's end are thrown away: what
        # they are made of must exist, but does not matter.
        beyond = stop - start - joined.shape[1]
        return np.pad(joined, ((0, 0), (0, beyond))) if beyond else joined
