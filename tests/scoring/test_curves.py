"""Curves of probabilities, against all pairs and by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logit

from brainbrr_core.annotation import Event
from brainbrr_core.scoring import (
    auprc,
    auroc,
    expected_calibration_error,
    per_second,
    pr_points,
    rank,
    reliability,
    roc_points,
)
from tests.support.examples import examples

# Few distinct values, so that ties are common.
scored_seconds = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


def arrays(seconds: list[tuple[int, bool]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return (
        np.array([value / 6 for value, _ in seconds]),
        np.array([label for _, label in seconds], dtype=np.bool_),
    )


@examples(200)
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


@examples(200)
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
    scores, labels = per_second(frames, [Event(0.5, 1.5), Event(2.6, 9), Event(0, 3, "bckg")])
    # Of eight frames the fourth.
    assert scores.tolist() == [3, 11, 19]
    assert labels.tolist() == [True, False, False]
    assert per_second(frames[:7], [Event(0, 1)])[0].size == 0


def test_reliability_and_calibration_error_by_hand() -> None:
    # Bin 0.0-0.5: 0.1, 0.3 with one ictal: mean 0.2, share 0.5, off by 0.3 for 2 of 5 seconds.
    # Bin 0.5-1.0: 0.5, 0.9, 1.0 with two ictal: mean 0.8, share 2/3, off by 2/15 for 3 of 5.
    bins = reliability(
        logit(np.array([0.1, 0.3, 0.5, 0.9, 1.0])),
        np.array([True, False, False, True, True]),
        bins=2,
    )
    assert [(part.low, part.high, part.seconds) for part in bins] == [(0, 0.5, 2), (0.5, 1, 3)]
    assert bins[0].probability == pytest.approx(0.2) and bins[0].ictal == 0.5
    assert bins[1].probability == pytest.approx(0.8) and bins[1].ictal == pytest.approx(2 / 3)
    error = (2 * 0.3 + 3 * (0.8 - 2 / 3)) / 5
    assert expected_calibration_error(bins) == pytest.approx(error)
    empty = reliability(np.array([]), np.array([], dtype=np.bool_))
    assert len(empty) == 10 and math.isnan(empty[0].probability)
    assert math.isnan(expected_calibration_error(empty))
