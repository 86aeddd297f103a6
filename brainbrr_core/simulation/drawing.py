"""Everything that is drawn of a recording before its signal, by seed and name alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainbrr_core.simulation.patient import Patient, draw_patient
from brainbrr_core.simulation.ranges import Ranges
from brainbrr_core.simulation.recorder import Recorder, draw_recorder
from brainbrr_core.simulation.scenario import Scenario, draw_recording, draw_scenario
from brainbrr_core.synthesis.plan import random_source

_NAMESPACE = "simulation"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to be made: its patient, recorder and content.

    ``number`` counts the recordings of the patient from 0, ``kind`` is one of the ranges'.
    """

    seed: int
    number: int
    kind: str
    patient: Patient
    recorder: Recorder
    scenario: Scenario


def recordings_of(seed: int, patient: str, ranges: Ranges) -> int:
    """Number of recordings of a patient."""
    low, high = ranges.patients.recordings
    rng = random_source(seed, _NAMESPACE, "recordings", patient)
    return int(rng.integers(low, high, endpoint=True))


def draw_one(seed: int, patient: str, number: int, ranges: Ranges) -> Recording:
    """Recording ``number`` of a patient; the same from any process and in any order."""
    drawn = draw_patient(random_source(seed, _NAMESPACE, "patient", patient), patient, ranges)
    recorder = draw_recorder(random_source(seed, _NAMESPACE, "recorder", patient), ranges.recorders)
    rng = random_source(seed, _NAMESPACE, "scenario", patient, str(number))
    kind, seconds, scene = draw_recording(rng, ranges)
    scenario = draw_scenario(rng, drawn, seconds, scene, ranges)
    return Recording(seed, number, kind, drawn, recorder, scenario)


def random_of(recording: Recording, *names: str) -> np.random.Generator:
    """The generator of one part of a recording."""
    return random_source(
        recording.seed, _NAMESPACE, recording.patient.name, str(recording.number), *names
    )
