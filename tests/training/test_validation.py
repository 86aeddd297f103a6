"""Validation by events, the end of a training, and which weights are kept."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.scoring import ScoredRecording
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.checkpoint import TrainingProgress
from brainbrr_core.training.early_stopping import EarlyStopping
from brainbrr_core.training.validation import BY_EVENTS, BY_SECONDS, score_recordings
from tests.support.toy_training import (
    Interrupted,
    ScriptedValidation,
    has_weights,
    interrupt_at,
    same_weights,
    toy_network,
    toy_settings,
    toy_validation,
    train,
)


def recording(hours: float, inside: float, false: dict[float, float]) -> ScoredRecording:
    """One seizure at 600 s; events of 20 s at times of ``false`` with these scores."""
    frames = np.full(round(hours * 3600 * 8), 0.01, np.float32)
    frames[600 * 8 : 640 * 8] = inside
    for start, value in false.items():
        frames[round(start * 8) : round((start + 20) * 8)] = value
    return ScoredRecording("p", hours * 3600, (Event(600.0, 640.0, "seiz"),), frames)


def test_sensitivity_at_ten_false_alarms_a_day() -> None:
    # In 8 h ten a day are three alarms. At 0.45 one of two seizures is found, with two false ones.
    # At 0.25 both are, with four.
    false = {1500.0: 0.45, 3000.0: 0.45, 4500.0: 0.25, 6000.0: 0.25}
    validation = score_recordings(
        [recording(4, 0.45, false), recording(4, 0.25, {})], Detection(), 7
    )
    assert validation.rule == BY_EVENTS
    assert (validation.score, validation.sensitivity) == (0.5, 0.5)
    assert math.isclose(validation.false_per_day, 2 * 24 / 8)
    assert validation.threshold == np.float32(0.45)
    assert (validation.step, validation.hours) == (7, 8.0)
    # The best F1 of all thresholds: two of two with four false ones, or one with two: 0.5, 0.4.
    assert math.isclose(validation.f1, 4 / (4 + 4))


def test_too_few_hours_are_scored_by_the_second() -> None:
    validation = score_recordings([recording(2, 0.9, {3000.0: 0.95})], Detection(), 1)
    assert validation.rule == BY_SECONDS
    # Ranked: 20 false seconds, then 40 ictal ones.
    expected = sum(1 / 40 * n / (20 + n) for n in (40,)) * 40
    assert math.isclose(validation.score, expected, rel_tol=1e-6)
    assert validation.score == validation.auprc


def test_where_no_threshold_keeps_to_the_limit_the_sensitivity_is_zero() -> None:
    false = {1000.0 + 300 * n: 1.0 for n in range(40)}
    validation = score_recordings([recording(8, 1.0, false)], Detection(), 1)
    assert validation.rule == BY_EVENTS
    assert validation.score == 0.0
    assert validation.sensitivity == 0.0
    assert math.isnan(validation.threshold)


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
    validation = score_recordings(parts, Detection(), 1)
    assert validation.rule == BY_EVENTS
    plain = score_recordings(
        [replace(p, scores_8hz=p.scores_8hz / factor) for p in parts], Detection(), 1
    )
    assert 0.3 < plain.sensitivity < 1
    for figure in ("score", "sensitivity", "false_per_day", "f1", "auroc", "auprc"):
        assert getattr(validation, figure) == pytest.approx(getattr(plain, figure), abs=1e-3)
    assert validation.threshold == pytest.approx(plain.threshold * factor, rel=1e-2)


def test_early_stopping_keeps_the_best_and_ends_with_patience() -> None:
    early = EarlyStopping(patience=2)
    # Among equal scores the average precision decides: that of step 4 is better.
    course = [(0.2, 0.5), (0.4, 0.5), (0.4, 0.5), (0.4, 0.6), (0.3, 0.5), (0.39, 0.5)]
    best, stops = [], []
    for step, (score, auprc) in enumerate(course, start=1):
        best.append(early.update(toy_validation(step, score, auprc)))
        stops.append(early.should_stop)
    assert best == [True, True, False, True, False, False]
    assert stops == [False, False, False, False, False, True]
    assert early.best_step == 4
    endless = EarlyStopping(patience=0)
    assert [endless.update(toy_validation(step, 0.0)) for step in range(1, 50)].count(True) == 1
    assert not endless.should_stop


def test_an_undefined_figure_is_null_in_a_file() -> None:
    """Also in one that an earlier version wrote, which has these names."""
    early = EarlyStopping(patience=3)
    undefined = toy_validation(2, 0.4).model_copy(update={"threshold": math.nan})
    early.update(undefined)
    text = json.dumps(TrainingProgress(early_stopping=early, flat_steps=1).record())
    row: dict[str, object] = dict.fromkeys(("f1", "auroc", "auprc"), 0.5)
    row |= {"step": 2, "rule": BY_EVENTS, "score": 0.4, "sensitivity": 0.4, "hours": 10.0}
    row |= {"false_per_day": 5.0, "threshold": None}
    course = {"patience": 3, "best_step": 2, "best": [0.4, 0.5], "since_best": 0, "seen": [row]}
    assert json.loads(text) == {"course": course, "flat_steps": 1}
    again = TrainingProgress.model_validate_json(text)
    assert math.isnan(again.early_stopping.validations[0].threshold)
    assert again.record() == json.loads(text)


def test_the_best_validated_weights_are_kept(tmp_path: Path) -> None:
    validate = ScriptedValidation({2: 0.1, 4: 0.9, 6: 0.3, 8: 0.2, 9: 0.1})
    settings = toy_settings(9, validate_every=2)
    network, summary = train(tmp_path / "a", settings, validate=validate)
    assert (summary.steps, summary.best_step, summary.stopped) == (9, 4, "")
    assert [row.step for row in summary.validations] == [2, 4, 6, 8, 9]
    assert has_weights(network, validate.weights[4])
    # Validation changes nothing in the training: without it the last average is the same.
    plain, _ = train(tmp_path / "b", settings)
    assert has_weights(plain, validate.weights[9])


def test_a_training_ends_when_patience_does_and_stays_ended(tmp_path: Path) -> None:
    validate = ScriptedValidation({2: 0.5, 4: 0.4, 6: 0.3, 8: 0.9})
    settings = toy_settings(20, validate_every=2, patience=2)
    network, summary = train(tmp_path, settings, validate=validate)
    assert (summary.steps, summary.best_step) == (6, 2)
    assert summary.stopped == "no better validation than that of step 2 in 2 validations"
    again, resumed = train(tmp_path, settings, validate=validate, network=toy_network(4))
    assert (resumed.steps, resumed.resumed_from, resumed.windows) == (6, 6, 0)
    assert same_weights(network, again)


def test_a_resumed_training_remembers_its_validations(tmp_path: Path) -> None:
    scores = {2: 0.5, 4: 0.4, 6: 0.3, 8: 0.2}
    settings = toy_settings(8, validate_every=2)
    straight, _ = train(tmp_path / "a", settings, validate=ScriptedValidation(scores))
    with pytest.raises(Interrupted):
        train(tmp_path / "b", settings, interrupt_at(5), validate=ScriptedValidation(scores))
    resumed, summary = train(
        tmp_path / "b", settings, validate=ScriptedValidation(scores), network=toy_network(8)
    )
    assert (summary.resumed_from, summary.best_step) == (4, 2)
    assert [row.step for row in summary.validations] == [2, 4, 6, 8]
    assert same_weights(straight, resumed)
    names = (files.BEST_NAME, files.CHECKPOINT_NAME)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
