"""What happens in a recording and when, before any signal: states, seizures, patterns, artifacts.

The truth about a recording is its scenario: annotations are made from it, and signals follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from brainbrr_core.simulation.patient import Patient
from brainbrr_core.simulation.ranges import Ranges, draw, pick
from brainbrr_core.simulation.states import Spell, spells_of

SEIZURE, PATTERN, ARTIFACT = "seizure", "pattern", "artifact"
_SCENES_WITH_SEIZURE = frozenset({"whole", "onset", "offset", "inside"})
_GAP_S = 20.0
#: Fewest artifacts of a kind that a recording is expected to have if it has the kind at all.
_FEWEST = 0.5


@dataclass(frozen=True, slots=True)
class Episode:
    """A seizure, pattern or artifact; it may begin before the recording or end after it.

    ``number`` tells it from all others of the recording. Times are in seconds.
    """

    family: str
    kind: str
    start: float
    stop: float
    region: str
    side: str
    number: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """The content of a recording. ``scene`` is the one that it has of those that were drawn."""

    seconds: int
    scene: str
    spells: tuple[Spell, ...]
    episodes: tuple[Episode, ...]

    def of(self, family: str) -> list[Episode]:
        """The episodes of a family, in the order of their beginnings."""
        return [episode for episode in self.episodes if episode.family == family]


def draw_scenario(
    rng: np.random.Generator, patient: Patient, seconds: int, scene: str, ranges: Ranges
) -> Scenario:
    """The scenario of a recording of ``seconds`` seconds.

    A scene with a seizure becomes ``background`` for a patient without seizures, and ``whole``
    becomes ``inside`` where the patient's seizures are too short.
    """
    if not patient.seizure_types and scene in _SCENES_WITH_SEIZURE:
        scene = "background"
    kind = ""
    if patient.seizure_types:
        kind = patient.seizure_types[int(rng.integers(len(patient.seizure_types)))]
        if scene == "whole" and ranges.seizures[kind].seconds[1] < 1.1 * seconds:
            # A seizure of this kind is too short to fill the recording.
            scene = "inside"
    seizures = _seizures(rng, patient, kind, seconds, scene, ranges)
    episodes = [*seizures, *_patterns(rng, patient, seconds, scene, seizures, ranges)]
    episodes += _artifacts(rng, seconds, ranges)
    episodes.sort(key=lambda episode: (episode.start, episode.family, episode.kind))
    return Scenario(
        seconds=seconds,
        scene=scene,
        spells=spells_of(rng, ranges.states, patient.condition, seconds),
        episodes=tuple(replace(one, number=n) for n, one in enumerate(episodes)),
    )


def _seizure(patient: Patient, kind: str, start: float, stop: float) -> Episode:
    return Episode(SEIZURE, kind, round(start, 3), round(stop, 3), patient.region, patient.side, 0)


def _seizures(
    rng: np.random.Generator,
    patient: Patient,
    kind: str,
    seconds: int,
    scene: str,
    ranges: Ranges,
) -> list[Episode]:
    """The seizures of a scene: one of a kind, or in the scene ``free`` any of the patient's."""
    if not kind or scene in ("background", "pattern"):
        return []
    usual = ranges.seizures[kind].seconds
    length = draw(rng, usual)
    if scene == "whole":
        length = draw(rng, (max(usual[0], 1.05 * seconds), usual[1]))
        start = -rng.uniform(0, length - seconds)
        return [_seizure(patient, kind, start, start + length)]
    if scene == "onset":
        start = seconds * rng.uniform(0.1, 0.85)
        return [_seizure(patient, kind, start, start + length)]
    if scene == "offset":
        stop = seconds * rng.uniform(0.15, 0.9)
        return [_seizure(patient, kind, stop - length, stop)]
    if scene == "inside":
        length = min(length, max(usual[0], 0.8 * seconds), 0.95 * seconds)
        start = rng.uniform(0, seconds - length)
        return [_seizure(patient, kind, start, start + length)]
    seizures: list[Episode] = []
    position = 0.0
    per_hour = draw(rng, ranges.seizures_per_hour)
    while True:
        position += float(rng.exponential(3600 / per_hour))
        kind = patient.seizure_types[int(rng.integers(len(patient.seizure_types)))]
        length = draw(rng, ranges.seizures[kind].seconds)
        if position + length > seconds:
            return seizures
        seizures.append(_seizure(patient, kind, position, position + length))
        position += length + _GAP_S


def _patterns(
    rng: np.random.Generator,
    patient: Patient,
    seconds: int,
    scene: str,
    seizures: list[Episode],
    ranges: Ranges,
) -> list[Episode]:
    """Patterns, which pause during seizures and begin again some seconds after them."""
    pattern = ranges.patterns[patient.pattern]
    if scene == "pattern":
        ends = [-rng.uniform(5, 60), seconds + rng.uniform(5, 60)]
        if rng.random() < 0.15:
            side = int(rng.integers(2))
            ends[side] = seconds * rng.uniform(0.2, 0.8)
    elif rng.random() < ranges.pattern_share.get(patient.condition, 0.0):
        length = draw(rng, pattern.seconds)
        start = rng.uniform(-0.5 * length, seconds)
        ends = [start, start + length]
    else:
        return []
    free = [(ends[0], ends[1])]
    for seizure in seizures:
        before, after = rng.uniform(0.3, 3), rng.uniform(5, 40)
        free = [
            part
            for first, last in free
            for part in (
                (first, min(last, seizure.start - before)),
                (max(first, seizure.stop + after), last),
            )
            if part[1] - part[0] > 5
        ]
    regions = pattern.regions
    region = (
        patient.region if patient.region in regions else regions[int(rng.integers(len(regions)))]
    )
    return [
        Episode(PATTERN, patient.pattern, round(first, 3), round(last, 3), region, patient.side, 0)
        for first, last in free
        if last > 0 and first < seconds
    ]


def _artifacts(rng: np.random.Generator, seconds: int, ranges: Ranges) -> list[Episode]:
    episodes = []
    restless = draw(rng, ranges.artifact_rate)
    for kind, artifact in ranges.artifacts.items():
        has_kind = rng.random() < artifact.share
        expected = max(restless * draw(rng, artifact.per_hour) * seconds / 3600, _FEWEST)
        for _ in range(int(rng.poisson(expected)) if has_kind else 0):
            length = draw(rng, artifact.seconds)
            start = rng.uniform(-0.5 * length, seconds)
            side = ("left", "right")[int(rng.integers(2))]
            if start + length > 0:
                episodes.append(
                    Episode(ARTIFACT, kind, round(start, 3), round(start + length, 3), "", side, 0)
                )
    return episodes


def draw_recording(rng: np.random.Generator, ranges: Ranges) -> tuple[str, int, str]:
    """Kind, length in whole seconds and scene of a recording."""
    kind = pick(rng, {name: one.weight for name, one in ranges.recordings.items()})
    chosen = ranges.recordings[kind]
    return kind, round(draw(rng, chosen.seconds)), pick(rng, chosen.scenes)
