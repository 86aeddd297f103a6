"""NEDC's rules on cases worked by hand, and OVLP and EPOCH against brute force."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import RecordingEvents, nedc, total

Spans = list[tuple[float, float]]


def pair(reference: Spans, hypothesis: Spans, duration_s: float = 1000.0) -> RecordingEvents:
    return RecordingEvents(
        "p",
        duration_s,
        tuple(Event(start, stop) for start, stop in reference),
        tuple(Event(start, stop) for start, stop in hypothesis),
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "hits", "false_alarms"),
    [
        ([(10, 20)], [(15, 30)], 1, 0),
        # Touching is not overlapping: no tolerance.
        ([(10, 20)], [(20, 30)], 0, 1),
        ([(10, 20)], [(0, 10)], 0, 1),
        # One hypothesis over two references hits both; two over one are no false alarms.
        ([(10, 20), (30, 40)], [(15, 35)], 2, 0),
        ([(10, 40)], [(12, 15), (30, 33)], 1, 0),
        # Nothing is merged: two references that touch are two.
        ([(10, 20), (20, 30)], [(12, 14)], 1, 0),
        ([], [(1, 2), (3, 4)], 0, 2),
        ([(1, 2)], [], 0, 0),
    ],
)
def test_ovlp_by_hand(reference: Spans, hypothesis: Spans, hits: int, false_alarms: int) -> None:
    counts = nedc.ovlp(pair(reference, hypothesis))
    assert (counts.reference, counts.detected, counts.false) == (
        len(reference),
        hits,
        false_alarms,
    )


def test_ovlp_false_alarms_per_24_hours() -> None:
    # 3 false alarms in 8 h: 9 in 24 h.
    counts = nedc.ovlp(pair([], [(1, 2), (5, 6), (9, 10)], 8 * 3600))
    assert counts.false_per_day == pytest.approx(9.0)
    assert math.isnan(counts.sensitivity)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "hits", "false_alarms"),
    [
        # Exactly matched.
        ([(10, 20)], [(10, 20)], 1.0, 0.0),
        # Late by half: 5 of 10 s overlap, 5 s outside are 0.5 reference durations.
        ([(10, 20)], [(15, 25)], 0.5, 0.5),
        # Early: the hypothesis ends first (15 < 20): 5/10 hit, 5/10 outside.
        ([(10, 20)], [(5, 15)], 0.5, 0.5),
        # 30 s outside a reference of 10 s: capped at 1.
        ([(10, 20)], [(10, 50)], 1.0, 1.0),
        # Two hypotheses within one reference: 2/10 + 3/10, nothing outside.
        ([(10, 20)], [(11, 13), (15, 18)], 0.5, 0.0),
        # The second one overhangs: 2/10 + 2/10 hit, 4/10 outside.
        ([(10, 20)], [(11, 13), (18, 24)], 0.4, 0.4),
        # One hypothesis over three references. It is paired with the first: 5/10 hit, the
        # outside is 20 to 60 = 40 s = 4 durations, capped at 1; the two others are missed whole.
        ([(10, 20), (30, 40), (50, 60)], [(15, 60)], 0.5, 1.0),
        # The reference the long hypothesis used up stays missed, so the second hypothesis,
        # which matches it exactly, is left over: one false alarm. First pair: 5/10 hit,
        # outside 20 to 25 = 5/10.
        ([(10, 20), (22, 42)], [(15, 25), (26, 42)], 0.5, 0.5 + 1),
        # The second hypothesis is used up by the first reference, so the second reference is
        # missed: 10 to 12 and 18 to 20 hit = 4/10; 18 to 32 has 12 s outside: capped at 1.
        ([(10, 20), (25, 35)], [(10, 12), (18, 32)], 0.4, 1.0),
        # A hypothesis that ends with its reference uses up the later reference it overlaps, so
        # the second hypothesis is left over although that reference is not hit.
        ([(10, 20), (15, 30)], [(10, 20), (25, 30)], 1.0, 1.0),
        # Unused: one miss, one false alarm of 1 whatever its length.
        ([(10, 20)], [(100, 400)], 0.0, 1.0),
        # Touching is not overlapping.
        ([(10, 20)], [(20, 30)], 0.0, 1.0),
    ],
)
def test_taes_by_hand(
    reference: Spans, hypothesis: Spans, hits: float, false_alarms: float
) -> None:
    counts = nedc.taes(pair(reference, hypothesis))
    assert counts.reference == len(reference)
    assert counts.detected == pytest.approx(hits)
    assert counts.false == pytest.approx(false_alarms)
    # Hits and misses of a reference add up to one.
    assert counts.missed == pytest.approx(len(reference) - hits)


def test_taes_is_not_an_average_of_overlaps_with_a_penalty() -> None:
    # Reference 100 s and a hypothesis that matches it, with 100 s of false alarm elsewhere: the
    # penalised average would be 1 - 0.15 * 0.5 = 0.925 of one figure. TAES: one hit, one alarm.
    counts = nedc.taes(pair([(100, 200)], [(100, 200), (500, 600)]))
    assert (counts.sensitivity, counts.false) == (1.0, 1.0)


def test_epoch_by_hand() -> None:
    # 2 s: middles at 0.125, 0.375, ... 1.875, eight of them. Reference 0.5-1.25 holds 0.625,
    # 0.875, 1.125; hypothesis 1.0-2.0 holds 1.125, 1.375, 1.625, 1.875.
    confusion = nedc.epoch_confusion(pair([(0.5, 1.25)], [(1.0, 2.0)], 2.0))
    assert confusion == nedc.EpochConfusion(seiz_seiz=1, seiz_bckg=2, bckg_seiz=3, bckg_bckg=2)
    counts = nedc.epoch(pair([(0.5, 1.25)], [(1.0, 2.0)], 2.0))
    assert counts.sensitivity == pytest.approx(1 / 3)
    # 3 false epochs of 0.25 s in 2 s: 0.75 / 2 of a day's seconds.
    assert counts.false_per_day == pytest.approx(0.75 / 2 * 86400)


def test_an_epoch_on_an_edge_belongs_to_the_earlier_event() -> None:
    # Middles 0.125 and 0.375 are the edges. 0.125 is the end of background, so background;
    # 0.375 is the end of the seizure, so seizure.
    confusion = nedc.epoch_confusion(pair([(0.125, 0.375)], [], 1.0))
    assert (confusion.seiz_bckg, confusion.bckg_bckg) == (1, 3)


def test_epochs_run_up_to_and_including_the_end() -> None:
    # 0.625 s: 0.125, 0.375 and 0.625 itself.
    assert nedc.epoch_confusion(pair([], [], 0.625)).bckg_bckg == 3
    assert nedc.epoch_confusion(pair([], [], 0.62)).bckg_bckg == 2
    assert nedc.epoch_confusion(pair([], [], 0.1)).bckg_bckg == 0


def test_background_rows_events_without_length_and_order_do_not_matter() -> None:
    events = (Event(50, 50), Event(30, 40), Event(0, 10, "bckg"), Event(10, 20))
    counts = nedc.score_recording(RecordingEvents("p", 100.0, events, events))
    assert (counts.ovlp.reference, counts.ovlp.detected, counts.ovlp.false) == (2, 2, 0)
    assert (counts.taes.detected, counts.taes.false) == (2.0, 0.0)
    assert (counts.epoch.reference, counts.epoch.detected) == (80, 80)


def test_false_alarms_of_several_recordings_are_pooled() -> None:
    # EPOCH: 4 + 8 false epochs = 3 s in 30 min: 144 s in 24 h.
    parts = [nedc.epoch(pair([], [(0, 1)], 600)), nedc.epoch(pair([], [(0, 2)], 1200))]
    assert total(parts).false_per_day == pytest.approx(144.0)


def test_a_recording_without_length_is_an_error() -> None:
    with pytest.raises(BrainbrrError, match="cannot be scored"):
        nedc.score_recording(pair([], [], 0.0))


quarters = st.integers(0, 160)
spans = st.lists(
    st.tuples(quarters, st.integers(1, 40)).map(
        lambda pair: (pair[0] / 4, (pair[0] + pair[1]) / 4)
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(spans, spans)
def test_ovlp_against_a_fine_grid(reference: Spans, hypothesis: Spans) -> None:
    def cells(span: tuple[float, float]) -> set[int]:
        return set(range(round(span[0] * 4), round(span[1] * 4)))

    hits = sum(any(cells(ref) & cells(hyp) for hyp in hypothesis) for ref in reference)
    false = sum(not any(cells(ref) & cells(hyp) for ref in reference) for hyp in hypothesis)
    counts = nedc.ovlp(pair(reference, hypothesis, 60.0))
    assert (counts.detected, counts.false) == (hits, false)


eighths = st.lists(
    st.tuples(st.integers(0, 320), st.integers(1, 80)).map(
        lambda pair: (pair[0] / 8, (pair[0] + pair[1]) / 8)
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(eighths, eighths, st.integers(1, 400))
def test_epochs_against_a_walk_along_the_recording(
    reference: Spans, hypothesis: Spans, eighths_of_duration: int
) -> None:
    duration_s = eighths_of_duration / 8

    def seizure_at(time_s: float, spans_: Spans) -> bool:
        return any(start < time_s <= stop for start, stop in spans_)

    tally = {(ref, hyp): 0 for ref in (True, False) for hyp in (True, False)}
    time_s = 0.125
    while time_s <= duration_s:
        tally[seizure_at(time_s, reference), seizure_at(time_s, hypothesis)] += 1
        time_s += 0.25
    confusion = nedc.epoch_confusion(pair(reference, hypothesis, duration_s))
    assert confusion == nedc.EpochConfusion(
        tally[True, True], tally[True, False], tally[False, True], tally[False, False]
    )


def disjoint(cuts: list[int]) -> Spans:
    ordered = sorted(set(cuts))
    return [(a / 4, b / 4) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]


cuts = st.lists(quarters, max_size=12).map(disjoint)


@settings(max_examples=150, deadline=None)
@given(cuts, cuts)
def test_taes_keeps_its_bounds(reference: Spans, hypothesis: Spans) -> None:
    """Whatever the events: hits within 0 and the references, alarms within the hypotheses."""
    taes = nedc.taes(pair(reference, hypothesis, 60.0))
    ovlp = nedc.ovlp(pair(reference, hypothesis, 60.0))
    assert -1e-9 <= taes.detected <= ovlp.detected + 1e-9
    assert ovlp.false - 1e-9 <= taes.false <= len(hypothesis) + 1e-9


@settings(max_examples=50, deadline=None)
@given(cuts)
def test_a_perfect_hypothesis_is_perfect_under_every_rule(reference: Spans) -> None:
    counts = nedc.score_recording(pair(reference, reference, 60.0))
    for rule in (counts.ovlp, counts.taes, counts.epoch):
        assert rule.detected == pytest.approx(rule.reference)
        assert rule.false == 0
