"""From scored recordings to every figure of a report, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.results import (
    FORMAT,
    SECONDS_PER_HOUR,
    Estimate,
    EvaluationResults,
    GroupRow,
    HourRow,
    LimitRow,
    RecordingResult,
    SecondFigures,
    SeizureGroup,
    SeizureOutcome,
    ThresholdChoice,
    TrainingFacts,
    UnscoredRecording,
)
from brainbrr_core.evaluation.statistics import (
    HOURS,
    LATENCY,
    LIMITED_RULES,
    Latencies,
    PatientStatistics,
    Unit,
    calibration_counts,
    limit_name,
    rank_counts,
    rows_at_limits,
    tuned_counts,
    tuned_name,
    unit_of,
)
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.scoring import (
    FALSE_ALARM_LIMITS,
    Counts,
    NedcCounts,
    RuleSweep,
    ScoredRecording,
    Sweep,
    SzcoreCounts,
    UnknownTime,
    all_or_none,
    auprc,
    auroc,
    expected_calibration_error,
    figures,
    interval,
    nedc,
    no_false_alarm,
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
#: False alarms are counted by hour of the recording; all hours after this one are one group.
LAST_HOUR = 24
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
    training: TrainingFacts | None = None,
    method: Sequence[str] = (),
    bootstrap_samples: int = 1000,
    bootstrap_seed: int = 0,
) -> Scoring:
    """All figures of some recordings of one split; their order does not matter.

    With the ``sweep`` of these recordings the operating curve and the sensitivity at limits of
    false alarms are computed too. ``applied`` has the counts of these recordings at the points of
    ``threshold.at_limits``, in the form that :func:`tuned_counts` takes.

    Unknown time in a recording does not enter any figure
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
    pairs = [recording.events for recording in ordered]
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
    patient_numbers = {patient: number for number, patient in enumerate(patients)}
    seconds = _seconds(ordered, patient_numbers)
    by_rule = _by_rule(by_szcore, by_nedc)
    hours = [hour for row in rows for hour in _hours(row)]
    tuned = tuned_counts(applied, threshold.at_limits or {}) if applied else {}
    statistics = _statistics(patients, by_rule, rows, outcomes, seconds, sweep, hours, tuned)
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
        counts={rule: total(counts) for rule, counts in by_rule.items()},
        bootstrap_samples=bootstrap_samples,
        bootstrap_seed=bootstrap_seed,
        seconds=of_seconds,
        operating_curve=sweep.rows() if sweep else (),
        limits=_limits(sweep, threshold, estimates) if sweep else (),
        patients=_groups(rows, lambda row: row.patient),
        montages=_groups(rows, lambda row: row.montage),
        seizure_types=_seizure_groups(outcomes, "type", _type, estimates),
        seizure_durations=_seizure_groups(outcomes, "duration", _duration, estimates),
        false_alarm_hours=_hour_rows(hours, estimates),
        outcomes=outcomes,
        recordings=rows,
        unscored=tuple(sorted(unscored, key=lambda row: row.partition_key)),
        provenance=dict(provenance),
        unknown_s=unknown_s,
        training=training,
        method=tuple(method),
    )
    return Scoring(results, statistics)


def evaluation_set(recordings: Iterable[ScoredRecording | ManifestRecording]) -> str:
    """Hash of recordings, references and unknown time: detectors are comparable if it is equal."""
    ordered = sorted(recordings, key=lambda recording: recording.partition_key)
    return digest(
        [
            [
                r.partition_key,
                r.patient,
                r.duration_s,
                *([event.start, event.stop, event.label] for event in r.reference),
                # Only if there is unknown time, so that it changes no other hash.
                *([["unknown", *r.unknown]] if r.unknown else []),
            ]
            for r in ordered
        ]
    )


def _by_rule(
    by_szcore: Sequence[SzcoreCounts], by_nedc: Sequence[NedcCounts]
) -> dict[str, list[Counts]]:
    """Counts of each recording by rule."""
    rules = {
        "szcore_event": [counts.event for counts in by_szcore],
        "szcore_sample": [counts.sample for counts in by_szcore],
    }
    for name in ("ovlp", "taes", "taes_exact", "epoch", "alignment"):
        by_label: list[nedc.ByLabel] = [getattr(counts, name) for counts in by_nedc]
        rules[f"nedc_{name}"] = [counts.seiz for counts in by_label]
        rules[f"nedc_{name}_bckg"] = [counts.bckg for counts in by_label]
        rules[f"nedc_{name}_total"] = [counts.total for counts in by_label]
    return rules


def _outcomes(row: RecordingResult) -> list[SeizureOutcome]:
    """The outcome of each annotated seizure; touching events of two types are two seizures."""
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


def _seconds(ordered: Sequence[ScoredRecording], patient_numbers: Mapping[str, int]) -> Seconds:
    """Score, label and patient of each known second of all recordings."""
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


def _hours(row: RecordingResult) -> list[tuple[int, str, Counts]]:
    """False alarms (OVLP) and known seconds of each hour of a recording, with its patient."""
    reference, hypothesis = nedc.joined_events(row.events)
    _, alone = nedc.overlaps(reference, hypothesis)
    starts = [event.start for event, alarm in zip(hypothesis, alone, strict=True) if alarm]
    unknown = UnknownTime.of(row.unknown, row.reference, row.duration_s).spans
    hours = []
    for hour in range(min(math.ceil(row.duration_s / SECONDS_PER_HOUR), LAST_HOUR + 1)):
        first = hour * SECONDS_PER_HOUR
        stop = row.duration_s if hour == LAST_HOUR else first + SECONDS_PER_HOUR
        stop = min(stop, row.duration_s)
        masked = math.fsum(max(min(stop, b) - max(first, a), 0.0) for a, b in unknown)
        alarms = sum(first <= start < stop for start in starts)
        hours.append((hour, row.patient, Counts(false=alarms, seconds=stop - first - masked)))
    return hours


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


def _statistics(
    patients: tuple[str, ...],
    by_rule: Mapping[str, Sequence[Counts]],
    rows: Sequence[RecordingResult],
    outcomes: Sequence[SeizureOutcome],
    seconds: Seconds,
    sweep: Sweep | None,
    hours: Sequence[tuple[int, str, Counts]],
    tuned: Mapping[str, NDArray[np.float64]],
) -> PatientStatistics:
    patient_numbers = {patient: number for number, patient in enumerate(patients)}
    tables: dict[str, NDArray[np.float64]] = {}

    def add(name: str, patient: str, counts: Counts) -> None:
        table = tables.setdefault(name, np.zeros((len(patients), 4)))
        table[patient_numbers[patient]] += (
            counts.reference,
            counts.detected,
            counts.false,
            counts.seconds,
        )

    for rule, by_recording in by_rule.items():
        for row, counts in zip(rows, by_recording, strict=True):
            add(rule, row.patient, counts)
    for row in rows:
        add(f"montage.{row.montage}", row.patient, row.szcore)
    for hour, patient_name, counts in hours:
        add(f"{HOURS}{hour}", patient_name, counts)
    late: dict[str, list[SeizureOutcome]] = {LATENCY: []}
    for outcome in outcomes:
        counts = Counts(1, float(outcome.detected))
        names = [LATENCY]
        for group in (f"type.{_type(outcome)}", f"duration.{_duration(outcome)}"):
            add(group, outcome.patient, counts)
            names.append(_latency_of(group))
        for name in names:
            late.setdefault(name, []).extend([outcome] if outcome.detected else [])
    scores, labels, patient = seconds
    return PatientStatistics(
        patients,
        tables | dict(tuned),
        {rule: by_recording[0].false_unit for rule, by_recording in by_rule.items()},
        sweep,
        rank_counts(scores, labels, patient, len(patients)),
        calibration_counts(scores, labels, patient, len(patients), CALIBRATION_BINS),
        {
            name: Latencies(
                np.array([outcome.latency_s for outcome in detected], dtype=np.float64),
                np.array([patient_numbers[outcome.patient] for outcome in detected], dtype=np.intp),
            )
            for name, detected in late.items()
        },
    )


def _latency_of(group: str) -> str:
    """Name of the median latency of a group of seizures."""
    return f"{group}.median_latency_s"


def _estimates(
    statistics: PatientStatistics, seconds: SecondFigures, drawn: NDArray[np.float64]
) -> dict[str, Estimate]:
    observed, resampled = statistics.figures(), statistics.figures(drawn)
    contributors = statistics.contributors()
    estimates = {}
    for name in sorted(observed):
        value, patients = float(observed[name][0]), contributors[name]
        # The reported value is computed from all seconds, not from binned ranks.
        if name in _OF_ALL_SECONDS:
            value = getattr(seconds, name.removeprefix("seconds."))
        low, high = interval(resampled[name], patients)
        if low == high:
            # All resamples agree, which says nothing about other patients.
            estimates[name] = _exact(statistics, name, value, patients)
        else:
            estimates[name] = Estimate.of(value, low, high, patients)
    return estimates


_OF_ALL_SECONDS = ("seconds.auroc", "seconds.auprc", "seconds.calibration_error")


def _exact(statistics: PatientStatistics, name: str, value: float, patients: int) -> Estimate:
    """An estimate whose bootstrap interval has no width.

    Its interval is exact if all or none were detected or there is no false alarm; otherwise it has
    none.
    """
    if unit_of(name) is Unit.ALARMS and value == 0:
        seconds = statistics.silent_seconds(name)
        return Estimate.of(value, *no_false_alarm(patients, seconds), patients, "poisson")
    if unit_of(name) is Unit.SHARE and name not in (*_OF_ALL_SECONDS, "nedc_ira.kappa"):
        return Estimate.of(value, *all_or_none(patients, value), patients, "clopper-pearson")
    return Estimate.of(value, math.nan, math.nan, patients)


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
            estimates[_latency_of(f"{kind}.{group}")],
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
