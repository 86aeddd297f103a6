"""The potentials of a recording at all electrodes, to which every activity adds its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.simulation.head import NAMES, Array, Head
from brainbrr_core.synthesis.sources import Wave, length_of


@dataclass(frozen=True, slots=True)
class Canvas:
    """Potentials in µV (electrodes, samples) against a reference far away.

    Rows are those of ``head.NAMES``. ``scale`` is the amplitude of the patient's brain.
    """

    data: NDArray[np.float32]
    rate_hz: float
    head: Head
    scale: float

    @classmethod
    def empty(cls, samples: int, rate_hz: float, head: Head, scale: float) -> Canvas:
        """A canvas without any activity."""
        return cls(np.zeros((len(NAMES), samples), np.float32), rate_hz, head, scale)

    @property
    def samples(self) -> int:
        """Length in samples."""
        return int(self.data.shape[1])

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate_hz

    def length(self, seconds: float) -> int:
        """Number of samples in ``seconds``, at least two."""
        return length_of(seconds, self.rate_hz)

    def position(self, seconds: float) -> int:
        """The sample at a time."""
        return round(seconds * self.rate_hz)

    def add(self, start: int, wave: Wave, field: Array) -> None:
        """Add a waveform that begins at sample ``start`` with its gains at the electrodes.

        What lies before or after the recording is left out.
        """
        first, last = max(0, start), min(start + len(wave), self.samples)
        if first >= last:
            return
        part = wave[first - start : last - start].astype(np.float32, copy=False)
        for row, gain in enumerate(field.tolist()):
            if abs(gain) > 1e-3:
                self.data[row, first:last] += np.float32(gain) * part

    def gains(self, gains: dict[str, float], spread: float, rng: np.random.Generator) -> Array:
        """A field with gains by electrode, each varied by ``spread``."""
        values = np.array([gains.get(name, 0.0) for name in NAMES])
        return np.asarray(values * np.exp(rng.normal(0, spread, len(NAMES))))
