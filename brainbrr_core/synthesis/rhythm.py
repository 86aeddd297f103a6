"""Rhythms that are not seizures, and interictal spikes: what a detector must learn to ignore.

Activity that resembles a seizure in one respect (rhythm, shape or amplitude) but is not one belongs
here: it does not evolve in frequency, is brief, or stays at one electrode.
"""

from __future__ import annotations

import numpy as np

from brainbrr_core.synthesis.scalp import TEN_TWENTY, distance, within
from brainbrr_core.synthesis.sources import (
    BACKGROUND_UV,
    Activity,
    RecordingContext,
    Wave,
    field_of,
    length_of,
    ramps,
    random_course,
)

_FRONTAL = {"FZ": 1.0, "F3": 0.9, "F4": 0.9, "FP1": 0.7, "FP2": 0.7, "CZ": 0.6, "F7": 0.5}
_FRONTAL |= {"F8": 0.5, "C3": 0.4, "C4": 0.4, "PZ": 0.2}
_CENTRAL = {"CZ": 1.0, "C3": 0.9, "C4": 0.9, "FZ": 0.7, "PZ": 0.6, "F3": 0.5, "F4": 0.5}
_CENTRAL |= {"P3": 0.4, "P4": 0.4, "C3P": 0.7, "C4P": 0.7}


def rhythms(
    rng: np.random.Generator, context: RecordingContext, focus: str | None
) -> list[Activity]:
    """All rhythms and spikes of a recording; ``focus`` is the electrode of interictal spikes.

    An empty ``focus`` gives generalized spikes, None gives no spikes.
    """
    activities = [
        *_bursts(rng, context, _CENTRAL, 90.0, (4.0, 7.0), (1.0, 3.0), (1.0, 2.2)),
        *_bursts(rng, context, _FRONTAL, 25.0, (1.9, 2.7), (2.0, 4.0), (1.2, 2.5)),
        *_bursts(rng, context, _CENTRAL, 120.0, (11.5, 14.5), (0.5, 1.6), (0.6, 1.3)),
        *_tapping(rng, context, 14.0),
    ]
    if focus is not None:
        activities.extend(_spikes(rng, context, focus, 60.0))
    return activities


def _steady(rng: np.random.Generator, samples: int, rate_hz: float, hertz: float) -> Wave:
    """A sine of constant frequency with a jitter of 5 %."""
    pace = hertz * (1 + 0.05 * random_course(rng, samples, rate_hz, 0.5))
    phase = 2 * np.pi * np.cumsum(pace, dtype=np.float64) / rate_hz
    return np.sin(phase + rng.uniform(0, 2 * np.pi)).astype(np.float32)


def _bursts(
    rng: np.random.Generator,
    context: RecordingContext,
    gains: dict[str, float],
    per_hour: float,
    hertz: tuple[float, float],
    seconds: tuple[float, float],
    level: tuple[float, float],
) -> list[Activity]:
    """Brief rhythmic bursts of drowsiness: theta, frontal delta, spindles.

    ``level`` is the range of their peaks in standard deviations of the background.
    """
    activities = []
    for time_s in context.times(rng, per_hour):
        samples = length_of(rng.uniform(*seconds), context.rate_hz)
        wave = _steady(rng, samples, context.rate_hz, rng.uniform(*hertz))
        wave *= ramps(samples, context.rate_hz, samples, samples)
        wave *= np.float32(1.6 * rng.uniform(*level) * BACKGROUND_UV * context.scale)
        if rng.random() < context.drowsiness(time_s):
            start = int(time_s * context.rate_hz)
            activities.append(Activity(start, wave, field_of(context.electrodes, gains)))
    return activities


def _tapping(
    rng: np.random.Generator, context: RecordingContext, per_hour: float
) -> list[Activity]:
    """Movement that shakes one or two electrodes at a constant 3 to 5 Hz for 5 to 20 s."""
    activities = []
    candidates = [name for name in TEN_TWENTY if name in context.electrodes]
    for time_s in context.times(rng, per_hour if candidates else 0.0):
        samples = length_of(rng.uniform(5, 20), context.rate_hz)
        wave = _steady(rng, samples, context.rate_hz, rng.uniform(3, 5))
        wave += np.float32(0.5) * wave * wave
        wave *= ramps(samples, context.rate_hz, 0.5, 0.5)
        wave *= np.float32(rng.uniform(2, 4.5) * BACKGROUND_UV * context.scale)
        first = candidates[int(rng.integers(len(candidates)))]
        gains = {first: 1.0}
        if rng.random() < 0.5:
            others = sorted(candidates, key=lambda name: (distance(first, name), name))
            gains[others[min(1, len(others) - 1)]] = 0.7 if len(others) > 1 else 1.0
        activities.append(Activity(int(time_s * context.rate_hz), wave, gains))
    return activities


def _spikes(
    rng: np.random.Generator, context: RecordingContext, focus: str, per_hour: float
) -> list[Activity]:
    """Single spikes with a slow wave, around the focus or over the whole head."""
    if focus:
        gains = {name: 1.0 - 0.7 * distance(focus, name) for name in within(focus, 0.8)}
    else:
        gains = dict(_FRONTAL)
    activities = []
    for time_s in context.times(rng, per_hour):
        samples = length_of(0.5, context.rate_hz)
        seconds = np.arange(samples) / context.rate_hz
        spike = -np.exp(-0.5 * ((seconds - 0.08) / 0.018) ** 2)
        slow = 0.5 * np.exp(-0.5 * ((seconds - 0.26) / 0.07) ** 2)
        level = rng.uniform(2.5, 5.0) * BACKGROUND_UV * context.scale
        wave = ((spike + slow) * level).astype(np.float32)
        start = int(time_s * context.rate_hz)
        activities.append(Activity(start, wave, field_of(context.electrodes, gains)))
    return activities
