"""SzCORE's rules on cases worked by hand, and the traps of the library behind them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import Counts, EventCounter, RecordingEvents, nedc, total
from brainbrr_core.scoring.szcore import score_recording
from tests.support.examples import examples

Spans = list[tuple[float, float]]


def pair(reference: Spans, hypothesis: Spans, duration_s: float = 1000.0) -> RecordingEvents:
    return RecordingEvents(
        "p",
        duration_s,
        tuple(Event(start, stop) for start, stop in reference),
        tuple(Event(start, stop) for start, stop in hypothesis),
    )


def event_counts(
    reference: Spans, hypothesis: Spans, duration_s: float = 1000.0
) -> tuple[float, float, float]:
    counts = score_recording(pair(reference, hypothesis, duration_s)).event
    return counts.reference, counts.detected, counts.false


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        # Overlap of the tolerance alone: the extended reference is 70 to 190.
        ([(100, 130)], [(75, 85)], (1, 1, 0)),
        ([(100, 130)], [(185, 195)], (1, 1, 0)),
        # Touching the tolerance's edge, before (70) and after (190), is false and no detection.
        ([(100, 130)], [(60, 70)], (1, 0, 1)),
        ([(100, 130)], [(190, 200)], (1, 0, 1)),
        # A gap of exactly 90 s is not merged: two references, of which one is found. The first
        # one extends to 190, the second from 160.
        ([(100, 130), (220, 250)], [(100, 110)], (2, 1, 0)),
        # 89.9 s is merged: one reference.
        ([(100, 130), (219.9, 250)], [(100, 110)], (1, 1, 0)),
        # The same for hypotheses: far from any reference, two false positives or one.
        ([], [(100, 130), (220, 250)], (0, 0, 2)),
        ([], [(100, 130), (219.9, 250)], (0, 0, 1)),
        # Merging comes before splitting: 100 to 400 and 450 to 500 are 400 s, two references.
        # The hypothesis at 90 overlaps the first (70 to 460) only: the second is 370 to 560.
        ([(100, 400), (450, 500)], [(90, 95)], (2, 1, 0)),
        # 600 s found in its first 100 s only: pieces 0-300 and 300-600, the second one is
        # extended to 270, so the hypothesis does not reach it. Sensitivity 0.5.
        ([(0, 600)], [(0, 100)], (2, 1, 0)),
        # A false positive of 700 s is split into 300 + 300 + 100: three of them.
        ([], [(0, 700)], (0, 0, 3)),
        # A hypothesis of 700 s over a reference 0-10 (extended 0 to 70): the pieces 300-600 and
        # 600-700 are false.
        ([(0, 10)], [(0, 700)], (1, 1, 2)),
        # Exactly 300 s is one event.
        ([(100, 400)], [], (1, 0, 0)),
        # One hypothesis over two references detects both.
        ([(100, 110), (300, 310)], [(105, 305)], (2, 2, 0)),
    ],
)
def test_event_rule_by_hand(
    reference: Spans, hypothesis: Spans, expected: tuple[int, int, int]
) -> None:
    assert event_counts(reference, hypothesis) == expected


def test_a_gap_of_90_s_is_kept_whatever_floating_point_makes_of_it() -> None:
    # 128.2 - 38.2 is 89.99999999999999 in floating point.
    assert 128.2 - 38.2 < 90
    assert event_counts([(10, 38.2), (128.2, 140)], []) == (2, 0, 0)


def test_300_s_are_not_split_whatever_floating_point_makes_of_it() -> None:
    # 512.2 - 212.2 is 300.00000000000006 in floating point.
    assert 512.2 - 212.2 > 300
    assert event_counts([(212.2, 512.2)], []) == (1, 0, 0)
    # Ten times 300 s: ten pieces, not eleven.
    assert event_counts([(0.7, 3000.7)], [], 4000) == (10, 0, 0)


def test_unsorted_and_overlapping_events_are_made_disjoint_first() -> None:
    # Read as they stand, (100, 300) and (150, 160) would become 100 to 160.
    assert event_counts([(150, 160), (100, 300)], [(250, 260)]) == (1, 1, 0)
    assert event_counts([(100, 110)], [(700, 710), (100, 110), (105, 120)]) == (1, 1, 1)


def test_events_are_cut_at_the_recordings_end() -> None:
    # 950 to 1050 in 1000 s: 50 s. Sampled at 1 Hz: 50 reference seconds, 20 detected.
    scored = score_recording(pair([(950, 1050)], [(980, 1200)]))
    assert (scored.event.reference, scored.event.detected, scored.event.false) == (1, 1, 0)
    assert (scored.sample.reference, scored.sample.detected, scored.sample.false) == (50, 20, 0)
    # An event wholly beyond the end is no event.
    assert event_counts([(1010, 1020)], [(1000, 1030)]) == (0, 0, 0)


def test_a_hypothesis_below_the_grid_is_no_false_positive() -> None:
    # 100.01 to 100.04 covers no sample of the 10 Hz grid.
    assert event_counts([(90, 120)], [(100.01, 100.04)]) == (1, 0, 0)


def test_background_rows_are_no_events() -> None:
    recording = RecordingEvents(
        "p", 600.0, (Event(0, 600, "bckg"),), (Event(0, 300, "bckg"), Event(300, 310))
    )
    scored = score_recording(recording)
    assert (scored.event.reference, scored.event.false) == (0, 1)


def test_recordings_without_seizures_count_for_false_positives() -> None:
    # One false positive in 12 h of two recordings: 2 a day.
    scored = [
        score_recording(pair([(100, 130)], [(100, 130)], 6 * 3600)),
        score_recording(pair([], [(5000, 5010)], 6 * 3600)),
    ]
    pooled = total(part.event for part in scored)
    assert pooled.false_per_day == pytest.approx(2.0)
    assert pooled.sensitivity == 1.0
    assert pooled.precision == 0.5


def test_sample_rule_by_hand() -> None:
    # Seconds: reference 10-20 (10), hypothesis 15-30 (15): 5 detected, 10 false, 5 missed.
    counts = score_recording(pair([(10, 20)], [(15, 30)], 100)).sample
    assert (counts.reference, counts.detected, counts.false) == (10, 5, 10)
    assert counts.sensitivity == 0.5
    assert counts.precision == pytest.approx(1 / 3)
    assert counts.f1 == pytest.approx(2 * 5 / (2 * 5 + 10 + 5))
    assert counts.false_per_day == pytest.approx(10 / 100 * 86400)


def test_another_length_is_an_error() -> None:
    recording = RecordingEvents("p", 100.0, (), (), "dev/p/t000", hypothesis_duration_s=99.0)
    with pytest.raises(BrainbrrError, match=r"dev/p/t000.*99 s long, the recording 100 s"):
        score_recording(recording)
    same = RecordingEvents("p", 100.0, (), (), hypothesis_duration_s=100.0)
    assert score_recording(same).event.reference == 0


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.nan, math.inf])
def test_a_recording_without_length_is_an_error(duration_s: float) -> None:
    with pytest.raises(BrainbrrError, match="cannot be scored"):
        score_recording(pair([], [], duration_s))


def test_impossible_times_are_errors() -> None:
    with pytest.raises(BrainbrrError, match="ends before it starts"):
        score_recording(pair([(20, 10)], []))
    with pytest.raises(BrainbrrError, match="not finite"):
        score_recording(pair([], [(0, math.nan)]))


def test_the_shortest_recording_can_be_scored() -> None:
    scored = score_recording(pair([], [], 0.01))
    assert scored.event.false_per_day == 0 and scored.sample.false_per_day == 0


def test_counts_of_different_units_are_not_added() -> None:
    with pytest.raises(ValueError, match="different rules"):
        total([Counts(1, 1, 0, 10, 1.0), Counts(1, 1, 0, 10, 0.25)])


def naive_event_counts(reference: Spans, hypothesis: Spans) -> tuple[int, int, int]:
    """The rule in whole tenths of a second, as the paper states it."""

    def prepare(spans: Spans) -> list[tuple[int, int]]:
        covered = [
            any(round(start * 10) <= tenth < round(stop * 10) for start, stop in spans)
            for tenth in range(DURATION_S * 10)
        ]
        runs: list[list[int]] = []
        for tenth, inside in enumerate(covered):
            if inside and runs and runs[-1][1] == tenth:
                runs[-1][1] = tenth + 1
            elif inside:
                runs.append([tenth, tenth + 1])
        merged: list[list[int]] = []
        for run in runs:
            if merged and run[0] - merged[-1][1] < 900:
                merged[-1][1] = run[1]
            else:
                merged.append(run)
        return [
            (piece, min(piece + 3000, stop))
            for start, stop in merged
            for piece in range(start, stop, 3000)
        ]

    references, hypotheses = prepare(reference), prepare(hypothesis)
    extended = [(start - 300, stop + 600) for start, stop in references]
    hits = [any(hyp[0] < ref[1] and hyp[1] > ref[0] for hyp in hypotheses) for ref in extended]
    found = [ref for ref, hit in zip(extended, hits, strict=True) if hit]
    false = sum(not any(hyp[0] < ref[1] and hyp[1] > ref[0] for ref in found) for hyp in hypotheses)
    return len(references), sum(hits), false


DURATION_S = 1200
tenths = st.integers(0, DURATION_S * 10)
spans = st.lists(
    st.tuples(tenths, st.integers(1, 4500)).map(
        lambda pair: (pair[0] / 10, min(pair[0] + pair[1], DURATION_S * 10) / 10)
    ),
    max_size=5,
)


@examples(80)
@given(spans, spans)
def test_event_rule_against_a_naive_grid(reference: Spans, hypothesis: Spans) -> None:
    assert event_counts(reference, hypothesis, DURATION_S) == naive_event_counts(
        reference, hypothesis
    )


hundredths = st.lists(
    st.tuples(st.integers(0, DURATION_S * 10_000), st.integers(1, 4_000_000)).map(
        lambda pair: (pair[0] / 1e4, min(pair[0] + pair[1], DURATION_S * 10_000) / 1e4)
    ),
    max_size=5,
)
neat = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([1, 3, 30, 60, 90, 300, 301])).map(
        lambda pair: (100.0 * pair[0], min(100.0 * pair[0] + pair[1], DURATION_S))
    ),
    max_size=5,
)


def disjoint(events: Spans) -> Spans:
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(events):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        elif stop > start:
            joined.append((start, stop))
    return joined


@examples(250)
@given(st.one_of(hundredths, spans, neat), st.one_of(hundredths, spans, neat))
def test_the_counts_of_a_sweep_are_those_of_the_library(
    reference: Spans, hypothesis: Spans
) -> None:
    """What counts thousands of hypotheses fast agrees with timescoring and with OVLP."""
    recording = pair(reference, disjoint(hypothesis), DURATION_S)
    expected, overlap = score_recording(recording).event, nedc.ovlp(recording)
    counter = EventCounter(recording.reference, DURATION_S)
    assert counter.count(disjoint(hypothesis)) == (
        expected.detected,
        expected.false,
        overlap.detected,
        overlap.false,
    )
    assert counter.szcore_reference == expected.reference
    assert counter.szcore_seconds == expected.seconds
    assert counter.ovlp_reference == overlap.reference
