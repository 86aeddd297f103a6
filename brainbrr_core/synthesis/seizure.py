"""Seizures: rhythmic discharges that evolve in frequency, amplitude and field.

The activity between an annotated onset and offset belongs here, and the slowing after it.
"""

from __future__ import annotations

import numpy as np

from brainbrr_core.synthesis.plan import RING_ONSET, Seizure
from brainbrr_core.synthesis.scalp import CORE_REACH, POSITIONS, RING_REACH, distance
from brainbrr_core.synthesis.sources import (
    BACKGROUND_UV,
    Activity,
    RecordingContext,
    Wave,
    bins_hz,
    field_of,
    length_of,
    narrow,
    ramps,
    random_course,
    shaped_noise,
)

#: Fraction of a focal seizure after which it reaches the rest of the head.
_REST_ONSET = 0.6
_TRUNCATION_S = 1.5


def seizure_activity(
    rng: np.random.Generator, context: RecordingContext, seizure: Seizure
) -> list[Activity]:
    """The discharge of one seizure and the postictal slowing.

    The frequency falls from about 8 to about 2 Hz. The amplitude grows from that of the background
    to 2.5 to 4 times as much, with ramps at both ends. A focal seizure reaches the ring around its
    focus after a quarter of its duration, and the rest of the head, weakly, later.
    """
    start = round(seizure.start * context.rate_hz)
    samples = min(round(seizure.stop * context.rate_hz), context.samples) - start
    if samples < 2:
        return []
    course = np.arange(samples, dtype=np.float64) / samples
    phase = _phase(rng, course, context.rate_hz)
    sharpness = rng.uniform(0.5, 1.0)
    edge_s = min(_TRUNCATION_S, samples / context.rate_hz / 6)
    envelope = _growth(rng, course) * ramps(samples, context.rate_hz, edge_s, edge_s)
    envelope *= 1 + np.float32(0.2) * random_course(rng, samples, context.rate_hz, 0.7)
    envelope *= np.float32(BACKGROUND_UV * context.scale)
    activities = []
    reach: dict[str, float] = {}
    for onset, lag, gains in _zones(rng, seizure.focus):
        field = field_of(context.electrodes, gains)
        rise = np.clip((course - onset) / 0.08, 0, 1).astype(np.float32) if onset else 1.0
        wave = _discharge(phase - lag, course, sharpness) * envelope * np.float32(1) * rise
        activities.append(Activity(start, wave.astype(np.float32, copy=False), field))
        reach.update(field)
    activities.append(_slowing(rng, context, start + samples, reach))
    return activities


def _phase(
    rng: np.random.Generator, course: np.ndarray[tuple[int], np.dtype[np.float64]], rate_hz: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Phase in radians of a rhythm whose frequency falls, with some jitter."""
    first, last = rng.uniform(7.0, 9.0), rng.uniform(1.8, 2.6)
    hertz = first * (last / first) ** (course**0.8)
    hertz *= 1 + 0.06 * random_course(rng, len(course), rate_hz, 1.0)
    return 2 * np.pi * np.cumsum(hertz) / rate_hz


def _growth(rng: np.random.Generator, course: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Wave:
    peak = rng.uniform(2.5, 4.0)
    rise = np.clip(course / rng.uniform(0.6, 0.85), 0, 1)
    return (1.0 + (peak - 1.0) * rise**1.3).astype(np.float32)


def _discharge(
    phase: np.ndarray[tuple[int], np.dtype[np.float64]],
    course: np.ndarray[tuple[int], np.dtype[np.float64]],
    sharpness: float,
) -> Wave:
    """A wave with phase-locked harmonics and a standard deviation of about 1.

    The harmonics grow over the seizure, from a nearly sinusoidal rhythm to spike and wave.
    """
    spike = sharpness * (0.25 + 0.75 * course)
    wave = np.sin(phase)
    wave += spike * (
        0.55 * np.sin(2 * phase + 0.6)
        + 0.40 * np.sin(3 * phase + 1.2)
        + 0.25 * np.sin(4 * phase + 1.8)
    )
    wave *= 1.41 / np.sqrt(1 + spike**2 * (0.55**2 + 0.40**2 + 0.25**2))
    return wave.astype(np.float32)


def _zones(rng: np.random.Generator, focus: str) -> list[tuple[float, float, dict[str, float]]]:
    """Onset (fraction of the seizure), lag (radians) and gains of each zone of a seizure."""
    varied = {name: float(rng.uniform(0.8, 1.15)) for name in sorted(POSITIONS)}
    if not focus:
        front = {n: g * (0.75 + 0.25 * POSITIONS[n][1]) for n, g in varied.items()}
        return [
            (0.0, 0.0, {n: g for n, g in front.items() if POSITIONS[n][1] >= 0}),
            (0.0, 0.7, {n: g * 1.1 for n, g in front.items() if POSITIONS[n][1] < 0}),
        ]
    core: dict[str, float] = {}
    ring: dict[str, float] = {}
    rest: dict[str, float] = {}
    for name, gain in varied.items():
        radii = distance(focus, name)
        if radii <= CORE_REACH:
            core[name] = gain * float(np.exp(-((radii / 0.9) ** 2)))
        elif radii <= RING_REACH:
            ring[name] = gain * 0.55
        else:
            rest[name] = gain * 0.25
    return [(0.0, 0.0, core), (RING_ONSET, 0.6, ring), (_REST_ONSET, 1.2, rest)]


def _slowing(
    rng: np.random.Generator, context: RecordingContext, start: int, gains: dict[str, float]
) -> Activity:
    """Irregular delta activity that fades over 10 to 20 s."""
    samples = length_of(rng.uniform(10, 20), context.rate_hz)
    wave = shaped_noise(rng, samples, narrow(bins_hz(samples, context.rate_hz), 1.5, 0.6))
    wave *= ramps(samples, context.rate_hz, 0.5, samples / context.rate_hz * 0.7)
    wave *= np.float32(rng.uniform(0.8, 1.5) * BACKGROUND_UV * context.scale)
    return Activity(start, wave, gains)
