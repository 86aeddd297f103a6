"""NEDC's rules for the label SEIZ alone: OVLP, TAES and EPOCH.

Ziyabari et al. 2019 and Shah et al. 2021, "Objective evaluation metrics for automatic
classification of EEG events"; details as NEDC's EEG evaluation v6 behaves. Every figure is of
SEIZ: sensitivity and false alarms per 24 hours of the total over all classes are other numbers.

Events are scored as written: sorted, neither merged nor cut nor given a tolerance. The time
between them is background up to the recording's end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.scoring.counts import Counts
from brainbrr_core.scoring.recording import RecordingEvents, check_duration, seizures

EPOCH_S = 0.25


@dataclass(frozen=True, slots=True)
class NedcCounts:
    """Counts of one recording, SEIZ only, under each rule."""

    ovlp: Counts
    taes: Counts
    epoch: Counts


@dataclass(frozen=True, slots=True)
class EpochConfusion:
    """Epochs by reference (first word) and hypothesis (second word)."""

    seiz_seiz: int
    seiz_bckg: int
    bckg_seiz: int
    bckg_bckg: int


def score_recording(recording: RecordingEvents) -> NedcCounts:
    """Counts of one recording under OVLP, TAES and EPOCH.

    Raises :class:`BrainbrrError` for a recording without length and for times that are not
    finite or run backwards.
    """
    return NedcCounts(ovlp(recording), taes(recording), epoch(recording))


def ovlp(recording: RecordingEvents) -> Counts:
    """Any-overlap scoring, whole numbers.

    A reference that any hypothesis overlaps is a hit, a hypothesis that overlaps no reference is
    a false alarm. Events that only touch do not overlap.
    """
    reference, hypothesis = _events(recording)
    hits, false_alarms = overlaps(reference, hypothesis)
    return Counts(len(reference), int(hits.sum()), int(false_alarms.sum()), recording.duration_s)


def overlaps(
    reference: list[Event], hypothesis: list[Event]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which references are hits, and which hypotheses are false alarms, under OVLP."""
    ref_start, ref_stop = _edges(reference)
    hyp_start, hyp_stop = _edges(hypothesis)
    overlap = (hyp_stop > ref_start[:, None]) & (hyp_start < ref_stop[:, None])
    return np.logical_or.reduce(overlap, axis=1), ~np.logical_or.reduce(overlap, axis=0)


def taes(recording: RecordingEvents) -> Counts:
    """Time-aligned event scoring, fractional.

    References and hypotheses are paired in order. A pair gives a hit (the overlapped share of
    the reference) and a false alarm (the part of the hypothesis outside the reference, in
    durations of the reference, at most 1). A hypothesis that runs over several references is
    paired with the first, the others are missed whole; several hypotheses within one reference
    add up. An event that no pair uses is one miss or one false alarm.
    """
    reference, hypothesis = _events(recording)
    free = [True] * len(hypothesis)
    open_reference = [True] * len(reference)
    hits = false_alarms = 0.0
    for index, ref in enumerate(reference):
        if not open_reference[index]:
            continue
        for position, hyp in enumerate(hypothesis):
            if not (free[position] and _overlap(ref, hyp)):
                continue
            open_reference[index] = free[position] = False
            hit, false_alarm = _share(ref, hyp)
            hits, false_alarms = hits + hit, false_alarms + false_alarm
            if hyp.stop >= ref.stop:
                for later in range(index + 1, len(reference)):
                    if open_reference[later] and _overlap(reference[later], hyp):
                        open_reference[later] = False
            else:
                for later in range(position + 1, len(hypothesis)):
                    if free[later] and _overlap(ref, hypothesis[later]):
                        free[later] = False
                        hit, false_alarm = _share(ref, hypothesis[later])
                        hits, false_alarms = hits + hit, false_alarms + false_alarm
    # Hit and miss of a reference add up to 1, so the number of references is their sum.
    return Counts(len(reference), hits, false_alarms + sum(free), recording.duration_s)


def epoch(recording: RecordingEvents) -> Counts:
    """Epoch scoring: counts are epochs of 0.25 s.

    The rate of false alarms is false epochs times their length, per 24 hours: seconds of false
    alarm in a day, as NEDC reports it.
    """
    confusion = epoch_confusion(recording)
    return Counts(
        confusion.seiz_seiz + confusion.seiz_bckg,
        confusion.seiz_seiz,
        confusion.bckg_seiz,
        recording.duration_s,
        EPOCH_S,
    )


def epoch_confusion(recording: RecordingEvents) -> EpochConfusion:
    """Confusion matrix of epochs sampled at their middle, up to and including the end.

    A sample on an event's edge belongs to the earlier event.
    """
    reference, hypothesis = _events(recording)
    epochs = _epochs_before(recording.duration_s)
    ref, hyp = _epoch_mask(reference, epochs), _epoch_mask(hypothesis, epochs)
    return EpochConfusion(
        int((ref & hyp).sum()),
        int((ref & ~hyp).sum()),
        int((~ref & hyp).sum()),
        int((~ref & ~hyp).sum()),
    )


def _events(recording: RecordingEvents) -> tuple[list[Event], list[Event]]:
    check_duration(recording)
    where = recording.name or recording.subject
    return seizures(recording.reference, where), seizures(recording.hypothesis, where)


def _edges(events: list[Event]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    starts = np.array([event.start for event in events], dtype=np.float64)
    stops = np.array([event.stop for event in events], dtype=np.float64)
    return starts, stops


def _overlap(reference: Event, hypothesis: Event) -> bool:
    return hypothesis.stop > reference.start and hypothesis.start < reference.stop


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
