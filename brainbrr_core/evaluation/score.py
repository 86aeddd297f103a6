"""Every figure of a report, with intervals, from recordings and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.event_counts import (
    CALIBRATION_BINS,
    LAST_HOUR,
    OF_ALL_SECONDS,
    Seconds,
    count_recordings,
    duration_group,
    estimates_of,
    false_alarm_hours,
    latency_name,
    outcomes_of,
    patient_statistics,
    type_group,
)
from brainbrr_core.evaluation.facts import ThresholdChoice, TrainingFacts
from brainbrr_core.evaluation.groups import by_age, group_rows
from brainbrr_core.evaluation.results import (
    FORMAT,
    SECONDS_PER_HOUR,
    Estimate,
    EvaluationResults,
    HourRow,
    LimitRow,
    SecondFigures,
    SeizureGroup,
    SeizureOutcome,
    UnscoredRecording,
)
from brainbrr_core.evaluation.statistics import (
    HOURS,
    LIMITED_RULES,
    PatientStatistics,
    limit_name,
    rows_at_limits,
    tuned_counts,
    tuned_name,
)
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.scoring import (
    FALSE_ALARM_LIMITS,
    Counts,
    RuleSweep,
    ScoredRecording,
    Sweep,
    auprc,
    auroc,
    expected_calibration_error,
    per_second,
    pr_points,
    rank,
    reliability,
    resamples,
    roc_points,
    total,
)


@dataclass(frozen=True)
class Scoring:
    """The results of an evaluation, and what each patient contributes to them."""

    results: EvaluationResults
    statistics: PatientStatistics


def score(
    recordings: Iterable[ScoredRecording],
    *,
    split: str,
    threshold: ThresholdChoice,
    provenance: Mapping[str, str],
    profile: str = "",
    weights_chosen_on: str | None = None,
    sweep: Sweep | None = None,
    applied: Sweep | None = None,
    unscored: Sequence[UnscoredRecording] = (),
    eval_looks: EvalLooks | None = None,
    training: TrainingFacts | None = None,
    method: Sequence[str] = (),
    age_groups: Mapping[str, str] | None = None,
    bootstrap_samples: int = 1000,
    bootstrap_seed: int = 0,
) -> Scoring:
    """Compute all figures of some recordings of one split; their order does not matter.

    If the ``sweep`` of these recordings is given, the operating curve and the sensitivity at limits
    of false alarms are computed as well. ``applied`` has the counts of these recordings at the
    points of ``threshold.at_limits``, in the form that :func:`tuned_counts` takes. ``age_groups``
    has the group of each recording, if there are several.

    Unknown time does not enter any figure (:mod:`brainbrr_core.scoring.unknown`).

    Raises :class:`BrainbrrError` if there is nothing to score or a recording occurs twice.
    """
    ordered = sorted(recordings, key=lambda recording: recording.partition_key)
    if not ordered:
        raise BrainbrrError(f"no recording of the split {split!r} to score: select more of it")
    counted = count_recordings(
        (recording.events for recording in ordered),
        f"nothing in the split {split!r} is known to be seizure or background: check its "
        "annotations (`brainbrr index`) and the configuration's labels.seizure",
    )
    by_rule = counted.by_rule
    rows = tuple(
        replace(
            row,
            montage=recording.montage,
            corpus=recording.corpus,
            age_group=(age_groups or {}).get(recording.partition_key, ""),
        )
        for row, recording in zip(counted.rows, ordered, strict=True)
    )
    outcomes = tuple(outcome for row in rows for outcome in outcomes_of(row))
    patients = tuple(sorted({recording.patient for recording in ordered}))
    patient_numbers = {patient: number for number, patient in enumerate(patients)}
    seconds = _seconds(ordered, patient_numbers)
    hours = [hour for row in rows for hour in false_alarm_hours(row)]
    tuned = tuned_counts(applied, threshold.at_limits or {}) if applied else {}
    statistics = patient_statistics(
        patients, by_rule, rows, outcomes, hours, seconds=seconds, sweep=sweep, tuned=tuned
    )
    of_seconds = _second_figures(*seconds[:2])
    estimates = estimates_of(
        statistics,
        resamples(len(patients), bootstrap_samples, bootstrap_seed),
        {name: getattr(of_seconds, name.removeprefix("seconds.")) for name in OF_ALL_SECONDS},
    )
    results = EvaluationResults(
        format=FORMAT,
        split=split,
        profile=profile,
        evaluation_set=evaluation_set(ordered),
        threshold=threshold,
        weights_chosen_on=weights_chosen_on,
        eval_looks=eval_looks,
        estimates=estimates,
        counts={rule: total(counts) for rule, counts in by_rule.items()},
        bootstrap_samples=bootstrap_samples,
        bootstrap_seed=bootstrap_seed,
        seconds=of_seconds,
        operating_curve=sweep.rows() if sweep else (),
        limits=_limits(sweep, threshold, estimates) if sweep else (),
        patients=group_rows(rows, lambda row: row.patient),
        montages=group_rows(rows, lambda row: row.montage),
        corpora=group_rows((row for row in rows if row.corpus), lambda row: row.corpus),
        seizure_types=_seizure_groups(outcomes, "type", type_group, estimates),
        seizure_durations=_seizure_groups(outcomes, "duration", duration_group, estimates),
        false_alarm_hours=_hour_rows(hours, estimates),
        outcomes=outcomes,
        recordings=rows,
        unscored=tuple(sorted(unscored, key=lambda row: row.partition_key)),
        provenance=dict(provenance),
        unknown_s=counted.unknown_s,
        training=training,
        method=tuple(method),
        ages=by_age(rows),
    )
    return Scoring(results, statistics)


def evaluation_set(recordings: Iterable[ScoredRecording | ManifestRecording]) -> str:
    """Hash of recordings, references and unknown time, equal for comparable evaluations."""
    ordered = sorted(recordings, key=lambda recording: recording.partition_key)
    return digest(
        [
            [
                r.partition_key,
                r.patient,
                r.duration_s,
                *([event.start, event.stop, event.label] for event in r.reference),
                # Added only if there is unknown time, so that no other hash changes.
                *([["unknown", *r.unknown]] if r.unknown else []),
            ]
            for r in ordered
        ]
    )


def _seconds(ordered: Sequence[ScoredRecording], patient_numbers: Mapping[str, int]) -> Seconds:
    """Score, label and patient of each second of all recordings that is not unknown."""
    pairs = [per_second(row.scores_8hz, row.reference, row.unknown) for row in ordered]
    return (
        np.concatenate([pair[0] for pair in pairs]),
        np.concatenate([pair[1] for pair in pairs]),
        np.repeat(
            [patient_numbers[row.patient] for row in ordered], [len(pair[0]) for pair in pairs]
        ),
    )


def _second_figures(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> SecondFigures:
    ranking = rank(scores, labels)
    bins = reliability(scores, labels, CALIBRATION_BINS)
    return SecondFigures(
        len(labels),
        int(labels.sum()),
        auroc(ranking),
        auprc(ranking),
        expected_calibration_error(bins),
        tuple(roc_points(ranking)),
        tuple(pr_points(ranking)),
        tuple(bins),
    )


def _hour_rows(
    hours: Sequence[tuple[int, str, Counts]], estimates: Mapping[str, Estimate]
) -> tuple[HourRow, ...]:
    rows = []
    for hour in sorted({number for number, _, _ in hours}):
        by_recording = [(patient, counts) for number, patient, counts in hours if number == hour]
        pooled = total(counts for _, counts in by_recording)
        rows.append(
            HourRow(
                f"after {hour} h" if hour == LAST_HOUR else f"{hour} to {hour + 1} h",
                pooled.seconds / SECONDS_PER_HOUR,
                len({patient for patient, _ in by_recording}),
                round(pooled.false),
                estimates[f"{HOURS}{hour}.false_per_day"],
            )
        )
    return tuple(rows)


def _limits(
    sweep: Sweep, choice: ThresholdChoice, estimates: Mapping[str, Estimate]
) -> tuple[LimitRow, ...]:
    own, undefined = rows_at_limits(sweep), Estimate(math.nan)
    tuned = choice.at_limits or {}

    def row(rule: str, rule_sweep: RuleSweep, limit: float) -> LimitRow:
        name, of = limit_name(rule, limit), tuned_name(rule, limit)
        number = own[name]
        return LimitRow(
            rule,
            limit,
            tuned.get(name),
            estimates.get(f"{of}.sensitivity", undefined),
            estimates.get(f"{of}.false_per_day", undefined),
            estimates.get(f"{of}.f1", undefined),
            None if number is None else sweep.point(number),
            estimates[name],
            # Above every threshold there are no detections, hence no false alarms.
            0.0 if number is None else rule_sweep.pooled(number).false_per_day,
        )

    return tuple(
        row(rule, rule_sweep, limit)
        for rule, rule_sweep in zip(LIMITED_RULES, (sweep.szcore, sweep.ovlp), strict=True)
        for limit in sorted(FALSE_ALARM_LIMITS)
    )


def _seizure_groups(
    outcomes: Iterable[SeizureOutcome],
    kind: str,
    name: Callable[[SeizureOutcome], str],
    estimates: Mapping[str, Estimate],
) -> tuple[SeizureGroup, ...]:
    groups: dict[str, list[SeizureOutcome]] = {}
    for outcome in sorted(outcomes, key=lambda one: one.stop_s - one.start_s):
        groups.setdefault(name(outcome), []).append(outcome)
    # Durations are in rising order, types by falling number of seizures.
    ordered = list(groups.items())
    if kind == "type":
        ordered.sort(key=lambda group: (-len(group[1]), group[0]))
    return tuple(
        SeizureGroup(
            group,
            len(members),
            sum(member.detected for member in members),
            len({member.patient for member in members}),
            estimates[f"{kind}.{group}.sensitivity"],
            estimates[latency_name(f"{kind}.{group}")],
        )
        for group, members in ordered
    )
