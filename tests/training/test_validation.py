"""Validation by events, the end of a training, and which weights are kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Configuration
from brainbrr_core.scoring import ScoredRecording
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.validation import (
    BY_EVENTS,
    BY_SECONDS,
    Course,
    Validation,
    judge,
)
from tests.support.toy_training import same_weights, toy_network, toy_settings, train


def configuration() -> Configuration:
    paths = dict.fromkeys(("cache_root", "runs_dir", "dagster_home"), Path("/nowhere"))
    return Configuration(**paths)


def recording(hours: float, inside: float, false: dict[float, float]) -> ScoredRecording:
    """One seizure at 600 s; events of 20 s at times of ``false`` with these scores."""
    frames = np.full(round(hours * 3600 * 8), 0.01, np.float32)
    frames[600 * 8 : 640 * 8] = inside
    for start, value in false.items():
        frames[round(start * 8) : round((start + 20) * 8)] = value
    return ScoredRecording("p", hours * 3600, (Event(600.0, 640.0, "seiz"),), frames)


def test_sensitivity_at_ten_false_alarms_a_day() -> None:
    # In 8 h ten a day are three alarms. At 0.45 one seizure of two is found with two false ones.
    # At 0.25 both are, with four.
    false = {1500.0: 0.45, 3000.0: 0.45, 4500.0: 0.25, 6000.0: 0.25}
    found = judge([recording(4, 0.45, false), recording(4, 0.25, {})], configuration(), 7)
    assert found.rule == BY_EVENTS
    assert (found.score, found.sensitivity) == (0.5, 0.5)
    assert math.isclose(found.false_per_day, 2 * 24 / 8)
    assert found.threshold == np.float32(0.45)
    assert (found.step, found.hours) == (7, 8.0)
    # The best F1 of all thresholds: two of two with four false ones, or one with two: 0.5, 0.4.
    assert math.isclose(found.f1, 4 / (4 + 4))


def test_too_few_hours_are_judged_by_the_second() -> None:
    found = judge([recording(2, 0.9, {3000.0: 0.95})], configuration(), 1)
    assert found.rule == BY_SECONDS
    # Ranked: 20 false seconds, then 40 ictal ones.
    expected = sum(1 / 40 * n / (20 + n) for n in (40,)) * 40
    assert math.isclose(found.score, expected, rel_tol=1e-6)
    assert found.score == found.auprc


def test_where_no_threshold_keeps_the_limit_nothing_is_found() -> None:
    false = {1000.0 + 300 * n: 1.0 for n in range(40)}
    found = judge([recording(8, 1.0, false)], configuration(), 1)
    assert found.rule == BY_EVENTS
    assert found.score == 0.0
    assert found.sensitivity == 0.0
    assert math.isnan(found.threshold)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 3.0, 40.0])
def test_the_scale_of_the_logits_changes_no_validation(factor: float) -> None:
    # Far beyond where a float32 probability is 1: from a logit of 17 on.
    rng = np.random.default_rng(0)
    parts = []
    for patient in "abcd":
        frames = np.repeat(rng.normal(-4, 4, 3 * 3600), 8).astype(np.float32)
        starts = rng.choice(300, 12, replace=False) * 36.0
        for start in starts:
            frames[round(start * 8) : round((start + 30) * 8)] += rng.uniform(0, 9)
        events = tuple(Event(start, start + 30.0, "seiz") for start in sorted(starts))
        scaled = (frames * np.float32(factor)).astype(np.float32)
        parts.append(ScoredRecording(patient, 3 * 3600.0, events, scaled))
    found = judge(parts, configuration(), 1)
    assert found.rule == BY_EVENTS
    plain = judge([replace(p, scores_8hz=p.scores_8hz / factor) for p in parts], configuration(), 1)
    assert 0.3 < plain.sensitivity < 1
    for figure in ("score", "sensitivity", "false_per_day", "f1", "auroc", "auprc"):
        assert getattr(found, figure) == pytest.approx(getattr(plain, figure), abs=1e-3)
    assert found.threshold == pytest.approx(plain.threshold * factor, rel=1e-2)


def result(step: int, score: float, auprc: float = 0.5) -> Validation:
    return Validation(step, BY_EVENTS, score, score, 5.0, 0.5, 0.5, 0.5, auprc, 10.0)


def test_a_course_keeps_the_best_and_ends_with_patience() -> None:
    course = Course(patience=2)
    better = [course.take(v) for v in (result(1, 0.2), result(2, 0.4), result(3, 0.4))]
    assert better == [True, True, False]
    assert not course.over
    # Among equal scores the average precision decides.
    assert course.take(result(4, 0.4, auprc=0.6))
    assert not course.take(result(5, 0.3))
    assert not course.over
    assert not course.take(result(6, 0.39))
    assert course.over
    assert course.best_step == 4
    endless = Course(patience=0)
    assert not any(endless.take(result(n, 0.0)) and n > 1 for n in range(1, 50))
    assert not endless.over


class Judge:
    """Gives the scores it was made with, and remembers the weights it was shown."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores
        self.shown: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, network: nn.Module, step: int) -> Validation:
        state = network.state_dict()
        self.shown[step] = {name: value.clone() for name, value in state.items()}
        return result(step, self.scores[step])


def test_the_best_validated_weights_are_kept(tmp_path: Path) -> None:
    judge = Judge({2: 0.1, 4: 0.9, 6: 0.3, 8: 0.2, 9: 0.1})
    settings = toy_settings(9, validate_every=2)
    network, summary = train(tmp_path / "a", settings, validate=judge)
    assert (summary.steps, summary.best_step, summary.stopped) == (9, 4, "")
    assert [row["step"] for row in summary.validations] == [2, 4, 6, 8, 9]
    assert all(torch.equal(v, judge.shown[4][n]) for n, v in network.state_dict().items())
    # A look at dev changes nothing of the training: without it the last average is the same.
    plain, _ = train(tmp_path / "b", settings)
    assert all(torch.equal(v, judge.shown[9][n]) for n, v in plain.state_dict().items())


def test_a_training_ends_when_patience_does_and_stays_ended(tmp_path: Path) -> None:
    judge = Judge({2: 0.5, 4: 0.4, 6: 0.3, 8: 0.9})
    settings = toy_settings(20, validate_every=2, patience=2)
    network, summary = train(tmp_path, settings, validate=judge)
    assert (summary.steps, summary.best_step) == (6, 2)
    assert summary.stopped == "no better validation than that of step 2 in 2 validations"
    again, resumed = train(tmp_path, settings, validate=judge, network=toy_network(4))
    assert (resumed.steps, resumed.resumed_from, resumed.windows) == (6, 6, 0)
    assert same_weights(network, again)


def test_a_resumed_training_remembers_its_validations(tmp_path: Path) -> None:
    scores = {2: 0.5, 4: 0.4, 6: 0.3, 8: 0.2}
    settings = toy_settings(8, validate_every=2)
    straight, _ = train(tmp_path / "a", settings, validate=Judge(scores))

    class Cut(Exception):
        pass

    def cut(report: object) -> None:
        if getattr(report, "step", 0) == 5:
            raise Cut

    with pytest.raises(Cut):
        train(tmp_path / "b", settings, cut, validate=Judge(scores))
    resumed, summary = train(
        tmp_path / "b", settings, validate=Judge(scores), network=toy_network(8)
    )
    assert (summary.resumed_from, summary.best_step) == (4, 2)
    assert [row["step"] for row in summary.validations] == [2, 4, 6, 8]
    assert same_weights(straight, resumed)
    names = (files.BEST_NAME, files.CHECKPOINT_NAME)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
