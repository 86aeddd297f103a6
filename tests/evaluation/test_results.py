"""The figures of an evaluation, and its results as JSON."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.report.page import (
    concentration_sentence,
)
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.evaluation.score import score
from brainbrr_core.scoring import OperatingPoint, ScoredRecording, Sweep, sweep_at, sweep_thresholds
from tests.support.fixed_events import FixedEvents
from tests.support.small_evaluation import TUNED_ON_DEV, recording, sample


def swept(*recordings: ScoredRecording) -> Sweep:
    """The sweep of a detector that finds the whole recording where any frame is high enough."""
    return sweep_thresholds(recordings, found_whole, 1.0)


def found_whole(scores: NDArray[np.float32], duration_s: float) -> FixedEvents:
    return FixedEvents(scores, lambda on: [(0.0, duration_s)] if scores.max() >= on else [])


def test_headline_by_hand() -> None:
    results = sample()
    event = results.headline["szcore_event"]
    # Three seizures (the gaps are 270 s and more), one found, two false alarms in 1800 s.
    assert event.sensitivity == pytest.approx(1 / 3)
    assert event.precision == pytest.approx(1 / 3)
    assert event.f1 == pytest.approx(2 / (2 + 2 + 2))
    assert event.false_per_day == pytest.approx(2 * 86400 / 1800)
    # Patients: a finds 1 of 1 with 2 false, F1 2/(2+2); b finds none of 2, F1 0.
    mean = results.headline["szcore_event_subject_mean"]
    assert (mean.sensitivity, mean.f1) == (pytest.approx(0.5), pytest.approx(0.25))
    # Seconds: 160 ictal, 20 of them found, 30 false (10 after the seizure, 20 elsewhere).
    assert results.headline["szcore_sample"].sensitivity == pytest.approx(20 / 160)
    assert results.headline["szcore_sample"].precision == pytest.approx(20 / 50)
    assert results.counts["nedc_epoch"].detected == 80
    # TAES: 20 of 30 s hit; 10 s of 30 outside, and two whole false alarms.
    assert results.counts["nedc_taes"].detected == pytest.approx(2 / 3)
    assert results.counts["nedc_taes"].false == pytest.approx(1 / 3 + 2)
    # Pairs of seconds: 20 of 160 ictal at 0.9, 30 of 1640 others at 0.9, the rest tie at 0.1.
    wins = 20 * 1610 + 0.5 * (20 * 30 + 140 * 1610)
    assert results.seconds.auroc == pytest.approx(wins / (160 * 1640))
    assert results.seconds.ictal_seconds == 160
    assert (results.seizures, results.hours) == (3, 0.5)


def test_order_of_the_recordings_does_not_matter() -> None:
    assert [row.partition_key for row in sample().recordings] == [
        "eval/a/t0",
        "eval/a/t1",
        "eval/b/t0",
    ]
    assert [(row.name, row.recordings, row.seizures) for row in sample().patients] == [
        ("a", 2, 1),
        ("b", 1, 2),
    ]
    assert sample().montages[0].ovlp.false == 2


def test_results_survive_json() -> None:
    results = replace(sample(), threshold=ThresholdChoice(OperatingPoint(0.5, 0.4), None))
    text = results.to_json()
    assert "NaN" not in text
    again = EvaluationResults.from_json(text)
    assert again.to_json() == text
    assert math.isnan(again.threshold.f1)
    assert again.recordings == results.recordings
    with pytest.raises(BrainbrrError, match=r"old\.json has no valid evaluation results"):
        EvaluationResults.from_json('{"split": 3}', "old.json")
    with pytest.raises(BrainbrrError, match="has no valid"):
        EvaluationResults.from_json("<html>", "old.json")


def test_nothing_or_something_twice_cannot_be_scored() -> None:
    one = recording("eval/a/t0", "a", [], [])
    with pytest.raises(BrainbrrError, match="no recording of the split 'eval'"):
        score([], split="eval", threshold=TUNED_ON_DEV, provenance={})
    with pytest.raises(BrainbrrError, match="'eval/a/t0' would be scored twice"):
        score([one, one], split="eval", threshold=TUNED_ON_DEV, provenance={})


def test_the_operating_curve_and_limits_are_of_the_scored_split() -> None:
    # 600 s: the detector finds all of it up to 0.9 and nothing above. SzCORE: a hypothesis of
    # 600 s is two, of which the second, 300 to 600 s, misses the seizure's 10 to 80 s.
    one = recording("eval/a/t0", "a", [(10, 20)], [(12, 20, 0.9)])
    tuned = replace(
        TUNED_ON_DEV, at_limits={"szcore_event.sensitivity_at_10": OperatingPoint(0.95, 0.9)}
    )
    results = score(
        [one],
        split="eval",
        threshold=tuned,
        provenance={},
        sweep=swept(one),
        applied=sweep_at([one], found_whole, [OperatingPoint(0.95, 0.9)]),
    ).results
    assert {row.sensitivity for row in results.operating_curve if row.threshold <= 0.9} == {1.0}
    assert max(row.threshold for row in results.operating_curve) == np.float32(0.9)
    by_rule = {(row.rule, row.limit): row for row in results.limits}
    assert len(by_rule) == 8
    # 144 false positives a day exceed every limit of SzCORE's; OVLP counts none.
    event, overlap = by_rule["szcore_event", 10.0], by_rule["nedc_ovlp", 1.0]
    assert (event.sensitivity.value, overlap.sensitivity.value) == (0.0, 1.0)
    assert overlap.point == OperatingPoint(*[float(np.float32(0.9))] * 2)
    assert (event.false_per_day, overlap.false_per_day) == (0, 0)
    # What the point tuned elsewhere gives here; where none was, nothing.
    assert event.tuned_point == OperatingPoint(0.95, 0.9)
    assert (event.tuned_sensitivity.value, event.tuned_false_per_day.value) == (0.0, 0.0)
    assert overlap.tuned_point is None and math.isnan(overlap.tuned_sensitivity.value)


def test_false_alarms_by_hour_of_the_recording() -> None:
    long = replace(
        recording("eval/a/t0", "a", [], [(100, 110, 0.9), (3700, 3710, 0.9)], 5400),
        unknown=((0.0, 1800.0),),
    )
    short = recording("eval/b/t0", "b", [(3000, 3030)], [(3599, 3605, 0.9)], 3600)
    results = score([long, short], split="eval", threshold=TUNED_ON_DEV, provenance={}).results
    # The alarm at 100 s lies in unknown time, that at 3599 s begins in the first hour. Known are
    # 0.5 h and 1 h of the first hour, half an hour of the second.
    assert [(h.name, h.hours, h.patients, h.false_alarms) for h in results.false_alarm_hours] == [
        ("0 to 1 h", 1.5, 2, 1),
        ("1 to 2 h", 0.5, 1, 1),
    ]
    first, second = (hour.false_per_day for hour in results.false_alarm_hours)
    assert (first.value, second.value) == (pytest.approx(16.0), pytest.approx(48.0))
    assert (first.patients, second.patients, second.method) == (2, 1, "undefined")
    assert concentration_sentence(results.patients) == (
        "1 of 2 patients had 50% of the 2 false alarms (NEDC OVLP); 0 had none."
    )
    assert concentration_sentence(results.patients[:0]) == ""


def test_seizures_are_grouped_by_type_and_duration_with_their_latency() -> None:
    typed = replace(
        recording("k0", "a", [], [(105, 200, 0.9), (395, 430, 0.9)]),
        reference=(
            Event(100, 130, "fnsz"),
            Event(400, 470, "fnsz"),
            Event(500, 505, "gnsz"),
        ),
    )
    results = score([typed], split="dev", threshold=TUNED_ON_DEV, provenance={}).results
    assert [(one.label, one.detected, one.latency_s) for one in results.outcomes[:2]] == [
        ("fnsz", True, 5.0),
        ("fnsz", True, -5.0),
    ]
    assert math.isnan(results.outcomes[2].latency_s)
    # 105 to 130 of 100 to 130; 400 to 430 of 400 to 470.
    assert [one.covered for one in results.outcomes] == pytest.approx([25 / 30, 30 / 70, 0])
    assert [(one.name, one.seizures, one.detected) for one in results.seizure_types] == [
        ("fnsz", 2, 2),
        ("gnsz", 1, 0),
    ]
    assert results.seizure_types[0].median_latency_s.value == 0.0
    # Edges belong to the longer group: 30 s is 30 to 60.
    assert [(one.name, one.detected) for one in results.seizure_durations] == [
        ("under 10 s", 0),
        ("30 to 60 s", 1),
        ("60 to 120 s", 1),
    ]
    assert results.estimates["latency.median_s"].value == 0.0
