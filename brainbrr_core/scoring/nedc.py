"""NEDC's rules: OVLP, TAES, EPOCH and DP alignment, each label alone and all of them together.

Ziyabari et al. 2019 (arXiv:1712.10107) and Shah et al. 2021, both "Objective evaluation metrics for
automatic classification of EEG events"; details as NEDC's EEG evaluation v6 behaves. There are two
labels, ``seiz`` and ``bckg``. Every rule counts each label as if it were the only one; a figure
of ``seiz`` alone is "SEIZ only", that of the sum over both is "total". The two differ in
sensitivity and in false alarms per 24 hours, and a report must say which it shows.

Events are cut at the recording's ends and sorted; those that overlap or touch become one, as in
the program; there is no tolerance. The time between them, up to the recording's end, is background.
How unknown time is treated is described in :mod:`brainbrr_core.scoring.unknown`.

Where the program (v6.0.0) differs from its papers, the program is followed, with two exceptions.
Its TAES tests in whole seconds whether two events overlap, so that a pair that does not overlap can
have a negative hit: ``taes`` reproduces this, ``taes_exact`` compares the times themselves. The F1
that its summary prints for all classes does not follow from the counts printed above it; here it
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.constants import BACKGROUND
from brainbrr_core.scoring.alignment import NULL, align
from brainbrr_core.scoring.counts import Counts, total
from brainbrr_core.scoring.recording import (
    RecordingEvents,
    check_duration,
    check_hypothesis_duration,
    scored_events,
)
from brainbrr_core.scoring.unknown import UnknownTime

EPOCH_S = 0.25
Label = Literal["seiz", "bckg"]
SEIZURE: Label = "seiz"


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Counts of each label under one rule.

    Attributes
    ----------
    seiz : Counts
        Counts of seizures alone ("SEIZ only").
    bckg : Counts
        Counts of background alone.
    """

    seiz: Counts
    bckg: Counts

    @property
    def total(self) -> Counts:
        """Counts of all classes together: events (or epochs) are added, hours are not."""
        both = total((self.seiz, self.bckg))
        return Counts(both.reference, both.detected, both.false, self.seiz.seconds, both.false_unit)


@dataclass(frozen=True, slots=True)
class NedcCounts:
    """Counts of one recording under each rule.

    Attributes
    ----------
    ovlp : ByLabel
        Events under any-overlap scoring.
    taes : ByLabel
        Fractions of events under time-aligned event scoring, which tests in whole seconds whether
        two events overlap, as NEDC's program does.
    taes_exact : ByLabel
        Fractions of events under time-aligned event scoring that compares the times themselves.
    epoch : ByLabel
        Epochs of 0.25 s.
    alignment : ByLabel
        Events under DP alignment, which compares the order of labels alone.
    """

    ovlp: ByLabel
    taes: ByLabel
    taes_exact: ByLabel
    epoch: ByLabel
    alignment: ByLabel


@dataclass(frozen=True, slots=True)
class EpochConfusion:
    """Numbers of epochs by label of the reference (first word) and of the hypothesis (second)."""

    seiz_seiz: int
    seiz_bckg: int
    bckg_seiz: int
    bckg_bckg: int

    def matrix(self) -> NDArray[np.int64]:
        """The matrix of reference (rows) by hypothesis (columns), shape (2, 2): seiz, then bckg."""
        return np.array(
            [[self.seiz_seiz, self.seiz_bckg], [self.bckg_seiz, self.bckg_bckg]], dtype=np.int64
        )


def score_recording(recording: RecordingEvents) -> NedcCounts:
    """Count one recording under OVLP, TAES (twice), EPOCH and DP alignment.

    Parameters
    ----------
    recording : RecordingEvents
        What was annotated and what was detected, in seconds.

    Returns
    -------
    NedcCounts
        Counts of both labels under each rule: events, fractions of events, epochs of 0.25 s.

    Raises
    ------
    BrainbrrError
        For a recording without length, for times that are not finite or run backwards, and where
        the hypothesis has another length than the recording.
    """
    events = _nedc_events(recording)

    def both(rule: _Rule) -> ByLabel:
        return ByLabel(rule(*events.seiz, events.seconds), rule(*events.bckg, events.seconds))

    return NedcCounts(
        both(_ovlp), both(_taes), both(_taes_exact), _epoch(events), _alignment(events)
    )


def ovlp(recording: RecordingEvents, label: Label = SEIZURE) -> Counts:
    """Any-overlap scoring of one label; counts are whole numbers of events.

    A reference that any hypothesis overlaps is a hit, and a hypothesis that overlaps no reference
    is a false alarm. Events that only touch do not overlap. Raises as :func:`score_recording`.
    """
    events = _nedc_events(recording)
    return _ovlp(*events.of(label), events.seconds)


def overlaps(
    reference: list[Event], hypothesis: list[Event]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which events are hits and which are false alarms under OVLP.

    Parameters
    ----------
    reference, hypothesis : list of Event
        Events of one label, times in seconds.

    Returns
    -------
    hits : array of bool, shape (references,)
        Whether a hypothesis overlaps each reference.
    false_alarms : array of bool, shape (hypotheses,)
        Whether each hypothesis overlaps no reference.
    """
    ref_start, ref_stop = _edges(reference)
    hyp_start, hyp_stop = _edges(hypothesis)
    overlap = (hyp_stop > ref_start[:, None]) & (hyp_start < ref_stop[:, None])
    return np.logical_or.reduce(overlap, axis=1), ~np.logical_or.reduce(overlap, axis=0)


def taes(recording: RecordingEvents, label: Label = SEIZURE, *, exact: bool = False) -> Counts:
    """Time-aligned event scoring of one label; counts are fractions of events.

    References and hypotheses are paired in order. A pair gives a hit (the overlapped share of
    the reference) and a false alarm (the time of the hypothesis outside the reference, divided by
    the duration of the reference, at most 1). A hypothesis that overlaps several references is
    paired with the first, and the others are missed entirely; several hypotheses within one
    reference add up. An event in no pair is one miss or one false alarm.

    Two events are a pair if they share a whole second, where the seconds in which an event begins
    and ends count as its own: events up to two seconds apart may be a pair, with a negative
    overlap. With ``exact`` they must overlap. Raises as :func:`score_recording`.
    """
    rule = _taes_exact if exact else _taes
    events = _nedc_events(recording)
    return rule(*events.of(label), events.seconds)


def epoch(recording: RecordingEvents) -> ByLabel:
    """Epoch scoring; counts are numbers of epochs of 0.25 s.

    The rate of false alarms is the number of false epochs times their length, per 24 hours: seconds
    of false alarm in a day, as NEDC reports it. Raises as :func:`score_recording`.
    """
    return _epoch(_nedc_events(recording))


def _epoch(events: _NedcEvents) -> ByLabel:
    confusion, seconds = _epoch_confusion(events), events.seconds
    return ByLabel(
        Counts(
            confusion.seiz_seiz + confusion.seiz_bckg,
            confusion.seiz_seiz,
            confusion.bckg_seiz,
            seconds,
            EPOCH_S,
        ),
        Counts(
            confusion.bckg_bckg + confusion.bckg_seiz,
            confusion.bckg_bckg,
            confusion.seiz_bckg,
            seconds,
            EPOCH_S,
        ),
    )


def epoch_confusion(recording: RecordingEvents) -> EpochConfusion:
    """Confusion matrix of the epochs of a recording, each labeled at its middle.

    A middle on the edge of an event belongs to the earlier event; one in unknown time is not
    counted. Raises as :func:`score_recording`.
    """
    return _epoch_confusion(_nedc_events(recording))


def _epoch_confusion(events: _NedcEvents) -> EpochConfusion:
    (reference, hypothesis), unknown = events.seiz, events.unknown
    epochs = _epochs_before(events.duration_s)
    ref, hyp = _epoch_mask(reference, epochs), _epoch_mask(hypothesis, epochs)
    if unknown:
        known_mask = ~_epoch_mask([Event(start, stop) for start, stop in unknown.spans], epochs)
        ref, hyp = ref[known_mask], hyp[known_mask]
    return EpochConfusion(
        int((ref & hyp).sum()),
        int((ref & ~hyp).sum()),
        int((~ref & hyp).sum()),
        int((~ref & ~hyp).sum()),
    )


def alignment(recording: RecordingEvents) -> ByLabel:
    """DP alignment; counts are numbers of events whose labels are aligned, whatever their times.

    A label's hits are its events aligned with one of the same label. A reference aligned with
    another label or with nothing is a miss. Only a hypothesis aligned with nothing is a false
    alarm: a substitution is a miss of the reference's label alone, as in the program. Raises as
    :func:`score_recording`.
    """
    return _alignment(_nedc_events(recording))


def _alignment(events: _NedcEvents) -> ByLabel:
    pairs = align(
        *(_labels(seiz, bckg) for seiz, bckg in zip(events.seiz, events.bckg, strict=True))
    )

    def count(label: Label) -> Counts:
        return Counts(
            sum(ref == label for ref, _ in pairs),
            sum(ref == hyp == label for ref, hyp in pairs),
            sum(hyp == label and ref == NULL for ref, hyp in pairs),
            events.seconds,
        )

    return ByLabel(count(SEIZURE), count(BACKGROUND))


def background(events: Iterable[Event], duration_s: float) -> list[Event]:
    """Events of background: the time between sorted, disjoint events and the recording's ends."""
    gaps, until = [], 0.0
    for event in (*events, Event(duration_s, duration_s)):
        if event.start > until:
            gaps.append(Event(until, event.start, BACKGROUND))
        until = max(until, event.stop)
    return gaps


class _Rule(Protocol):
    def __call__(
        self, reference: list[Event], hypothesis: list[Event], duration_s: float, /
    ) -> Counts: ...


def _ovlp(reference: list[Event], hypothesis: list[Event], duration_s: float) -> Counts:
    hits, false_alarms = overlaps(reference, hypothesis)
    return Counts(len(reference), int(hits.sum()), int(false_alarms.sum()), duration_s)


def _taes(reference: list[Event], hypothesis: list[Event], duration_s: float) -> Counts:
    return _time_aligned(reference, hypothesis, duration_s, _share_a_second)


def _taes_exact(reference: list[Event], hypothesis: list[Event], duration_s: float) -> Counts:
    return _time_aligned(reference, hypothesis, duration_s, _overlap)


def _time_aligned(
    reference: list[Event],
    hypothesis: list[Event],
    duration_s: float,
    pair: Callable[[Event, Event], bool],
) -> Counts:
    free = [True] * len(hypothesis)
    open_reference = [True] * len(reference)
    hits = false_alarms = 0.0
    for index, ref in enumerate(reference):
        if not open_reference[index]:
            continue
        for position, hyp in enumerate(hypothesis):
            if not (free[position] and pair(ref, hyp)):
                continue
            open_reference[index] = free[position] = False
            hit, false_alarm = _share(ref, hyp)
            hits, false_alarms = hits + hit, false_alarms + false_alarm
            if hyp.stop >= ref.stop:
                for later in range(index + 1, len(reference)):
                    if open_reference[later] and pair(reference[later], hyp):
                        open_reference[later] = False
            else:
                for later in range(position + 1, len(hypothesis)):
                    if free[later] and pair(ref, hypothesis[later]):
                        free[later] = False
                        hit, false_alarm = _share(ref, hypothesis[later])
                        hits, false_alarms = hits + hit, false_alarms + false_alarm
    # Hit and miss of a reference add up to 1, so the number of references is their sum.
    return Counts(len(reference), hits, false_alarms + sum(free), duration_s)


def join_events(recording: RecordingEvents) -> tuple[list[Event], list[Event]]:
    """Seizures of reference and hypothesis after cutting, sorting and merging.

    Hypotheses that unknown time leaves out are not among them. Raises as
    :func:`score_recording`.
    """
    return _nedc_events(recording).seiz


Pair = tuple[list[Event], list[Event]]


@dataclass(frozen=True, slots=True)
class _NedcEvents:
    """References and hypotheses of either label in one recording, cut, sorted and merged."""

    seiz: Pair
    bckg: Pair
    unknown: UnknownTime
    duration_s: float

    @property
    def seconds(self) -> float:
        return self.unknown.known_seconds(self.duration_s)

    def of(self, label: Label) -> Pair:
        return self.seiz if label == SEIZURE else self.bckg


def _nedc_events(recording: RecordingEvents) -> _NedcEvents:
    check_duration(recording)
    check_hypothesis_duration(recording)
    end = recording.duration_s
    reference, hypothesis, unknown = scored_events(recording)
    gaps = background(reference, end)
    if unknown:
        gaps = [gap for gap in gaps if not unknown.covers_half(gap.start, gap.stop)]
    hypothesis_gaps = unknown.scored(background(hypothesis, end), gaps)
    return _NedcEvents((reference, hypothesis), (gaps, hypothesis_gaps), unknown, end)


def _labels(seizures: list[Event], gaps: list[Event]) -> list[str]:
    """Labels of a recording's events in their order, background included."""
    named = [(event.start, SEIZURE) for event in seizures]
    named += [(event.start, BACKGROUND) for event in gaps]
    return [label for _, label in sorted(named)]


def _edges(events: list[Event]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    starts = np.array([event.start for event in events], dtype=np.float64)
    stops = np.array([event.stop for event in events], dtype=np.float64)
    return starts, stops


def _overlap(reference: Event, hypothesis: Event) -> bool:
    return hypothesis.stop > reference.start and hypothesis.start < reference.stop


def _share_a_second(reference: Event, hypothesis: Event) -> bool:
    """Whether whole seconds, those in which each event begins and ends included, are shared."""
    return int(hypothesis.stop) >= int(reference.start) and int(hypothesis.start) <= int(
        reference.stop
    )


def _share(reference: Event, hypothesis: Event) -> tuple[float, float]:
    """Hit and false alarm of an overlapping pair, both in durations of the reference."""
    inside = min(reference.stop, hypothesis.stop) - max(reference.start, hypothesis.start)
    outside = hypothesis.duration - inside
    return inside / reference.duration, min(1.0, outside / reference.duration)


def _epochs_before(time_s: float) -> int:
    """Number of epoch middles at or before a time: middle k is at ``EPOCH_S * (k + 0.5)``."""
    return math.floor(time_s / EPOCH_S + 0.5)


def _epoch_mask(events: list[Event], epochs: int) -> NDArray[np.bool_]:
    mask = np.zeros(epochs, dtype=np.bool_)
    for event in events:
        mask[max(_epochs_before(event.start), 0) : max(_epochs_before(event.stop), 0)] = True
    return mask
