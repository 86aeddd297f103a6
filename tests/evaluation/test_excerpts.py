"""Scores on excerpts of which only some seconds have a label."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.excerpts import (
    Detected,
    LabeledInterval,
    Rate,
    Share,
    read_intervals,
    score_excerpts,
)


class _Detected(NamedTuple):
    events: list[Event]
    scores: NDArray[np.float32]
    duration_s: float


def _detected(seconds: list[float], *events: tuple[float, float]) -> Detected:
    """A recording with these scores, one for each second."""
    scores = np.repeat(np.asarray(seconds, dtype=np.float32), 8)
    return _Detected([Event(start, stop) for start, stop in events], scores, float(len(seconds)))


def test_only_labeled_seconds_count() -> None:
    # Ten seconds each. In `a` a seizure is known from 2 to 4 s, in `b` a pattern from 5 to 8 s.
    found = {
        Path("a"): _detected([9, 9, 3, 1, 9, 9, 9, 9, 9, 9], (3.0, 6.0), (8.0, 9.0)),
        Path("b"): _detected([8, 8, 8, 8, 8, 0, 2, 0, 8, 8], (0.5, 2.0)),
    }
    intervals = (
        LabeledInterval(Path("a"), "SZ", 2.0, 4.0),
        LabeledInterval(Path("b"), "LPD", 5.0, 8.0),
    )
    scores = score_excerpts(intervals, found.__getitem__)
    # Ictal seconds have 3 and 1, the others 0, 2 and 0: five of six pairs are in order.
    assert scores.auroc == pytest.approx(5 / 6)
    assert scores.seconds == (2, 3)
    seizure, pattern = scores.results
    assert (seizure.is_seizure, seizure.detected, seizure.latency_s) == (True, True, 1.0)
    assert (pattern.is_seizure, pattern.detected) == (False, False)
    assert math.isnan(pattern.latency_s)
    # The second event of `a` is outside of what is known, that of `b` is a false alarm.
    assert scores.false_alarms == Rate(1, 10 / 3600)
    assert scores.without_events == Share(0, 1)
    assert scores.share() == Share(1, 1)
    assert scores.share("LPD") == Share(0, 1)
    assert scores.labels == ("SZ", "LPD")


def test_a_recording_is_detected_once_whatever_the_number_of_its_intervals() -> None:
    asked = []

    def detect(file: Path) -> Detected:
        asked.append(file)
        return _detected([0.0] * 6, (0.0, 1.5))

    intervals = [
        LabeledInterval(Path("a"), "Seizure", 1.0, 3.0),
        LabeledInterval(Path("a"), "GPD", 4.0, 6.0),
    ]
    scores = score_excerpts(intervals, detect)
    assert asked == [Path("a")]
    # An event that began before the labeled interval is no later than the interval.
    assert scores.results[0].latency_s == 0.0
    assert scores.false_alarms.hours == 0.0
    assert math.isnan(scores.false_alarms.per_hour)
    assert scores.auroc == 0.5


def test_labels_of_seizures_can_be_named() -> None:
    intervals = [LabeledInterval(Path("a"), "ictal", 0.0, 2.0)]
    scores = score_excerpts(intervals, lambda _: _detected([1.0, 1.0]), ["Ictal"])
    assert scores.share() == Share(0, 1)
    assert math.isnan(scores.auroc)


def test_an_interval_beyond_its_recording_is_refused() -> None:
    intervals = [LabeledInterval(Path("a.edf"), "SZ", 0.0, 3.0)]
    with pytest.raises(BrainbrrError, match=r"a\.edf lasts 2 s, and an interval labeled SZ"):
        score_excerpts(intervals, lambda _: _detected([1.0, 1.0]))


@pytest.mark.parametrize(("hits", "trials"), [(0, 6), (4, 4), (5, 8), (0, 0), (1, 1)])
def test_exact_intervals_of_shares(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(0.95) if trials else (0.0, 1.0)
    assert Share(hits, trials).interval == pytest.approx(tuple(expected))


@pytest.mark.parametrize("events", [0, 1, 7])
def test_exact_intervals_of_rates(events: int) -> None:
    low = chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    high = chi2.ppf(0.975, 2 * events + 2) / 2
    assert Rate(events, 0.5).interval == pytest.approx((2 * low, 2 * high))


def test_tables_with_tabs_and_commas(tmp_path: Path) -> None:
    rows = [("file", "label", "start_s", "stop_s"), ("x/a.edf", "SZ", "20", "30.5")]
    expected = (LabeledInterval(tmp_path / "x/a.edf", "SZ", 20.0, 30.5),)
    for name, separator in (("t.tsv", "\t"), ("t.csv", ",")):
        (tmp_path / name).write_text("\n".join(separator.join(row) for row in rows) + "\n")
        assert read_intervals(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\tlabel\tstart_s\na\tSZ\t1\n", "no column 'stop_s'"),
        ("file\tlabel\tstart_s\tstop_s\n", "has no row"),
        ("file\tlabel\tstart_s\tstop_s\na\tSZ\t3\t3\n", "line 2: a row needs"),
        ("file\tlabel\tstart_s\tstop_s\na\tSZ\tone\t3\n", "line 2: a row needs"),
        ("file\tlabel\tstart_s\tstop_s\na\t\t1\t3\n", "line 2: a row needs"),
        ("file\tlabel\tstart_s\tstop_s\na\tSZ\tnan\t3\n", "line 2: a row needs"),
        ("file\tlabel\tstart_s\tstop_s\na\tSZ\n", "line 2: a row needs"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "t.tsv"
    table.write_text(text)
    with pytest.raises(BrainbrrError, match=message):
        read_intervals(table)


def test_a_table_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BrainbrrError, match="cannot be read"):
        read_intervals(tmp_path / "none.tsv")


@pytest.mark.parametrize("file", ["a", "b/../a"])
@pytest.mark.parametrize("following", [(1.0, 3.0), (2.0, 4.0)])
def test_a_second_cannot_count_twice(file: str, following: tuple[float, float]) -> None:
    """A row that is there twice would make each interval narrower than it is."""
    intervals = [
        LabeledInterval(Path("a"), "SZ", 1.0, 3.0),
        LabeledInterval(Path(file), "LPD", *following),
    ]
    with pytest.raises(BrainbrrError, match=r"1 to 3 s \((SZ|LPD)\) and .* s \((SZ|LPD)\) overlap"):
        score_excerpts(intervals, lambda _: _detected([0.0] * 6))


def test_one_recording_by_two_paths_is_one_recording() -> None:
    intervals = [
        LabeledInterval(Path("a"), "LPD", 1.0, 3.0),
        LabeledInterval(Path("b/../a"), "GPD", 3.0, 4.0),
    ]
    scores = score_excerpts(intervals, lambda _: _detected([0.0] * 6, (0.0, 1.0)))
    assert (scores.without_events, scores.false_alarms) == (Share(0, 1), Rate(1, 6 / 3600))
