"""The operating point: event counts at thousands of them, and the choice of one on a split.

The thresholds are scores of frames, chosen by their ranks among all frames, so that the figures
depend on the order of the scores alone. Scores of another scale give the same figures, and so do
logits whose probabilities saturate (a float32 sigmoid is 1 from a logit of 17 on).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.display.counts import count
from brainbrr_core.errors import WorkRemains
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.scoring.counts import SECONDS_PER_DAY, Counts, Measure
from brainbrr_core.scoring.event_counter import Counted, EventCounter
from brainbrr_core.scoring.event_table import EventTable
from brainbrr_core.scoring.operating_point import OperatingPoint
from brainbrr_core.scoring.recording import ScoredRecording

#: The most thresholds of a sweep. Some coincide near the highest scores, which few frames reach, so
#: that about 2,000 remain for 435 hours. Further down, each is reached by 0.6 % more frames than
#: the next higher one.
POINTS = 2900
_SAME_F1 = 1e-12
#: False alarms per 24 hours at which sensitivity is reported.
FALSE_ALARM_LIMITS = (10.0, 5.0, 2.5, 1.0)

Item = TypeVar("Item")
Result = TypeVar("Result")


class EventFinder(Protocol):
    """The smoothed scores of one recording, and its events at operating points in rising order."""

    @property
    def scores(self) -> NDArray[np.float32]: ...

    def table(self, on: NDArray[np.float64], off: NDArray[np.float64]) -> EventTable: ...


#: ``find(frames, duration_s)`` smooths the scores of a recording that lasts ``duration_s`` seconds.
Find = Callable[[NDArray[np.float32], float], EventFinder]


@dataclass(frozen=True, slots=True)
class SweepRow:
    """Pooled figures of all recordings at one operating point.

    Attributes
    ----------
    threshold, off_threshold : float
        The scores at which events begin and end.
    sensitivity, false_per_day, f1 : float
        SzCORE's event-based figures.
    ovlp_sensitivity, ovlp_false_per_day : float
        Figures of NEDC's OVLP (SEIZ only).
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

    Attributes
    ----------
    reference, seconds : array of float64, shape (patients,)
        Number of reference events, and seconds of recording without unknown time.
    detected, false : array of float64, shape (thresholds, patients)
        Number of reference events that are detected, and of false alarms.
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
    """Event counts of two rules at many operating points.

    Attributes
    ----------
    thresholds, off_thresholds : array of float64, shape (thresholds,)
        The scores at which events begin, rising, and those at which they end.
    patients : tuple of str
        The patients, sorted.
    szcore, ovlp : RuleSweep
        Counts by SzCORE's event rule and by NEDC's OVLP.
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
        """The operating point of a row."""
        return OperatingPoint(float(self.thresholds[number]), float(self.off_thresholds[number]))

    def row(self, number: int) -> SweepRow:
        """Pooled figures of a row."""
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
    """A tuned operating point.

    Attributes
    ----------
    point : OperatingPoint
        The chosen point.
    f1 : float
        Its pooled event F1 by SzCORE's rule.
    sweep : Sweep
        The counts by which it was chosen.
    """

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
    """Count events at operating points that cover the whole range of scores.

    The on-thresholds are those reached by one frame of all recordings, by all frames, and by
    numbers of frames at equal ratios in between. To each belongs the lowest off-threshold that at
    most ``1 / off_ratio`` times as many frames reach.

    Parameters
    ----------
    recordings : sequence of ScoredRecording
        References, and scores of frames of 1/8 s.
    find : callable
        Smooths the scores of a recording and finds its events.
    off_ratio : float
        Above 0, at most 1.
    advance : callable
        Called with the duration, in seconds, of each recording that is done.
    points : int
        The most operating points.

    Returns
    -------
    Sweep
        The counts at each operating point.

    Raises
    ------
    BrainbrrError
        For a reference whose times are not finite or run backwards.
    """
    event_finders = list(
        _map_in_threads(lambda one: find(one.scores_8hz, one.duration_s), recordings)
    )
    on, off = _thresholds([finder.scores for finder in event_finders], off_ratio, points)
    return _count(recordings, event_finders, on, off, advance)


def sweep_at(
    recordings: Sequence[ScoredRecording], find: Find, points: Sequence[OperatingPoint]
) -> Sweep:
    """Count events at given operating points.

    Parameters
    ----------
    recordings : sequence of ScoredRecording
        References, and scores of frames of 1/8 s.
    find : callable
        Smooths the scores of a recording and finds its events.
    points : sequence of OperatingPoint
        At least one, in any order.

    Returns
    -------
    Sweep
        One row for each point, in the order of ``points``.
    """
    event_finders = list(
        _map_in_threads(lambda one: find(one.scores_8hz, one.duration_s), recordings)
    )
    sweeps = [
        _count(recordings, event_finders, np.array([point.on]), np.array([point.off]))
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
    """Choose the operating point with the highest pooled event F1 by SzCORE's rule.

    Where several have it, the middle one of the longest series of neighbors is chosen, and of
    equally long series the one with the lowest thresholds.

    Parameters
    ----------
    sweep : Sweep
        The counts to choose by.

    Returns
    -------
    TunedThreshold
        The chosen point.

    Raises
    ------
    WorkRemains
        When no recording has a seizure, so that no threshold is better than another.
    """
    if not sweep.szcore.reference.any():
        raise WorkRemains(
            "no patient to tune the threshold on has a seizure "
            f"({count(len(sweep.patients), 'patient')}): select more recordings"
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

    Thresholds are lowered from the highest one until the rate first exceeds the limit; nothing is
    interpolated. The rate may fall again further down, where detections merge; such thresholds are
    not considered.

    Parameters
    ----------
    detected, false : array of float64, shape (resamples, thresholds)
        Detected reference events and false alarms, thresholds rising.
    reference, seconds : array of float64, shape (resamples,)
        Reference events, and seconds of recording.
    limit : float
        False alarms per 24 hours.

    Returns
    -------
    sensitivity : array of float64, shape (resamples,)
        NaN without seizures.
    number : array of int, shape (resamples,)
        Number of the threshold. -1 where even the highest exceeds the limit: then nothing is
        detected, and the sensitivity is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where all time is unknown there is no rate, and no threshold that keeps a limit.
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
    # Frames with equal scores are all above a threshold or all below it. If they would be too many
    # above it, they are below.
    distinct, frames = np.unique(falling, return_counts=True)
    at_or_above = np.cumsum(frames[::-1])[::-1]
    allowed = np.searchsorted(-at_or_above, -np.floor(reached / off_ratio), side="left")
    return on.astype(np.float64), distinct[allowed].astype(np.float64)


def _count(
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

    def count_recording(number: int) -> tuple[EventCounter, Counted]:
        recording = recordings[number]
        counter = EventCounter(
            recording.reference, recording.duration_s, recording.patient, recording.unknown
        )
        return counter, counter.count_all(event_finders[number].table(on, off))

    counted = _map_in_threads(count_recording, range(len(event_finders)))
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


def _map_in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The result of ``work`` for each item, in order, computed in several threads.

    Threads help because the slow operations on a recording's events release Python's global
    interpreter lock.
    """
    threads = min(usable_cores(), len(items))
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="count events") as pool:
        yield from pool.map(work, items)


def _f1(counts: Counts) -> float:
    return 0.0 if math.isnan(counts.f1) else counts.f1
