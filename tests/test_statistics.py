"""Figures of resampled patients, confidence intervals, and the comparison of two runs."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from examples import examples
from fixed_events import FixedEvents
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import Finder, detect, finder
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.compare import compare
from brainbrr_core.evaluation.eval_ledger import LEDGER, count_scoring, read_ledger
from brainbrr_core.evaluation.results import (
    RESULTS,
    EvaluationResults,
    ScoredRecording,
    ThresholdChoice,
)
from brainbrr_core.evaluation.score import Scoring, score
from brainbrr_core.evaluation.statistics import (
    RANK_BINS,
    PatientStatistics,
    calibration_counts,
    points_at_limits,
    rank_counts,
)
from brainbrr_core.evaluation.tables import STATISTICS, read_statistics, write_tables
from brainbrr_core.scoring import (
    OperatingPoint,
    auprc,
    auroc,
    expected_calibration_error,
    interval,
    kappa,
    rank,
    reliability,
    resamples,
    sweep_at,
    sweep_thresholds,
    tune_threshold,
)

DAY = 86_400.0
Patient = list[tuple[float, bool]]


def statistics_of(
    counts: list[tuple[float, float, float, float]], seconds: list[Patient] | None = None
) -> PatientStatistics:
    """Statistics of patients with these counts of SzCORE's events and these seconds."""
    patients = len(counts)
    of_patient = seconds or [[(0.5, True), (0.5, False)]] * patients
    values = np.array([value for part in of_patient for value, _ in part])
    labels = np.array([label for part in of_patient for _, label in part], dtype=np.bool_)
    place = np.repeat(np.arange(patients), [len(part) for part in of_patient])
    table = np.array(counts, dtype=np.float64)
    return PatientStatistics(
        tuple(f"p{number}" for number in range(patients)),
        {"szcore_event": table, "nedc_epoch": table, "nedc_epoch_bckg": table},
        {"nedc_epoch": 0.25},
        None,
        rank_counts(values, labels, place, patients),
        calibration_counts(values, labels, place, patients, 10),
        np.zeros(0),
        np.zeros(0, dtype=np.intp),
    )


def test_pooled_figures_and_means_over_patients_by_hand() -> None:
    found = statistics_of(
        [
            # a: 4 seizures, 3 found, 1 false in 2 days.
            (4, 3, 1, 2 * DAY),
            # b: seizures, nothing detected: F1 0, precision undefined.
            (2, 0, 0, DAY),
            # c: no seizure, two false: sensitivity undefined, precision and F1 0.
            (0, 0, 2, DAY),
            # d: neither: only the false positives per day are defined.
            (0, 0, 0, DAY),
        ]
    ).figures()
    pooled = {name: float(found[f"szcore_event.{name}"][0]) for name in FOUR}
    assert pooled == pytest.approx(
        {"sensitivity": 3 / 6, "precision": 3 / 6, "f1": 6 / (6 + 3 + 3), "false_per_day": 3 / 5}
    )
    mean = {name: float(found[f"szcore_event_subject_mean.{name}"][0]) for name in FOUR}
    assert mean == pytest.approx(
        {
            # a 3/4, b 0.
            "sensitivity": 0.75 / 2,
            # a 3/4, c 0.
            "precision": 0.75 / 2,
            # a 6/8, b 0, c 0: one without detections is not dropped (timescoring 0.0.7).
            "f1": 0.75 / 3,
            "false_per_day": (0.5 + 0 + 2 + 0) / 4,
        }
    )


FOUR = ("sensitivity", "precision", "f1", "false_per_day")


def test_a_patient_drawn_twice_counts_twice() -> None:
    statistics = statistics_of([(4, 3, 1, DAY), (2, 0, 0, DAY)])
    drawn = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    found = statistics.figures(drawn)
    assert found["szcore_event.sensitivity"].tolist() == [0.75, 0.0, 0.5]
    assert found["szcore_event.false_per_day"].tolist() == [1.0, 0.0, 0.5]
    assert found["szcore_event_subject_mean.sensitivity"].tolist() == [0.75, 0.0, 0.375]
    # Rates of epochs are in seconds.
    assert found["nedc_epoch.false_per_day"].tolist() == [0.25, 0.0, 0.125]
    # Nothing drawn that has a detection: undefined, not 0.
    assert math.isnan(found["szcore_event.precision"][1])


few_values = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
)


@examples(100)
@given(few_values, st.integers(0, 1000))
def test_figures_of_seconds_of_resampled_patients(
    patients: list[list[tuple[int, bool]]], seed: int
) -> None:
    """A resample's AUROC, AUPRC and calibration are those of the drawn patients' seconds."""
    seconds = [[(value / 5, label) for value, label in part] for part in patients]
    statistics = statistics_of([(1, 1, 0, DAY)] * len(seconds), seconds)
    drawn = resamples(len(seconds), 3, seed)
    found = statistics.figures(drawn)
    for row, weights in enumerate(drawn.astype(int)):
        taken = [one for part, times in zip(seconds, weights, strict=True) for one in part * times]
        values = np.array([value for value, _ in taken])
        labels = np.array([label for _, label in taken], dtype=np.bool_)
        expected = {
            "auroc": auroc(rank(values, labels)),
            "auprc": auprc(rank(values, labels)),
            "calibration_error": expected_calibration_error(reliability(values, labels)),
        }
        for name, value in expected.items():
            assert found[f"seconds.{name}"][row] == pytest.approx(value, nan_ok=True)


def test_binned_ranks_are_close_to_all_seconds() -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(60_000) < 0.05
    values = 1 / (1 + np.exp(-generator.normal(-4 + 3 * labels, 2)))
    counted = rank_counts(values, labels, np.zeros(60_000, dtype=np.intp), 1)
    assert counted.shape[2] <= RANK_BINS and counted.sum() == 60_000
    statistics = statistics_of([(1, 1, 0, DAY)])
    binned = replace(statistics, ranked=counted).figures()
    assert binned["seconds.auroc"][0] == pytest.approx(auroc(rank(values, labels)), abs=1e-4)
    assert binned["seconds.auprc"][0] == pytest.approx(auprc(rank(values, labels)), abs=1e-3)


def test_kappa_of_patients_is_that_of_their_confusion() -> None:
    statistics = statistics_of([(1, 1, 0, DAY)])
    # Reference seiz 20 + 5, bckg 10 + 15: the matrix [[20, 5], [10, 15]], kappa 0.4.
    statistics.counts["nedc_epoch"] = np.array([[25.0, 20.0, 10.0, DAY]])
    statistics.counts["nedc_epoch_bckg"] = np.array([[25.0, 15.0, 5.0, DAY]])
    expected = kappa(np.array([[20, 5], [10, 15]]))
    assert statistics.figures()["nedc_ira.kappa"][0] == pytest.approx(expected) == 0.4


def test_resamples_draw_as_many_patients_and_are_repeatable() -> None:
    drawn = resamples(7, 400, 3)
    assert drawn.shape == (400, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean() == 1.0 and np.array_equal(drawn, resamples(7, 400, 3))
    assert not np.array_equal(drawn, resamples(7, 400, 4))
    # Each patient is left out of (6/7)^7 = 34 % of the resamples.
    assert (drawn == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.03)


def test_intervals_by_hand() -> None:
    # 0, 1, ... 1000: the 2.5th percentile is 25, the 97.5th 975.
    assert interval(np.arange(1001.0), 5) == pytest.approx((25.0, 975.0))
    some = np.where(np.arange(1001) % 4 == 0, np.nan, 1.0)
    assert interval(some, 5) == (1.0, 1.0)
    half = np.where(np.arange(1000) % 2 == 0, np.nan, 1.0)
    assert all(math.isnan(end) for end in interval(half, 5))
    assert all(math.isnan(end) for end in interval(np.arange(1001.0), 1))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 200 studies of 40 patients whose detection rate varies around 0.6.
    generator = np.random.default_rng(1)
    covered = 0
    for study in range(200):
        rates = np.clip(generator.normal(0.6, 0.2, 40), 0, 1)
        found = generator.binomial(5, rates)
        counts = [(5.0, float(hits), 0.0, DAY) for hits in found]
        statistics = statistics_of(counts).figures(resamples(40, 200, study))
        low, high = interval(statistics["szcore_event.sensitivity"], 40)
        covered += low <= 0.6 <= high
    assert 0.88 <= covered / 200 <= 0.99


def recording(
    key: str, reference: list[tuple[float, float]], hypothesis: list[tuple[float, float]]
) -> ScoredRecording:
    frames = np.full(4800, 0.1, dtype=np.float32)
    for start, stop in hypothesis:
        frames[round(start * 8) : round(stop * 8)] = 0.9
    return ScoredRecording(
        key,
        key.split("/")[1],
        "01_tcp_ar",
        600.0,
        tuple(Event(start, stop) for start, stop in reference),
        tuple(Event(start, stop) for start, stop in hypothesis),
        frames,
    )


REFERENCE = {"dev/a/t0": [(100, 130)], "dev/b/t0": [(200, 230)], "dev/c/t0": [], "dev/d/t0": []}
FOUND_A = {"dev/a/t0": [(110, 120)], "dev/b/t0": [(50, 60)], "dev/c/t0": [(5, 9)], "dev/d/t0": []}
FOUND_B = {"dev/a/t0": [(110, 120)], "dev/b/t0": [(210, 220)], "dev/c/t0": [(6, 8)]}


def scored(found: dict[str, list[tuple[float, float]]], reference: object = None) -> Scoring:
    truth = REFERENCE if reference is None else reference
    assert isinstance(truth, dict)
    recordings = [recording(key, truth[key], found.get(key, [])) for key in truth]

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


def test_a_rising_change_of_the_scores_changes_no_figure_but_the_calibration() -> None:
    rng = np.random.default_rng(1)
    how = Detection(smooth_s=1.0, min_duration_s=2.0)

    def find(scores: NDArray[np.float32], duration_s: float) -> Finder:
        return finder(scores, duration_s, how)

    plain = [
        replace(
            recording(key, REFERENCE[key], []),
            scores_8hz=np.repeat(rng.normal(-2, 6, 600), 8).astype(np.float32),
        )
        for key in REFERENCE
    ]
    changed = [
        replace(r, scores_8hz=np.exp(r.scores_8hz.astype(np.float64) / 3).astype(np.float32))
        for r in plain
    ]
    found = []
    for group in (plain, changed):
        sweep = sweep_thresholds(group, find, how.off_ratio)
        point, points = tune_threshold(sweep).point, points_at_limits(sweep)
        there = [one for one in points.values() if one is not None]
        found.append(
            score(
                [
                    replace(r, hypothesis=tuple(detect(r.scores_8hz, r.duration_s, how, point)))
                    for r in group
                ],
                split="dev",
                threshold=ThresholdChoice(point, "dev", at_limits=points),
                provenance={},
                sweep=sweep,
                applied=sweep_at(group, find, there),
                bootstrap_samples=100,
            ).results.estimates
        )
    assert len(found[0]) > 100 and set(found[0]) == set(found[1])
    for name, estimate in found[0].items():
        if not name.startswith(("reliability.", "seconds.calibration_error")):
            assert repr(estimate) == repr(found[1][name]), name


def kept(place: Path, scoring: Scoring) -> Path:
    folder = place / "report-dev"
    write_tables(folder, scoring.results, scoring.statistics)
    (folder / RESULTS).write_text(scoring.results.to_json(), encoding="utf-8")
    return place


def test_statistics_and_tables_survive_their_files(tmp_path: Path) -> None:
    scoring = scored(FOUND_A)
    folder = kept(tmp_path, scoring) / "report-dev"
    again = read_statistics(folder)
    drawn = resamples(4, 50, 0)
    before, after = scoring.statistics.figures(drawn), again.figures(drawn)
    assert set(before) == set(after)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)
    # Parquet and CSV say the same; what is undefined is null and empty.
    table = pq.read_table(folder / "seizures.parquet").to_pylist()
    with (folder / "seizures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["partition_key"] for row in rows] == ["dev/a/t0", "dev/b/t0"]
    assert [row["latency_s"] for row in table] == [10.0, None]
    assert [row["latency_s"] for row in rows] == ["10", ""]
    assert pq.read_table(folder / "unscored.parquet").column_names[0] == "partition_key"
    alarms = pq.read_table(folder / "detections.parquet").to_pylist()
    assert [row["false_alarm"] for row in alarms] == [False, True, True]


def test_damaged_statistics_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkRemains, match="brainbrr evaluate"):
        read_statistics(tmp_path)
    (tmp_path / STATISTICS).write_bytes(b"PAR1")
    with pytest.raises(BrainbrrError, match="damaged"):
        read_statistics(tmp_path)
    pq.write_table(
        pq.read_table(kept(tmp_path, scored(FOUND_A)) / "report-dev/seizures.parquet"),
        tmp_path / STATISTICS,
    )
    with pytest.raises(BrainbrrError, match="damaged"):
        read_statistics(tmp_path)


def test_two_runs_compared_by_hand(tmp_path: Path) -> None:
    a, b = kept(tmp_path / "a", scored(FOUND_A)), kept(tmp_path / "b", scored(FOUND_B))
    found = compare(a, b, "dev")
    assert (found.run_a, found.run_b, found.patients) == ("a", "b", 4)
    by_name = {part.figure: part for part in found.differences}
    # A finds 1 of 2, B both; A raises two false alarms in 2400 s, B one.
    gain = by_name["nedc_ovlp.sensitivity"]
    assert (gain.a, gain.b, gain.difference) == (0.5, 1.0, 0.5)
    assert by_name["nedc_ovlp.false_per_day"].difference == pytest.approx(-86_400 / 2400)
    # Patients a and b carry it: where only a is drawn, the two are equal; where only b, 1.
    assert (gain.low, gain.high) == (0.0, 1.0) and not gain.beyond_chance
    assert [row.partition_key for row in found.recordings] == ["dev/b/t0"]
    assert (found.recordings[0].missed_a, found.recordings[0].missed_b) == (1, 0)
    # The false alarms of both in c overlap: no disagreement between the two.
    assert [(e.kind, e.only, e.partition_key, e.start_s) for e in found.events] == [
        ("false alarm", "a", "dev/b/t0", 50),
        ("seizure detected", "b", "dev/b/t0", 200),
    ]


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", scored(FOUND_A))
    found = compare(a, a, "dev")
    assert not found.events and not found.recordings
    for part in found.differences:
        assert part.difference == 0 or math.isnan(part.difference)
        assert part.low == part.high == 0 or math.isnan(part.low)


def test_runs_on_other_recordings_do_not_compare(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", scored(FOUND_A))
    fewer = {key: REFERENCE[key] for key in list(REFERENCE)[:3]}
    b = kept(tmp_path / "b", scored(FOUND_A, fewer))
    with pytest.raises(BrainbrrError, match="1 of 4 recordings are in one of them only"):
        compare(a, b, "dev")
    c = kept(tmp_path / "c", scored(FOUND_A, REFERENCE | {"dev/d/t0": [(5, 9)]}))
    with pytest.raises(BrainbrrError, match="annotations or lengths differ"):
        compare(a, c, "dev")
    with pytest.raises(WorkRemains, match=r"no report in .*report-eval"):
        compare(a, a, "eval")


def test_the_command_compares_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "a", scored(FOUND_A))
    kept(tmp_path / "b", scored(FOUND_B))
    words = ["compare", "a", str(tmp_path / "b"), "--runs-dir", str(tmp_path), "--split", "dev"]
    with pytest.raises(SystemExit) as done:
        app([*words, "--json"])
    assert done.value.code == 0
    values = json.loads(capsys.readouterr().out)
    figures = {row["figure"]: row for row in values["differences"]}
    assert figures["nedc_ovlp.sensitivity"]["difference"] == 0.5
    assert len(values["events"]) == 2
    with pytest.raises(SystemExit):
        app(words)
    shown = capsys.readouterr().out
    assert "1 recordings with other misses" in shown and "2 events on which" in shown
    with pytest.raises(BrainbrrError, match="no run nowhere"):
        app(["compare", "a", "nowhere", "--runs-dir", str(tmp_path)])


def test_scorings_of_eval_are_counted_for_good(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == []
    assert count_scoring(tmp_path, "one", "set").scorings == 1
    again = count_scoring(tmp_path, "one", "set")
    other = count_scoring(tmp_path, "two", "set")
    assert (again.scorings, again.runs) == (2, 1)
    assert (other.scorings, other.runs) == (3, 2)
    assert [entry.run for entry in read_ledger(tmp_path)] == ["one", "one", "two"]
    with (tmp_path / LEDGER).open("a") as file:
        file.write("{}\n")
    with pytest.raises(BrainbrrError, match=r"line 4 of .* is damaged"):
        count_scoring(tmp_path, "one", "set")


def test_results_of_another_version_are_refused() -> None:
    text = scored(FOUND_A).results.to_json()
    older = text.replace('"format": 3', '"format": 2')
    with pytest.raises(BrainbrrError, match="another version of the program"):
        EvaluationResults.from_json(older)
