"""Forms of rhythms and single waves, of amplitude 1.

What a wave looks like belongs here; where, when and how large it is belongs to its module.

Sources
-------
Hirsch et al. (2021), J. Clin. Neurophysiol. 38, 1-29: forms of rhythmic and periodic patterns.
Kane et al. (2017), Clin. Neurophysiol. Pract. 2, 170-185: forms of waves, spikes and arches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.synthesis.sources import Wave, ramps, random_course

Array = NDArray[np.float64]


def steps(
    course: Array, knots: tuple[float, ...], values: tuple[float, ...], *, ratio: bool = True
) -> Array:
    """A curve through values at knots, straight, or straight on a logarithmic scale."""
    if ratio:
        return np.exp(np.interp(course, knots, np.log(values)))
    return np.interp(course, knots, values)


def cycles_of(
    rng: np.random.Generator, hertz: Array, rate_hz: float, jitter: float, first: float = 0.0
) -> Array:
    """The cycles that a rhythm of varying frequency has gone through at each sample."""
    pace = hertz * (1 + jitter * random_course(rng, len(hertz), rate_hz, 0.5))
    return first + np.cumsum(pace) / rate_hz


def of_each_cycle(rng: np.random.Generator, cycles: Array, spread: float) -> Array:
    """A random factor around 1 for each cycle, at each sample."""
    numbers = np.floor(cycles).astype(np.int64)
    numbers -= numbers.min()
    factors = np.exp(rng.normal(0, spread, int(numbers.max()) + 2))
    turn = cycles - np.floor(cycles)
    # From one factor to the next in the last fifth of a cycle, so that no wave has a step.
    weight = np.clip((turn - 0.8) / 0.2, 0, 1)
    return np.asarray(factors[numbers] * (1 - weight) + factors[numbers + 1] * weight)


def sharpened(cycles: Array, sharpness: Array | float) -> Wave:
    """A sine whose harmonics grow with ``sharpness``, from 0 (a sine) to 1."""
    phase = 2 * np.pi * cycles
    wave = np.sin(phase)
    wave += sharpness * 0.5 * np.sin(2 * phase + 0.6)
    wave += sharpness * 0.35 * np.sin(3 * phase + 1.2)
    wave += sharpness * 0.22 * np.sin(4 * phase + 1.8)
    return (wave / (1 + 0.7 * sharpness)).astype(np.float32)


def arches(cycles: Array) -> Wave:
    """Waves that are round on one side and pointed on the other, as wickets and mu."""
    half = np.abs(np.sin(np.pi * cycles))
    return (2 * half - 1.27).astype(np.float32)


def spike_and_wave(
    cycles: Array, hertz: Array, *, width_s: float, spikes: int, wave: float, spike: float = 1.0
) -> Wave:
    """A complex of negative spikes and a negative slow wave in each cycle.

    ``width_s`` is the standard deviation of a spike, ``wave`` the amplitude of the slow wave.
    """
    period = 1 / hertz
    seconds = (cycles - np.floor(cycles)) * period
    value = np.zeros(len(cycles))
    apart = 3.4 * width_s
    first = 3 * width_s
    for number in range(spikes):
        at = first + number * apart
        value -= spike * np.exp(-0.5 * ((seconds - at) / width_s) ** 2)
        value += 0.35 * spike * np.exp(-0.5 * ((seconds - at - 1.7 * width_s) / width_s) ** 2)
    begin = first + (spikes - 1) * apart + width_s
    turn = np.clip((seconds - begin) / np.maximum(period - begin, 0.04), 0, 1)
    value -= wave * np.sin(np.pi * turn) ** 1.5
    return np.asarray(value - value.mean(), np.float32)


def complex_of(
    rng: np.random.Generator, rate_hz: float, *, width_s: float, phases: int, slow: float
) -> Wave:
    """One discharge of up to three phases, with a slow wave of amplitude ``slow`` after it.

    ``width_s`` is the length of the sharp part.
    """
    samples = max(4, round((width_s * 1.6 + (0.5 if slow else 0.1)) * rate_hz))
    seconds = np.arange(samples) / rate_hz
    unit = width_s / (phases + 0.5)
    value = np.zeros(samples)
    at = 0.9 * unit
    for number in range(phases):
        sign = -1.0 if number % 2 == 0 else 1.0
        size = (1.0, rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.5))[number]
        if phases == 3:
            size = (rng.uniform(0.3, 0.6), 1.0, rng.uniform(0.4, 0.7))[number]
        wide = unit * (0.35 + 0.15 * number)
        value += sign * size * np.exp(-0.5 * ((seconds - at) / wide) ** 2)
        at += unit * (1 + 0.3 * number)
    if slow:
        value -= slow * np.exp(-0.5 * ((seconds - at - 0.12) / 0.09) ** 2)
    value *= ramps(samples, rate_hz, 0.3 * unit, 0.05)
    return np.asarray(value / np.abs(value).max(), np.float32)


def transient(
    rng: np.random.Generator, shape: str, seconds: float, hertz: float, rate_hz: float
) -> Wave:
    """A brief activity of one of the shapes of the ranges."""
    samples = max(4, round(seconds * rate_hz))
    if shape == "triphasic":
        wave = complex_of(rng, rate_hz, width_s=0.8 * seconds, phases=3, slow=0.0)
        return -wave
    hertz_course = np.full(samples, hertz)
    cycles = cycles_of(rng, hertz_course, rate_hz, 0.05)
    if shape == "spike and wave":
        wave = spike_and_wave(
            cycles,
            hertz_course,
            width_s=rng.uniform(0.008, 0.025),
            spikes=1,
            wave=rng.uniform(0.1, 0.7),
        )
        wave -= wave[0]
        return wave * ramps(samples, rate_hz, 0.01, 0.06)
    if shape == "arch":
        wave = arches(cycles)
    else:
        wave = sharpened(cycles, rng.uniform(0.4, 0.9) if shape == "sharp" else 0.0)
    whole = shape == "spindle" or seconds * hertz < 3
    edge = seconds / 2 if whole else min(0.5, seconds / 4)
    return wave * ramps(samples, rate_hz, edge, edge)
