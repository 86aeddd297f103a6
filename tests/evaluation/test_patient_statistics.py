"""Figures of resampled patients, their intervals, and the files that they are stored in."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import Finder, detect, finder
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.event_scores import score_events
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.results import EvaluationResults
from brainbrr_core.evaluation.score import score
from brainbrr_core.evaluation.statistics import (
    RANK_BINS,
    PatientStatistics,
    calibration_counts,
    points_at_limits,
    rank_counts,
)
from brainbrr_core.evaluation.tables import STATISTICS, read_statistics
from brainbrr_core.runs.eval_ledger import LEDGER, count_scoring, read_ledger
from brainbrr_core.scoring import (
    OperatingPoint,
    all_or_none,
    auprc,
    auroc,
    expected_calibration_error,
    false_discovery_rates,
    interval,
    kappa,
    no_false_alarm,
    rank,
    reliability,
    resamples,
    sweep_at,
    sweep_thresholds,
    tune_threshold,
    two_sided_p,
)
from tests.support.examples import examples
from tests.support.scored_patients import (
    FOUND_A,
    FOUND_B,
    REFERENCE,
    many,
    recording,
    scored,
    store_report,
)
from tests.support.tables import rows_of

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
        {},
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


def test_exact_intervals_by_hand() -> None:
    # All of 12 patients: the lower end p has p ** 12 = 0.025, so p = 0.7354.
    low, high = all_or_none(12, 1.0)
    assert (low, high) == (pytest.approx(0.7353515), 1.0)
    assert stats.binomtest(12, 12).proportion_ci(0.95, "exact").low == pytest.approx(low)
    assert all_or_none(12, 0.0) == pytest.approx((0.0, 1 - low))
    # No false alarm in two days: at most 3.689 in 19 of 20 such recordings (two-sided).
    assert no_false_alarm(3, 2 * DAY) == pytest.approx((0.0, stats.chi2.ppf(0.975, 2) / 2 / 2))
    for undefined in (
        all_or_none(1, 1.0),
        all_or_none(12, 0.5),
        no_false_alarm(1, DAY),
        no_false_alarm(2, 0),
    ):
        assert all(map(math.isnan, undefined))


@examples(100)
@given(st.integers(2, 40), st.floats(0.05, 0.999))
def test_the_exact_interval_holds_the_mean_over_patients(patients: int, share: float) -> None:
    """Where a share of patients is perfect, all drawn are perfect with share ** patients."""
    low, _ = all_or_none(patients, 1.0)
    missed = share**patients if share < low else 0.0
    assert missed <= 0.025 + 1e-12


def test_p_values_and_false_discovery_rates_by_hand() -> None:
    differences = np.array([1.0] * 90 + [-1.0] * 6 + [0.0] * 3)
    # 9 of 99 are at or below 0: 2 * (9 + 1) / 100.
    assert two_sided_p(differences) == pytest.approx(0.2)
    assert two_sided_p(np.zeros(50)) == 1.0
    assert two_sided_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert math.isnan(two_sided_p(np.array([np.nan])))
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5])
    # Ascending .005 .01 .03 .04 .5 times 5 / rank: .025 .025 .05 .05 .5.
    assert false_discovery_rates(p) == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.5])
    assert false_discovery_rates(p) == pytest.approx(stats.false_discovery_control(p))
    assert false_discovery_rates(np.zeros(0)).size == 0


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


def test_statistics_and_tables_survive_their_files(tmp_path: Path) -> None:
    scoring = scored(FOUND_A)
    folder = store_report(tmp_path, scoring) / "report-dev"
    again = read_statistics(folder)
    drawn = resamples(4, 50, 0)
    before, after = scoring.statistics.figures(drawn), again.figures(drawn)
    assert set(before) == set(after)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)
    # Parquet and CSV say the same; what is undefined is null and empty.
    table = pq.read_table(folder / "seizures.parquet").to_pylist()
    rows = rows_of(folder / "seizures.csv")
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
        pq.read_table(store_report(tmp_path, scored(FOUND_A)) / "report-dev/seizures.parquet"),
        tmp_path / STATISTICS,
    )
    with pytest.raises(BrainbrrError, match="damaged"):
        read_statistics(tmp_path)


def test_every_interval_rests_on_patients_with_what_the_figure_is_about() -> None:
    # One of twelve has a second type, three are found, one of these late, two raise an alarm.
    recordings = [
        replace(
            recording(
                f"dev/{number:02}/t0",
                [(100, 130)],
                [(105 + 10 * (number == 2), 125)] * (number < 3) + [(400, 410)] * (number < 2),
            ),
            reference=(Event(100, 130, "gnsz" if number == 0 else "fnsz"),),
        )
        for number in range(12)
    ]
    found = score(
        recordings,
        split="dev",
        threshold=ThresholdChoice(OperatingPoint(0.5, 0.45), "dev"),
        provenance={},
    )
    part = found.results.estimates
    one = part["type.gnsz.sensitivity"]
    assert (one.value, one.patients, one.method, one.few_patients) == (1.0, 1, "undefined", True)
    assert math.isnan(one.low) and one.bracketed() == "[–]"
    others = part["type.fnsz.sensitivity"]
    assert (others.patients, others.method, others.few_patients) == (11, "bootstrap", False)
    assert others.low <= 2 / 11 <= others.high and others.bracketed().endswith("]")
    # Three patients have a detection, and so a precision and a latency.
    assert part["szcore_event.precision"].patients == 3
    assert part["szcore_event.precision"].bracketed().endswith("]†")
    latency = part["latency.median_s"]
    assert (latency.value, latency.patients, latency.few_patients) == (5.0, 3, True)
    assert math.isnan(part["type.gnsz.median_latency_s"].low)
    assert part["type.fnsz.median_latency_s"].patients == 2
    # All patients have time, and seizures.
    assert part["szcore_event.false_per_day"].patients == 12
    assert part["szcore_event.f1"].patients == part["seconds.auroc"].patients == 12
    assert part["montage.01_tcp_ar.sensitivity"].patients == 12
    assert set(part) == set(found.statistics.contributors())


def test_false_alarms_of_patients_without_seizures_are_in_the_mean_of_f1() -> None:
    """As in timescoring, where their F1 is 0, and those with neither have none."""
    seizure, alarm = [(100, 130)], [(400, 410)]
    recordings = [
        recording("dev/0/t0", seizure, seizure),
        recording("dev/1/t0", [], alarm),
        recording("dev/2/t0", [], alarm),
        recording("dev/3/t0", [], []),
    ]
    estimates = score_events([one.events for one in recordings]).estimates
    mean, pooled = estimates["szcore_event_subject_mean.f1"], estimates["szcore_event.f1"]
    assert (mean.value, mean.patients) == (pytest.approx(1 / 3), 3)
    assert mean.method == "bootstrap" and mean.low == 0.0
    assert (pooled.value, pooled.patients) == (0.5, 1)
    assert estimates["szcore_event_subject_mean.sensitivity"].patients == 1


def test_an_interval_without_width_is_exact_or_none() -> None:
    part = many(lambda _: [(105, 125)]).results.estimates
    least = 0.025 ** (1 / 12)
    for name in ("nedc_ovlp.sensitivity", "szcore_event.f1", "szcore_event_subject_mean.precision"):
        assert (part[name].value, part[name].method) == (1.0, "clopper-pearson")
        assert (part[name].low, part[name].high) == (pytest.approx(least), 1.0)
        assert part[name].bracketed() == "[0.735, 1.000]‡"
    for name in ("type.seiz.sensitivity", "szcore_event.sensitivity_at_1"):
        assert part[name].method == "clopper-pearson"
    rate = part["szcore_event.false_per_day"]
    assert (rate.value, rate.low, rate.method) == (0.0, 0.0, "poisson")
    # 12 recordings of 600 s: 3.689 in two hours.
    assert rate.high == pytest.approx(3.688879 * 12)
    # A median of latencies that are all the same has no width, and nothing exact instead.
    assert part["latency.median_s"].value == 5.0
    assert part["latency.median_s"].method == "undefined"
    # Half of each seizure is found: the same share in everyone.
    half = part["szcore_sample.sensitivity"]
    assert (half.value, half.method) == (pytest.approx(2 / 3), "undefined")
    nothing = many(lambda _: []).results.estimates["nedc_ovlp.sensitivity"]
    assert (nothing.low, nothing.high) == (0.0, pytest.approx(1 - least))


def test_no_estimate_has_an_interval_without_width() -> None:
    for found in (scored(FOUND_A), scored(FOUND_B), many(lambda n: [(105, 125)] * (n % 2))):
        for name, part in found.results.estimates.items():
            defined = not math.isnan(part.low)
            assert defined == (part.method != "undefined"), name
            assert not defined or part.low < part.high, name
            assert part.patients >= 2 or not defined, name
            assert part.few_patients == (part.patients < 10), name


def test_a_table_has_one_unit(tmp_path: Path) -> None:
    scoring = scored(FOUND_A)
    folder = store_report(tmp_path, scoring) / "report-dev"
    written: dict[str, str] = {}
    for name, ending in (
        ("figures", ("sensitivity", "precision", "f1")),
        ("false_alarms_per_day", ("nedc_ovlp.false_per_day", "szcore_event.false_per_day")),
        ("false_seconds_per_day", ("szcore_sample.false_per_day", "nedc_epoch.false_per_day")),
        ("latencies_s", ("median_s",)),
    ):
        rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
        written |= {row["figure"]: name for row in rows}
        assert any(row["figure"].endswith(ending) for row in rows)
        assert {"patients", "few_patients", "interval"} <= set(rows[0])
    assert set(written) == set(scoring.results.estimates)
    for figure, table in written.items():
        of_time = figure.startswith(("szcore_sample", "nedc_epoch"))
        assert ("per_day" in table) == figure.endswith(".false_per_day")
        assert (table == "false_seconds_per_day") == (of_time and "per_day" in table)


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
    older = text.replace('"format": 4', '"format": 3')
    with pytest.raises(BrainbrrError, match="another version of the program"):
        EvaluationResults.from_json(older)
