"""Simulated activity without a background, and what is measured of it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from brainbrr_core.simulation.canvas import Canvas
from brainbrr_core.simulation.head import ELECTRODES, NAMES, Head
from brainbrr_core.simulation.ranges import VARIED, Ranges, load_ranges
from brainbrr_core.simulation.scenario import Episode

LEFT = [NAMES.index(name) for name in ("FP1", "F7", "T3", "T5", "O1", "F3", "C3", "P3")]
RIGHT = [NAMES.index(name) for name in ("FP2", "F8", "T4", "T6", "O2", "F4", "C4", "P4")]


@cache
def varied() -> Ranges:
    """The ranges of the package."""
    return load_ranges(VARIED)


def head() -> Head:
    """A head whose electrodes are where they should be."""
    positions = np.array(list(ELECTRODES.values()))
    return Head(positions / np.linalg.norm(positions, axis=1, keepdims=True), 0.01)


def empty(seconds: float, rate_hz: float = 256.0) -> Canvas:
    """A canvas without activity."""
    return Canvas.empty(round(seconds * rate_hz), rate_hz, head(), 1.0)


def episode(family: str, kind: str, start: float, stop: float, region: str, side: str) -> Episode:
    return Episode(family, kind, start, stop, region, side, 0)


def largest(canvas: Canvas) -> int:
    """The row of the 19 electrodes with the most power."""
    return int(np.argmax(np.square(canvas.data[:19], dtype=np.float64).sum(axis=1)))


def peak_hz(wave: NDArray[np.float32], rate_hz: float, low: float = 0.5) -> float:
    """The frequency above ``low`` with the most power, by Welch's method."""
    frequencies, power = welch(wave, rate_hz, nperseg=min(len(wave), round(4 * rate_hz)))
    inside = frequencies >= low
    return float(frequencies[inside][np.argmax(power[inside])])


def band_power(wave: NDArray[np.float32], rate_hz: float, low: float, high: float) -> float:
    """Power between two frequencies, by Welch's method."""
    frequencies, power = welch(wave, rate_hz, nperseg=min(len(wave), round(2 * rate_hz)))
    return float(power[(frequencies >= low) & (frequencies <= high)].sum())
