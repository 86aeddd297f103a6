"""From scored recordings to every figure of a report, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.version import digest
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.results import (
    FORMAT,
    SECONDS_PER_HOUR,
    Estimate,
    EvalLooks,
    EvaluationResults,
    GroupRow,
    LimitRow,
    RecordingResult,
    ScoredRecording,
    SecondFigures,
    SeizureGroup,
    SeizureOutcome,
    ThresholdChoice,
    UnscoredRecording,
)
from brainbrr_core.evaluation.statistics import (
    LIMITED_RULES,
    PatientStatistics,
    calibration_counts,
    limit_name,
    rank_counts,
    rows_at_limits,
    tuned_counts,
    tuned_name,
)
from brainbrr_core.scoring import (
    FALSE_ALARM_LIMITS,
    Counts,
    NedcCounts,
    RecordingEvents,
    RuleSweep,
    Sweep,
    SzcoreCounts,
    UnknownTime,
    auprc,
    auroc,
    expected_calibration_error,
    figures,
    interval,
    nedc,
    per_second,
    pr_points,
    rank,
    reliability,
    resamples,
    roc_points,
    szcore,
    total,
)
from brainbrr_core.scoring.recording import scored_events

#: Seizures are grouped by duration: from each of these seconds up to the next.
DURATION_EDGES_S = (0.0, 10.0, 30.0, 60.0, 120.0, 300.0, math.inf)
CALIBRATION_BINS = 10
Seconds = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]


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
    bootstrap_samples: int = 1000,
    bootstrap_seed: int = 0,
) -> Scoring:
    """All figures of some recordings of one split; their order does not matter.

    With the ``sweep`` of these recordings the operating curve and the sensitivity at limits of
    false alarms are drawn up too. ``applied`` has what the points of ``threshold.at_limits``
    find in these recordings, as :func:`tuned_counts` wants it.

    What is unknown in a recording has no part in any figure
    (:mod:`brainbrr_core.scoring.unknown`).

    Raises :class:`BrainbrrError` where there is nothing to score or a recording occurs twice.
    """
    ordered = sorted(recordings, key=lambda recording: recording.partition_key)
    keys = [recording.partition_key for recording in ordered]
    if not ordered:
        raise BrainbrrError(f"no recording of the split {split!r} to score: select more of it")
    if len(set(keys)) < len(keys):
        twice = next(key for index, key in enumerate(keys[1:]) if key == keys[index])
        raise BrainbrrError(f"{twice} would be scored twice: list each recording once")
    pairs = [
        RecordingEvents(
            recording.patient,
            recording.duration_s,
            tuple(recording.reference),
            tuple(recording.hypothesis),
            recording.partition_key,
            unknown=tuple(recording.unknown),
        )
        for recording in ordered
    ]
    unknown_s = math.fsum(
        UnknownTime.of(pair.unknown, pair.reference, pair.duration_s).seconds for pair in pairs
    )
    if unknown_s and unknown_s >= math.fsum(pair.duration_s for pair in pairs):
        raise BrainbrrError(
            f"nothing in the split {split!r} is known to be seizure or background: check its "
            "annotations (`brainbrr index`) and the configuration's labels.seizure"
        )
    by_szcore = [szcore.score_recording(pair) for pair in pairs]
    by_nedc = [nedc.score_recording(pair) for pair in pairs]
    rows = tuple(
        RecordingResult(
            recording.partition_key,
            recording.patient,
            recording.montage,
            recording.duration_s,
            tuple(recording.reference),
            tuple(recording.hypothesis),
            nedc_counts.ovlp.seiz,
            szcore_counts.event,
            tuple(recording.unknown),
        )
        for recording, szcore_counts, nedc_counts in zip(ordered, by_szcore, by_nedc, strict=True)
    )
    outcomes = tuple(outcome for row in rows for outcome in _outcomes(row))
    patients = tuple(sorted({recording.patient for recording in ordered}))
    place = {patient: number for number, patient in enumerate(patients)}
    seconds = _seconds(ordered, place)
    by_rule = _by_rule(by_szcore, by_nedc)
    tuned = tuned_counts(applied, threshold.at_limits or {}) if applied else {}
    statistics = _statistics(patients, by_rule, rows, outcomes, seconds, sweep, tuned)
    of_seconds = _second_figures(*seconds[:2])
    estimates = _estimates(
        statistics, of_seconds, resamples(len(patients), bootstrap_samples, bootstrap_seed)
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
        counts={rule: total(parts) for rule, parts in by_rule.items()},
        bootstrap_samples=bootstrap_samples,
        bootstrap_seed=bootstrap_seed,
        seconds=of_seconds,
        operating_curve=sweep.rows() if sweep else (),
        limits=_limits(sweep, threshold, estimates) if sweep else (),
        patients=_groups(rows, lambda row: row.patient),
        montages=_groups(rows, lambda row: row.montage),
        seizure_types=_seizure_groups(outcomes, "type", _type, estimates),
        seizure_durations=_seizure_groups(outcomes, "duration", _duration, estimates),
        outcomes=outcomes,
        recordings=rows,
        unscored=tuple(sorted(unscored, key=lambda row: row.partition_key)),
        provenance=dict(provenance),
        unknown_s=unknown_s,
    )
    return Scoring(results, statistics)


def evaluation_set(recordings: Iterable[ScoredRecording]) -> str:
    """Hash of what is scored against what: two detectors compare where it is the same."""
    ordered = sorted(recordings, key=lambda recording: recording.partition_key)
    return digest(
        [
            [r.partition_key, r.patient, r.duration_s]
            + [[event.start, event.stop, event.label] for event in r.reference]
            # Nothing where there is none: then the hash is that of what is scored alone.
            + ([["unknown", *r.unknown]] if r.unknown else [])
            for r in ordered
        ]
    )


def _by_rule(
    by_szcore: Sequence[SzcoreCounts], by_nedc: Sequence[NedcCounts]
) -> dict[str, list[Counts]]:
    """Counts of each recording by rule."""
    rules = {
        "szcore_event": [part.event for part in by_szcore],
        "szcore_sample": [part.sample for part in by_szcore],
    }
    for name in ("ovlp", "taes", "taes_exact", "epoch", "alignment"):
        parts: list[nedc.ByLabel] = [getattr(part, name) for part in by_nedc]
        rules[f"nedc_{name}"] = [part.seiz for part in parts]
        rules[f"nedc_{name}_bckg"] = [part.bckg for part in parts]
        rules[f"nedc_{name}_total"] = [part.total for part in parts]
    return rules


def _outcomes(row: RecordingResult) -> list[SeizureOutcome]:
    """What became of each seizure as it is annotated: one type after another is two seizures."""
    reference, hypothesis, _ = scored_events(row.events, touching=False)
    outcomes = []
    for event in reference:
        over = [hyp for hyp in hypothesis if hyp.stop > event.start and hyp.start < event.stop]
        inside = sum(min(h.stop, event.stop) - max(h.start, event.start) for h in over)
        outcomes.append(
            SeizureOutcome(
                row.partition_key,
                row.patient,
                row.montage,
                event.start,
                event.stop,
                event.label,
                bool(over),
                over[0].start - event.start if over else math.nan,
                inside / event.duration,
            )
        )
    return outcomes


def _seconds(ordered: Sequence[ScoredRecording], place: Mapping[str, int]) -> Seconds:
    """Score, label and patient of each known second of all recordings."""
    pairs = [per_second(row.scores_8hz, row.reference, row.unknown) for row in ordered]
    return (
        np.concatenate([pair[0] for pair in pairs]),
        np.concatenate([pair[1] for pair in pairs]),
        np.repeat([place[row.patient] for row in ordered], [len(pair[0]) for pair in pairs]),
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


def _statistics(
    patients: tuple[str, ...],
    by_rule: Mapping[str, Sequence[Counts]],
    rows: Sequence[RecordingResult],
    outcomes: Sequence[SeizureOutcome],
    seconds: Seconds,
    sweep: Sweep | None,
    tuned: Mapping[str, NDArray[np.float64]],
) -> PatientStatistics:
    place = {patient: number for number, patient in enumerate(patients)}
    counts: dict[str, NDArray[np.float64]] = {}

    def add(name: str, patient: str, part: Counts) -> None:
        table = counts.setdefault(name, np.zeros((len(patients), 4)))
        table[place[patient]] += (part.reference, part.detected, part.false, part.seconds)

    for rule, parts in by_rule.items():
        for row, part in zip(rows, parts, strict=True):
            add(rule, row.patient, part)
    for row in rows:
        add(f"montage.{row.montage}", row.patient, row.szcore)
    for outcome in outcomes:
        part = Counts(1, float(outcome.detected))
        add(f"type.{_type(outcome)}", outcome.patient, part)
        add(f"duration.{_duration(outcome)}", outcome.patient, part)
    late = [outcome for outcome in outcomes if outcome.detected]
    scores, labels, patient = seconds
    return PatientStatistics(
        patients,
        counts | dict(tuned),
        {rule: parts[0].false_unit for rule, parts in by_rule.items()},
        sweep,
        rank_counts(scores, labels, patient, len(patients)),
        calibration_counts(scores, labels, patient, len(patients), CALIBRATION_BINS),
        np.array([outcome.latency_s for outcome in late], dtype=np.float64),
        np.array([place[outcome.patient] for outcome in late], dtype=np.intp),
    )


def _estimates(
    statistics: PatientStatistics, seconds: SecondFigures, drawn: NDArray[np.float64]
) -> dict[str, Estimate]:
    found, resampled = statistics.figures(), statistics.figures(drawn)
    estimates = {}
    for name in sorted(found):
        low, high = interval(resampled[name], len(statistics.patients))
        estimates[name] = Estimate(float(found[name][0]), low, high)
    # The figures themselves are of all seconds, not of binned ranks.
    for name in ("auroc", "auprc", "calibration_error"):
        key = f"seconds.{name}"
        estimates[key] = replace(estimates[key], value=getattr(seconds, name))
    return estimates


def _limits(
    sweep: Sweep, choice: ThresholdChoice, estimates: Mapping[str, Estimate]
) -> tuple[LimitRow, ...]:
    own, undefined = rows_at_limits(sweep), Estimate(math.nan)
    tuned = choice.at_limits or {}

    def row(rule: str, part: RuleSweep, limit: float) -> LimitRow:
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
            math.nan if number is None else part.pooled(number).false_per_day,
        )

    return tuple(
        row(rule, part, limit)
        for rule, part in zip(LIMITED_RULES, (sweep.szcore, sweep.ovlp), strict=True)
        for limit in FALSE_ALARM_LIMITS
    )


def _groups(
    rows: Iterable[RecordingResult], name: Callable[[RecordingResult], str]
) -> tuple[GroupRow, ...]:
    groups: dict[str, list[RecordingResult]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return tuple(
        GroupRow(
            group,
            len(members),
            sum(row.duration_s for row in members) / SECONDS_PER_HOUR,
            round(sum(row.ovlp.reference for row in members)),
            figures(total(row.szcore for row in members)),
            total(row.ovlp for row in members),
        )
        for group, members in sorted(groups.items())
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
    # Durations come in their order, types by their number.
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
            _median([member.latency_s for member in members if member.detected]),
        )
        for group, members in ordered
    )


def _type(outcome: SeizureOutcome) -> str:
    return outcome.label


def _duration(outcome: SeizureOutcome) -> str:
    length = outcome.stop_s - outcome.start_s
    low, high = next(edges for edges in pairwise(DURATION_EDGES_S) if length < edges[1])
    if math.isinf(high):
        return f"{low:g} s or more"
    return f"{low:g} to {high:g} s" if low else f"under {high:g} s"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan
