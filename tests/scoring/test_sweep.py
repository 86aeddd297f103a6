"""The sweep against scoring at every threshold, the choice of a point, sensitivity at limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import detect, finder_for
from brainbrr_core.errors import WorkRemains
from brainbrr_core.scoring import (
    OperatingPoint,
    RecordingEvents,
    ScoredRecording,
    Sweep,
    auprc,
    auroc,
    nedc,
    per_second,
    rank,
    sensitivity_at,
    sweep_at,
    sweep_thresholds,
    szcore,
    total,
    tune_threshold,
)
from tests.support.examples import examples

#: Events are whatever reaches the threshold.
PLAIN = Detection(smooth_s=0, min_duration_s=0, merge_gap_s=0, off_ratio=1.0)


def blocks(values: list[float], reference: list[int], patient: str = "p") -> ScoredRecording:
    """One value for 50 s of each block of 100 s; an event in those named in ``reference``."""
    frames = np.full((len(values), 800), -9.0, dtype=np.float32)
    frames[:, :400] = np.array(values, dtype=np.float32)[:, None]
    return ScoredRecording(
        patient,
        len(values) * 100.0,
        tuple(Event(index * 100.0, index * 100.0 + 50) for index in reference),
        frames.ravel(),
    )


def swept(*recordings: ScoredRecording) -> Sweep:
    return sweep_thresholds(recordings, finder_for(PLAIN), PLAIN.off_ratio)


def test_a_threshold_is_a_score_that_occurs() -> None:
    sweep = swept(blocks([0.8, 0, 0, 0.4], [0]), blocks([0.25, 0, 0, 0], [0], "q"))
    assert sweep.patients == ("p", "q")
    assert sweep.thresholds.tolist() == pytest.approx([-9, 0, 0.25, 0.4, 0.8])
    assert sweep.off_thresholds.tolist() == sweep.thresholds.tolist()


def test_the_middle_of_the_longest_row_of_equal_points_is_chosen() -> None:
    # Seizures at 0.8 and at 0.7, nothing else above 0.4. From 0.5 on (one event that lies in
    # the tolerance of a seizure) to 0.7 both are found and nothing else: 0.5, 0.6 and 0.7.
    values = [0.8, 0, 0, 0.4, 0, 0, 0.7, 0, 0]
    recording = blocks(values, [0, 6])
    recording.scores_8hz[50 * 8 : 60 * 8] = 0.5
    recording.scores_8hz[60 * 8 : 70 * 8] = 0.6
    tuned = tune_threshold(swept(recording))
    assert tuned.f1 == 1.0
    assert tuned.point == OperatingPoint(*[float(np.float32(0.6))] * 2)
    # The scores' distances do not matter, only their order.
    recording.scores_8hz[60 * 8 : 70 * 8] = 0.6999
    assert tune_threshold(swept(recording)).point.on == pytest.approx(0.6999)


def test_the_sweep_finds_what_a_grid_steps_over() -> None:
    # Saturated: as float32 probabilities these three logits are all 1.
    recording = blocks([20.000002, 0, 0, 20.0, 0, 0, 20.0, 0, 0], [0])
    tuned = tune_threshold(swept(recording))
    assert tuned.f1 == 1.0
    assert tuned.point.on == np.float32(20.000002)


def test_sweep_rows_by_hand() -> None:
    # Two recordings, together 1800 s. At 0.6: one of two seizures found (0.8), one false (0.6).
    first = blocks([0.8, 0, 0, 0.6, 0, 0, 0, 0, 0], [0])
    second = blocks([0.2, 0, 0, 0, 0, 0, 0, 0, 0], [0])
    sweep = swept(first, second)
    (row,) = [row for row in sweep.rows() if row.threshold == np.float32(0.6)]
    assert row.sensitivity == row.ovlp_sensitivity == 0.5
    assert row.f1 == pytest.approx(2 / (2 + 1 + 1))
    assert row.false_per_day == pytest.approx(86400 / 1800)
    assert row.ovlp_false_per_day == pytest.approx(86400 / 1800)


@examples(60)
@given(st.lists(st.integers(-20, 20), min_size=16, max_size=400), st.floats(0.05, 1))
def test_the_off_threshold_is_reached_by_so_many_more_frames(
    values: list[int], off_ratio: float
) -> None:
    frames = np.array(values, dtype=np.float32)
    recording = ScoredRecording("p", len(values) / 8, (), frames)
    sweep = sweep_thresholds([recording], finder_for(PLAIN), off_ratio)
    assert set(sweep.thresholds.tolist()) <= set(values)
    assert sweep.thresholds[-1] == max(values) and sweep.thresholds[0] == min(values)
    for on, off in zip(sweep.thresholds, sweep.off_thresholds, strict=True):
        allowed = (frames >= on).sum() / off_ratio
        # The lowest score that no more frames reach than that.
        assert (frames >= off).sum() <= allowed
        below = frames[frames < off]
        assert not below.size or (frames >= below.max()).sum() > allowed


def noise(seed: int, patients: str = "ab") -> list[ScoredRecording]:
    """Few levels, each for seconds, and one seizure off the grid in each recording."""
    generator = np.random.default_rng(seed)
    recordings = []
    for patient in patients:
        frames = np.repeat(generator.integers(0, 30, 30), 16) + generator.integers(0, 3, 480)
        start = float(generator.uniform(0, 40))
        unknown = ((start + 12, start + 17),) if generator.random() < 0.3 else ()
        recordings.append(
            ScoredRecording(
                patient, 59.97, (Event(start, start + 10),), frames.astype(np.float32), unknown
            )
        )
    return recordings


steps = st.builds(
    Detection,
    smooth_s=st.sampled_from([0.0, 0.5, 2.0]),
    off_ratio=st.sampled_from([0.5, 0.9, 1.0]),
    opening_s=st.sampled_from([0.0, 0.5]),
    closing_s=st.sampled_from([0.0, 1.0]),
    merge_gap_s=st.sampled_from([0.0, 0.5, 2.0]),
    min_duration_s=st.sampled_from([0.0, 1.0]),
    max_duration_s=st.sampled_from([None, 3.3, 7.0]),
)


@examples(40)
@given(st.integers(0, 10_000), steps)
def test_the_sweep_against_scoring_at_every_threshold(seed: int, settings: Detection) -> None:
    """Each row is what detection and the rules themselves give at its operating point."""
    recordings = noise(seed)
    sweep = sweep_thresholds(recordings, finder_for(settings), settings.off_ratio)
    assert len(sweep.thresholds) > 5
    for number, row in enumerate(sweep.rows()):
        pairs = [
            RecordingEvents(
                r.patient,
                r.duration_s,
                r.reference,
                tuple(detect(r.scores_8hz, r.duration_s, settings, sweep.point(number))),
                unknown=r.unknown,
            )
            for r in recordings
        ]
        event = total(szcore.score_recording(pair).event for pair in pairs)
        overlap = total(nedc.ovlp(pair) for pair in pairs)
        assert (row.sensitivity, row.false_per_day) == (event.sensitivity, event.false_per_day)
        assert row.f1 == pytest.approx(event.f1, nan_ok=True)
        assert row.ovlp_sensitivity == overlap.sensitivity
        assert row.ovlp_false_per_day == overlap.false_per_day


@examples(20)
@given(st.integers(0, 10_000), steps)
def test_given_points_have_the_counts_of_their_rows(seed: int, settings: Detection) -> None:
    recordings = noise(seed)
    sweep = sweep_thresholds(recordings, finder_for(settings), settings.off_ratio)
    numbers = [len(sweep.thresholds) - 1, 0, len(sweep.thresholds) // 2]
    given_points = sweep_at(recordings, finder_for(settings), [sweep.point(n) for n in numbers])
    assert given_points.rows() == tuple(sweep.row(n) for n in numbers) or any(
        np.isnan(row.sensitivity) for row in given_points.rows()
    )


RISING: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = [
    lambda x: 0.5 * x,
    lambda x: 3 * x + 40,
    lambda x: 1 / (1 + np.exp(-x / 8)),
    lambda x: np.exp(x / 4),
    lambda x: (x - 15) ** 3,
    lambda x: np.searchsorted(np.unique(x), x).astype(np.float64),
]


@examples(60)
@given(st.integers(0, 10_000), steps, st.sampled_from(range(len(RISING))))
def test_a_rising_change_of_the_scores_changes_no_figure(
    seed: int, settings: Detection, change: int
) -> None:
    """Another scale, a sigmoid, ranks: events, counts, choice and curves stay what they are."""
    recordings = noise(seed)
    changed = [
        replace(r, scores_8hz=RISING[change](r.scores_8hz.astype(np.float64)).astype(np.float32))
        for r in recordings
    ]
    if change == len(RISING) - 1:
        # Ranks among all recordings' frames.
        ranks = RISING[change](np.concatenate([r.scores_8hz for r in recordings]))
        parts = np.split(ranks.astype(np.float32), len(recordings))
        changed = [replace(r, scores_8hz=p) for r, p in zip(recordings, parts, strict=True)]
    one, other = (
        sweep_thresholds(group, finder_for(settings), settings.off_ratio)
        for group in (recordings, changed)
    )
    for rule in ("szcore", "ovlp"):
        for part in ("detected", "false", "reference", "seconds"):
            assert np.array_equal(
                getattr(getattr(one, rule), part), getattr(getattr(other, rule), part)
            )
    assert one.thresholds.shape == other.thresholds.shape
    tuned, tuned_other = tune_threshold(one), tune_threshold(other)
    assert tuned.f1 == tuned_other.f1
    rankings = []
    for group, point in ((recordings, tuned.point), (changed, tuned_other.point)):
        seconds = [per_second(r.scores_8hz, r.reference, r.unknown) for r in group]
        rankings.append(rank(*map(np.concatenate, zip(*seconds, strict=True))))
        events = [
            [(e.start, e.stop) for e in detect(r.scores_8hz, r.duration_s, settings, point)]
            for r in group
        ]
        if group is recordings:
            expected = events
        assert events == expected
    assert auroc(rankings[0]) == auroc(rankings[1])
    assert auprc(rankings[0]) == auprc(rankings[1])
    assert np.array_equal(rankings[0].true, rankings[1].true)


@pytest.mark.parametrize("cores", [2, 3, 64])
def test_recordings_counted_at_once_give_what_one_after_the_other_do(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [replace(r, duration_s=59.97 - n / 999) for n, r in enumerate(noise(1, "abcab"))]
    name = f"{sweep_thresholds.__module__}.usable_cores"
    done: list[float] = []
    monkeypatch.setattr(name, lambda: 1)
    alone = sweep_thresholds(recordings, finder_for(PLAIN), 0.9)
    monkeypatch.setattr(name, lambda: cores)
    together = sweep_thresholds(recordings, finder_for(PLAIN), 0.9, done.append)
    assert done == [recording.duration_s for recording in recordings]
    assert together.rows() == alone.rows() and len(alone.rows()) > 5
    for rule, other in ((together.szcore, alone.szcore), (together.ovlp, alone.ovlp)):
        for values in ("reference", "seconds", "detected", "false"):
            assert np.array_equal(getattr(rule, values), getattr(other, values))
    broken = replace(recordings[2], scores_8hz=recordings[2].scores_8hz * np.float32("nan"))
    with pytest.raises(ValueError, match="a score is not finite"):
        sweep_thresholds([*recordings[:2], broken, *recordings[3:]], finder_for(PLAIN), 0.9)


def test_a_network_that_finds_nothing_has_a_point_all_the_same() -> None:
    tuned = tune_threshold(swept(blocks([-9, -9, -9, -9], [1])))
    # Everything is one event of 400 s, of which SzCORE makes two pieces, one of them a hit.
    assert tuned.point == OperatingPoint(-9, -9)
    assert tuned.f1 == pytest.approx(2 / 3)


def test_a_split_without_seizures_cannot_tune() -> None:
    with pytest.raises(WorkRemains, match=r"has a seizure \(1 patient\)"):
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
