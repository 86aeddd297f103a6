"""Curves against all pairs and by hand, and the choice of the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.errors import WorkRemains
from brainbrr_core.scoring import (
    auprc,
    auroc,
    expected_calibration_error,
    per_second,
    pr_points,
    rank,
    reliability,
    roc_points,
    sweep_thresholds,
    tune_threshold,
)

# Few distinct values, so that ties are common.
scored_seconds = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


def arrays(seconds: list[tuple[int, bool]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return (
        np.array([value / 6 for value, _ in seconds]),
        np.array([label for _, label in seconds], dtype=np.bool_),
    )


@settings(max_examples=200, deadline=None)
@given(scored_seconds)
def test_auroc_against_all_pairs(seconds: list[tuple[int, bool]]) -> None:
    ictal = [value for value, label in seconds if label]
    other = [value for value, label in seconds if not label]
    value = auroc(rank(*arrays(seconds)))
    if not ictal or not other:
        assert math.isnan(value)
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in ictal for b in other)
    assert value == pytest.approx(wins / (len(ictal) * len(other)), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(scored_seconds)
def test_auprc_against_a_walk_over_thresholds(seconds: list[tuple[int, bool]]) -> None:
    positives = sum(label for _, label in seconds)
    value = auprc(rank(*arrays(seconds)))
    if not positives:
        assert math.isnan(value)
        return
    area, recall_before = 0.0, 0.0
    for threshold in range(6, -1, -1):
        found = [label for probability, label in seconds if probability >= threshold]
        if found:
            recall, precision = sum(found) / positives, sum(found) / len(found)
            area, recall_before = area + (recall - recall_before) * precision, recall
    assert value == pytest.approx(area, abs=1e-12)


def test_areas_by_hand() -> None:
    # Ranked: 0.9 ictal, 0.8 other, 0.7 ictal, 0.1 other. Pairs: 0.9 wins 2, 0.7 wins 1: 3/4.
    probabilities = np.array([0.1, 0.7, 0.9, 0.8])
    labels = np.array([False, True, True, False])
    ranking = rank(probabilities, labels)
    assert auroc(ranking) == 0.75
    # Precision at the two ictal seconds: 1/1 and 2/3, each with half of the recall.
    assert auprc(ranking) == pytest.approx((1 + 2 / 3) / 2)
    assert roc_points(ranking) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert pr_points(ranking) == [
        (0.5, 1.0),
        (0.5, 0.5),
        (1.0, pytest.approx(2 / 3)),
        (1.0, 0.5),
    ]


def test_a_wrong_ranking_input_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        rank(np.array([0.1, math.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="do not fit"):
        rank(np.array([0.1]), np.array([True, False]))


def test_drawn_points_are_few_and_keep_the_area() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(20_000) < 0.05
    probabilities = np.clip(generator.normal(0.3 + 0.3 * labels, 0.15), 0, 1)
    ranking = rank(probabilities, labels)
    for points in (roc_points(ranking), pr_points(ranking)):
        assert 100 < len(points) <= 200
        assert points == sorted(points, key=lambda point: point[0])
    roc = roc_points(ranking)
    assert (roc[0], roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    drawn = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(roc))
    assert drawn == pytest.approx(auroc(ranking), abs=2e-3)


def test_seconds_and_their_labels_by_hand() -> None:
    # 3.5 s of frames: the half second at the end is left out. Frame values 0, 1, ... 27.
    frames = np.arange(28, dtype=np.float32)
    # 0.5 to 1.5: the middle 0.5 of second 0 lies in it (start inclusive), 1.5 does not.
    # 2.6 to 9: the middle 2.5 does not.
    probabilities, labels = per_second(
        frames, [Event(0.5, 1.5), Event(2.6, 9), Event(0, 3, "bckg")]
    )
    assert probabilities.tolist() == [3.5, 11.5, 19.5]
    assert labels.tolist() == [True, False, False]
    assert per_second(frames[:7], [Event(0, 1)])[0].size == 0


def test_reliability_and_calibration_error_by_hand() -> None:
    # Bin 0.0-0.5: 0.1, 0.3 with one ictal: mean 0.2, share 0.5, off by 0.3 for 2 of 5 seconds.
    # Bin 0.5-1.0: 0.5, 0.9, 1.0 with two ictal: mean 0.8, share 2/3, off by 2/15 for 3 of 5.
    bins = reliability(
        np.array([0.1, 0.3, 0.5, 0.9, 1.0]), np.array([True, False, False, True, True]), bins=2
    )
    assert [(part.low, part.high, part.seconds) for part in bins] == [(0, 0.5, 2), (0.5, 1, 3)]
    assert bins[0].probability == pytest.approx(0.2) and bins[0].ictal == 0.5
    assert bins[1].probability == pytest.approx(0.8) and bins[1].ictal == pytest.approx(2 / 3)
    error = (2 * 0.3 + 3 * (0.8 - 2 / 3)) / 5
    assert expected_calibration_error(bins) == pytest.approx(error)
    empty = reliability(np.array([]), np.array([], dtype=np.bool_))
    assert len(empty) == 10 and math.isnan(empty[0].probability)
    assert math.isnan(expected_calibration_error(empty))


@dataclass(frozen=True)
class Probed:
    """A recording with frames of one value per seizure-like stretch."""

    patient: str
    duration_s: float
    reference: tuple[Event, ...]
    probabilities_8hz: NDArray[np.float32]


def block_detect(
    probabilities: NDArray[np.float32], duration_s: float, threshold: float
) -> Sequence[Event]:
    """Events of whole 100 s blocks whose value reaches the threshold."""
    values = probabilities[::800]
    return [
        Event(index * 100.0, min(index * 100.0 + 50, duration_s))
        for index, value in enumerate(values.tolist())
        if value >= threshold
    ]


def blocks(values: list[float], reference: list[int]) -> Probed:
    """One event of 50 s in each block named in ``reference``; gaps of 250 s keep them apart."""
    return Probed(
        "p",
        len(values) * 100.0,
        tuple(Event(index * 100.0, index * 100.0 + 50) for index in reference),
        np.repeat(np.array(values, dtype=np.float32), 800),
    )


def test_threshold_is_the_middle_of_the_best_plateau() -> None:
    # Seizures at 0.8 and 0.7, something else at 0.4: every threshold in (0.4, 0.7] finds both
    # and nothing else, F1 1. The middle is 0.55.
    recording = blocks([0.8, 0, 0, 0.4, 0, 0, 0.7, 0, 0], [0, 6])
    tuned = tune_threshold([recording], block_detect)
    assert tuned.f1 == 1.0
    assert tuned.threshold == pytest.approx(0.55, abs=0.02)
    assert [row.threshold for row in tuned.rows] == sorted(row.threshold for row in tuned.rows)
    assert tune_threshold([recording], block_detect) == tuned


def test_refinement_finds_what_the_coarse_grid_steps_over() -> None:
    # Only thresholds in (0.62, 0.63] find the seizure without the two others.
    recording = blocks([0.63, 0, 0, 0.62, 0, 0, 0.62, 0, 0], [0])
    coarse = max(row.f1 for row in sweep_thresholds([recording], block_detect, [0.5, 0.6, 0.7]))
    tuned = tune_threshold([recording], block_detect, coarse=[0.5, 0.6, 0.7])
    # At 0.6: one found, two false: F1 2/(2+2).
    assert coarse == 0.5
    assert tuned.f1 == 1.0
    assert 0.62 < tuned.threshold <= 0.63


def test_sweep_rows_by_hand() -> None:
    # Two recordings, together 1800 s. At 0.5: one of two seizures found (0.8), one false (0.6).
    first = blocks([0.8, 0, 0, 0.6, 0, 0, 0, 0, 0], [0])
    second = blocks([0.2, 0, 0, 0, 0, 0, 0, 0, 0], [0])
    (row,) = sweep_thresholds([first, second], block_detect, [0.5])
    assert row.sensitivity == row.ovlp_sensitivity == 0.5
    assert row.f1 == pytest.approx(2 / (2 + 1 + 1))
    assert row.false_per_day == pytest.approx(86400 / 1800)
    assert row.ovlp_false_per_day == pytest.approx(86400 / 1800)


def test_a_network_that_finds_nothing_gets_the_middle() -> None:
    recording = blocks([0, 0, 0, 0], [1])
    tuned = tune_threshold([recording], block_detect)
    assert tuned.f1 == 0.0
    assert 0.4 < tuned.threshold < 0.6


def test_a_split_without_seizures_cannot_tune() -> None:
    with pytest.raises(WorkRemains, match="none of the 1 recordings"):
        tune_threshold([blocks([0.9], [])], block_detect)
