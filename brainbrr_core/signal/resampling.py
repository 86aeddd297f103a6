"""Resampling to 256 Hz by one published linear-phase FIR filter, at the exact ratio of the rates.

The taps are ours and part of the preprocessing version, because two good resamplers differ by
hundredths of a standard deviation. Design: Kaiser window, 90 dB, pass band to 120 Hz (to
0.96 of the source's Nyquist frequency where that is lower), half amplitude at the lower of the
two Nyquist frequencies; each polyphase branch is scaled to pass a constant unchanged, so an
electrode's offset leaves no ripple. The edges are extended by odd reflection
(``signal.edges``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from brainbrr_core.constants import RATE
from brainbrr_core.machine.compiled import compiled
from brainbrr_core.signal.product_width import COLUMNS

PASSBAND_HZ = 120.0
STOPBAND_DB = 90.0
#: Share of the Nyquist frequency that passes where that is below ``PASSBAND_HZ``.
PASSBAND_OF_NYQUIST = 0.96
#: Lowest and highest sampling rate of a recording, in Hz.
LOWEST_RATE, HIGHEST_RATE = 100, 100_000
#: Largest ``up`` whose filter is tabulated for every position that an output can have between two
#: inputs. Others are interpolated between positions that are tabulated at least this often per
#: second: the error for a tone of 128 Hz is then 1.2e-6 of its amplitude.
_LARGEST_UP = 2560
_TABULATED_HZ = 1 << 18
#: Larger numbers in a ratio of rates would overflow the integers that count positions; the nearest
#: ratio of smaller ones is used, whose error after a day is less than a nanosecond.
_LARGEST_RATIO = 1 << 50
#: Channels that one instruction may serve, and taps that are added at once.
_LANES, _TAPS_AT_ONCE = 8, 4
#: The constants of the resampler, as the preprocessing version has them.
DESIGN: dict[str, JsonValue] = {
    "window": "kaiser",
    "passband_hz": PASSBAND_HZ,
    "passband_of_nyquist": PASSBAND_OF_NYQUIST,
    "stopband_db": STOPBAND_DB,
    "sum": "float32, fused, from the first sample on",
    "largest_up": _LARGEST_UP,
    "tabulated_hz": _TABULATED_HZ,
    "taps_at_once": _TAPS_AT_ONCE,
}


class UnsupportedRate(ValueError):
    """The sampling rate is below 100 Hz, or above 100 kHz."""


@dataclass(frozen=True)
class Resampler:
    """The filter from one rate to another: ``up`` / ``down`` and the taps at ``phases`` x rate.

    ``phases`` is ``up`` where each output falls on one of the taps, else there are fewer, between
    which the filter is interpolated. The ratio is that of the rates in both cases: no timing error
    accumulates.
    """

    up: int
    down: int
    taps: NDArray[np.float64]
    phases: int

    @property
    def is_interpolated(self) -> bool:
        """Whether outputs fall between the taps."""
        return self.phases != self.up

    @property
    def reach(self) -> int:
        """Input samples the filter sees on each side of an output sample."""
        return (len(self.taps) // 2) // self.phases + 1

    def output_samples(self, input_samples: int) -> int:
        """Samples at the new rate that lie within the input."""
        return input_samples * self.up // self.down


def passband_hz(rate: float) -> float:
    """Highest frequency of a source at ``rate`` Hz that reaches the output unchanged."""
    return min(PASSBAND_HZ, PASSBAND_OF_NYQUIST * min(rate, RATE) / 2)


@lru_cache(maxsize=32)
def design(rate: Fraction, target: int = RATE) -> Resampler:
    """The resampler from ``rate`` to ``target`` Hz.

    Raises :class:`UnsupportedRate` for a rate below 100 Hz, at which the frequencies that show
    seizures would be missing, or above 100 kHz.
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UnsupportedRate(
            f"{float(rate):g} Hz is not between {LOWEST_RATE} Hz and {HIGHEST_RATE // 1000} kHz"
        )
    ratio = (Fraction(target) / rate).limit_denominator(_LARGEST_RATIO)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return Resampler(1, 1, np.ones(1), 1)
    phases = up if up <= _LARGEST_UP else -(-_TABULATED_HZ // math.floor(rate))
    return Resampler(up, down, _taps(rate, phases, target), phases)


def _taps(rate: Fraction, phases: int, target: int) -> NDArray[np.float64]:
    """The filter for a source at ``rate``, at ``phases`` positions between two of its samples."""
    nyquist = min(float(rate), float(target)) / 2
    width = 2 * (nyquist - passband_hz(float(rate)))
    filter_rate = float(rate) * phases
    # Kaiser's formula for the length; scipy.signal.kaiserord gives the same.
    length = (STOPBAND_DB - 7.95) / (2.285 * 2 * np.pi * width / filter_rate)
    half = int(np.ceil(length / 2))
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    n = np.arange(-half, half + 1)
    taps: NDArray[np.float64] = np.sinc(2 * nyquist / filter_rate * n) * np.kaiser(
        2 * half + 1, beta
    )
    for phase in range(phases):
        taps[phase::phases] /= taps[phase::phases].sum()
    taps.flags.writeable = False
    return taps


@dataclass(frozen=True)
class _Product:
    """One matrix of the block product: where its inputs start, and how many outputs it makes."""

    first_input: int
    outputs: int
    matrix: NDArray[np.float32]


class BlockResampler:
    """Applies a :class:`Resampler` as products with small banded matrices.

    ``period`` outputs come from ``step`` inputs; each is made by one matrix of ``COLUMNS``
    outputs, the same for every period. An output is the same to the last bit in every call and on
    every processor.
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
        # A heavy import, needed only where signals are computed.
        from brainbrr_core.signal.products import banded_products

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


class InterpolatingResampler:
    """Applies a :class:`Resampler` whose outputs fall between its taps.

    Each output is computed separately, by the filter at its position between two inputs, which is
    counted in integers: it is the same in every call, and no timing error accumulates.
    """

    period = 1

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        taps, phases = resampler.taps, resampler.phases
        half = len(taps) // 2
        #: Inputs on each side of the one at or before an output.
        self._reach = resampler.reach
        # Row p: what each input from ``_reach`` before to ``_reach`` after counts for an output
        # p / phases behind an input. The last row is the first one, an input later.
        width = -(-(2 * self._reach + 1) // _TAPS_AT_ONCE) * _TAPS_AT_ONCE
        inputs = np.arange(width) - self._reach
        index = half + np.arange(phases + 1)[:, None] - inputs * phases
        inside = (index >= 0) & (index < len(taps))
        rows = np.where(inside, taps[np.clip(index, 0, len(taps) - 1)], 0.0)
        self._rows = rows.astype(np.float32)
        self._slopes = np.diff(rows, axis=0).astype(np.float32)

    def input_range(self, first_output: int, outputs: int) -> tuple[int, int]:
        """Input samples needed for ``outputs`` outputs from ``first_output``."""
        up, down = self._resampler.up, self._resampler.down
        last = (first_output + outputs - 1) * down // up
        return first_output * down // up - self._reach, last + self._reach + 1

    def apply(
        self, signal: NDArray[np.float32], first_output: int, outputs: int
    ) -> NDArray[np.float32]:
        """Resample ``signal`` (channels, the samples of :meth:`input_range`)."""
        up, down = self._resampler.up, self._resampler.down
        made = np.empty((len(signal), outputs), np.float32)
        # Zeros fill up the last instruction, and what the last taps, zeros too, are applied to.
        channels = -(-len(signal) // _LANES) * _LANES
        inputs = np.zeros((signal.shape[1] + _TAPS_AT_ONCE, channels), np.float32)
        inputs[: signal.shape[1], : len(signal)] = signal.T
        _interpolate(
            inputs,
            self._rows,
            self._slopes,
            first_output * down % up,
            np.array([up, down]),
            made,
        )
        return made


@compiled
def _interpolate(
    signal: NDArray[np.float32],
    rows: NDArray[np.float32],
    slopes: NDArray[np.float32],
    lag: int,
    ratio: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:  # pragma: no cover - compiled
    """Write outputs (channels, n) of ``signal`` (samples, channels), in a fixed order of sums.

    The first one lies ``lag / up`` behind the input in the middle of the first ``width`` inputs.
    Channels lie innermost, so that one instruction serves several, and four taps are added at once:
    in the fixed order in which they stand here, four products and then what was there.
    """
    up, down = ratio[0], ratio[1]
    phases, width = slopes.shape
    channels, count = out.shape
    lanes = signal.shape[1]
    weights = np.empty(width, np.float32)
    total = np.empty(lanes, np.float32)
    start = 0
    for n in range(count):
        exact = np.float64(lag) / np.float64(up) * phases
        phase = min(int(exact), phases - 1)
        fraction = np.float32(exact - phase)
        row, slope = rows[phase], slopes[phase]
        for tap in range(width):
            weights[tap] = row[tap] + fraction * slope[tap]
        total[:] = 0.0
        for tap in range(0, width, _TAPS_AT_ONCE):
            w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
            x0, x1 = signal[start + tap], signal[start + tap + 1]
            x2, x3 = signal[start + tap + 2], signal[start + tap + 3]
            for lane in range(lanes):
                total[lane] += w0 * x0[lane] + w1 * x1[lane] + w2 * x2[lane] + w3 * x3[lane]
        for channel in range(channels):
            out[channel, n] = total[channel]
        lag += down
        start += lag // up
        lag %= up
