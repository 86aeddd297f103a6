"""Scores of events of any detector, without a run, a signal or probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.event_counts import (
    count_recordings,
    estimates_of,
    outcomes_of,
    patient_statistics,
)
from brainbrr_core.evaluation.groups import by_age
from brainbrr_core.evaluation.results import (
    SECONDS_PER_HOUR,
    Estimate,
    GroupRow,
    RecordingResult,
    SeizureOutcome,
)
from brainbrr_core.evaluation.statistics import LATENCY
from brainbrr_core.evaluation.tables import Row, write_groups, write_table
from brainbrr_core.scoring import Counts, RecordingEvents, resamples, total

#: Families of rules; the names of their figures begin with these.
RULES = ("szcore", "nedc")


@dataclass(frozen=True)
class EventScores:
    """Every figure that follows from the events of some recordings.

    Attributes
    ----------
    counts : dict of Counts
        Sums over the recordings by rule, such as ``szcore_event`` or ``nedc_taes``.
    estimates : dict of Estimate
        Figures with their 95 % interval over patients, by rule and figure, such as
        ``szcore_event.f1``, or ``szcore_event_subject_mean.f1`` for the mean over patients.
    recordings : tuple of RecordingResult
        The counts of each recording, ordered by name.
    outcomes : tuple of SeizureOutcome
        Whether each annotated seizure is detected, and with what latency.
    unknown_s : float
        Seconds that are neither seizure nor background, and are not counted.
    ages : tuple of GroupRow
        Figures of each age group, where the recordings have one.
    """

    counts: dict[str, Counts]
    estimates: dict[str, Estimate]
    recordings: tuple[RecordingResult, ...]
    outcomes: tuple[SeizureOutcome, ...]
    unknown_s: float
    ages: tuple[GroupRow, ...] = ()

    @property
    def hours(self) -> float:
        """Length of all recordings in hours, unknown time included."""
        return math.fsum(row.duration_s for row in self.recordings) / SECONDS_PER_HOUR

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len({row.patient for row in self.recordings})


def score_events(
    recordings: Iterable[RecordingEvents],
    *,
    rules: Sequence[str] = RULES,
    age_groups: Mapping[str, str] | None = None,
    bootstrap_samples: int = 1000,
    bootstrap_seed: int = 0,
) -> EventScores:
    """Score the events of a detector against those of a reference.

    Parameters
    ----------
    recordings : iterable of RecordingEvents
        Reference and hypothesis of each recording, in any order. Names must differ.
    rules : sequence of str, optional
        ``szcore``, ``nedc`` or both.
    age_groups : dict of str, optional
        The age group of each recording by its name, if there are several.
    bootstrap_samples, bootstrap_seed : int, optional
        Number of resamples of the patients behind the intervals, and the seed of their random
        generator.

    Returns
    -------
    EventScores
        The figures of an evaluation, except those that need probabilities.

    Raises
    ------
    BrainbrrError
        Where there is nothing to score, a name occurs twice, a recording has no length, times are
        impossible, or a hypothesis has another length than its recording.
    """
    if not rules or not set(rules) <= set(RULES):
        raise BrainbrrError(f"unknown rules {list(rules)}: choose from {list(RULES)}")
    counted = count_recordings(
        recordings,
        "nothing in these recordings is known to be seizure or background: check the reference",
    )
    groups, by_rule = age_groups or {}, counted.by_rule
    rows = tuple(replace(row, age_group=groups.get(row.partition_key, "")) for row in counted.rows)
    if not rows:
        raise BrainbrrError("there is no recording to score: give at least one")
    outcomes = tuple(outcome for row in rows for outcome in outcomes_of(row))
    patients = tuple(sorted({row.patient for row in rows}))
    statistics = patient_statistics(patients, by_rule, rows, outcomes, ())
    estimates = estimates_of(
        statistics, resamples(len(patients), bootstrap_samples, bootstrap_seed)
    )
    # The latency belongs to every rule; figures of seconds need probabilities.
    names_of_figures = (*(f"{rule}_" for rule in rules), LATENCY, "age.")
    return EventScores(
        {rule: total(counts) for rule, counts in by_rule.items() if rule.startswith(tuple(rules))},
        {name: e for name, e in estimates.items() if name.startswith(names_of_figures)},
        rows,
        outcomes,
        counted.unknown_s,
        by_age(rows),
    )


def write_event_scores(folder: Path, scores: EventScores) -> None:
    """Write figures, recordings and seizures into a folder, each as Parquet and CSV.

    Age groups are another table, if there are several.
    """
    figures: list[Row] = [
        (name, e.value, e.low, e.high, e.patients, e.method) for name, e in scores.estimates.items()
    ]
    write_table(
        folder / "figures", ("figure", "value", "low", "high", "patients", "interval"), figures
    )
    recordings: list[Row] = [
        (
            row.partition_key,
            row.patient,
            row.duration_s,
            *(row.szcore.reference, row.szcore.detected, row.szcore.false),
            *(row.ovlp.reference, row.ovlp.detected, row.ovlp.false),
        )
        for row in scores.recordings
    ]
    counted = ("reference", "detected", "false")
    write_table(
        folder / "recordings",
        (
            *("recording", "patient", "duration_s"),
            *(f"szcore_event_{name}" for name in counted),
            *(f"nedc_ovlp_{name}" for name in counted),
        ),
        recordings,
    )
    seizures: list[Row] = [
        (o.partition_key, o.patient, o.start_s, o.stop_s, o.detected, o.latency_s, o.covered)
        for o in scores.outcomes
    ]
    write_table(
        folder / "seizures",
        ("recording", "patient", "start_s", "stop_s", "detected", "latency_s", "covered"),
        seizures,
    )
    if scores.ages:
        write_groups(folder / "age_groups", "age_group", scores.ages)
