"""Patients: age, condition, anatomy, traits of their EEG, and their recorder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbrr_core.simulation.head import Head
from brainbrr_core.simulation.ranges import Ranges, draw, pick

#: Share of the patients with seizures who have two types of them.
_SECOND_TYPE = 0.25


@dataclass(frozen=True, slots=True)
class Patient:
    """What stays the same over all recordings of a patient.

    Amplitudes are in µV; ``scale`` multiplies those of the brain. ``region`` and ``side`` are those
    of the focus, and ``transients`` the kinds of brief activity that the patient has.
    """

    name: str
    age: float
    age_group: str
    condition: str
    seizure_types: tuple[str, ...]
    pattern: str
    region: str
    side: str
    head: Head
    scale: float
    level_uv: float
    exponent: float
    alpha_hz: float
    alpha_uv: float
    beta_hz: float
    beta_uv: float
    slowing_hz: float
    slowing_uv: float
    focal_slowing_uv: float
    breach: bool
    transients: frozenset[str]


def draw_patient(rng: np.random.Generator, name: str, ranges: Ranges) -> Patient:
    """A patient. ``seizure_types`` is empty for one without seizures."""
    patients, background = ranges.patients, ranges.background
    condition = pick(rng, patients.condition_weights)
    types: tuple[str, ...] = ()
    if rng.random() < patients.epilepsy:
        types = (pick(rng, patients.seizure_types),)
        if rng.random() < _SECOND_TYPE:
            types += (pick(rng, patients.seizure_types),)
    age_group = pick(rng, patients.age_weights)
    regions = ranges.seizures[types[0]].regions if types else ("temporal", "central", "parietal")
    has_drug_beta = rng.random() < background.drug_beta
    is_slow = rng.random() < background.slowing.get(condition, 0.0)
    has_focus = rng.random() < background.focal_slowing
    return Patient(
        name=name,
        age=round(draw(rng, patients.ages[age_group]), 1),
        age_group=age_group,
        condition=condition,
        seizure_types=types,
        pattern=pick(rng, {kind: pattern.weight for kind, pattern in ranges.patterns.items()}),
        region=regions[int(rng.integers(len(regions)))],
        side=("left", "right")[int(rng.integers(2))],
        head=Head.drawn(rng, round(draw(rng, patients.skull), 4), draw(rng, patients.displacement)),
        scale=draw(rng, patients.amplitude),
        level_uv=draw(rng, background.level_uv),
        exponent=draw(rng, background.exponent),
        alpha_hz=draw(rng, background.alpha_hz[age_group]),
        alpha_uv=draw(rng, background.alpha_uv),
        beta_hz=rng.uniform(14, 26),
        beta_uv=draw(rng, background.drug_beta_uv if has_drug_beta else background.beta_uv),
        slowing_hz=rng.uniform(1.0, 5.5),
        slowing_uv=draw(rng, background.slowing_uv) if is_slow else 0.0,
        focal_slowing_uv=draw(rng, background.focal_slowing_uv) if has_focus else 0.0,
        breach=bool(rng.random() < background.breach),
        transients=frozenset(
            kind for kind, one in ranges.transients.items() if rng.random() < one.share
        ),
    )
