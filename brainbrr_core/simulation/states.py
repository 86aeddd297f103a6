"""The course of vigilance over a recording, and the levels of activity that follow from it.

Sources
-------
Berry et al., AASM Manual for the Scoring of Sleep: what marks wakefulness, drowsiness and sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brainbrr_core.simulation.ranges import State, draw, pick
from brainbrr_core.simulation.waveforms import Array

#: Values of a level for each second, and seconds in which a state passes into the next.
GRID_HZ = 4.0
_PASSING_S = 1.5
#: Orders in which states follow each other more often than by chance.
_NEXT = {
    "eyes closed": ("eyes open", "drowsy"),
    "eyes open": ("eyes closed",),
    "drowsy": ("light sleep", "eyes closed"),
    "light sleep": ("deep sleep", "drowsy", "dreaming"),
    "deep sleep": ("light sleep",),
}
_FOLLOWS = 0.75


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in one state, in seconds."""

    state: str
    start: float
    stop: float


def spells_of(
    rng: np.random.Generator, states: Mapping[str, State], condition: str, seconds: float
) -> tuple[Spell, ...]:
    """The states of a recording of a patient in a condition."""
    weights = {name: state.weights.get(condition, 0.0) for name, state in states.items()}
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    spells = []
    # The recording begins in the middle of a state.
    name = pick(rng, {n: w * sum(states[n].minutes) for n, w in weights.items()})
    position = -60 * draw(rng, states[name].minutes) * rng.random()
    while position < seconds:
        stop = position + 60 * draw(rng, states[name].minutes)
        if stop > 0:
            spells.append(Spell(name, max(0.0, position), min(stop, seconds)))
        position = stop
        following = [n for n in _NEXT.get(name, ()) if n in weights]
        if following and rng.random() < _FOLLOWS:
            name = following[int(rng.integers(len(following)))]
        else:
            name = pick(rng, weights)
    return tuple(spells)


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of each component at ``GRID_HZ``."""

    courses: dict[str, Array]

    def at(self, name: str, samples: int, rate_hz: float) -> Array:
        """The level of a component at each sample."""
        course = self.courses[name]
        return np.interp(np.arange(samples) / rate_hz, np.arange(len(course)) / GRID_HZ, course)


_COMPONENTS = ("aperiodic", "alpha", "theta", "delta", "beta", "muscle", "eyes")


def levels_of(
    rng: np.random.Generator,
    states: Mapping[str, State],
    spells: tuple[Spell, ...],
    seconds: float,
) -> Levels:
    """Levels that are drawn anew for each spell and pass smoothly from one to the next."""
    count = int(np.ceil(seconds * GRID_HZ)) + 1
    courses = {name: np.zeros(count) for name in _COMPONENTS}
    for spell in spells:
        state = states[spell.state]
        ends: dict[str, tuple[float, float]] = {
            "aperiodic": state.aperiodic,
            "alpha": state.alpha,
            "theta": state.theta,
            "delta": state.delta,
            "beta": state.beta,
            "muscle": state.muscle,
            "eyes": state.eyes,
        }
        first, last = int(spell.start * GRID_HZ), int(np.ceil(spell.stop * GRID_HZ)) + 1
        for name, between in ends.items():
            courses[name][first:last] = draw(rng, between)
    width = int(_PASSING_S * GRID_HZ) | 1
    kernel = np.ones(width) / width
    for name, course in courses.items():
        padded = np.pad(course, width // 2, mode="edge")
        courses[name] = np.convolve(padded, kernel, "valid")
    return Levels(courses)


def suppression_of(
    rng: np.random.Generator,
    spells: tuple[Spell, ...],
    states: Mapping[str, State],
    burst_s: tuple[float, float],
    suppression_s: tuple[float, float],
    seconds: float,
) -> Array | None:
    """A factor at 20 Hz that leaves bursts alone; None where no spell has burst suppression."""
    if not any(states[spell.state].suppression for spell in spells):
        return None
    count = int(np.ceil(seconds * SUPPRESSION_HZ)) + 1
    factor = np.ones(count)
    mean_burst, mean_gap = draw(rng, burst_s), draw(rng, suppression_s)
    depth = rng.uniform(0.03, 0.2)
    for spell in spells:
        if not states[spell.state].suppression:
            continue
        position = spell.start
        while position < spell.stop:
            gap = mean_gap * float(np.exp(rng.normal(0, 0.35)))
            first = int(position * SUPPRESSION_HZ)
            last = int(min(position + gap, spell.stop) * SUPPRESSION_HZ)
            factor[first:last] = depth
            position += gap + mean_burst * float(np.exp(rng.normal(0, 0.35)))
    kernel = np.array([0.25, 0.5, 0.25])
    return np.convolve(np.pad(factor, 1, mode="edge"), kernel, "valid")


SUPPRESSION_HZ = 20.0
