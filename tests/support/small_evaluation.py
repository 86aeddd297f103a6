"""Evaluations of a few synthetic recordings whose figures can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.results import EvaluationResults, UnscoredRecording
from brainbrr_core.evaluation.score import score
from brainbrr_core.scoring import OperatingPoint, ScoredRecording


def frames(duration_s: float, spans: list[tuple[float, float]]) -> NDArray[np.float32]:
    values = np.full(math.ceil(duration_s * 8), 0.1, dtype=np.float32)
    for start, stop in spans:
        values[round(start * 8) : round(stop * 8)] = 0.9
    return values


def recording(
    key: str,
    patient: str,
    reference: list[tuple[float, float]],
    hypothesis: list[tuple[float, float, float]],
    duration_s: float = 600.0,
) -> ScoredRecording:
    return ScoredRecording(
        patient,
        duration_s,
        tuple(Event(start, stop) for start, stop in reference),
        frames(duration_s, [(start, stop) for start, stop, _ in hypothesis]),
        hypothesis=tuple(Event(start, stop, "seiz", sure) for start, stop, sure in hypothesis),
        partition_key=key,
        montage="01_tcp_ar",
    )


TUNED_ON_DEV = ThresholdChoice(OperatingPoint(0.7, 0.63), "dev", 0.5)


def sample(split: str = "eval", choice: ThresholdChoice = TUNED_ON_DEV) -> EvaluationResults:
    """Two patients, 1800 s: three seizures, of which one is found, and two false alarms."""
    return score(
        [
            recording("eval/b/t0", "b", [(100, 130), (400, 500)], []),
            recording("eval/a/t1", "a", [], [(10, 20, 0.8), (300, 310, 0.95)]),
            recording("eval/a/t0", "a", [(100, 130)], [(110, 140, 0.9)]),
        ],
        split=split,
        threshold=choice,
        provenance={"seed": "0", "weights": "<b>9d5e</b>"},
        profile="smoke",
        unscored=[UnscoredRecording("eval/b/t9", "there is no annotation", 1800.0, 0)],
    ).results
