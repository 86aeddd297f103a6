"""Artifacts: eye movements, muscles, chewing, electrodes.

Activity that is not cerebral and not meant to resemble a seizure belongs here. The rates are those
of a restless patient, so that neither amplitude nor line length is enough to recognize seizures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from brainbrr_core.synthesis.sources import (
    BACKGROUND_UV,
    Activity,
    RecordingContext,
    Wave,
    bins_hz,
    field_of,
    length_of,
    pink,
    ramps,
    random_course,
    shaped_noise,
)

_Shape = Callable[[np.random.Generator, float], Wave]
_BLINK = {"FP1": 1.0, "FP2": 1.0, "F3": 0.35, "F4": 0.35, "F7": 0.4, "F8": 0.4, "FZ": 0.3}
_BLINK |= {"LOC": 1.1, "ROC": 1.1, "PG1": 0.9, "PG2": 0.9, "C3": 0.08, "C4": 0.08}
_GAZE = {"F7": 1.0, "F8": -1.0, "FP1": 0.45, "FP2": -0.45, "T1": 0.7, "T2": -0.7, "F3": 0.25}
_GAZE |= {"F4": -0.25, "LOC": 1.5, "ROC": -1.5, "T3": 0.3, "T4": -0.3}
_MUSCLE_GROUPS = (
    {"T3": 1.0, "F7": 0.8, "T1": 0.9, "T5": 0.5, "C3": 0.25, "A1": 0.6},
    {"T4": 1.0, "F8": 0.8, "T2": 0.9, "T6": 0.5, "C4": 0.25, "A2": 0.6},
    {"FP1": 1.0, "FP2": 1.0, "F7": 0.6, "F8": 0.6, "F3": 0.4, "F4": 0.4, "FZ": 0.3},
    {"O1": 0.8, "O2": 0.8, "T5": 0.7, "T6": 0.7, "P3": 0.3, "P4": 0.3},
)
_JAW = {"T3": 1.0, "T4": 1.0, "F7": 0.8, "F8": 0.8, "FP1": 0.5, "FP2": 0.5, "T5": 0.5, "T6": 0.5}
_JAW |= {"A1": 0.7, "A2": 0.7, "C3": 0.2, "C4": 0.2}


def artifacts(rng: np.random.Generator, context: RecordingContext) -> list[Activity]:
    """All artifacts of a recording."""
    restlessness = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6))))
    return [
        _eye(rng, context, _BLINK, _blink, 700.0),
        _eye(rng, context, _GAZE, _gaze, 120.0),
        *_muscle(rng, context, 60.0 * restlessness),
        *_chewing(rng, context, 9.0 * restlessness),
        *_movement(rng, context, 16.0 * restlessness),
        *_electrode_steps(rng, context, 14.0 * restlessness),
    ]


def _eye(
    rng: np.random.Generator,
    context: RecordingContext,
    gains: dict[str, float],
    shape: _Shape,
    per_hour: float,
) -> Activity:
    """All eye movements of one kind in one waveform; a drowsy patient makes few."""
    wave = np.zeros(context.samples, dtype=np.float32)
    for time_s in context.times(rng, per_hour):
        movement = shape(rng, context.rate_hz)
        if rng.random() < context.drowsiness(time_s):
            continue
        start = int(time_s * context.rate_hz)
        stop = min(start + len(movement), context.samples)
        wave[start:stop] += movement[: stop - start]
    return Activity(0, wave, field_of(context.electrodes, gains))


def _blink(rng: np.random.Generator, rate_hz: float) -> Wave:
    """A blink: 0.25 to 0.4 s, with a small overshoot."""
    samples = length_of(rng.uniform(0.35, 0.55), rate_hz)
    turn = np.arange(samples) / samples
    shape = np.sin(np.pi * turn**0.7) ** 2 - 0.2 * np.sin(np.pi * turn) ** 4 * (turn > 0.5)
    return (rng.uniform(60, 170) * shape).astype(np.float32)


def _gaze(rng: np.random.Generator, rate_hz: float) -> Wave:
    """A glance to one side: a step that decays through the high-pass of the amplifier."""
    samples = length_of(rng.uniform(0.6, 2.0), rate_hz)
    seconds = np.arange(samples) / rate_hz
    shape = (1 - np.exp(-seconds / 0.03)) * np.exp(-seconds / 0.6)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return (sign * rng.uniform(30, 90) * shape).astype(np.float32)


def _muscle_noise(rng: np.random.Generator, samples: int, rate_hz: float) -> Wave:
    """Noise between about 20 and 90 Hz of standard deviation 1."""
    frequencies = bins_hz(samples, rate_hz)
    rise = 1 / (1 + np.exp(-(frequencies - 22) / 3))
    fall = 1 / (1 + np.exp((frequencies - 90) / 8))
    return shaped_noise(rng, samples, (rise * fall).astype(np.float32))


def _on_each(
    rng: np.random.Generator,
    context: RecordingContext,
    start: int,
    envelope: Wave,
    gains: dict[str, float],
) -> list[Activity]:
    """Independent muscle noise on every electrode of ``gains``, with a common envelope."""
    return [
        Activity(
            start,
            _muscle_noise(rng, len(envelope), context.rate_hz) * envelope,
            {name: gain * float(np.exp(rng.normal(0, 0.2)))},
        )
        for name, gain in field_of(context.electrodes, gains).items()
    ]


def _muscle(rng: np.random.Generator, context: RecordingContext, per_hour: float) -> list[Activity]:
    activities = []
    for time_s in context.times(rng, per_hour):
        samples = length_of(float(np.exp(rng.uniform(0, np.log(14)))), context.rate_hz)
        envelope = ramps(samples, context.rate_hz, 0.3, 0.5)
        envelope *= 0.7 + 0.3 * random_course(rng, samples, context.rate_hz, 0.4)
        envelope *= np.float32(np.exp(rng.uniform(np.log(8), np.log(45))))
        group = _MUSCLE_GROUPS[int(rng.integers(len(_MUSCLE_GROUPS)))]
        start = int(time_s * context.rate_hz)
        activities.extend(_on_each(rng, context, start, envelope, group))
    return activities


def _chewing(
    rng: np.random.Generator, context: RecordingContext, per_hour: float
) -> list[Activity]:
    """Bursts of jaw muscle at 1 to 2 Hz together with the slow potential of the tongue."""
    activities = []
    for time_s in context.times(rng, per_hour):
        samples = length_of(rng.uniform(5, 25), context.rate_hz)
        pace = rng.uniform(1.0, 2.0) * (1 + 0.1 * random_course(rng, samples, context.rate_hz, 1.0))
        bite = np.sin(2 * np.pi * np.cumsum(pace) / context.rate_hz).astype(np.float32)
        whole = ramps(samples, context.rate_hz, 1.0, 1.0)
        envelope = np.clip(bite - 0.2, 0, None) * whole * np.float32(rng.uniform(40, 90))
        start = int(time_s * context.rate_hz)
        activities.extend(_on_each(rng, context, start, envelope, _JAW))
        tongue = bite * whole * np.float32(rng.uniform(8, 22))
        activities.append(Activity(start, tongue, field_of(context.electrodes, _JAW)))
    return activities


def _movement(
    rng: np.random.Generator, context: RecordingContext, per_hour: float
) -> list[Activity]:
    """Head and cable movement: large, slow and irregular, on most electrodes at once."""
    activities = []
    for time_s in context.times(rng, per_hour):
        samples = length_of(rng.uniform(4, 25), context.rate_hz)
        envelope = ramps(samples, context.rate_hz, 1.0, 1.5)
        envelope *= np.float32(BACKGROUND_UV * rng.uniform(0.8, 2.4))
        spectrum = pink(bins_hz(samples, context.rate_hz), 3.0, corner_hz=rng.uniform(1.5, 4))
        for _ in range(3):
            gains = np.clip(rng.normal(0, 0.8, len(context.electrodes)), -1.5, 1.5).tolist()
            activities.append(
                Activity(
                    int(time_s * context.rate_hz),
                    shaped_noise(rng, samples, spectrum) * envelope,
                    dict(zip(context.electrodes, gains, strict=True)),
                )
            )
    return activities


def _electrode_steps(
    rng: np.random.Generator, context: RecordingContext, per_hour: float
) -> list[Activity]:
    """Electrode pops: a sudden step at one electrode that decays within seconds."""
    activities = []
    for time_s in context.times(rng, per_hour):
        name = context.electrodes[int(rng.integers(len(context.electrodes)))]
        samples = length_of(3.0, context.rate_hz)
        decay = np.exp(-np.arange(samples) / (rng.uniform(0.1, 0.7) * context.rate_hz))
        sign = 1.0 if rng.random() < 0.5 else -1.0
        wave = (sign * rng.uniform(80, 350) * decay).astype(np.float32)
        activities.append(Activity(int(time_s * context.rate_hz), wave, {name: 1.0}))
    return activities
