"""The threshold: figures over a range of thresholds, and the choice of one on a tuning split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.errors import WorkRemains
from brainbrr_core.scoring import nedc, szcore
from brainbrr_core.scoring.counts import Counts, Measure, total
from brainbrr_core.scoring.recording import RecordingEvents

#: Denser towards both ends, where a network's probabilities gather.
COARSE_THRESHOLDS = (
    *(0.01, 0.02),
    *(round(0.05 * step, 2) for step in range(1, 20)),
    *(0.98, 0.99, 0.995),
)
REFINEMENTS = 2
POINTS_PER_REFINEMENT = 8
_DECIMALS = 6
_SAME_F1 = 1e-12

Detect = Callable[[NDArray[np.float32], float, float], Sequence[Event]]


class RecordingProbabilities(Protocol):
    """A recording whose threshold is open: its length, its reference and its frames."""

    @property
    def patient(self) -> str: ...

    @property
    def duration_s(self) -> float: ...

    @property
    def reference(self) -> Sequence[Event]: ...

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


@dataclass(frozen=True, slots=True)
class TunedThreshold:
    """The chosen on-threshold and every row that was looked at, by rising threshold."""

    threshold: float
    f1: float
    rows: tuple[SweepRow, ...]


def sweep_row(
    recordings: Iterable[RecordingProbabilities], detect: Detect, threshold: float
) -> SweepRow:
    """Figures at one threshold; ``detect(probabilities, duration_s, threshold)`` gives events."""
    events: list[Counts] = []
    overlaps: list[Counts] = []
    for recording in recordings:
        hypothesis = detect(recording.probabilities_8hz, recording.duration_s, threshold)
        pair = RecordingEvents(
            recording.patient, recording.duration_s, tuple(recording.reference), tuple(hypothesis)
        )
        events.append(szcore.score_recording(pair).event)
        overlaps.append(nedc.ovlp(pair))
    event, overlap = total(events), total(overlaps)
    return SweepRow(
        threshold,
        event.sensitivity,
        event.false_per_day,
        event.f1,
        overlap.sensitivity,
        overlap.false_per_day,
    )


def sweep_thresholds(
    recordings: Sequence[RecordingProbabilities],
    detect: Detect,
    thresholds: Iterable[float] = COARSE_THRESHOLDS,
) -> tuple[SweepRow, ...]:
    """Rows at each of the thresholds, sorted."""
    return tuple(sweep_row(recordings, detect, threshold) for threshold in sorted(set(thresholds)))


def tune_threshold(
    recordings: Sequence[RecordingProbabilities],
    detect: Detect,
    coarse: Iterable[float] = COARSE_THRESHOLDS,
    refinements: int = REFINEMENTS,
    points: int = POINTS_PER_REFINEMENT,
) -> TunedThreshold:
    """The on-threshold with the highest pooled event F1 of SzCORE on these recordings.

    A coarse grid, then ``refinements`` times ``points`` thresholds spread evenly over the best
    plateau and up to its neighbours. Of thresholds with the same F1 the one nearest the middle
    of their (widest) plateau is taken, the lower one where two are as near. The result depends
    on nothing but the arguments.

    Raises :class:`WorkRemains` when no recording has a seizure: then no threshold is better
    than another.
    """
    if not any(recording.reference for recording in recordings):
        raise WorkRemains(
            f"none of the {len(recordings)} recordings to tune the threshold on has a seizure: "
            "select more recordings"
        )
    rows = {row.threshold: row for row in sweep_thresholds(recordings, detect, coarse)}
    for _ in range(refinements):
        low, high = _around(rows, _plateau(rows))
        inner = np.linspace(low, high, points + 2)[1:-1]
        for threshold in (round(float(value), _DECIMALS) for value in inner):
            if threshold not in rows and 0 < threshold < 1:
                rows[threshold] = sweep_row(recordings, detect, threshold)
    plateau = _plateau(rows)
    middle = (plateau[0] + plateau[-1]) / 2
    chosen = min(plateau, key=lambda threshold: (abs(threshold - middle), threshold))
    ordered = tuple(rows[threshold] for threshold in sorted(rows))
    return TunedThreshold(chosen, _f1(rows[chosen]), ordered)


def _f1(row: SweepRow) -> float:
    return 0.0 if math.isnan(row.f1) else row.f1


def _plateau(rows: dict[float, SweepRow]) -> list[float]:
    """Neighbouring thresholds that share the best F1; the widest such run, then the lowest."""
    best = max(_f1(row) for row in rows.values())
    runs: list[list[float]] = [[]]
    for threshold in sorted(rows):
        if _f1(rows[threshold]) >= best - _SAME_F1:
            runs[-1].append(threshold)
        elif runs[-1]:
            runs.append([])
    return max((run for run in runs if run), key=lambda run: (run[-1] - run[0], -run[0]))


def _around(rows: dict[float, SweepRow], plateau: list[float]) -> tuple[float, float]:
    """The thresholds next to the plateau, or 0 and 1 where it reaches the end."""
    below = [threshold for threshold in rows if threshold < plateau[0]]
    above = [threshold for threshold in rows if threshold > plateau[-1]]
    return max(below, default=0.0), min(above, default=1.0)
