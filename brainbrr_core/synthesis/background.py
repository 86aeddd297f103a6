"""Continuous activity: 1/f background, alpha, drowsy theta, mains hum.

Activity that fills the whole recording belongs here; transient activity belongs to ``artifacts``
and ``rhythm``, seizures to ``seizure``.
"""

from __future__ import annotations

import numpy as np

from brainbrr_core.synthesis.scalp import coordinates
from brainbrr_core.synthesis.sources import (
    BACKGROUND_UV,
    Activity,
    RecordingContext,
    Wave,
    bins_hz,
    field_of,
    narrow,
    pink,
    random_course,
    shaped_noise,
)

#: Positions of the shared sources of the background, in head radii.
_CENTERS = np.array(
    [[-0.5, 0.6], [0.5, 0.6], [-0.7, 0], [0.7, 0], [-0.5, -0.6], [0.5, -0.6], [0, 0.3], [0, -0.5]]
)
_REACH = 0.55
#: Share of the background's variance that neighboring electrodes have in common.
SHARED = 0.6
_TONIC_MUSCLE = {"T3": 1.0, "T4": 1.0, "F7": 0.8, "F8": 0.8, "FP1": 0.6, "FP2": 0.6, "A1": 0.8}
_TONIC_MUSCLE |= {"A2": 0.8, "T1": 0.9, "T2": 0.9, "T5": 0.4, "T6": 0.4}
_ALPHA = {"O1": 1.0, "O2": 1.0, "P3": 0.6, "P4": 0.6, "PZ": 0.6, "T5": 0.5, "T6": 0.5, "OZ": 1.0}
_ALPHA |= {"C3": 0.2, "C4": 0.2, "CZ": 0.2, "C3P": 0.3, "C4P": 0.3}
_THETA = {"CZ": 0.8, "FZ": 0.8, "F3": 0.6, "F4": 0.6, "C3": 0.6, "C4": 0.6, "PZ": 0.5}


def drowsiness(rng: np.random.Generator, samples: int, rate_hz: float) -> Wave:
    """A time course between 0 (awake) and 1 (drowsy) that changes over minutes."""
    course: Wave = np.float32(0.5) + np.float32(1.2) * random_course(rng, samples, rate_hz, 75.0)
    return np.clip(course, 0, 1, out=course)


def shared_background(
    rng: np.random.Generator, context: RecordingContext, slope: float, alpha_hz: float
) -> list[Activity]:
    """Sources that several electrodes share: background, alpha, theta.

    The power of the background falls with frequency to the ``slope``.
    """
    frequencies = bins_hz(context.samples, context.rate_hz)
    level = BACKGROUND_UV * context.scale
    offsets = coordinates(context.electrodes)[:, None, :] - _CENTERS[None]
    gains = np.exp(-np.sum(offsets**2, axis=2) / _REACH**2)
    # A source common to all: what the reference electrode adds to every channel.
    gains = np.column_stack([gains, np.full(len(gains), 0.35)])
    gains *= level * np.sqrt(SHARED) / np.sqrt(np.sum(gains**2, axis=1, keepdims=True))
    amplitudes = pink(frequencies, slope)
    arousal = 1 + np.float32(0.3) * random_course(rng, context.samples, context.rate_hz, 6.0)
    activities = []
    for column in gains.T:
        wave = shaped_noise(rng, context.samples, amplitudes)
        wave *= arousal
        column_gains = dict(zip(context.electrodes, column.tolist(), strict=True))
        activities.append(Activity(0, wave, column_gains))
    awake = 1 - np.float32(0.8) * context.drowsy
    for side in ("13579", "2468"):
        wave = shaped_noise(rng, context.samples, narrow(frequencies, alpha_hz, 0.6)) * awake
        reach = {
            name: gain * level * 0.75 * (1.0 if name[-1] in side else 0.35)
            for name, gain in _ALPHA.items()
        }
        activities.append(Activity(0, wave, field_of(context.electrodes, reach)))
    theta = shaped_noise(rng, context.samples, narrow(frequencies, 5.2, 0.9)) * context.drowsy
    reach = {name: gain * level * 0.5 for name, gain in _THETA.items()}
    activities.append(Activity(0, theta, field_of(context.electrodes, reach)))
    return activities


def mains(
    rng: np.random.Generator, context: RecordingContext, labels: tuple[str, ...]
) -> list[Activity]:
    """Mains hum of 60 Hz and its harmonics below the Nyquist frequency.

    Each of the channels ``labels`` picks it up at a level of its own.
    """
    level = float(np.exp(rng.uniform(np.log(0.6), np.log(6.0))))
    mains_hz = 60 + rng.uniform(-0.02, 0.02)
    gains = np.exp(rng.normal(0, 0.6, len(labels)))
    turns = np.arange(context.samples, dtype=np.float64) * (mains_hz / context.rate_hz)
    activities = []
    for harmonic, share in ((1, 1.0), (2, 0.25), (3, 0.4)):
        phase = rng.uniform(0, 1)
        if harmonic * mains_hz >= 0.49 * context.rate_hz:
            continue
        wave = np.sin(2 * np.pi * ((harmonic * turns + phase) % 1.0)).astype(np.float32)
        values = (level * share * gains * np.exp(rng.normal(0, 0.3, len(labels)))).tolist()
        activities.append(Activity(0, wave, dict(zip(labels, values, strict=True))))
    return activities


def own_noise(
    rng: np.random.Generator, electrode: str, samples: int, rate_hz: float, scale: float
) -> Wave:
    """Activity of a single electrode in µV: its own background and tonic muscle."""
    frequencies = bins_hz(samples, rate_hz)
    wave = shaped_noise(rng, samples, pink(frequencies, 1.2))
    wave *= np.float32(BACKGROUND_UV * scale * np.sqrt(1 - SHARED))
    tonic = _TONIC_MUSCLE.get(electrode, 0.25) * float(np.exp(rng.normal(0.6, 0.5)))
    wave += np.float32(tonic) * rng.standard_normal(samples, dtype=np.float32)
    return wave
