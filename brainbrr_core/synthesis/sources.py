"""Sources: waveforms that reach several electrodes, and the noise they are made of.

Here belongs what all kinds of activity share: the waveform with its gains, shaped noise,
envelopes. Which activity there is belongs to the modules named after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
#: Standard deviation of the background in uV, for a patient of middling amplitude.
BACKGROUND_UV = 21.0


@dataclass(frozen=True, slots=True)
class Activity:
    """A waveform (uV at gain 1) from sample ``start`` on, and the electrodes it reaches."""

    start: int
    wave: Wave
    gains: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What every source needs to know of a recording.

    ``scale`` multiplies all cerebral amplitudes of the patient; ``drowsy`` runs from 0 (awake)
    to 1, one value per sample.
    """

    samples: int
    rate_hz: float
    electrodes: tuple[str, ...]
    scale: float
    drowsy: Wave = field(repr=False)

    @property
    def hours(self) -> float:
        """Length in hours."""
        return self.samples / self.rate_hz / 3600

    def times(self, rng: np.random.Generator, per_hour: float) -> NDArray[np.float64]:
        """Onsets in seconds, ``per_hour`` of them on average, sorted."""
        count = int(rng.poisson(per_hour * self.hours))
        return np.sort(rng.uniform(0, self.samples / self.rate_hz, count))

    def drowsiness(self, time_s: float) -> float:
        """The value of ``drowsy`` at ``time_s``."""
        return float(self.drowsy[min(int(time_s * self.rate_hz), self.samples - 1)])


def length_of(seconds: float, rate_hz: float) -> int:
    """Samples in ``seconds``, at least two."""
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
    # an even length keeps the real transform's bins those of the frequencies below
    return best if best % 2 == 0 else fast_length(best + 1)


def bins_hz(samples: int, rate_hz: float) -> Wave:
    """Frequencies at which ``shaped_noise`` takes its amplitudes."""
    frequencies: Wave = np.fft.rfftfreq(fast_length(samples), 1 / rate_hz).astype(np.float32)
    return frequencies


def shaped_noise(rng: np.random.Generator, samples: int, amplitudes: Wave) -> Wave:
    """Gaussian noise of standard deviation 1 whose spectrum follows ``amplitudes``.

    ``amplitudes`` has one value for each of ``bins_hz``. The noise is drawn in the frequency
    domain, so that one inverse transform makes it.
    """
    length = fast_length(samples)
    power = float(np.sum(np.square(amplitudes, dtype=np.float64)))
    scale = np.float32(length / (2 * np.sqrt(max(power, 1e-30))))
    spectrum = rng.standard_normal(2 * len(amplitudes), dtype=np.float32).view(np.complex64)
    spectrum *= amplitudes * scale
    spectrum[0] = 0
    noise: Wave = np.fft.irfft(spectrum, length).astype(np.float32, copy=False)
    return noise[:samples]


def narrow(frequencies: Wave, centre_hz: float, width_hz: float) -> Wave:
    """Amplitudes of a Gaussian band around ``centre_hz``."""
    amplitudes: Wave = np.exp(-0.5 * np.square((frequencies - centre_hz) / width_hz))
    return amplitudes


def pink(frequencies: Wave, slope: float, corner_hz: float = 0.7) -> Wave:
    """Amplitudes of noise whose power falls with f to the ``slope``, flat below the corner."""
    power = (np.square(frequencies) + np.float32(corner_hz**2)) ** np.float32(-slope / 2)
    amplitudes: Wave = np.sqrt(power).astype(np.float32)
    amplitudes[0] = 0
    return amplitudes


def ramps(samples: int, rate_hz: float, rise_s: float, fall_s: float) -> Wave:
    """An envelope that rises and falls like half a cosine and is 1 between."""
    envelope = np.ones(samples, dtype=np.float32)
    rise = min(samples // 2, round(rise_s * rate_hz))
    fall = min(samples // 2, round(fall_s * rate_hz))
    if rise:
        envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    if fall:
        envelope[-fall:] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / fall)
    return envelope


def wandering(rng: np.random.Generator, samples: int, rate_hz: float, knot_s: float) -> Wave:
    """A slow random course between -1 and 1 with a new value every ``knot_s`` seconds."""
    seconds = samples / rate_hz
    knots = np.arange(0.0, seconds + 2 * knot_s, knot_s)
    values = rng.uniform(-1, 1, len(knots))
    times = np.arange(samples, dtype=np.float64) / rate_hz
    return np.interp(times, knots, values).astype(np.float32)


def field_of(electrodes: tuple[str, ...], gains: Mapping[str, float]) -> dict[str, float]:
    """Those of ``gains`` that an electrode of the recording picks up."""
    return {name: gain for name, gain in gains.items() if name in electrodes and gain}
