"""Scorings of synthetic patients with given detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.results import RESULTS
from brainbrr_core.evaluation.score import Scoring, score
from brainbrr_core.evaluation.tables import write_tables
from brainbrr_core.scoring import (
    OperatingPoint,
    ScoredRecording,
    sweep_thresholds,
)
from tests.support.fixed_events import FixedEvents


def recording(
    key: str, reference: Sequence[tuple[float, float]], hypothesis: Sequence[tuple[float, float]]
) -> ScoredRecording:
    frames = np.full(4800, 0.1, dtype=np.float32)
    for start, stop in hypothesis:
        frames[round(start * 8) : round(stop * 8)] = 0.9
    return ScoredRecording(
        key.split("/")[1],
        600.0,
        tuple(Event(start, stop) for start, stop in reference),
        frames,
        hypothesis=tuple(Event(start, stop) for start, stop in hypothesis),
        partition_key=key,
        montage="01_tcp_ar",
    )


Spans = Sequence[tuple[float, float]]

REFERENCE: Mapping[str, Spans] = {
    "dev/a/t0": [(100, 130)],
    "dev/b/t0": [(200, 230)],
    "dev/c/t0": [],
    "dev/d/t0": [],
}


FOUND_A: Mapping[str, Spans] = {
    "dev/a/t0": [(110, 120)],
    "dev/b/t0": [(50, 60)],
    "dev/c/t0": [(5, 9)],
    "dev/d/t0": [],
}


FOUND_B: Mapping[str, Spans] = {
    "dev/a/t0": [(110, 120)],
    "dev/b/t0": [(210, 220)],
    "dev/c/t0": [(6, 8)],
}


def scored(detections: Mapping[str, Spans], reference: Mapping[str, Spans] = REFERENCE) -> Scoring:
    """The scoring of detections by recording, whose seizures are ``reference``."""
    recordings = [recording(key, reference[key], detections.get(key, [])) for key in reference]

    def find(frames: NDArray[np.float32], _duration_s: float) -> FixedEvents:
        marks = np.flatnonzero(np.diff(np.concatenate([[0], (frames > 0.5).astype(int), [0]])))
        spans = [(a / 8, b / 8) for a, b in zip(marks[::2], marks[1::2], strict=True)]
        return FixedEvents(frames, lambda on: spans if on <= 0.9 else [])

    return score(
        recordings,
        split="dev",
        threshold=ThresholdChoice(OperatingPoint(0.5, 0.45), "dev"),
        provenance={},
        sweep=sweep_thresholds(recordings, find, 1.0),
        bootstrap_samples=200,
    )


def store_report(run: Path, scoring: Scoring) -> Path:
    """Write tables and results to the folder of a run's report on dev; returns the run."""
    folder = run / "report-dev"
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder, scoring.results, scoring.statistics)
    (folder / RESULTS).write_text(scoring.results.to_json(), encoding="utf-8")
    return run


def many(detections: Callable[[int], Spans], patients: int = 12) -> Scoring:
    """One recording of 600 s with a seizure at 100 to 130 s for each of so many patients."""
    keys = {f"dev/{number:02}/t0": number for number in range(patients)}
    return scored(
        {key: detections(number) for key, number in keys.items()},
        {key: [(100, 130)] for key in keys},
    )
