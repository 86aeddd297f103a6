"""For how long a raw signal is of no use, and why: flat, at the rails, hum, not from a scalp.

The four are counted each on its own, so a second may count as several of them. Only ``flat_s``
and ``saturated_s`` are exact to the sample; the others judge whole seconds from the beginning of
the recording, and leave out what is left of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import EdfSignal
from brainbrr_core.edf.raw import calibration

#: Digital units within which a signal counts as flat: one step, which its rounding may make.
FLAT_STEPS = 1
#: Mains frequencies in Hz, and the share of a second's power at one of them above which it hums.
MAINS_HZ, MAINS_SHARE = (50, 60), 0.5
#: Standard deviation of a second, in µV and without its trend, of what a scalp may give: below
#: is the noise of an amplifier alone, above an electrode that hangs loose.
SCALP_UV = (0.5, 500.0)


class SignalQuality:
    """Seconds of a signal that are of no use; its samples come in parts.

    ``rate`` is in samples per second, ``microvolts`` what a digital unit is worth (None: nobody
    knows), ``ends`` the lowest and highest number that the file can hold (None: it gives none).
    """

    def __init__(
        self, rate: Fraction, microvolts: float | None, ends: tuple[int, int] | None
    ) -> None:
        self._rate = float(rate)
        self._microvolts, self._ends = microvolts, ends
        #: Samples at an end of the range; None where the header gives none.
        self.saturated = None if ends is None else 0
        self._flat = _Flat(max(ceil(rate), 2))
        self._second = round(rate)
        self._rest = np.zeros(0, np.int16)
        self._judged = _Seconds.of(self._second, self._rate)
        self._hum = self._disconnected = 0

    def add(self, samples: NDArray[np.int16]) -> None:
        """Take in the next ``samples`` (n,)."""
        if self._ends is not None:
            low, high = self._ends
            at_end = int(np.count_nonzero((samples <= low) | (samples >= high)))
            self.saturated = (self.saturated or 0) + at_end
        self._flat.add(samples)
        if self._judged is None:
            return
        held = np.concatenate([self._rest, samples])
        whole = len(held) // self._second * self._second
        self._rest = held[whole:]
        deviation, share = self._judged.of_samples(held[:whole].reshape(-1, self._second))
        self._hum += int(np.count_nonzero(share > MAINS_SHARE))
        microvolts = deviation * abs(self._microvolts or 0.0)
        outside = (microvolts < SCALP_UV[0]) | (microvolts > SCALP_UV[1])
        self._disconnected += int(np.count_nonzero(outside))

    @property
    def flat_s(self) -> float:
        """Seconds in which nothing changes by more than one digital step for 1 s or longer."""
        return self._flat.samples / self._rate

    @property
    def saturated_s(self) -> float | None:
        """Seconds at the lowest or highest number that the file can hold; None: it gives none."""
        return None if self.saturated is None else self.saturated / self._rate

    @property
    def mains_s(self) -> float | None:
        """Seconds of which more than half of the power is at 50 or at 60 Hz.

        Without the second's mean and trend; None where the rate is too low to have these.
        """
        if self._judged is None or not self._judged.frequencies:
            return None
        return self._hum * self._second / self._rate

    @property
    def disconnected_s(self) -> float | None:
        """Seconds with less (flat ones, too) or more in them than a scalp gives.

        By their standard deviation, without the trend; None where nobody knows a unit.
        """
        if self._judged is None or self._microvolts is None:
            return None
        return self._disconnected * self._second / self._rate


class _Flat:
    """How many samples lie in a window of ``width`` samples that is flat."""

    def __init__(self, width: int) -> None:
        self._width = width
        self.samples = 0
        #: The last samples: no window that begins with one of them is complete.
        self._tail = np.zeros(0, np.int16)
        self._first = 0
        #: Where the last flat window begins.
        self._last = -width

    def add(self, samples: NDArray[np.int16]) -> None:
        held = np.concatenate([self._tail, samples])
        if len(held) >= self._width:
            high = _running(np.maximum, held, self._width).astype(np.int32)
            flat = high - _running(np.minimum, held, self._width) <= FLAT_STEPS
            starts = self._first + np.flatnonzero(flat)
            if len(starts):
                # What each window has beyond the one before it.
                apart = np.diff(starts, prepend=self._last)
                self.samples += int(np.minimum(apart, self._width).sum())
                self._last = int(starts[-1])
        kept = min(self._width - 1, len(held))
        self._first += len(held) - kept
        self._tail = held[len(held) - kept :]


def _running(of: np.ufunc, samples: NDArray[np.int16], width: int) -> NDArray[np.int16]:
    """Lowest or highest of every ``width`` samples, (n - width + 1,), by doubling."""
    best, size = samples, 1
    while size < width:
        step = min(size, width - size)
        best = of(best[:-step], best[step:])
        size += step
    return best


class _Seconds:
    """Deviation and hum of whole seconds of ``length`` samples."""

    def __init__(self, length: int, frequencies: Sequence[int], waves: NDArray[np.float64]) -> None:
        self._length, self.frequencies, self._waves = length, tuple(frequencies), waves
        time = np.arange(length) - (length - 1) / 2
        # A constant and a line, each of length 1.
        self._trend = np.stack([np.full(length, length**-0.5), time / np.linalg.norm(time)])

    @classmethod
    def of(cls, length: int, rate: float) -> _Seconds | None:
        """For a rate in samples per second; None where a second is too short to be judged."""
        if length < 3:
            return None
        frequencies = [hertz for hertz in MAINS_HZ if hertz < rate / 2 - 1]
        phases = 2 * np.pi * np.outer(frequencies, np.arange(length)) / rate
        return cls(length, frequencies, np.concatenate([np.cos(phases), np.sin(phases)]))

    def of_samples(
        self, seconds: NDArray[np.int16]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Deviation in digital units and the larger share of mains, each (n,) for n seconds."""
        wide = seconds.astype(np.float64)
        wide -= wide @ self._trend.T @ self._trend
        power = (wide**2).mean(axis=1)
        if not self.frequencies:
            return np.sqrt(power), np.zeros(len(wide))
        parts = (wide @ self._waves.T).reshape(len(wide), 2, len(self.frequencies))
        # Of a wave of amplitude A, a part is A / 2 times the length, and its power A² / 2.
        hum = 2 * (parts**2).sum(axis=1) / self._length**2
        share = np.divide(hum.max(axis=1), power, out=np.zeros(len(wide)), where=power > 0)
        return np.sqrt(power), share


class SampleStatistics:
    """Mean, deviation, samples at the end of the range and quality of a signal, in parts."""

    def __init__(self, signal: EdfSignal, rate: Fraction) -> None:
        self._count = self._sum = self._squares = 0
        gain, _, unit = calibration(signal)
        self.quality = SignalQuality(rate, gain if unit == "µV" else None, _digital_ends(signal))

    def add(self, samples: NDArray[np.int16]) -> None:
        """Take in the next ``samples`` (n,)."""
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
        # In integers: a large offset costs no accuracy.
        spread = self._count * self._squares - self._sum**2
        return float(spread**0.5) / max(self._count, 1)

    @property
    def at_range_end(self) -> float | None:
        """Part of the samples at an end of the digital range; None where the header gives none."""
        at_end = self.quality.saturated
        return None if at_end is None else at_end / max(self._count, 1)


def _digital_ends(signal: EdfSignal) -> tuple[int, int] | None:
    try:
        ends = sorted(int(float(text)) for text in signal.ranges[2:])
    except (ValueError, OverflowError):
        return None
    return (ends[0], ends[1]) if ends[0] < ends[1] else None
