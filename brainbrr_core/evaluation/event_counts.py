"""Counts of recordings with events, and every figure that follows from them, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.results import (
    SECONDS_PER_HOUR,
    Estimate,
    RecordingResult,
    SeizureOutcome,
)
from brainbrr_core.evaluation.statistics import (
    HOURS,
    LATENCY,
    Latencies,
    PatientStatistics,
    Unit,
    calibration_counts,
    rank_counts,
    unit_of,
)
from brainbrr_core.scoring import (
    Counts,
    RecordingEvents,
    Sweep,
    UnknownTime,
    all_or_none,
    interval,
    nedc,
    no_false_alarm,
    szcore,
)
from brainbrr_core.scoring.recording import scored_events

#: Seizures are grouped by duration: from each of these seconds up to the next.
DURATION_EDGES_S = (0.0, 10.0, 30.0, 60.0, 120.0, 300.0, math.inf)
CALIBRATION_BINS = 10
#: False alarms are counted by hour of the recording; all hours after this one are one group.
LAST_HOUR = 24
#: Figures of the scores of all seconds.
OF_ALL_SECONDS = ("seconds.auroc", "seconds.auprc", "seconds.calibration_error")
#: Shares that are not a number of seizures or detections divided by another.
NOT_COUNTED = (*OF_ALL_SECONDS, "nedc_ira.kappa")
#: Score of each second, whether it is ictal, and the number of its patient.
Seconds = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]
NO_SECONDS: Seconds = (np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.intp))


@dataclass(frozen=True)
class CountedRecordings:
    """Recordings with their counts under every rule.

    Attributes
    ----------
    rows : tuple of RecordingResult
        The recordings, ordered by name, without montage and corpus.
    by_rule : dict of list of Counts
        Counts of each of ``rows`` by the rule's name.
    unknown_s : float
        Seconds of all recordings that are neither seizure nor background.
    """

    rows: tuple[RecordingResult, ...]
    by_rule: dict[str, list[Counts]]
    unknown_s: float


def count_recordings(recordings: Iterable[RecordingEvents], all_unknown: str) -> CountedRecordings:
    """Count the events of recordings under every rule.

    Raises :class:`BrainbrrError` for a recording without length, impossible times, a hypothesis of
    another length and a name that occurs twice, and with the message ``all_unknown`` if all time is
    unknown.
    """
    pairs = sorted(recordings, key=lambda pair: pair.name)
    for pair, following in pairwise(pairs):
        if pair.name == following.name:
            raise BrainbrrError(f"{pair.name!r} would be scored twice: list each recording once")
    unknown_s = math.fsum(
        UnknownTime.of(pair.unknown, pair.reference, pair.duration_s).seconds for pair in pairs
    )
    if unknown_s and unknown_s >= math.fsum(pair.duration_s for pair in pairs):
        raise BrainbrrError(all_unknown)
    by_rule = counts_by_rule(pairs)
    rows = tuple(
        RecordingResult(
            pair.name,
            pair.subject,
            "",
            pair.duration_s,
            tuple(pair.reference),
            tuple(pair.hypothesis),
            ovlp,
            szcore_event,
            tuple(pair.unknown),
        )
        for pair, ovlp, szcore_event in zip(
            pairs, by_rule["nedc_ovlp"], by_rule["szcore_event"], strict=True
        )
    )
    return CountedRecordings(rows, by_rule, unknown_s)


def counts_by_rule(recordings: Sequence[RecordingEvents]) -> dict[str, list[Counts]]:
    """Counts of each recording under every rule of SzCORE and NEDC, by the rule's name.

    Raises :class:`BrainbrrError` for a recording without length, impossible times, and a hypothesis
    of another length.
    """
    by_szcore = [szcore.score_recording(recording) for recording in recordings]
    by_nedc = [nedc.score_recording(recording) for recording in recordings]
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


def outcomes_of(row: RecordingResult) -> list[SeizureOutcome]:
    """The outcome of each annotated seizure; touching events of two types are two seizures."""
    reference, hypothesis, _ = scored_events(row.events, touching=False)
    outcomes = []
    for event in reference:
        hits = [hyp for hyp in hypothesis if hyp.stop > event.start and hyp.start < event.stop]
        inside = math.fsum(min(hit.stop, event.stop) - max(hit.start, event.start) for hit in hits)
        outcomes.append(
            SeizureOutcome(
                row.partition_key,
                row.patient,
                row.montage,
                event.start,
                event.stop,
                event.label,
                bool(hits),
                hits[0].start - event.start if hits else math.nan,
                inside / event.duration,
            )
        )
    return outcomes


def false_alarm_hours(row: RecordingResult) -> list[tuple[int, str, Counts]]:
    """False alarms (OVLP) and known seconds of each hour of a recording, with its patient."""
    reference, hypothesis = nedc.join_events(row.events)
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


def patient_statistics(
    patients: tuple[str, ...],
    by_rule: Mapping[str, Sequence[Counts]],
    rows: Sequence[RecordingResult],
    outcomes: Sequence[SeizureOutcome],
    hours: Sequence[tuple[int, str, Counts]],
    *,
    seconds: Seconds = NO_SECONDS,
    sweep: Sweep | None = None,
    tuned: Mapping[str, NDArray[np.float64]] | None = None,
) -> PatientStatistics:
    """What each patient contributes to every figure.

    ``patients`` are sorted, and ``by_rule`` has the counts of each of ``rows``. ``seconds``
    describe every second that is not unknown. ``sweep`` and ``tuned`` have the counts at other
    thresholds. All three are left out for events without scores.
    """
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
        if row.corpus:
            add(f"corpus.{row.corpus}", row.patient, row.szcore)
        if row.age_group:
            add(f"age.{row.age_group}", row.patient, row.szcore)
    for hour, patient_name, counts in hours:
        add(f"{HOURS}{hour}", patient_name, counts)
    detected: dict[str, list[SeizureOutcome]] = {LATENCY: []}
    for outcome in outcomes:
        counts = Counts(1, float(outcome.detected))
        names = [LATENCY]
        for group in (f"type.{type_group(outcome)}", f"duration.{duration_group(outcome)}"):
            add(group, outcome.patient, counts)
            names.append(latency_name(group))
        for name in names:
            detected.setdefault(name, []).extend([outcome] if outcome.detected else [])
    scores, labels, patient = seconds
    return PatientStatistics(
        patients,
        tables | dict(tuned or {}),
        {rule: by_recording[0].false_unit for rule, by_recording in by_rule.items()},
        sweep,
        rank_counts(scores, labels, patient, len(patients)),
        calibration_counts(scores, labels, patient, len(patients), CALIBRATION_BINS),
        {
            name: Latencies(
                np.array([outcome.latency_s for outcome in group], dtype=np.float64),
                np.array([patient_numbers[outcome.patient] for outcome in group], dtype=np.intp),
            )
            for name, group in detected.items()
        },
    )


def latency_name(group: str) -> str:
    """Name of the median latency of a group of seizures."""
    return f"{group}.median_latency_s"


def estimates_of(
    statistics: PatientStatistics,
    drawn: NDArray[np.float64],
    of_all_seconds: Mapping[str, float] | None = None,
) -> dict[str, Estimate]:
    """Every figure with its interval over the resamples ``drawn`` of the patients.

    ``of_all_seconds`` has values computed from all seconds, which replace those of binned ranks.
    """
    observed, resampled = statistics.figures(), statistics.figures(drawn)
    contributors = statistics.contributors()
    estimates = {}
    for name in sorted(observed):
        value, patients = float(observed[name][0]), contributors[name]
        value = (of_all_seconds or {}).get(name, value)
        low, high = interval(resampled[name], patients)
        if low == high:
            # All resamples agree, which says nothing about other patients.
            estimates[name] = _exact(statistics, name, value, patients)
        else:
            estimates[name] = Estimate.of(value, low, high, patients)
    return estimates


def _exact(statistics: PatientStatistics, name: str, value: float, patients: int) -> Estimate:
    """An estimate whose bootstrap interval would have no width.

    It has an exact interval if all or no seizures were detected or there is no false alarm, and
    otherwise none.
    """
    if unit_of(name) is Unit.ALARMS and value == 0:
        seconds = statistics.silent_seconds(name)
        return Estimate.of(value, *no_false_alarm(patients, seconds), patients, "poisson")
    if unit_of(name) is Unit.SHARE and name not in NOT_COUNTED:
        return Estimate.of(value, *all_or_none(patients, value), patients, "clopper-pearson")
    return Estimate.of(value, math.nan, math.nan, patients)


def type_group(outcome: SeizureOutcome) -> str:
    """The group of seizures of one type that a seizure belongs to."""
    return outcome.label


def duration_group(outcome: SeizureOutcome) -> str:
    """The group of seizures of similar duration that a seizure belongs to, in words."""
    length = outcome.stop_s - outcome.start_s
    low, high = next(edges for edges in pairwise(DURATION_EDGES_S) if length < edges[1])
    if math.isinf(high):
        return f"{low:g} s or more"
    return f"{low:g} to {high:g} s" if low else f"under {high:g} s"
