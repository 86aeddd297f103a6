"""The operating point: event counts at thousands of them, and the choice of one on a split.

Thresholds are scores that occur, at ranks among all frames: what a threshold does depends on the
order of the scores alone. Scores that saturate as probabilities (a float32 sigmoid is 1 from a
logit of 17 on) and scores of another scale give the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.errors import WorkRemains
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.scoring.counts import SECONDS_PER_DAY, Counts, Measure
from brainbrr_core.scoring.event_counter import Counted, EventCounter
from brainbrr_core.scoring.event_table import EventTable
from brainbrr_core.scoring.operating_point import OperatingPoint
from brainbrr_core.scoring.recording import ScoredRecording

#: Thresholds of a sweep, at most: near the highest score, where these lie closer than frames, there
#: are fewer (2,000 for 435 hours). Further down each is reached by 0.6 % more frames than the next.
POINTS = 2900
_SAME_F1 = 1e-12
#: False alarms per 24 hours at which sensitivity is reported.
FALSE_ALARM_LIMITS = (10.0, 5.0, 2.5, 1.0)

Item = TypeVar("Item")
Result = TypeVar("Result")


class EventFinder(Protocol):
    """A recording's smoothed scores, and its events at operating points that rise."""

    @property
    def scores(self) -> NDArray[np.float32]: ...

    def table(self, on: NDArray[np.float64], off: NDArray[np.float64]) -> EventTable: ...


#: ``find(frames, duration_s)`` smooths a recording's scores.
Find = Callable[[NDArray[np.float32], float], EventFinder]


@dataclass(frozen=True, slots=True)
class SweepRow:
    """Pooled figures of all recordings at one operating point; thresholds are scores.

    ``sensitivity``, ``false_per_day`` and ``f1`` are SzCORE's event-based ones, the other two
    NEDC's OVLP of SEIZ.
    """

    threshold: float
    off_threshold: float
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
    """Operating points with rising thresholds, patients (sorted), and the counts of two rules.

    ``thresholds`` begin events and ``off_thresholds`` end them, both ``(thresholds,)``.
    """

    thresholds: NDArray[np.float64]
    off_thresholds: NDArray[np.float64]
    patients: tuple[str, ...]
    szcore: RuleSweep
    ovlp: RuleSweep

    def rows(self) -> tuple[SweepRow, ...]:
        """Pooled figures at each threshold."""
        return tuple(self.row(number) for number in range(len(self.thresholds)))

    def point(self, number: int) -> OperatingPoint:
        """One operating point."""
        return OperatingPoint(float(self.thresholds[number]), float(self.off_thresholds[number]))

    def row(self, number: int) -> SweepRow:
        """Pooled figures at one threshold."""
        event, overlap = self.szcore.pooled(number), self.ovlp.pooled(number)
        return SweepRow(
            float(self.thresholds[number]),
            float(self.off_thresholds[number]),
            event.sensitivity,
            event.false_per_day,
            event.f1,
            overlap.sensitivity,
            overlap.false_per_day,
        )


@dataclass(frozen=True, slots=True)
class TunedThreshold:
    """The chosen operating point, its pooled event F1, and the sweep it was chosen by."""

    point: OperatingPoint
    f1: float
    sweep: Sweep


def sweep_thresholds(
    recordings: Sequence[ScoredRecording],
    find: Find,
    off_ratio: float,
    advance: Callable[[float], None] = lambda _seconds: None,
    points: int = POINTS,
) -> Sweep:
    """Counts of all recordings at operating points that cover the whole range of scores.

    The on-thresholds are those reached by 1 frame of all recordings, by all frames, and by
    numbers between them at equal ratios, ``points`` of them at most; with each goes the
    off-threshold that at most ``1 / off_ratio`` times as many frames reach. ``find`` smooths the
    scores of a recording; ``advance`` is called with the seconds of each recording that is done.
    """
    event_finders = list(_at_once(lambda one: find(one.scores_8hz, one.duration_s), recordings))
    on, off = _thresholds([finder.scores for finder in event_finders], off_ratio, points)
    return _counted(recordings, event_finders, on, off, advance)


def sweep_at(
    recordings: Sequence[ScoredRecording], find: Find, points: Sequence[OperatingPoint]
) -> Sweep:
    """Counts of all recordings at given operating points, each row that of one point."""
    event_finders = list(_at_once(lambda one: find(one.scores_8hz, one.duration_s), recordings))
    sweeps = [
        _counted(recordings, event_finders, np.array([point.on]), np.array([point.off]))
        for point in points
    ]

    def rule(name: str) -> RuleSweep:
        rule_sweeps = [getattr(sweep, name) for sweep in sweeps]
        return RuleSweep(
            rule_sweeps[0].reference,
            rule_sweeps[0].seconds,
            np.concatenate([rule_sweep.detected for rule_sweep in rule_sweeps]),
            np.concatenate([rule_sweep.false for rule_sweep in rule_sweeps]),
        )

    return Sweep(
        np.concatenate([sweep.thresholds for sweep in sweeps]),
        np.concatenate([sweep.off_thresholds for sweep in sweeps]),
        sweeps[0].patients,
        rule("szcore"),
        rule("ovlp"),
    )


def tune_threshold(sweep: Sweep) -> TunedThreshold:
    """The operating point with the highest pooled event F1 of SzCORE in a sweep.

    Of points with the same F1 the middle of their longest row is taken, the lowest of rows as
    long.

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
    first, stop = max(
        zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True),
        key=lambda row: (row[1] - row[0], -row[0]),
    )
    return TunedThreshold(sweep.point((first + stop - 1) // 2), float(scores.max()), sweep)


def sensitivity_at(
    detected: NDArray[np.float64],
    false: NDArray[np.float64],
    reference: NDArray[np.float64],
    seconds: NDArray[np.float64],
    limit: float,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Highest sensitivity at no more than ``limit`` false alarms per 24 h, and its threshold.

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


def _thresholds(
    scores: Sequence[NDArray[np.float32]], off_ratio: float, points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """On-thresholds (rising) and the off-threshold of each."""
    falling = np.sort(np.concatenate(scores))[::-1]
    if not falling.size:
        return np.zeros(0), np.zeros(0)
    reached = np.unique(np.geomspace(1, falling.size, points).round().astype(np.int64))
    on = np.unique(falling[reached - 1])
    # The actual number of frames that reach it: several may have the same score.
    reached = falling.size - np.searchsorted(falling[::-1], on, side="left")
    # Frames with equal scores are all above a threshold or all below it; then rather below.
    scores_there, frames = np.unique(falling, return_counts=True)
    at_or_above = np.cumsum(frames[::-1])[::-1]
    allowed = np.searchsorted(-at_or_above, -np.floor(reached / off_ratio), side="left")
    return on.astype(np.float64), scores_there[allowed].astype(np.float64)


def _counted(
    recordings: Sequence[ScoredRecording],
    event_finders: Sequence[EventFinder],
    on: NDArray[np.float64],
    off: NDArray[np.float64],
    advance: Callable[[float], None] = lambda _seconds: None,
) -> Sweep:
    patients = tuple(sorted({recording.patient for recording in recordings}))
    column_of = {patient: number for number, patient in enumerate(patients)}
    counts = np.zeros((len(on), len(patients), 4))
    fixed = np.zeros((4, len(patients)))

    def count(number: int) -> tuple[EventCounter, Counted]:
        recording = recordings[number]
        counter = EventCounter(
            recording.reference, recording.duration_s, recording.patient, recording.unknown
        )
        return counter, counter.count_all(event_finders[number].table(on, off))

    counted = _at_once(count, range(len(event_finders)))
    for recording, (counter, at_points) in zip(recordings, counted, strict=True):
        column = column_of[recording.patient]
        counts[:, column] += at_points
        fixed[:, column] += (
            counter.szcore_reference,
            counter.szcore_seconds,
            counter.ovlp_reference,
            counter.ovlp_seconds,
        )
        advance(recording.duration_s)
    return Sweep(
        on,
        off,
        patients,
        RuleSweep(fixed[0], fixed[1], counts[:, :, 0], counts[:, :, 1]),
        RuleSweep(fixed[2], fixed[3], counts[:, :, 2], counts[:, :, 3]),
    )


def _at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The result of ``work`` for each item, in order, with several threads.

    The slow operations on a recording's events release Python's global interpreter lock.
    """
    threads = min(usable_cores(), len(items))
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="count events") as pool:
        yield from pool.map(work, items)


def _f1(counts: Counts) -> float:
    return 0.0 if math.isnan(counts.f1) else counts.f1
