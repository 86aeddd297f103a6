"""Building blocks of all activity: waveforms with gains at electrodes, shaped noise, envelopes.

Each kind of activity has a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
#: Standard deviation of the background in µV, for a patient of average amplitude.
BACKGROUND_UV = 21.0


@dataclass(frozen=True, slots=True)
class Activity:
    """A waveform (µV at gain 1) that begins at sample ``start``, and its gain at electrodes."""

    start: int
    wave: Wave
    gains: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RecordingContext:
    """The properties of a recording that every source needs.

    ``scale`` multiplies all cerebral amplitudes of the patient. ``drowsy`` has one value per
    sample, from 0 (awake) to 1.
    """

    samples: int
    rate_hz: float
    electrodes: tuple[str, ...]
    scale: float
    drowsy: Wave = field(repr=False)

    @property
    def hours(self) -> float:
        """Duration in hours."""
        return self.samples / self.rate_hz / 3600

    def times(self, rng: np.random.Generator, per_hour: float) -> NDArray[np.float64]:
        """Random onsets in seconds, sorted, with a mean rate of ``per_hour``."""
        count = int(rng.poisson(per_hour * self.hours))
        return np.sort(rng.uniform(0, self.samples / self.rate_hz, count))

    def drowsiness(self, time_s: float) -> float:
        """The value of ``drowsy`` at ``time_s`` seconds."""
        return float(self.drowsy[min(int(time_s * self.rate_hz), self.samples - 1)])


def length_of(seconds: float, rate_hz: float) -> int:
    """Number of samples in ``seconds``, at least two."""
    return max(2, round(seconds * rate_hz))


def fast_length(samples: int) -> int:
    """The smallest even length of at least ``samples`` whose only factors are 2, 3 and 5."""
    best = 1 << max(1, (samples - 1).bit_length())
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            twos = max(0, (-(-samples // threes) - 1).bit_length())
            best = min(best, threes << twos)
            threes *= 3
        fives *= 5
    # `bins_hz` assumes an even length.
    return best if best % 2 == 0 else fast_length(best + 1)


def bins_hz(samples: int, rate_hz: float) -> Wave:
    """Frequencies in Hz of the amplitudes that :func:`shaped_noise` takes."""
    frequencies: Wave = np.fft.rfftfreq(fast_length(samples), 1 / rate_hz).astype(np.float32)
    return frequencies


def shaped_noise(rng: np.random.Generator, samples: int, amplitudes: Wave) -> Wave:
    """Gaussian noise of standard deviation 1 whose spectrum follows ``amplitudes``.

    ``amplitudes`` has one value for each of :func:`bins_hz`. The noise is drawn in the frequency
    domain, so that it needs a single inverse transform.
    """
    length = fast_length(samples)
    power = float(np.sum(np.square(amplitudes, dtype=np.float64)))
    scale = np.float32(length / (2 * np.sqrt(max(power, 1e-30))))
    spectrum = rng.standard_normal(2 * len(amplitudes), dtype=np.float32).view(np.complex64)
    spectrum *= amplitudes * scale
    spectrum[0] = 0
    noise: Wave = np.fft.irfft(spectrum, length).astype(np.float32, copy=False)
    return noise[:samples]


def narrow(frequencies: Wave, center_hz: float, width_hz: float) -> Wave:
    """Amplitudes of a Gaussian band around ``center_hz``."""
    amplitudes: Wave = np.exp(-0.5 * np.square((frequencies - center_hz) / width_hz))
    return amplitudes


def pink(frequencies: Wave, slope: float, corner_hz: float = 0.7) -> Wave:
    """Amplitudes of noise whose power falls with frequency to the ``slope`` above the corner."""
    power = (np.square(frequencies) + np.float32(corner_hz**2)) ** np.float32(-slope / 2)
    amplitudes: Wave = np.sqrt(power).astype(np.float32)
    amplitudes[0] = 0
    return amplitudes


def ramps(samples: int, rate_hz: float, rise_s: float, fall_s: float) -> Wave:
    """An envelope of 1 that rises and falls like half a cosine at its ends."""
    envelope = np.ones(samples, dtype=np.float32)
    rise = min(samples // 2, round(rise_s * rate_hz))
    fall = min(samples // 2, round(fall_s * rate_hz))
    if rise:
        envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    if fall:
        envelope[-fall:] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / fall)
    return envelope


def random_course(rng: np.random.Generator, samples: int, rate_hz: float, knot_s: float) -> Wave:
    """A slow random time course between -1 and 1, with a new value every ``knot_s`` seconds."""
    seconds = samples / rate_hz
    knots = np.arange(0.0, seconds + 2 * knot_s, knot_s)
    values = rng.uniform(-1, 1, len(knots))
    times = np.arange(samples, dtype=np.float64) / rate_hz
    return np.interp(times, knots, values).astype(np.float32)


def field_of(electrodes: tuple[str, ...], gains: Mapping[str, float]) -> dict[str, float]:
    """The nonzero ``gains`` at electrodes of the recording."""
    return {name: gain for name, gain in gains.items() if name in electrodes and gain}
