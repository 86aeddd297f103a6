"""The threshold: event counts at every threshold, and the choice of one on a tuning split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.errors import WorkRemains
from brainbrr_core.scoring.counts import SECONDS_PER_DAY, Counts, Measure
from brainbrr_core.scoring.event_counter import EventCounter

#: Thresholds are whole multiples of this; it lies below 5e-4.
STEP = 1 / 2048
#: Every recording is looked at this often before the sweep is refined, in steps.
_COARSE = 32
_LAST = round(1 / STEP) - 1
_SAME_F1 = 1e-12
#: False alarms per 24 hours at which sensitivity is reported.
FALSE_ALARM_LIMITS = (10.0, 5.0, 2.5, 1.0)

Spans = list[tuple[float, float]]
#: ``find(frames, duration_s)`` gives what gives a recording's events at an on-threshold.
Find = Callable[[NDArray[np.float32], float], Callable[[float], Spans]]


class RecordingProbabilities(Protocol):
    """A recording whose threshold is open: length, reference, unknown time and frames."""

    @property
    def patient(self) -> str: ...

    @property
    def duration_s(self) -> float: ...

    @property
    def reference(self) -> Sequence[Event]: ...

    @property
    def unknown(self) -> Sequence[tuple[float, float]]: ...

    @property
    def probabilities_8hz(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class SweepRow:
    """Pooled figures of all recordings at one on-threshold.

    ``sensitivity``, ``false_per_day`` and ``f1`` are SzCORE's event-based ones, the other two
    NEDC's OVLP of SEIZ.
    """

    threshold: float
    sensitivity: Measure
    false_per_day: Measure
    f1: Measure
    ovlp_sensitivity: Measure
    ovlp_false_per_day: Measure


@dataclass(frozen=True, slots=True, eq=False)
class RuleSweep:
    """Counts of one rule by threshold and patient.

    ``detected`` and ``false`` are ``(thresholds, patients)``, ``reference`` and ``seconds``
    ``(patients,)``.
    """

    reference: NDArray[np.float64]
    seconds: NDArray[np.float64]
    detected: NDArray[np.float64]
    false: NDArray[np.float64]

    def pooled(self, row: int) -> Counts:
        """Counts of all patients at one threshold."""
        return Counts(
            float(self.reference.sum()),
            float(self.detected[row].sum()),
            float(self.false[row].sum()),
            float(self.seconds.sum()),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A refined sweep: thresholds (rising), patients (sorted), and the counts of two rules.

    Between two neighbouring thresholds no recording's events change, or they lie within 5e-4.
    """

    thresholds: NDArray[np.float64]
    patients: tuple[str, ...]
    szcore: RuleSweep
    ovlp: RuleSweep

    def rows(self) -> tuple[SweepRow, ...]:
        """Pooled figures at each threshold."""
        return tuple(self.row(number) for number in range(len(self.thresholds)))

    def row(self, number: int) -> SweepRow:
        """Pooled figures at one threshold."""
        event, overlap = self.szcore.pooled(number), self.ovlp.pooled(number)
        return SweepRow(
            float(self.thresholds[number]),
            event.sensitivity,
            event.false_per_day,
            event.f1,
            overlap.sensitivity,
            overlap.false_per_day,
        )


@dataclass(frozen=True, slots=True)
class TunedThreshold:
    """The chosen on-threshold, its pooled event F1, and the sweep it was chosen by."""

    threshold: float
    f1: float
    sweep: Sweep


def sweep_thresholds(
    recordings: Sequence[RecordingProbabilities],
    find: Find,
    advance: Callable[[float], None] = lambda _seconds: None,
) -> Sweep:
    """Counts of all recordings at all thresholds, by halving intervals recording by recording.

    ``find(frames, duration_s)`` gives the events of a recording at any on-threshold, as sorted
    disjoint (start, stop). An interval of thresholds at whose two ends a recording has the same
    events is taken to have them throughout; others are halved down to less than 5e-4.
    ``advance`` is told the seconds of each recording that is done.
    """
    patients = tuple(sorted({recording.patient for recording in recordings}))
    place = {patient: number for number, patient in enumerate(patients)}
    counts = np.zeros((_LAST, len(patients), 4))
    fixed = np.zeros((4, len(patients)))
    changed = np.zeros(_LAST, dtype=np.bool_)
    for recording in recordings:
        column = place[recording.patient]
        counter = EventCounter(
            recording.reference, recording.duration_s, recording.patient, recording.unknown
        )
        events_at = find(recording.probabilities_8hz, recording.duration_s)
        starts, found = _stretches(events_at)
        rows = np.array([counter.count(spans) for spans in found], dtype=np.float64)
        lengths = np.diff([*starts, _LAST + 1])
        counts[:, column] += np.repeat(rows, lengths, axis=0)
        changed[np.array(starts) - 1] = True
        fixed[:, column] += (
            counter.szcore_reference,
            counter.szcore_seconds,
            counter.ovlp_reference,
            counter.ovlp_seconds,
        )
        advance(recording.duration_s)
    # Of thresholds with the same events, the first and the last, so that a curve has its steps.
    kept = changed | np.append(changed[1:], True)
    kept[0] = True
    thresholds = np.asarray((np.flatnonzero(kept) + 1) * STEP, dtype=np.float64)
    return Sweep(
        thresholds,
        patients,
        RuleSweep(fixed[0], fixed[1], counts[kept, :, 0], counts[kept, :, 1]),
        RuleSweep(fixed[2], fixed[3], counts[kept, :, 2], counts[kept, :, 3]),
    )


def tune_threshold(sweep: Sweep) -> TunedThreshold:
    """The on-threshold with the highest pooled event F1 of SzCORE in a sweep.

    Of thresholds with the same F1 the middle of their widest run is taken, the lowest of runs
    as wide.

    Raises :class:`WorkRemains` when no recording has a seizure: then no threshold is better
    than another.
    """
    if not sweep.szcore.reference.any():
        raise WorkRemains(
            f"none of the {len(sweep.patients)} patients to tune the threshold on has a "
            "seizure: select more recordings"
        )
    scores = np.array([_f1(sweep.szcore.pooled(row)) for row in range(len(sweep.thresholds))])
    best = scores >= scores.max() - _SAME_F1
    edges = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(np.int8), [0]])))
    runs = [
        (float(sweep.thresholds[first]), float(sweep.thresholds[stop - 1]))
        for first, stop in zip(edges[::2], edges[1::2], strict=True)
    ]
    low, high = max(runs, key=lambda run: (run[1] - run[0], -run[0]))
    return TunedThreshold(math.floor((low + high) / 2 / STEP) * STEP, float(scores.max()), sweep)


def sensitivity_at(
    detected: NDArray[np.float64],
    false: NDArray[np.float64],
    reference: NDArray[np.float64],
    seconds: NDArray[np.float64],
    limit: float,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Highest sensitivity at no more than ``limit`` false alarms per 24 h, and where.

    ``detected`` and ``false`` are ``(resamples, thresholds)``, thresholds rising, ``reference``
    and ``seconds`` ``(resamples,)``. Thresholds are walked downwards from the highest until the
    rate first exceeds the limit, nothing is interpolated. Below that point the rate may fall
    again, when detections run together; such thresholds are not looked at. Returns sensitivities
    (NaN without seizures) and the numbers of the thresholds, -1 where even the highest exceeds
    the limit: no threshold, nothing detected.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        # Without a known second there is no rate, and no threshold that keeps a limit.
        rate = false * (SECONDS_PER_DAY / seconds[:, None])
    within = np.logical_and.accumulate((rate <= limit)[:, ::-1], axis=1)[:, ::-1]
    reached = np.where(within, detected, -1.0)
    # The highest threshold among those that detect most.
    number = reached.shape[1] - 1 - np.argmax(reached[:, ::-1], axis=1)
    most = reached[np.arange(len(reached)), number]
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = np.where(reference > 0, np.maximum(most, 0.0) / reference, np.nan)
    return sensitivity, np.where(most < 0, -1, number)


def _stretches(events_at: Callable[[float], Spans]) -> tuple[list[int], list[Spans]]:
    """Numbers of the thresholds at which the events change, from 1, and the events there."""
    known: dict[int, Spans] = {}

    def at(number: int) -> Spans:
        if number not in known:
            known[number] = events_at(number * STEP)
        return known[number]

    marks = [1, *range(_COARSE, _LAST, _COARSE), _LAST]
    starts, found = [1], [at(1)]
    # Intervals still to look at, the lowest last.
    open_intervals = list(pairwise(marks))[::-1]
    while open_intervals:
        low, high = open_intervals.pop()
        if at(low) == at(high):
            continue
        if high - low > 1:
            middle = (low + high) // 2
            open_intervals += [(middle, high), (low, middle)]
        else:
            starts.append(high)
            found.append(at(high))
    return starts, found


def _f1(counts: Counts) -> float:
    return 0.0 if math.isnan(counts.f1) else counts.f1
