"""Two runs on the same recordings: the difference of every figure, and where they disagree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.evaluate import report_folder
from brainbrr_core.evaluation.results import EvaluationResults, RecordingResult, read_results
from brainbrr_core.evaluation.tables import read_statistics
from brainbrr_core.scoring import interval, nedc, resamples

Which = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of both runs, B less A, and the interval of the difference; NaN: undefined."""

    figure: str
    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class RecordingDisagreement:
    """A recording in which the runs miss or falsely detect differently many events (OVLP)."""

    partition_key: str
    seizures: int
    missed_a: int
    missed_b: int
    false_a: int
    false_b: int


@dataclass(frozen=True, slots=True)
class EventDisagreement:
    """A seizure that one run alone detects, or a false alarm that one run alone raises."""

    kind: Literal["seizure detected", "false alarm"]
    only: Which
    partition_key: str
    start_s: float
    stop_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs A and B on one split; disagreements come in the order of the recordings."""

    run_a: str
    run_b: str
    split: str
    evaluation_set: str
    patients: int
    bootstrap_samples: int
    bootstrap_seed: int
    differences: tuple[Difference, ...]
    recordings: tuple[RecordingDisagreement, ...]
    events: tuple[EventDisagreement, ...]


def compare(run_a: Path, run_b: Path, split: str) -> Comparison:
    """Compare the reports of two runs' folders on a split.

    Both figures of a resample are of the same patients (paired bootstrap), so what makes some
    patients hard for either run does not widen the interval. Resamples and seed are those of A.

    Raises :class:`WorkRemains` where a run has no report on the split, and
    :class:`BrainbrrError` where the two were not scored on the same recordings and references.
    """
    folder_a, folder_b = report_folder(run_a, split), report_folder(run_b, split)
    a, b = read_results(folder_a), read_results(folder_b)
    _check_same_set(run_a, run_b, a, b)
    statistics_a, statistics_b = read_statistics(folder_a), read_statistics(folder_b)
    patients = len(statistics_a.patients)
    if statistics_a.patients != statistics_b.patients:
        raise BrainbrrError(
            f"{folder_a} or {folder_b} is damaged: their statistics are of other patients; "
            "remove the folder and evaluate again"
        )
    drawn = resamples(patients, a.bootstrap_samples, a.bootstrap_seed)
    figures_a, figures_b = statistics_a.figures(drawn), statistics_b.figures(drawn)
    differences = []
    for name in sorted(set(figures_a) & set(figures_b)):
        low, high = interval(figures_b[name] - figures_a[name], patients)
        of_a, of_b = a.estimates[name].value, b.estimates[name].value
        differences.append(Difference(name, of_a, of_b, of_b - of_a, low, high))
    pairs = list(zip(a.recordings, b.recordings, strict=True))
    return Comparison(
        run_a.name,
        run_b.name,
        split,
        a.evaluation_set,
        patients,
        a.bootstrap_samples,
        a.bootstrap_seed,
        tuple(differences),
        tuple(row for pair in pairs for row in _recording(*pair)),
        tuple(row for pair in pairs for row in _events(*pair)),
    )


def _check_same_set(run_a: Path, run_b: Path, a: EvaluationResults, b: EvaluationResults) -> None:
    if a.evaluation_set == b.evaluation_set:
        return
    keys_a = {row.partition_key for row in a.recordings}
    keys_b = {row.partition_key for row in b.recordings}
    apart = sorted(keys_a ^ keys_b)
    how = (
        f"{len(apart)} of {len(keys_a | keys_b)} recordings are in one of them only, the first "
        f"is {apart[0]}"
        if apart
        else "their annotations or lengths differ"
    )
    raise BrainbrrError(
        f"{run_a.name} and {run_b.name} were scored on different sets of {a.split}: {how}; "
        "evaluate both with the same profile and cache"
    )


def _recording(a: RecordingResult, b: RecordingResult) -> Iterator[RecordingDisagreement]:
    counts = (a.ovlp.missed, b.ovlp.missed, a.ovlp.false, b.ovlp.false)
    missed_a, missed_b, false_a, false_b = (round(count) for count in counts)
    if (missed_a, false_a) != (missed_b, false_b):
        yield RecordingDisagreement(
            a.partition_key, round(a.ovlp.reference), missed_a, missed_b, false_a, false_b
        )


def _events(a: RecordingResult, b: RecordingResult) -> Iterator[EventDisagreement]:
    reference, events_a = nedc.joined_events(a.events)
    _, events_b = nedc.joined_events(b.events)
    hit_a, alarm_a = nedc.overlaps(reference, events_a)
    hit_b, alarm_b = nedc.overlaps(reference, events_b)
    found: list[tuple[Event, Literal["seizure detected", "false alarm"], Which]] = []
    for number in np.flatnonzero(hit_a != hit_b).tolist():
        found.append((reference[number], "seizure detected", "a" if hit_a[number] else "b"))
    alarms_a = [event for event, alarm in zip(events_a, alarm_a, strict=True) if alarm]
    alarms_b = [event for event, alarm in zip(events_b, alarm_b, strict=True) if alarm]
    # Alarms of both at the same time are one disagreement with the reference, not with each other.
    for which, own, other in (("a", alarms_a, alarms_b), ("b", alarms_b, alarms_a)):
        _, alone = nedc.overlaps(other, own)
        for event in (event for event, single in zip(own, alone, strict=True) if single):
            found.append((event, "false alarm", "a" if which == "a" else "b"))
    for event, kind, only in sorted(found, key=lambda one: (one[0], one[1], one[2])):
        yield EventDisagreement(kind, only, a.partition_key, event.start, event.stop, event.label)
