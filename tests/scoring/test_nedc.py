"""NEDC's rules on cases worked by hand, and OVLP and EPOCH against brute force."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import RecordingEvents, align, kappa, label_kappa, nedc, total
from brainbrr_core.scoring.alignment import NULL
from tests.support import nedc_oracle
from tests.support.examples import examples
from tests.support.nedc_oracle import painted

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
        # Across a gap nothing is merged.
        ([(10, 20), (20.5, 30)], [(12, 14)], 1, 0),
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
        # Three false alarms' worth of overhang on three hypotheses of one reference: each is
        # capped by itself. 5-15 hits 5 of 10 (5 outside), the rest lies within.
        ([(10, 20)], [(5, 12), (14, 16), (18, 60)], 0.6, 0.5 + 0 + 1.0),
        # Unused: one miss, one false alarm of 1 whatever its length.
        ([(10, 20)], [(100, 400)], 0.0, 1.0),
        # Touching is not overlapping, but the second 20 is in both: a hit of nothing, and 20 to 30
        # outside.
        ([(10, 20)], [(20, 30)], 0.0, 1.0),
        # The second 20 is in 20.9-40 and in 10-20.1, which do not overlap: a hit of -0.8 s and
        # 10 to 20.9 s outside, of 19.1 s. 25-40 adds 15 s.
        ([(20.9, 40)], [(10, 20.1), (25, 40)], (15 - 0.8) / 19.1, (20.9 - 10) / 19.1),
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


def test_taes_by_exact_times_pairs_only_what_overlaps() -> None:
    counts = nedc.taes(pair([(20.9, 40)], [(10, 20.1), (25, 40)]), exact=True)
    assert counts.detected == pytest.approx(15 / 19.1)
    assert counts.false == 1


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
    counts = nedc.epoch(pair([(0.5, 1.25)], [(1.0, 2.0)], 2.0)).seiz
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
    ovlp, taes = counts.ovlp.seiz, counts.taes.seiz
    assert (ovlp.reference, ovlp.detected, ovlp.false) == (2, 2, 0)
    assert (taes.detected, taes.false) == (2.0, 0.0)
    assert (counts.epoch.seiz.reference, counts.epoch.seiz.detected) == (80, 80)


def test_false_alarms_of_several_recordings_are_pooled() -> None:
    # EPOCH: 4 + 8 false epochs = 3 s in 30 min: 144 s in 24 h.
    parts = [
        nedc.epoch(pair([], [(0, 1)], 600)).seiz,
        nedc.epoch(pair([], [(0, 2)], 1200)).seiz,
    ]
    assert total(parts).false_per_day == pytest.approx(144.0)


def test_a_recording_without_length_is_an_error() -> None:
    with pytest.raises(BrainbrrError, match="cannot be scored"):
        nedc.score_recording(pair([], [], 0.0))


quarters = st.integers(0, 160)


def disjoint(cuts: list[int]) -> Spans:
    ordered = sorted(set(cuts))
    return [(a / 4, b / 4) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]


cuts = st.lists(quarters, max_size=12).map(disjoint)


@examples(150)
@given(cuts, cuts)
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


@examples(150)
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


@examples(150)
@given(cuts, cuts, st.sampled_from(["seiz", "bckg"]))
def test_taes_keeps_its_bounds(reference: Spans, hypothesis: Spans, label: nedc.Label) -> None:
    """Whatever the events: hits within 0 and the references, alarms within the hypotheses."""
    recording = pair(reference, hypothesis, 60.0)
    taes, ovlp = nedc.taes(recording, label, exact=True), nedc.ovlp(recording, label)
    assert -1e-9 <= taes.detected <= ovlp.detected + 1e-9
    assert taes.missed >= ovlp.missed - 1e-9
    assert ovlp.false - 1e-9 <= taes.false
    of_hypothesis = nedc.background([Event(*span) for span in hypothesis], 60.0)
    assert taes.false <= len(hypothesis if label == "seiz" else of_hypothesis) + 1e-9


@examples(100)
@given(cuts, cuts, st.integers(2, 5))
def test_stretching_time_changes_no_event_score(
    reference: Spans, hypothesis: Spans, factor: int
) -> None:
    """OVLP, exact TAES and the alignment know no seconds."""

    def stretched(spans: Spans) -> Spans:
        return [(start * factor, stop * factor) for start, stop in spans]

    once = nedc.score_recording(pair(reference, hypothesis, 60.0))
    longer = nedc.score_recording(pair(stretched(reference), stretched(hypothesis), 60.0 * factor))
    for rule in ("ovlp", "taes_exact", "alignment"):
        a, b = getattr(once, rule).total, getattr(longer, rule).total
        assert (a.reference, a.detected, a.false) == pytest.approx(
            (b.reference, b.detected, b.false)
        )


@examples(50)
@given(cuts)
def test_a_perfect_hypothesis_is_perfect_under_every_rule(reference: Spans) -> None:
    counts = nedc.score_recording(pair(reference, reference, 60.0))
    for rule in (counts.ovlp, counts.taes_exact, counts.epoch, counts.alignment):
        for part in (rule.seiz, rule.bckg, rule.total):
            assert part.detected == pytest.approx(part.reference)
            assert part.false == 0


def test_background_fills_the_gaps_up_to_the_end() -> None:
    gaps = nedc.background([Event(0, 5), Event(10, 20), Event(20, 30)], 40.0)
    assert [(gap.start, gap.stop, gap.label) for gap in gaps] == [(5, 10, "bckg"), (30, 40, "bckg")]
    assert nedc.background([Event(0, 40)], 40.0) == []
    assert [(gap.start, gap.stop) for gap in nedc.background([], 40.0)] == [(0, 40)]


def test_totals_by_hand() -> None:
    # 100 s, one seizure 20-40; hypotheses 30-50 and 70-80.
    # Reference: b 0-20, s 20-40, b 40-100.  Hypothesis: b 0-30, s 30-50, b 50-70, s 70-80, b 80-100
    recording = pair([(20, 40)], [(30, 50), (70, 80)], 100.0)
    counts = nedc.score_recording(recording)
    # OVLP: seiz 1 hit, 1 false alarm (70-80). bckg: both references are hit, and each of the
    # three hypotheses overlaps one (50-70 and 80-100 both the second).
    assert (counts.ovlp.seiz.detected, counts.ovlp.seiz.false) == (1, 1)
    assert (counts.ovlp.bckg.reference, counts.ovlp.bckg.detected) == (2, 2)
    assert counts.ovlp.bckg.false == 0
    assert (counts.ovlp.total.reference, counts.ovlp.total.detected) == (3, 3)
    # One false alarm in 100 s, of seiz alone and in total; hours are not counted twice.
    assert counts.ovlp.total.false_per_day == counts.ovlp.seiz.false_per_day == 864.0
    # TAES, seiz: 30-40 is half of 20 s; 40-50 outside is half; 70-80 a whole false alarm.
    assert (counts.taes.seiz.detected, counts.taes.seiz.false) == (0.5, 1.5)
    # TAES, bckg: 0-30 covers 0-20 (hit 1, outside 10/20) and ends after it; it does not reach
    # 40-100. That one: 50-70 hits 20/60 and ends first, so 80-100 adds 20/60.
    assert counts.taes.bckg.detected == pytest.approx(1 + 1 / 3 + 1 / 3)
    assert counts.taes.bckg.false == pytest.approx(0.5)
    assert counts.taes.total.missed == pytest.approx(0.5 + 1 / 3)
    # EPOCH, quarter seconds: seiz 80 of which 40 found, 40 + 40 false; bckg 320, 240 found, 40
    # false (the half of the seizure taken for background).
    assert (counts.epoch.seiz.reference, counts.epoch.seiz.detected) == (80, 40)
    assert (counts.epoch.bckg.reference, counts.epoch.bckg.detected) == (320, 240)
    assert (counts.epoch.seiz.false, counts.epoch.bckg.false) == (80, 40)
    # In total what one label misses is what the other falsely claims.
    assert counts.epoch.total.missed == counts.epoch.total.false == 120
    # Alignment of b s b with b s b s b: all three match, s and b are inserted.
    assert (counts.alignment.seiz.detected, counts.alignment.seiz.false) == (1, 1)
    assert (counts.alignment.bckg.detected, counts.alignment.bckg.false) == (2, 1)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("bsb", "bsb", "b/b s/s b/b"),
        # A missed seizure: its b and s are deleted (the last b matches at no cost).
        ("bsb", "b", "b/- s/- b/b"),
        ("b", "bsb", "-/b -/s b/b"),
        # One substitution is cheaper than a deletion and an insertion.
        ("s", "b", "s/b"),
        # Two ways of cost 2: two substitutions are preferred to a deletion and an insertion.
        ("sb", "bs", "s/b b/s"),
        # Two ways of cost 2 that differ in the last step: the insertion of the last b comes
        # before the deletion of the last s.
        ("sbs", "bsb", "s/- b/b s/s -/b"),
        ("", "b", "-/b"),
        ("s", "", "s/-"),
        ("bsbsb", "bsb", "b/- s/- b/b s/s b/b"),
    ],
)
def test_alignment_by_hand(reference: str, hypothesis: str, expected: str) -> None:
    pairs = align(list(reference), list(hypothesis))
    shown = " ".join(f"{ref}/{hyp}".replace("null", "-") for ref, hyp in pairs)
    assert shown == expected


letters = st.text(alphabet="sb", max_size=6)


@examples(150)
@given(letters, letters)
def test_alignment_is_the_cheapest_of_all(reference: str, hypothesis: str) -> None:
    @cache
    def cheapest(i: int, j: int) -> int:
        if not (i and j):
            return i + j
        return min(
            cheapest(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1]),
            cheapest(i, j - 1) + 1,
            cheapest(i - 1, j) + 1,
        )

    pairs = align(list(reference), list(hypothesis))
    assert sum(ref != hyp for ref, hyp in pairs) == cheapest(len(reference), len(hypothesis))
    # Nothing is lost and nothing changes its place.
    assert "".join(ref for ref, _ in pairs if ref != NULL) == reference
    assert "".join(hyp for _, hyp in pairs if hyp != NULL) == hypothesis


def test_a_substitution_is_a_miss_and_no_false_alarm() -> None:
    # Reference: s b. Hypothesis: b s. Both are substituted.
    counts = nedc.alignment(pair([(0, 50)], [(50, 100)], 100.0))
    assert (counts.seiz.missed, counts.seiz.false) == (1, 0)
    assert (counts.bckg.missed, counts.bckg.false) == (1, 0)


def test_kappa_by_hand() -> None:
    # Cohen's own kind of table: 20 and 15 agreed of 50. Chance: 25*30/2500 + 25*20/2500 = 0.5.
    assert kappa(np.array([[20, 5], [10, 15]])) == pytest.approx((0.7 - 0.5) / 0.5)
    # Three labels: 30 of 40 agreed; rows 15, 15, 10, columns 12, 18, 10.
    table = np.array([[10, 4, 1], [2, 12, 1], [0, 2, 8]])
    chance = (15 * 12 + 15 * 18 + 10 * 10) / 40**2
    assert kappa(table) == pytest.approx((30 / 40 - chance) / (1 - chance))
    # The first label against the rest: 10 agreed, 5 and 2 not, 23 neither.
    one = (15 * 12 + 25 * 28) / 40**2
    assert label_kappa(table, 0) == pytest.approx((33 / 40 - one) / (1 - one))
    # One label only: as the program has it.
    assert kappa(np.array([[0, 0], [0, 9]])) == 1
    assert math.isnan(kappa(np.zeros((2, 2))))


@examples(100)
@given(st.lists(st.integers(0, 50), min_size=4, max_size=4))
def test_with_two_labels_there_is_one_kappa(cells: list[int]) -> None:
    table = np.array(cells).reshape(2, 2)
    expected = pytest.approx(kappa(table), nan_ok=True)
    assert label_kappa(table, 0) == expected and label_kappa(table, 1) == expected
    assert kappa(table.T) == expected


def test_traps_of_joined_events() -> None:
    # Events that overlap or touch are one; order does not matter.
    counts = nedc.ovlp(pair([(100, 300), (150, 160), (300, 310)], [(20, 30), (10, 20)]))
    assert (counts.reference, counts.false) == (1, 1)
    # Cut by the recording's end: 950-1050 of 1000 s is 50 s, of which 20 s are found.
    cut = nedc.taes(pair([(950, 1050)], [(980, 1200)]))
    assert (cut.reference, cut.detected, cut.false) == (1, 0.4, 0.0)
    assert nedc.ovlp(pair([(1010, 1020)], [(1000, 1030)])).reference == 0
    # 600 s found in the first 100 s: a hit for OVLP, a sixth for TAES and EPOCH.
    long = nedc.score_recording(pair([(0, 600)], [(0, 100)]))
    assert long.ovlp.seiz.detected == 1
    assert long.taes.seiz.detected == pytest.approx(1 / 6)
    assert long.epoch.seiz.sensitivity == pytest.approx(1 / 6)


tenths = st.lists(
    st.tuples(st.integers(0, 600), st.integers(1, 250)).map(lambda one: (one[0], sum(one))),
    max_size=7,
)


@examples(300)
@given(tenths, tenths, st.integers(300, 700))
def test_every_rule_against_a_painted_recording(
    reference: list[tuple[int, int]], hypothesis: list[tuple[int, int]], length: int
) -> None:
    def seconds(spans: list[tuple[int, int]]) -> Spans:
        return [(start / 10, stop / 10) for start, stop in spans]

    found = nedc.score_recording(pair(seconds(reference), seconds(hypothesis), length / 10))
    ref, hyp = painted(reference, length), painted(hypothesis, length)
    for label, letter in (("seiz", "s"), ("bckg", "b")):
        expected = {
            "ovlp": nedc_oracle.ovlp(ref, hyp, letter),
            "taes": nedc_oracle.taes(ref, hyp, letter, whole_seconds=True),
            "taes_exact": nedc_oracle.taes(ref, hyp, letter, whole_seconds=False),
            "epoch": nedc_oracle.epoch(ref, hyp, letter),
            "alignment": nedc_oracle.alignment(ref, hyp, letter),
        }
        for rule, figures in expected.items():
            counts = getattr(getattr(found, rule), label)
            of_rule = (counts.reference, counts.detected, counts.false)
            assert of_rule == pytest.approx([float(figure) for figure in figures]), rule


def test_another_length_is_an_error() -> None:
    recording = RecordingEvents("p", 100.0, (), (), "dev/p/t000", hypothesis_duration_s=99.0)
    with pytest.raises(BrainbrrError, match=r"dev/p/t000.*99 s long, the recording 100 s"):
        nedc.score_recording(recording)
