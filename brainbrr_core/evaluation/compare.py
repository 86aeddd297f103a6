"""Comparison of two runs on the same recordings: differences of figures, and disagreements.

One figure is primary: it is chosen before the comparison, and judged by its own interval. All
others are exploratory: among so many, some differ by chance, so the false discovery rate among
those that are marked is controlled (Benjamini and Hochberg 1995). No figure of fewer than ten
patients is judged, since an interval over so few is too narrow.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration.differences import SettingDifference
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.results import (
    EVALUATION,
    UNNAMED_EVALUATION,
    EvaluationResults,
    RecordingResult,
    read_results,
    report_folder,
)
from brainbrr_core.evaluation.statistics import HOURS, PatientStatistics, Unit, unit_of
from brainbrr_core.evaluation.tables import read_statistics
from brainbrr_core.nearest import nearest
from brainbrr_core.runs.run_folder import read_run_folder, run_differences
from brainbrr_core.scoring import (
    FEW_PATIENTS,
    UNDEFINED,
    false_discovery_rates,
    interval,
    nedc,
    resamples,
    two_sided_p,
)

PRIMARY = "szcore_event.f1"
#: Largest expected share of chance differences among the exploratory figures that are marked.
FALSE_DISCOVERY_RATE = 0.05
#: P-values of a hundred figures need more resamples than one interval does.
LEAST_RESAMPLES = 10_000
#: Number of resamples whose figures are computed at a time.
_AT_A_TIME = 500

#: Ending of the names of shares that measure an error.
_ERROR = "calibration_error"

Which = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both runs, and the difference between them; NaN where undefined.

    Attributes
    ----------
    figure : str
        Name of the figure, such as ``szcore_event.f1``.
    unit : Unit
        What it is measured in.
    a, b : float
        The figure of run A and that of run B.
    difference : float
        The figure of B less that of A.
    low, high : float
        Ends of the 95 % interval of the difference; NaN also where all resamples agree.
    patients : int
        Number of patients who contribute to the figure in both runs.
    few_patients : bool
        Whether the patients are so few that the interval is too narrow.
    primary : bool
        Whether it is the figure that is judged by its own interval.
    p_value : float
        Two-sided bootstrap p-value of no difference; NaN where the interval is undefined.
    false_discovery_rate : float
        Adjusted p-value of an exploratory figure (Benjamini and Hochberg). NaN for the primary
        figure, and for figures that are not judged: those of too few patients, those of background,
        and those that are components of another figure.
    beyond_chance : bool
        Whether the runs are judged to differ: if the interval of the primary figure excludes 0, or
        the false discovery rate of another figure is at most 0.05.
    """

    figure: str
    unit: Unit
    a: float
    b: float
    difference: float
    low: float
    high: float
    patients: int
    few_patients: bool
    primary: bool
    p_value: float
    false_discovery_rate: float = math.nan
    beyond_chance: bool = False


@dataclass(frozen=True, slots=True)
class RecordingDisagreement:
    """A recording in which the runs differ in their numbers of missed or false events (OVLP)."""

    partition_key: str
    seizures: int
    missed_a: int
    missed_b: int
    false_a: int
    false_b: int


@dataclass(frozen=True, slots=True)
class EventDisagreement:
    """A seizure that only one run detects, or a false alarm that only one run raises."""

    kind: Literal["seizure detected", "false alarm"]
    only: Which
    partition_key: str
    start_s: float
    stop_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs A and B on one split.

    Attributes
    ----------
    run_a, run_b : str
        Names of the runs.
    split : str
        The split that both were scored on.
    evaluation_set : str
        Hash of what both were scored against: recordings, lengths, references and unknown time.
    patients : int
        Number of patients in the split.
    bootstrap_samples, bootstrap_seed : int
        Number of resamples behind the intervals, and the seed of their random generator.
    primary : str
        Name of the figure that is judged by its own interval.
    exploratory : int
        Number of judged figures in addition to the primary one.
    differences : tuple of Difference
        Every figure that both reports have, ordered by name.
    recordings : tuple of RecordingDisagreement
        Recordings in which the runs differ in their numbers of missed or false events.
    events : tuple of EventDisagreement
        Seizures that only one run detects and false alarms that only one run raises, in the order
        of the recordings.
    settings : tuple of SettingDifference or None
        The settings that differ between the runs; None where one of them recorded none.
    """

    run_a: str
    run_b: str
    split: str
    evaluation_set: str
    patients: int
    bootstrap_samples: int
    bootstrap_seed: int
    primary: str
    exploratory: int
    differences: tuple[Difference, ...]
    recordings: tuple[RecordingDisagreement, ...]
    events: tuple[EventDisagreement, ...]
    settings: tuple[SettingDifference, ...] | None = None

    @property
    def better(self) -> Literal["A", "B"] | None:
        """The run that is better by the primary figure; None if they cannot be told apart."""
        [primary] = [each for each in self.differences if each.primary]
        if not primary.beyond_chance:
            return None
        return "B" if (primary.difference < 0) == lower_is_better(primary.figure) else "A"


def lower_is_better(figure: str) -> bool:
    """Whether a smaller value of a figure is the better one: false alarms, latencies and errors."""
    return unit_of(figure) is not Unit.SHARE or figure.endswith(_ERROR)


def compare(run_a: Path, run_b: Path, split: str, primary: str = PRIMARY) -> Comparison:
    """Compare the reports of two runs on a split: every figure of B less that of A.

    Both figures of a resample use the same patients (paired bootstrap), so that patients who are
    difficult for both runs do not widen the interval. The seed is that of A.

    Parameters
    ----------
    run_a, run_b : Path
        Folders of the runs, with their reports.
    split : str
        The split that both were scored on: ``dev`` or ``eval``.
    primary : str
        Name of the one figure that is judged by its own interval, such as ``szcore_event.f1``.

    Returns
    -------
    Comparison
        The differences with their intervals, and where the runs disagree.

    Raises
    ------
    WorkRemains
        Where a run has no report on the split.
    BrainbrrError
        Where the two were not scored on the same recordings and references, or by the same version
        of the evaluation, or have no such primary figure.
    """
    folder_a, folder_b = report_folder(run_a, split), report_folder(run_b, split)
    a, b = _read_results(run_a, split), _read_results(run_b, split)
    _check_same_set(run_a, run_b, a, b)
    _check_same_version(run_a, run_b, a, b)
    statistics_a, statistics_b = read_statistics(folder_a), read_statistics(folder_b)
    patients = len(statistics_a.patients)
    if statistics_a.patients != statistics_b.patients:
        raise BrainbrrError(
            f"{folder_a} or {folder_b} is damaged: their statistics are of different patients; "
            "remove the folder and evaluate again"
        )
    figures = sorted(set(a.estimates) & set(b.estimates))
    if primary not in figures:
        raise BrainbrrError(
            f"no figure {primary!r} in both reports: the nearest is "
            f"{nearest(primary, figures)}, the default {PRIMARY}"
        )
    samples = max(a.bootstrap_samples, LEAST_RESAMPLES)
    resampled = _differences(statistics_a, statistics_b, samples, a.bootstrap_seed)
    patients_a, patients_b = statistics_a.contributors(), statistics_b.contributors()
    differences = []
    for name in figures:
        both = min(patients_a[name], patients_b[name])
        value_a, value_b = a.estimates[name].value, b.estimates[name].value
        low, high = interval(resampled[name], both)
        if low == high:
            # All resamples agree, which says nothing about other patients.
            low, high = UNDEFINED
        differences.append(
            Difference(
                name,
                unit_of(name),
                value_a,
                value_b,
                value_b - value_a,
                low,
                high,
                both,
                both < FEW_PATIENTS,
                name == primary,
                math.nan if math.isnan(low) else two_sided_p(resampled[name]),
            )
        )
    judged = _judge(differences)
    pairs = list(zip(a.recordings, b.recordings, strict=True))
    return Comparison(
        run_a.name,
        run_b.name,
        split,
        a.evaluation_set,
        patients,
        samples,
        a.bootstrap_seed,
        primary,
        sum(not math.isnan(difference.false_discovery_rate) for difference in judged),
        judged,
        tuple(row for pair in pairs for row in _recording(*pair)),
        tuple(row for pair in pairs for row in _events(*pair)),
        _settings(run_a, run_b),
    )


def _settings(run_a: Path, run_b: Path) -> tuple[SettingDifference, ...] | None:
    a, b = read_run_folder(run_a), read_run_folder(run_b)
    if a is None or b is None or a.record is None or b.record is None:
        return None
    return tuple(run_differences(a, b))


def is_part_of_another(figure: str) -> bool:
    """Whether a figure repeats another one or is a component of it.

    These are the figures of background alone (seizures have their own), of single bins of the
    calibration, of single hours of the recordings, and of those without a montage in their path,
    which in most corpora are all.
    """
    return "_bckg." in figure or figure.startswith(("reliability.", HOURS, "montage.."))


def _differences(
    a: PatientStatistics, b: PatientStatistics, samples: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Each figure of B less that of A in every resample."""
    drawn = resamples(len(a.patients), samples, seed)
    chunks = []
    for first in range(0, samples, _AT_A_TIME):
        weights = drawn[first : first + _AT_A_TIME]
        figures_a, figures_b = a.figures(weights), b.figures(weights)
        both = figures_a.keys() & figures_b.keys()
        chunks.append({name: figures_b[name] - figures_a[name] for name in both})
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _judge(differences: list[Difference]) -> tuple[Difference, ...]:
    """The primary figure judged by its interval, the others by their false discovery rate."""
    family = [
        number
        for number, difference in enumerate(differences)
        if not (
            difference.primary
            or difference.few_patients
            or is_part_of_another(difference.figure)
            or math.isnan(difference.p_value)
        )
    ]
    rates = false_discovery_rates(np.array([differences[number].p_value for number in family]))
    by_number = dict(zip(family, rates.tolist(), strict=True))
    judged = []
    for number, difference in enumerate(differences):
        rate = by_number.get(number, math.nan)
        beyond = rate <= FALSE_DISCOVERY_RATE
        if difference.primary:
            beyond = not difference.few_patients and (difference.low > 0 or difference.high < 0)
        judged.append(replace(difference, false_discovery_rate=rate, beyond_chance=beyond))
    return tuple(judged)


def _check_same_set(run_a: Path, run_b: Path, a: EvaluationResults, b: EvaluationResults) -> None:
    if a.evaluation_set == b.evaluation_set:
        return
    keys_a = {row.partition_key for row in a.recordings}
    keys_b = {row.partition_key for row in b.recordings}
    unshared = sorted(keys_a ^ keys_b)
    how = (
        f"{len(unshared)} of {len(keys_a | keys_b)} recordings are in one of them only, the first "
        f"is {unshared[0]}"
        if unshared
        else "their annotations or lengths differ"
    )
    raise BrainbrrError(
        f"{run_a.name} and {run_b.name} were scored on different sets of {a.split}: {how}; "
        "evaluate both with the same profile and cache"
    )


def _read_results(run: Path, split: str) -> EvaluationResults:
    """The results of a run on a split; where there are none, the error has the command for them."""
    folder = report_folder(run, split)
    try:
        return read_results(folder)
    except WorkRemains:
        permission = " --allow-eval" if split == "eval" else ""
        raise WorkRemains(
            f"no report in {folder}: run `brainbrr evaluate {shlex.quote(str(run))} --split "
            f"{split}{permission}`"
        ) from None


def _check_same_version(
    run_a: Path, run_b: Path, a: EvaluationResults, b: EvaluationResults
) -> None:
    versions = [results.provenance.get(EVALUATION, UNNAMED_EVALUATION) for results in (a, b)]
    if versions[0] != versions[1]:
        raise BrainbrrError(
            f"the figures of {run_a.name} and {run_b.name} do not compare: their reports on "
            f"{a.split} are of evaluation version {versions[0]} and {versions[1]}; score both "
            f"again with `brainbrr evaluate RUN --split {a.split}`"
        )


def _recording(a: RecordingResult, b: RecordingResult) -> Iterator[RecordingDisagreement]:
    counts = (a.ovlp.missed, b.ovlp.missed, a.ovlp.false, b.ovlp.false)
    missed_a, missed_b, false_a, false_b = (round(count) for count in counts)
    if (missed_a, false_a) != (missed_b, false_b):
        yield RecordingDisagreement(
            a.partition_key, round(a.ovlp.reference), missed_a, missed_b, false_a, false_b
        )


def _events(a: RecordingResult, b: RecordingResult) -> Iterator[EventDisagreement]:
    reference, events_a = nedc.join_events(a.events)
    _, events_b = nedc.join_events(b.events)
    hit_a, alarm_a = nedc.overlaps(reference, events_a)
    hit_b, alarm_b = nedc.overlaps(reference, events_b)
    disagreements: list[tuple[Event, Literal["seizure detected", "false alarm"], Which]] = []
    for number in np.flatnonzero(hit_a != hit_b).tolist():
        disagreements.append((reference[number], "seizure detected", "a" if hit_a[number] else "b"))
    alarms_a = [event for event, alarm in zip(events_a, alarm_a, strict=True) if alarm]
    alarms_b = [event for event, alarm in zip(events_b, alarm_b, strict=True) if alarm]
    # Overlapping alarms of both runs are a disagreement with the reference, not between the runs.
    for which, own, other in (("a", alarms_a, alarms_b), ("b", alarms_b, alarms_a)):
        _, alone = nedc.overlaps(other, own)
        for event in (event for event, single in zip(own, alone, strict=True) if single):
            disagreements.append((event, "false alarm", "a" if which == "a" else "b"))
    for event, kind, only in sorted(disagreements, key=lambda one: (one[0], one[1], one[2])):
        yield EventDisagreement(kind, only, a.partition_key, event.start, event.stop, event.label)
