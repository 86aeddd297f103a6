"""The refined sweep against every threshold, the choice of one, and sensitivity at limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import detect, finder
from brainbrr_core.errors import WorkRemains
from brainbrr_core.scoring import (
    RecordingEvents,
    Sweep,
    nedc,
    sensitivity_at,
    sweep_thresholds,
    szcore,
    total,
    tune_threshold,
)
from brainbrr_core.scoring.sweep import STEP, Spans


@dataclass(frozen=True)
class Probed:
    """A recording whose threshold is open."""

    patient: str
    duration_s: float
    reference: tuple[Event, ...]
    probabilities_8hz: NDArray[np.float32]
    unknown: tuple[tuple[float, float], ...] = ()


def block_find(probabilities: NDArray[np.float32], duration_s: float) -> Callable[[float], Spans]:
    """Events of whole 100 s blocks whose value reaches the threshold."""
    values = probabilities[::800].tolist()

    def at(threshold: float) -> Spans:
        return [
            (index * 100.0, min(index * 100.0 + 50, duration_s))
            for index, value in enumerate(values)
            if value >= threshold
        ]

    return at


def blocks(values: list[float], reference: list[int], patient: str = "p") -> Probed:
    """One event of 50 s in each block named in ``reference``; gaps of 250 s keep them apart."""
    return Probed(
        patient,
        len(values) * 100.0,
        tuple(Event(index * 100.0, index * 100.0 + 50) for index in reference),
        np.repeat(np.array(values, dtype=np.float32), 800),
    )


def swept(*recordings: Probed) -> Sweep:
    return sweep_thresholds(recordings, block_find)


def test_threshold_is_the_middle_of_the_best_plateau() -> None:
    # Seizures at 0.8 and 0.7, something else at 0.4: every threshold in (0.4, 0.7] finds both
    # and nothing else, F1 1. The middle is 0.55.
    sweep = swept(blocks([0.8, 0, 0, 0.4, 0, 0, 0.7, 0, 0], [0, 6]))
    tuned = tune_threshold(sweep)
    assert tuned.f1 == 1.0
    assert tuned.threshold == pytest.approx(0.55, abs=5e-4)
    assert tune_threshold(sweep) == tuned


def test_the_sweep_finds_what_a_grid_steps_over() -> None:
    # Only thresholds in (0.6210, 0.6216] find the seizure without the two others.
    recording = blocks([0.6216, 0, 0, 0.6210, 0, 0, 0.6210, 0, 0], [0])
    tuned = tune_threshold(swept(recording))
    assert tuned.f1 == 1.0
    assert 0.6210 < tuned.threshold <= 0.6216


def test_only_thresholds_at_which_something_changes_are_kept() -> None:
    sweep = swept(blocks([0.8, 0, 0, 0.4], [0]), blocks([0.2, 0, 0, 0], [0], "q"))
    assert sweep.patients == ("p", "q")
    # The lowest, and the last before and the first after 0.2, 0.4 and 0.8; the highest.
    edges = [STEP, *(np.floor(v / STEP) * STEP for v in (0.2, 0.4, 0.8))]
    assert set(edges) <= set(sweep.thresholds.tolist())
    assert len(sweep.thresholds) == 8
    # Neighbours differ by less than 5e-4, or nothing changes between them.
    for row, (low, high) in enumerate(zip(sweep.thresholds, sweep.thresholds[1:], strict=False)):
        same = all(
            np.array_equal(part[row], part[row + 1])
            for part in (sweep.szcore.detected, sweep.szcore.false, sweep.ovlp.detected)
        )
        assert high - low < 5e-4 or same


def test_sweep_rows_by_hand() -> None:
    # Two recordings, together 1800 s. At 0.5: one of two seizures found (0.8), one false (0.6).
    first = blocks([0.8, 0, 0, 0.6, 0, 0, 0, 0, 0], [0])
    second = blocks([0.2, 0, 0, 0, 0, 0, 0, 0, 0], [0])
    sweep = swept(first, second)
    row = [row for row in sweep.rows() if row.threshold <= 0.5][-1]
    assert row.sensitivity == row.ovlp_sensitivity == 0.5
    assert row.f1 == pytest.approx(2 / (2 + 1 + 1))
    assert row.false_per_day == pytest.approx(86400 / 1800)
    assert row.ovlp_false_per_day == pytest.approx(86400 / 1800)


@examples(12)
@given(st.integers(0, 10_000))
def test_the_sweep_against_scoring_at_every_threshold(seed: int) -> None:
    """Whatever threshold is asked for, the sweep's row is what detection and the rules give."""
    generator = np.random.default_rng(seed)
    plain = Detection(smooth_s=0.5, min_duration_s=1.0, merge_gap_s=0.5)
    recordings = []
    for patient in ("a", "b"):
        # Few levels, each held for seconds, so that runs of thresholds share their events.
        frames = np.repeat(generator.integers(0, 8, 30) / 8 + 0.01, 16).astype(np.float32)
        start = float(generator.uniform(0, 40))
        recordings.append(Probed(patient, 60.0, (Event(start, start + 10),), frames))
    sweep = sweep_thresholds(recordings, lambda f, d: finder(f, d, plain))
    for threshold in np.sort(generator.integers(1, 2048, 25)) * STEP:
        row = sweep.row(int(np.searchsorted(sweep.thresholds, threshold, side="right")) - 1)
        pairs = [
            RecordingEvents(
                r.patient,
                60.0,
                r.reference,
                tuple(detect(r.probabilities_8hz, 60.0, plain, float(threshold))),
            )
            for r in recordings
        ]
        event = total(szcore.score_recording(pair).event for pair in pairs)
        overlap = total(nedc.ovlp(pair) for pair in pairs)
        assert (row.sensitivity, row.false_per_day) == (event.sensitivity, event.false_per_day)
        assert row.f1 == pytest.approx(event.f1)
        assert row.ovlp_sensitivity == overlap.sensitivity
        assert row.ovlp_false_per_day == overlap.false_per_day


def test_a_network_that_finds_nothing_gets_the_middle() -> None:
    tuned = tune_threshold(swept(blocks([0, 0, 0, 0], [1])))
    assert tuned.f1 == 0.0
    assert tuned.threshold == pytest.approx(0.5, abs=1e-3)


def test_a_split_without_seizures_cannot_tune() -> None:
    with pytest.raises(WorkRemains, match="none of the 1 patients"):
        tune_threshold(swept(blocks([0.9], [])))


def test_sensitivity_at_limits_by_hand() -> None:
    # One day, four seizures, thresholds rising. False alarms fall 12, 4, 6, 3, 0: the walk from
    # the highest threshold passes 0 and 3; 6 exceeds a limit of 5 and ends it, so the 4 further
    # down, with three found, is not looked at.
    detected = np.array([[4, 3, 3, 2, 1]], dtype=np.float64)
    false = np.array([[12, 4, 6, 3, 0]], dtype=np.float64)
    reference, seconds = np.array([4.0]), np.array([86_400.0])

    def at(limit: float) -> tuple[float, int]:
        sensitivity, number = sensitivity_at(detected, false, reference, seconds, limit)
        return float(sensitivity[0]), int(number[0])

    assert at(2.5) == (0.25, 4)
    assert at(5) == (0.5, 3)
    # Exactly the limit keeps it. Of two thresholds with three found, the higher one.
    assert at(6) == (0.75, 2)
    assert at(12) == (1.0, 0)
    # Even the highest threshold exceeds it: nothing is detected.
    assert sensitivity_at(detected, false + 1, reference, seconds, 0.5)[0][0] == 0.0
    assert sensitivity_at(detected, false + 1, reference, seconds, 0.5)[1][0] == -1
    assert np.isnan(sensitivity_at(detected * 0, false, reference * 0, seconds, 5)[0][0])


@examples(100)
@given(st.integers(0, 10_000), st.sampled_from([10.0, 5.0, 2.5, 1.0]))
def test_sensitivity_at_limits_against_a_walk(seed: int, limit: float) -> None:
    generator = np.random.default_rng(seed)
    detected = generator.integers(0, 5, (3, 12)).astype(np.float64)
    false = generator.integers(0, 14, (3, 12)).astype(np.float64)
    seconds = generator.uniform(40_000, 200_000, 3)
    found, _ = sensitivity_at(detected, false, np.full(3, 5.0), seconds, limit)
    for row in range(3):
        best = 0.0
        for column in range(11, -1, -1):
            if false[row, column] * 86_400 / seconds[row] > limit:
                break
            best = max(best, detected[row, column] / 5)
        assert found[row] == best
