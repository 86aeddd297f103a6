"""What unknown time removes from the counts of every scoring rule and from an evaluation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.facts import ThresholdChoice
from brainbrr_core.evaluation.score import Scoring, evaluation_set, score
from brainbrr_core.evaluation.tables import tables
from brainbrr_core.scoring import (
    EventCounter,
    OperatingPoint,
    ScoredRecording,
    UnknownTime,
    nedc,
    per_second,
    sweep_thresholds,
    szcore,
)
from tests.support.examples import examples
from tests.support.fixed_events import FixedEvents
from tests.support.unknown_time import events

Spans = list[tuple[float, float]]


@pytest.mark.parametrize(
    ("hypothesis", "scored"),
    [
        # Half of it in the unknown 100 to 200 s, or more: left out.
        ((90.0, 110.0), False),
        ((120.0, 150.0), False),
        ((190.0, 210.0), False),
        # Less than half.
        ((88.0, 109.0), True),
        ((60.0, 260.5), True),
        # A seizure that it overlaps as written decides, not one that is near.
        ((150.0, 300.5), True),
        ((199.0, 299.0), True),
        ((160.0, 230.0), False),
    ],
)
def test_a_detection_is_left_out_where_half_of_it_is_unknown(
    hypothesis: tuple[float, float], scored: bool
) -> None:
    recording = events([(300.0, 320.0)], [hypothesis], [(100.0, 200.0)])
    _, kept = nedc.join_events(recording)
    assert bool(kept) is scored
    counted = nedc.ovlp(recording)
    assert counted.detected + counted.false == scored
    event = szcore.score_recording(recording).event
    assert event.detected + event.false == scored
    counter = EventCounter(recording.reference, 1000.0, "", recording.unknown)
    assert sum(counter.count([hypothesis])) == 2 * scored


def test_a_detection_that_overlaps_a_seizure_counts_however_much_of_it_is_unknown() -> None:
    recording = events([(300.0, 320.0)], [(150.0, 301.0)], [(100.0, 295.0)])
    found = nedc.score_recording(recording)
    assert (found.ovlp.seiz.detected, found.ovlp.seiz.false) == (1, 0)
    assert (found.epoch.seiz.detected, found.epoch.seiz.false) == (4, 4 * 5)
    counted = szcore.score_recording(recording)
    assert (counted.event.detected, counted.event.false) == (1, 0)
    assert (counted.sample.detected, counted.sample.false) == (1, 5)
    counter = EventCounter(recording.reference, 1000.0, "", recording.unknown)
    assert counter.count([(150.0, 301.0)]) == (1, 0, 1, 0)


def test_where_a_seizure_is_that_is_known() -> None:
    unknown = UnknownTime.of(((5.0, 20.0), (-3.0, 2.0), (90.0, 120.0)), [Event(10, 12)], 100.0)
    assert unknown.spans == ((0.0, 2.0), (5.0, 10.0), (12.0, 20.0), (90.0, 100.0))
    assert unknown.seconds == 25.0
    assert unknown.known_seconds(100.0) == 75.0


def test_rates_of_false_alarms_are_of_the_known_hours() -> None:
    recording = events([(300, 320)], [(500, 510), (120, 150)], [(100, 250), (900, 1200)])
    counted = szcore.score_recording(recording)
    assert (counted.event.false, counted.event.seconds) == (1, 750.0)
    assert counted.event.false_per_day == 86_400 / 750
    assert counted.sample.seconds == 750.0
    found = nedc.score_recording(recording)
    for rule in (found.ovlp, found.taes, found.epoch, found.alignment):
        assert (rule.seiz.seconds, rule.bckg.seconds) == (750.0, 750.0)
    counter = EventCounter(recording.reference, 1000.0, "", recording.unknown)
    assert (counter.szcore_seconds, counter.ovlp_seconds) == (750.0, 750.0)


def test_pieces_of_a_long_detection_that_runs_into_unknown_time_are_not_false() -> None:
    """SzCORE makes three pieces of 890 s; the seizure is in the first, the rest is unknown."""
    recording = events([(10, 40)], [(5, 895)], [(40, 1000)])
    assert szcore.score_recording(recording).event.false == 0
    counter = EventCounter(recording.reference, 1000.0, "", recording.unknown)
    assert counter.count([(5.0, 895.0)]) == (1, 0, 1, 0)
    # Were it known, two of them would be.
    assert szcore.score_recording(replace(recording, unknown=())).event.false == 2


def test_background_that_is_unknown_is_no_event_of_its_own() -> None:
    """Between the seizures lies unknown time alone; the detections agree with both."""
    recording = events([(100, 200), (300, 400)], [(100, 400)], [(200, 300)])
    found = nedc.score_recording(recording)
    assert (found.ovlp.bckg.reference, found.ovlp.bckg.detected, found.ovlp.bckg.false) == (2, 2, 0)
    assert found.epoch.bckg.false == found.epoch.seiz.false == 0
    # And where the detector says background in unknown time, that is no false alarm.
    apart = events([(100, 200), (300, 400)], [(100, 200), (300, 400)], [(200, 300)])
    assert nedc.ovlp(apart, "bckg").false == 0
    assert nedc.score_recording(apart).alignment.bckg.false == 0


TIMES = st.lists(
    st.tuples(st.integers(0, 9_900), st.integers(1, 4_000)).map(
        lambda pair: (pair[0] / 10, min((pair[0] + pair[1]) / 10, 1000.0))
    ),
    max_size=4,
)


def disjoint(spans: Spans) -> Spans:
    joined: Spans = []
    for start, stop in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


@examples(200)
@given(TIMES, TIMES, TIMES)
def test_the_counts_of_a_sweep_are_those_of_the_rules(
    reference: Spans, hypothesis: Spans, unknown: Spans
) -> None:
    recording = events(reference, disjoint(hypothesis), disjoint(unknown))
    expected, overlap = szcore.score_recording(recording).event, nedc.ovlp(recording)
    counter = EventCounter(recording.reference, 1000.0, "", recording.unknown)
    assert counter.count(disjoint(hypothesis)) == (
        expected.detected,
        expected.false,
        overlap.detected,
        overlap.false,
    )
    assert counter.szcore_seconds == expected.seconds
    assert counter.ovlp_seconds == overlap.seconds


@examples(100)
@given(TIMES, TIMES, TIMES)
def test_seconds_and_epochs_are_counted_one_by_one(
    reference: Spans, hypothesis: Spans, unknown: Spans
) -> None:
    """Against a loop over all of them; times in whole seconds, so that no edge is in doubt."""
    whole = [
        disjoint([(math.floor(a), math.ceil(b)) for a, b in spans])
        for spans in (reference, hypothesis, unknown)
    ]
    recording = events(whole[0], whole[1], whole[2])
    ref = [(a, b) for a, b in whole[0]]
    masked = [
        any(a <= s < b for a, b in whole[2]) and not any(a <= s < b for a, b in ref)
        for s in range(1000)
    ]
    kept = []
    for start, stop in whole[1]:
        inside = sum(masked[int(start) : int(stop)])
        hit = any(a < stop and start < b for a, b in ref)
        if hit or 2 * inside < stop - start:
            kept.append((start, stop))
    both = only_reference = only_hypothesis = neither = 0
    for second in range(1000):
        if masked[second]:
            continue
        of_ref = any(a <= second < b for a, b in ref)
        of_hyp = any(a <= second < b for a, b in kept)
        both += of_ref and of_hyp
        only_reference += of_ref and not of_hyp
        only_hypothesis += of_hyp and not of_ref
        neither += not (of_ref or of_hyp)
    sample = szcore.score_recording(recording).sample
    assert (sample.reference, sample.detected) == (both + only_reference, both)
    assert (sample.false, sample.seconds) == (only_hypothesis, 1000 - sum(masked))
    assert nedc.epoch_confusion(recording).matrix().tolist() == [
        [4 * both, 4 * only_reference],
        [4 * only_hypothesis, 4 * neither],
    ]
    frames = np.repeat(np.arange(1000) / 1000, 8)
    values, labels = per_second(frames, recording.reference, recording.unknown)
    assert values.tolist() == pytest.approx([s / 1000 for s in range(1000) if not masked[s]])
    assert labels.sum() == both + only_reference


@examples(100)
@given(TIMES, TIMES)
def test_without_unknown_time_every_count_is_what_it_was(
    reference: Spans, hypothesis: Spans
) -> None:
    """Unknown time that seizures cover is none; then nothing differs from no unknown time."""
    plain = events(reference, hypothesis, ())
    covered = replace(plain, unknown=tuple(disjoint(reference)))
    assert szcore.score_recording(plain) == szcore.score_recording(covered)
    assert nedc.score_recording(plain) == nedc.score_recording(covered)


def scored(
    unknown: tuple[tuple[float, float], ...],
    hypothesis: tuple[Event, ...] = (Event(110.0, 130.0), Event(500.0, 520.0)),
) -> tuple[Scoring, list[ScoredRecording]]:
    frames = np.full(8000, 0.1, np.float32)
    for event in hypothesis:
        frames[round(event.start * 8) : round(event.stop * 8)] = 0.9
    recordings = [
        ScoredRecording(
            patient,
            1000.0,
            (Event(300.0, 330.0, "fnsz"),),
            frames,
            unknown,
            hypothesis,
            f"dev/{patient}/t0",
            "01_tcp_ar",
        )
        for patient in ("a", "b")
    ]

    def find(scores: NDArray[np.float32], _duration_s: float) -> FixedEvents:
        return FixedEvents(
            scores, lambda on: [(e.start, e.stop) for e in hypothesis] if on <= 0.9 else []
        )

    scoring = score(
        recordings,
        split="dev",
        threshold=ThresholdChoice(OperatingPoint(0.5, 0.4), "dev"),
        provenance={},
        sweep=sweep_thresholds(recordings, find, 1.0),
        bootstrap_samples=50,
    )
    return scoring, recordings


def test_an_evaluation_masks_what_is_unknown_everywhere() -> None:
    scoring, recordings = scored(((100.0, 200.0),))
    results = scoring.results
    assert results.unknown_s == 200.0
    assert results.hours == pytest.approx(2000 / 3600)
    # One false alarm of 900 s in each recording; the other detection is left out.
    for rule in ("szcore_event", "nedc_ovlp"):
        assert results.estimates[f"{rule}.false_per_day"].value == pytest.approx(86_400 / 900)
    assert results.operating_curve[0].false_per_day == pytest.approx(86_400 / 900)
    assert results.operating_curve[0].ovlp_false_per_day == pytest.approx(86_400 / 900)
    assert results.seconds.seconds == 1800
    assert results.headline["szcore_sample"].false_per_day == pytest.approx(20 * 86_400 / 900)
    # Everything that was detected is kept, and said of which why it does not count.
    detections = tables(results)["detections"].to_pylist()[:2]
    assert [(d["start_s"], d["false_alarm"], d["in_unknown_time"]) for d in detections] == [
        (110.0, False, True),
        (500.0, True, False),
    ]
    assert tables(results)["recordings"]["unknown_s"].to_pylist() == [100.0, 100.0]
    again = results.from_json(results.to_json())
    assert (again.unknown_s, again.recordings[0].unknown) == (200.0, ((100.0, 200.0),))
    # What was scored against what is another thing where another time is unknown.
    plain = [replace(recording, unknown=()) for recording in recordings]
    assert evaluation_set(recordings) != evaluation_set(plain)
    without, _ = scored(())
    assert without.results.unknown_s == 0
    assert without.results.estimates["nedc_ovlp.false_per_day"].value == 2 * 86.4


def test_latency_and_types_know_nothing_of_unknown_time() -> None:
    late = (Event(290.0, 310.0),)
    plain, _ = scored((), late)
    # It begins in unknown time, and is scored whole.
    masked, _ = scored(((200.0, 300.0),), late)
    for results in (plain.results, masked.results):
        assert results.estimates["latency.median_s"].value == -10.0
        assert [(t.name, t.detected) for t in results.seizure_types] == [("fnsz", 2)]
    # As text, since an undefined figure is NaN, which equals nothing.
    assert str(plain.results.seizure_types) == str(masked.results.seizure_types)


def test_a_split_of_which_nothing_is_known_is_refused() -> None:
    recording = ScoredRecording(
        "a", 100.0, (), np.zeros(800, np.float32), ((0.0, 100.0),), partition_key="dev/a/t0"
    )
    with pytest.raises(BrainbrrError, match="known to be seizure or background"):
        score(
            [recording],
            split="dev",
            threshold=ThresholdChoice(OperatingPoint(0.5, 0.4), None),
            provenance={},
        )
