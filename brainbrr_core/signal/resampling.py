"""Rational resampling to 256 Hz by one published linear-phase FIR filter.

The taps are ours and part of the preprocessing version, because two good resamplers differ by
hundredths of a standard deviation. Design: Kaiser window, 90 dB, pass band to 120 Hz (to
0.96 of the source's Nyquist frequency where that is lower), half amplitude at the lower of the
two Nyquist frequencies; each polyphase branch is scaled to pass a constant unchanged, so an
electrode's offset leaves no ripple. The edges are extended by odd reflection
(``signal.edges``).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.signal.products import COLUMNS, banded_products

PASSBAND_HZ = 120.0
STOPBAND_DB = 90.0
#: Part of the Nyquist frequency that passes where that is below ``PASSBAND_HZ``.
PASSBAND_OF_NYQUIST = 0.96
#: What the output follows from, as it stands in the preprocessing version.
DESIGN = {
    "window": "kaiser",
    "passband_hz": PASSBAND_HZ,
    "passband_of_nyquist": PASSBAND_OF_NYQUIST,
    "stopband_db": STOPBAND_DB,
    "sum": "float32, fused, from the first sample on",
}


class UnsupportedRate(ValueError):
    """The sampling rate is no ratio of small numbers to 256 Hz."""


@dataclass(frozen=True)
class Resampler:
    """The filter from one rate to another: ``up`` / ``down`` and the taps at ``up`` x rate."""

    up: int
    down: int
    taps: NDArray[np.float64]

    @property
    def reach(self) -> int:
        """Input samples the filter sees on each side of an output sample."""
        return (len(self.taps) // 2) // self.up + 1

    def output_samples(self, input_samples: int) -> int:
        """Samples at the new rate that lie within the input."""
        return input_samples * self.up // self.down


def passband_hz(rate: float) -> float:
    """Highest frequency of a source at ``rate`` Hz that reaches the output unchanged."""
    return min(PASSBAND_HZ, PASSBAND_OF_NYQUIST * min(rate, 256.0) / 2)


@lru_cache(maxsize=32)
def design(rate: Fraction, target: int = 256) -> Resampler:
    """The resampler from ``rate`` to ``target`` Hz.

    Raises :class:`UnsupportedRate` when ``target / rate`` has a numerator above 2,560.
    """
    ratio = Fraction(target) / rate
    up, down = ratio.numerator, ratio.denominator
    if up > 10 * target or not 1 <= rate <= 100_000:
        raise UnsupportedRate(f"{float(rate):g} Hz")
    if up == down:
        return Resampler(1, 1, np.ones(1))
    nyquist = min(float(rate), float(target)) / 2
    width = 2 * (nyquist - passband_hz(float(rate)))
    filter_rate = float(rate) * up
    # Kaiser's formula for the length; scipy.signal.kaiserord gives the same.
    length = (STOPBAND_DB - 7.95) / (2.285 * 2 * np.pi * width / filter_rate)
    half = int(np.ceil(length / 2))
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    n = np.arange(-half, half + 1)
    taps = np.sinc(2 * nyquist / filter_rate * n) * np.kaiser(2 * half + 1, beta)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    taps.flags.writeable = False
    return Resampler(up, down, taps)


@dataclass(frozen=True)
class _Product:
    """One matrix of the block product: where its inputs start, and how many outputs it makes."""

    first_input: int
    outputs: int
    matrix: NDArray[np.float32]


class BlockResampler:
    """Applies a :class:`Resampler` as products with small banded matrices.

    ``period`` outputs come from ``step`` inputs; each is made by one matrix of ``COLUMNS``
    outputs, the same for every period. An output is the same to the last bit whatever else is made
    with it, and on every processor.
    """

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        repeat = -(-COLUMNS // resampler.up)
        self.period = resampler.up * repeat
        self.step = resampler.down * repeat
        self._products = [
            self._product(first, min(first + COLUMNS, self.period))
            for first in range(0, self.period, COLUMNS)
        ]

    def _product(self, first: int, stop: int) -> _Product:
        up, down, taps = self._resampler.up, self._resampler.down, self._resampler.taps
        half = len(taps) // 2
        outputs = np.arange(first, stop)
        lowest = -((half - first * down) // up)
        highest = ((stop - 1) * down + half) // up
        inputs = np.arange(lowest, highest + 1)
        index = outputs * down + half - inputs[:, None] * up
        inside = (index >= 0) & (index < len(taps))
        matrix = np.where(inside, taps[np.clip(index, 0, len(taps) - 1)], 0.0)
        wide = np.zeros((len(matrix), COLUMNS), np.float32)
        wide[:, : len(outputs)] = matrix
        return _Product(lowest, len(outputs), wide)

    def input_range(self, first_output: int, outputs: int) -> tuple[int, int]:
        """Input samples needed for ``outputs`` outputs from ``first_output``, a period's start."""
        periods = -(-outputs // self.period)
        start = first_output // self.period * self.step
        lowest = min(product.first_input for product in self._products)
        highest = max(product.first_input + len(product.matrix) for product in self._products)
        return start + lowest, start + (periods - 1) * self.step + highest

    def apply(self, signal: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
        """Resample ``signal`` (channels, the samples of :meth:`input_range`) to ``outputs``."""
        if self._resampler.up == self._resampler.down:
            return signal[:, :outputs]
        signal = np.ascontiguousarray(signal)
        channels = len(signal)
        periods = -(-outputs // self.period)
        lowest = min(product.first_input for product in self._products)
        resampled = np.empty((channels, periods, self.period), np.float32)
        for number, product in enumerate(self._products):
            banded_products(
                signal,
                product.first_input - lowest,
                self.step,
                product.matrix,
                product.outputs,
                resampled,
                number * COLUMNS,
            )
        return resampled.reshape(channels, -1)[:, :outputs]
