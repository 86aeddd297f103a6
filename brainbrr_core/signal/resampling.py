"""Rational resampling to 256 Hz by one published linear-phase FIR filter.

The taps are ours and part of the preprocessing version, because two good resamplers differ by
hundredths of a standard deviation. Design: Kaiser window, 90 dB, pass band to 120 Hz (to
0.96 of the source's Nyquist frequency where that is lower), half amplitude at the lower of the
two Nyquist frequencies; each polyphase branch is scaled to pass a constant unchanged, so an
electrode's offset leaves no ripple. The edges are extended by odd reflection.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

PASSBAND_HZ = 120.0
STOPBAND_DB = 90.0
#: Part of the Nyquist frequency that passes where that is below ``PASSBAND_HZ``.
PASSBAND_OF_NYQUIST = 0.96
#: Outputs of one matrix product: small enough to waste few products on zeros, large enough for
#: BLAS to run at speed. Measured at 250 to 1000 Hz: 8 and 24 are slower everywhere, 32 takes 1.6
#: times as long at 1000 Hz.
_BLOCK = 16
#: What the output follows from, as it stands in the preprocessing version: the taps, and the
#: products, which decide in which order BLAS adds and so about the last bit.
DESIGN = {
    "window": "kaiser",
    "passband_hz": PASSBAND_HZ,
    "passband_of_nyquist": PASSBAND_OF_NYQUIST,
    "stopband_db": STOPBAND_DB,
    "outputs_of_a_product": _BLOCK,
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


@cache
def _blas() -> ThreadpoolController:
    """The libraries that multiply matrices here; found once, which takes milliseconds."""
    return ThreadpoolController()


@dataclass(frozen=True)
class _Product:
    """One matrix of the block product: where its inputs start, and its outputs."""

    first_input: int
    matrix: NDArray[np.float32]


class BlockResampler:
    """Applies a :class:`Resampler` as products with small banded matrices.

    ``period`` outputs come from ``step`` inputs; each is made by one matrix of ``_BLOCK``
    outputs, the same for every period.
    """

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        repeat = -(-_BLOCK // resampler.up)
        self.period = resampler.up * repeat
        self.step = resampler.down * repeat
        self._products = [
            self._product(first, min(first + _BLOCK, self.period))
            for first in range(0, self.period, _BLOCK)
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
        return _Product(lowest, matrix.astype(np.float32))

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
        channels = len(signal)
        periods = -(-outputs // self.period)
        lowest = min(product.first_input for product in self._products)
        resampled = np.empty((channels, periods, self.period), np.float32)
        column = 0
        # One thread: with more, BLAS adds in another order and the last bits differ; these
        # products are too small to gain by it, and recordings are shared out among cores.
        with _blas().limit(limits=1, user_api="blas"):
            for product in self._products:
                taps, width = product.matrix.shape
                offset = product.first_input - lowest
                windows = np.lib.stride_tricks.sliding_window_view(signal[:, offset:], taps, axis=1)
                # Inputs of neighbouring periods overlap, which BLAS refuses to read in place; those
                # of every second, third ... period do not, and nothing need be copied.
                apart = -(-taps // self.step)
                for first in range(apart):
                    inputs = windows[:, first * self.step : periods * self.step : apart * self.step]
                    made = resampled[:, first::apart, column : column + width]
                    np.matmul(inputs, product.matrix, out=made)
                column += width
        return resampled.reshape(channels, -1)[:, :outputs]
