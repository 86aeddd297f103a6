"""For how long a raw signal is unusable: flat, saturated, mains hum, or a disconnected electrode.

The four are counted independently, so a second may count as several of them. ``flat_s`` and
``saturated_s`` are exact to the sample. The other two judge whole seconds from the start of the
recording and ignore an incomplete last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import EdfSignal
from brainbrr_core.edf.raw import calibration
from brainbrr_core.edf.source import Digital

#: A signal that varies by at most this many digital units is flat: rounding alone may make one.
FLAT_STEPS = 1
#: Mains frequencies in Hz; a second with a larger share of its power at one of them is mains hum.
MAINS_HZ, MAINS_SHARE = (50, 60), 0.5
#: Standard deviation in µV that a second of EEG may have after removing its trend: below is the
#: noise of an amplifier without a patient, above an electrode that is loose.
SCALP_UV = (0.5, 500.0)


class SignalQuality:
    """Counts the unusable seconds of a signal, which is added in chunks.

    ``rate`` is in samples per second. ``microvolts`` is µV per digital unit, None where unknown.
    ``ends`` are the lowest and highest digital value, None where the header does not give them.
    """

    def __init__(
        self, rate: Fraction, microvolts: float | None, ends: tuple[int, int] | None
    ) -> None:
        self._rate = float(rate)
        self._microvolts, self._ends = microvolts, ends
        #: Samples at an end of the digital range; None where the header does not give it.
        self.saturated = None if ends is None else 0
        self._flat = _Flat(max(ceil(rate), 2))
        self._second = round(rate)
        self._rest = np.zeros(0, np.int16)
        self._seconds = _Seconds.of(self._second, self._rate)
        self._hum = self._disconnected = 0

    def add(self, samples: NDArray[Digital]) -> None:
        """Add the next ``samples`` (n,)."""
        if self._ends is not None:
            low, high = self._ends
            at_end = int(np.count_nonzero((samples <= low) | (samples >= high)))
            self.saturated = (self.saturated or 0) + at_end
        self._flat.add(samples)
        if self._seconds is None:
            return
        pending = np.concatenate([self._rest, samples])
        whole = len(pending) // self._second * self._second
        self._rest = pending[whole:]
        deviation, share = self._seconds.judge(pending[:whole].reshape(-1, self._second))
        self._hum += int(np.count_nonzero(share > MAINS_SHARE))
        microvolts = deviation * abs(self._microvolts or 0.0)
        outside = (microvolts < SCALP_UV[0]) | (microvolts > SCALP_UV[1])
        self._disconnected += int(np.count_nonzero(outside))

    @property
    def flat_s(self) -> float:
        """Seconds in intervals of 1 s or longer that vary by at most one digital step."""
        return self._flat.samples / self._rate

    @property
    def saturated_s(self) -> float | None:
        """Seconds at the lowest or highest digital value; None where the header gives neither."""
        return None if self.saturated is None else self.saturated / self._rate

    @property
    def mains_s(self) -> float | None:
        """Seconds with more than half of their power at 50 or at 60 Hz, mean and trend removed.

        None where the sampling rate is too low for both frequencies.
        """
        if self._seconds is None or not self._seconds.frequencies:
            return None
        return self._hum * self._second / self._rate

    @property
    def disconnected_s(self) -> float | None:
        """Seconds with a standard deviation outside :data:`SCALP_UV`, the trend removed.

        Flat seconds are included. None where the unit is unknown.
        """
        if self._seconds is None or self._microvolts is None:
            return None
        return self._disconnected * self._second / self._rate


class _Flat:
    """Counts the samples that are in a flat window of ``width`` samples."""

    def __init__(self, width: int) -> None:
        self._width = width
        self.samples = 0
        #: The last samples: windows that start at one of them are not complete yet.
        self._tail = np.zeros(0, np.int16)
        self._first = 0
        #: Where the last flat window starts.
        self._last = -width

    def add(self, samples: NDArray[Digital]) -> None:
        pending = np.concatenate([self._tail, samples])
        if len(pending) >= self._width:
            high = _running(np.maximum, pending, self._width).astype(np.int64)
            flat = high - _running(np.minimum, pending, self._width) <= FLAT_STEPS
            starts = self._first + np.flatnonzero(flat)
            if len(starts):
                # The samples of each window that the one before it does not have.
                apart = np.diff(starts, prepend=self._last)
                self.samples += int(np.minimum(apart, self._width).sum())
                self._last = int(starts[-1])
        tail = min(self._width - 1, len(pending))
        self._first += len(pending) - tail
        self._tail = pending[len(pending) - tail :]


def _running(extreme: np.ufunc, samples: NDArray[Digital], width: int) -> NDArray[Digital]:
    """Minimum or maximum of every ``width`` samples, (n - width + 1,), by doubling."""
    best, size = samples, 1
    while size < width:
        step = min(size, width - size)
        best = extreme(best[:-step], best[step:])
        size += step
    return best


class _Seconds:
    """Standard deviation and mains hum of whole seconds of ``length`` samples."""

    def __init__(self, length: int, frequencies: Sequence[int], waves: NDArray[np.float64]) -> None:
        self._length, self.frequencies, self._waves = length, tuple(frequencies), waves
        time = np.arange(length) - (length - 1) / 2
        # A constant and a line, each of length 1.
        self._trend = np.stack([np.full(length, length**-0.5), time / np.linalg.norm(time)])

    @classmethod
    def of(cls, length: int, rate: float) -> _Seconds | None:
        """``rate`` is in samples per second; None where a second has too few samples to judge."""
        if length < 3:
            return None
        frequencies = [hertz for hertz in MAINS_HZ if hertz < rate / 2 - 1]
        phases = 2 * np.pi * np.outer(frequencies, np.arange(length)) / rate
        return cls(length, frequencies, np.concatenate([np.cos(phases), np.sin(phases)]))

    def judge(self, seconds: NDArray[Digital]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard deviation in digital units, and the larger mains share, each (n,).

        ``seconds`` is (n, length).
        """
        wide = seconds.astype(np.float64)
        wide -= wide @ self._trend.T @ self._trend
        power = (wide**2).mean(axis=1)
        if not self.frequencies:
            return np.sqrt(power), np.zeros(len(wide))
        components = (wide @ self._waves.T).reshape(len(wide), 2, len(self.frequencies))
        # A wave of amplitude A has a component of A / 2 times the length, and a power of A² / 2.
        hum = 2 * (components**2).sum(axis=1) / self._length**2
        share = np.divide(hum.max(axis=1), power, out=np.zeros(len(wide)), where=power > 0)
        return np.sqrt(power), share


class SampleStatistics:
    """Mean, standard deviation and quality of a signal, which is added in chunks."""

    def __init__(self, signal: EdfSignal, rate: Fraction) -> None:
        self._count = self._sum = self._squares = 0
        gain, _, unit = calibration(signal)
        self.quality = SignalQuality(rate, gain if unit == "µV" else None, _digital_ends(signal))

    def add(self, samples: NDArray[Digital]) -> None:
        """Add the next ``samples`` (n,)."""
        wide = samples.astype(np.int64)
        self._count += len(wide)
        self._sum += int(wide.sum())
        self._squares += int(wide @ wide)
        self.quality.add(samples)

    @property
    def mean(self) -> float:
        """Mean of the digital samples."""
        return self._sum / max(self._count, 1)

    @property
    def deviation(self) -> float:
        """Standard deviation of the digital samples."""
        # Computed in integers, so that a large offset costs no accuracy.
        spread = self._count * self._squares - self._sum**2
        return float(spread**0.5) / max(self._count, 1)

    @property
    def at_range_end(self) -> float | None:
        """Fraction of samples at an end of the digital range; None where the header lacks it."""
        at_end = self.quality.saturated
        return None if at_end is None else at_end / max(self._count, 1)


def _digital_ends(signal: EdfSignal) -> tuple[int, int] | None:
    if not signal.has_limits:
        return None
    try:
        ends = sorted(int(float(text)) for text in signal.ranges[2:])
    except (ValueError, OverflowError):
        return None
    return (ends[0], ends[1]) if ends[0] < ends[1] else None
