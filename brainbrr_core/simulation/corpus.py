"""Corpora of simulated recordings: planning them, their annotations, and writing them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, tuh
from brainbrr_core.constants import BACKGROUND, SPLITS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.simulation.drawing import Recording, draw_one, recordings_of
from brainbrr_core.simulation.ranges import Ranges
from brainbrr_core.simulation.scenario import SEIZURE, Scenario
from brainbrr_core.simulation.seizures import focus_of
from brainbrr_core.synthesis.plan import (
    CorpusSummary,
    RecordingPlan,
    Seizure,
    check_seed,
    patient_name,
)
from brainbrr_core.synthesis.scalp import CORE_REACH, tcp_channels, touching, within
from brainbrr_core.synthesis.writing import write_plans

#: Incremented with every change that alters a byte of a simulated corpus.
SIMULATOR_VERSION = 5
MAX_HOURS = 20_000.0
#: Suffix of the files that say all that is in a recording.
TRUTH = ".truth.json"
#: The ranges of a corpus, in its folder.
RANGES_FILE = "ranges.yaml"
#: Those of dev and eval, where they are others.
UNSEEN_FILE = "unseen.yaml"
#: The splits of successive patients.
_SPLITS = ("train", "dev", "eval", "train", "train", "train", "train")
#: Patients who are added at most, so that each split has a seizure.
_MORE_PATIENTS = 40
_YEAR = 2015


def write_simulated_corpus(
    out: Path,
    *,
    hours: float,
    seed: int,
    ranges: Ranges,
    unseen: Ranges | None = None,
    workers: int | None = None,
) -> CorpusSummary:
    """Write a corpus of simulated EEG in the layout of TUSZ.

    Each recording is an EDF with ``csv``, ``csv_bi`` and ``truth.json``, which also has its states,
    patterns and artifacts; ``out/ranges.yaml`` has the ranges. The bytes depend only on ``hours``,
    ``seed``, ``ranges`` and the libraries that compute them; a corpus of more hours has the same
    ones under the same names. A complete folder is not changed; an interrupted one is completed.

    Parameters
    ----------
    out : pathlib.Path
        Folder to write to; created where it is missing.
    hours : float
        Hours of EEG. Recordings are added until there are as many, and until each split has a
        seizure.
    seed : int
        Seed of all random numbers.
    ranges : Ranges
        What may be drawn.
    unseen : Ranges, optional
        What may be drawn for patients of dev and eval, if not the same.
    workers : int, optional
        Number of processes; by default as many as cores and memory allow.

    Returns
    -------
    CorpusSummary
        Contents of the corpus.

    Raises
    ------
    BrainbrrError
        An argument is out of range, or the folder has other files.
    """
    plans = plan_simulated(hours, seed, ranges, unseen)
    parameters: dict[str, object] = {
        "kind": "simulated",
        "simulator_version": SIMULATOR_VERSION,
        "hours": float(hours),
        "seed": seed,
        "ranges": _digest(ranges),
    }
    companions = {RANGES_FILE: _as_yaml(ranges)}
    if unseen is not None:
        parameters["unseen"] = _digest(unseen)
        companions[UNSEEN_FILE] = _as_yaml(unseen)
    render = partial(render_plan, ranges, unseen=unseen)
    return write_plans(out, plans, parameters, workers, companions=companions, render=render)


def _digest(ranges: Ranges) -> str:
    return hashlib.sha256(ranges.model_dump_json().encode()).hexdigest()[:12]


def _as_yaml(ranges: Ranges) -> bytes:
    return yaml.safe_dump(json.loads(ranges.model_dump_json()), sort_keys=False).encode()


def plan_simulated(
    hours: float, seed: int, ranges: Ranges, unseen: Ranges | None = None
) -> list[RecordingPlan]:
    """Plan a corpus of at least ``hours`` hours; raises :class:`BrainbrrError` out of range."""
    check_seed(seed)
    if not 0 < hours <= MAX_HOURS:
        raise BrainbrrError(f"{hours:g} hours: give more than 0, up to {MAX_HOURS:g}")
    plans: list[RecordingPlan] = []
    seconds = 0.0
    more = 0
    lacking = set(SPLITS)
    for number in count(1):
        patient, split = patient_name(number), _SPLITS[(number - 1) % len(_SPLITS)]
        if seconds >= 3600 * hours:
            more += 1
            if not lacking or more > _MORE_PATIENTS:
                return plans
        drawn = _of_split(split, ranges, unseen)
        labels: dict[str, str] = {kind: one.label for kind, one in drawn.seizures.items()}
        for recording in _recordings(seed, patient, drawn):
            if seconds >= 3600 * hours and split not in lacking:
                break
            plan = plan_recording(recording, split, labels)
            plans.append(plan)
            seconds += plan.duration_s
            if plan.seizures:
                lacking.discard(split)
    raise AssertionError("patients are counted without end")


def _of_split(split: str, ranges: Ranges, unseen: Ranges | None) -> Ranges:
    """What is drawn for the patients of a split."""
    return ranges if unseen is None or split == SPLITS[0] else unseen


def _recordings(seed: int, patient: str, ranges: Ranges) -> Iterator[Recording]:
    for number in range(recordings_of(seed, patient, ranges)):
        yield draw_one(seed, patient, number, ranges)


def plan_recording(recording: Recording, split: str, labels: dict[str, str]) -> RecordingPlan:
    """The plan of a recording: its files, channels and annotations.

    ``labels`` are those of TUSZ for the types of seizures.
    """
    scenario, recorder, patient = recording.scenario, recording.recorder, recording.patient
    session, token = divmod(recording.number, 3)
    name = f"{patient.name}_s{session + 1:03d}_t{token:03d}"
    key = f"{split}/{patient.name}/s{session + 1:03d}_{_YEAR}/{recorder.montage}/{name}"
    seizures = _annotated(scenario)
    rows = _rows(scenario, labels, tcp_channels(recorder.montage))
    return RecordingPlan(
        key=key,
        split=split,
        patient=patient.name,
        seed=recording.seed,
        records=scenario.seconds,
        record_s=Fraction(1),
        channels=recorder.channels(),
        seizures=seizures,
        annotations=(
            (
                ".csv_bi",
                tuh.format_csv_bi(
                    [Event(s.start, s.stop) for s in seizures], scenario.seconds, name
                ).encode(),
            ),
            (".csv", tuh.format_csv(rows, scenario.seconds, name).encode()),
            (TRUTH, _truth(recording)),
        ),
        year=_YEAR,
    )


def _annotated(scenario: Scenario) -> tuple[Seizure, ...]:
    """The parts of seizures that lie within the recording."""
    return tuple(
        Seizure(max(0.0, one.start), min(one.stop, float(scenario.seconds)), focus_of(one))
        for one in scenario.of(SEIZURE)
    )


def _rows(scenario: Scenario, labels: dict[str, str], pairs: tuple[str, ...]) -> list[Event]:
    """Seizures with their types and channels; a recording without any is background."""
    rows = []
    for seizure, episode in zip(_annotated(scenario), scenario.of(SEIZURE), strict=True):
        focus = seizure.focus
        channels = touching(pairs, within(focus, CORE_REACH)) if focus else pairs
        rows.append(Event(seizure.start, seizure.stop, labels[episode.kind], 1.0, channels))
    return rows or [Event(0.0, float(scenario.seconds), BACKGROUND, 1.0, pairs)]


def _truth(recording: Recording) -> bytes:
    """All that is known of a recording, as JSON."""
    scenario, patient, seconds = recording.scenario, recording.patient, recording.scenario.seconds
    content = {
        "patient": {
            "age": patient.age,
            "condition": patient.condition,
            "seizure_types": patient.seizure_types,
            "transients": sorted(patient.transients),
        },
        "recorder": asdict(recording.recorder),
        "recording": recording.kind,
        "scene": scenario.scene,
        "states": [asdict(spell) for spell in scenario.spells],
        "episodes": [
            {
                "family": one.family,
                "kind": one.kind,
                "start": max(0.0, one.start),
                "stop": min(one.stop, seconds),
                "region": one.region,
                "side": one.side,
            }
            for one in scenario.episodes
        ],
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def render_plan(
    ranges: Ranges, plan: RecordingPlan, unseen: Ranges | None = None
) -> list[NDArray[np.int16]]:
    """The digital samples of each channel of a planned recording."""
    # A heavy import, needed only where signals are computed.
    from brainbrr_core.simulation.rendering import render_recording

    session, token = (int(part[1:]) for part in plan.key.rsplit("_", 2)[1:])
    drawn = _of_split(plan.split, ranges, unseen)
    recording = draw_one(plan.seed, plan.patient, 3 * (session - 1) + token, drawn)
    return render_recording(recording, drawn)
