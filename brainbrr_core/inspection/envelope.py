"""The lowest and highest value of a signal in each small step of time, as a screen shows it."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.source import Digital

#: Steps per second, the finest first, and how many values a page with that resolution may have. A
#: value takes some 0.8 bytes. An hour of 19 channels, raw and preprocessed, gets 32 steps per
#: second, twenty minutes get 64.
BINS_PER_S = {
    256: 6_000_000,
    128: 6_000_000,
    64: 12_000_000,
    32: 12_000_000,
    16: 12_000_000,
    8: 12_000_000,
    4: 12_000_000,
    2: 12_000_000,
    1: 12_000_000,
}
#: Resolution of a channel's usual range within a second. A row on a screen is some 30 pixels high.
_STEPS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """``low`` and ``high`` (bins,) int16 of a signal, with ``bins_per_s`` bins per second.

    A value ``n`` stands for ``center + n * step`` in ``unit``. ``usual`` is the median over the
    range of each second, in ``unit``.
    """

    low: NDArray[np.int16]
    high: NDArray[np.int16]
    bins_per_s: Fraction
    step: float
    center: float
    usual: float
    unit: str

    def packed(self) -> str:
        """Four planes of bytes, (4, bins), compressed with gzip and encoded in Base64.

        The planes are the low and high byte of the zigzag-coded difference between each ``low`` and
        the one before, and the low and high byte of ``high - low``.
        """
        low = self.low.view(np.uint16)
        delta = np.diff(low, prepend=np.uint16(0)).view(np.int16)
        zigzag = ((delta << 1) ^ (delta >> 15)).view(np.uint16)
        height = self.high.view(np.uint16) - low
        planes = [byte.astype(np.uint8) for x in (zigzag, height) for byte in (x & 255, x >> 8)]
        compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
        packed = compressor.compress(np.concatenate(planes).tobytes()) + compressor.flush()
        return base64.b64encode(packed).decode("ascii")


def finest(rows: int, seconds: float) -> int:
    """The finest steps per second with which ``rows`` signals of ``seconds`` fit into a page."""
    for bins, most in BINS_PER_S.items():
        if 2 * rows * seconds * bins <= most:
            return bins
    return min(BINS_PER_S)


class EnvelopeBuilder:
    """Builds the envelope of an interval of a signal, which is added in chunks.

    ``rate`` is in samples per second. The interval has the samples from ``first`` up to ``stop``.
    ``bins_per_s`` is lowered to the rate where it is higher. ``kind`` is the type of the samples.
    """

    def __init__(
        self,
        rate: Fraction,
        first: int,
        stop: int,
        bins_per_s: int,
        kind: type[np.int16] | type[np.int32] = np.int16,
    ) -> None:
        self.rate, self.first, self.stop = rate, first, stop
        self.bins_per_s = min(Fraction(bins_per_s), rate)
        self._per_bin = rate / self.bins_per_s
        bins = int((stop - first - 1) / self._per_bin) + 1 if stop > first else 0
        limits = np.iinfo(kind)
        self._low = np.full(bins, limits.max, kind)
        self._high = np.full(bins, limits.min, kind)

    def add(self, samples: NDArray[Digital], position: int) -> None:
        """Add ``samples`` (n,), the first of which is sample ``position`` of the signal."""
        begin, end = max(position, self.first), min(position + len(samples), self.stop)
        if end <= begin:
            return
        wanted = samples[begin - position : end - position]
        begin, end = begin - self.first, end - self.first
        per_bin = self._per_bin
        bins = np.arange(int(begin / per_bin), int((end - 1) / per_bin) + 1)
        # The first sample of a bin is the first integer at or after its start.
        starts = -(-bins * per_bin.numerator // per_bin.denominator) - begin
        starts[0] = 0
        low, high = self._low[bins[0] : bins[-1] + 1], self._high[bins[0] : bins[-1] + 1]
        np.minimum(low, np.minimum.reduceat(wanted, starts), out=low)
        np.maximum(high, np.maximum.reduceat(wanted, starts), out=high)

    def envelope(self, gain: float, offset: float, unit: str) -> Envelope:
        """The envelope, where ``gain * sample + offset`` is the value in ``unit``."""
        if not len(self._low):
            nothing = np.zeros(0, np.int16)
            return Envelope(nothing, nothing, self.bins_per_s, 1.0, 0.0, 0.0, unit)
        low, high = self._low.astype(np.int64), self._high.astype(np.int64)
        if gain < 0:
            low, high, gain = -high, -low, -gain
        second = np.arange(0, len(low), max(1, round(self.bins_per_s)))
        usual = np.median(np.maximum.reduceat(high, second) - np.minimum.reduceat(low, second))
        center = int(np.median(low + high)) // 2
        widest = max(int(high.max()) - center, center - int(low.min()))
        step = max(1, round(usual / _STEPS), -(-widest // np.iinfo(np.int16).max))
        return Envelope(
            np.rint((low - center) / step).astype(np.int16),
            np.rint((high - center) / step).astype(np.int16),
            self.bins_per_s,
            gain * step,
            gain * center + offset,
            gain * float(usual),
            unit,
        )
