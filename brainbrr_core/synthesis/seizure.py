"""Seizures: rhythmic discharges that evolve in frequency, amplitude and field.

Here belongs what is active between an annotated onset and offset, and the slowing after it.
"""

from __future__ import annotations

import numpy as np

from brainbrr_core.synthesis.plan import RING_ONSET, Seizure
from brainbrr_core.synthesis.scalp import CORE_REACH, POSITIONS, RING_REACH, distance
from brainbrr_core.synthesis.sources import (
    BACKGROUND_UV,
    Activity,
    Stretch,
    Wave,
    bins_hz,
    field_of,
    length_of,
    narrow,
    ramps,
    shaped_noise,
    wandering,
)

#: Share of a focal seizure that has passed when it reaches the rest of the head.
_REST_ONSET = 0.6
_TRUNCATION_S = 1.5


def seizure_activity(
    rng: np.random.Generator, stretch: Stretch, seizure: Seizure
) -> list[Activity]:
    """The discharge of one seizure and the post-ictal slowing.

    The frequency falls from about 8 to about 2 Hz, the amplitude grows from the background's
    to 2.5 to 4 times that, with ramps at both ends. A focal seizure reaches the ring around its
    focus after a quarter of its course and the rest of the head, weakly, later.
    """
    start = round(seizure.start * stretch.rate_hz)
    samples = min(round(seizure.stop * stretch.rate_hz), stretch.samples) - start
    if samples < 2:
        return []
    course = np.arange(samples, dtype=np.float64) / samples
    phase = _phase(rng, course, stretch.rate_hz)
    sharpness = rng.uniform(0.5, 1.0)
    edge_s = min(_TRUNCATION_S, samples / stretch.rate_hz / 6)
    envelope = _growth(rng, course) * ramps(samples, stretch.rate_hz, edge_s, edge_s)
    envelope *= 1 + np.float32(0.2) * wandering(rng, samples, stretch.rate_hz, 0.7)
    envelope *= np.float32(BACKGROUND_UV * stretch.scale)
    activities = []
    reach: dict[str, float] = {}
    for onset, lag, gains in _zones(rng, seizure.focus):
        field = field_of(stretch.electrodes, gains)
        rise = np.clip((course - onset) / 0.08, 0, 1).astype(np.float32) if onset else 1.0
        wave = _discharge(phase - lag, course, sharpness) * envelope * np.float32(1) * rise
        activities.append(Activity(start, wave.astype(np.float32, copy=False), field))
        reach.update(field)
    activities.append(_slowing(rng, stretch, start + samples, reach))
    return activities


def _phase(
    rng: np.random.Generator, course: np.ndarray[tuple[int], np.dtype[np.float64]], rate_hz: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Phase in radians of a rhythm whose frequency falls, with some jitter."""
    first, last = rng.uniform(7.0, 9.0), rng.uniform(1.8, 2.6)
    hertz = first * (last / first) ** (course**0.8)
    hertz *= 1 + 0.06 * wandering(rng, len(course), rate_hz, 1.0)
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
    """A wave with phase-locked harmonics, of about unit standard deviation.

    The harmonics grow over the course: from a nearly sinusoidal rhythm to spike and wave.
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
    """Onset (share of the course), lag (radians) and gains of the zones a seizure involves."""
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
        away = distance(focus, name)
        if away <= CORE_REACH:
            core[name] = gain * float(np.exp(-((away / 0.9) ** 2)))
        elif away <= RING_REACH:
            ring[name] = gain * 0.55
        else:
            rest[name] = gain * 0.25
    return [(0.0, 0.0, core), (RING_ONSET, 0.6, ring), (_REST_ONSET, 1.2, rest)]


def _slowing(
    rng: np.random.Generator, stretch: Stretch, start: int, gains: dict[str, float]
) -> Activity:
    """Irregular delta that fades over 10 to 20 s."""
    samples = length_of(rng.uniform(10, 20), stretch.rate_hz)
    wave = shaped_noise(rng, samples, narrow(bins_hz(samples, stretch.rate_hz), 1.5, 0.6))
    wave *= ramps(samples, stretch.rate_hz, 0.5, samples / stretch.rate_hz * 0.7)
    wave *= np.float32(rng.uniform(0.8, 1.5) * BACKGROUND_UV * stretch.scale)
    return Activity(start, wave, gains)
