"""The events whose EEG a report shows: typical hits, and the worst misses and false alarms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.results import EvaluationResults, RecordingResult
from brainbrr_core.evaluation.statistics import LATENCY
from brainbrr_core.scoring import nedc

#: Seconds that are shown before and after an event, and the most of a recording that is shown.
_CONTEXT_S, _LONGEST_S = 10.0, 60.0

Kind = Literal["detected seizure", "missed seizure", "false alarm"]


@dataclass(frozen=True, slots=True)
class Highlight:
    """An event whose EEG a report shows.

    Attributes
    ----------
    kind : str
        Whether it is a detected seizure, a missed seizure or a false alarm.
    partition_key : str
        Its recording.
    event : Event
        The event.
    start_s, stop_s : float
        The segment to show, in seconds from the start of the recording.
    """

    kind: Kind
    partition_key: str
    event: Event
    start_s: float
    stop_s: float


def typical_hits(results: EvaluationResults, count: int = 2) -> list[Highlight]:
    """The detected seizures whose latency is closest to the median.

    Typical hits are shown because the best ones would flatter the detector. The first of every
    patient comes before the second of any patient.
    """
    median = results.estimates[LATENCY].value
    latencies = {
        (outcome.partition_key, outcome.start_s, outcome.stop_s): outcome.latency_s
        for outcome in results.outcomes
        if outcome.detected
    }
    hits = [
        (row, event)
        for row in results.recordings
        for event in row.reference
        if (row.partition_key, event.start, event.stop) in latencies
    ]
    distance = {
        (row.partition_key, event): abs(
            latencies[row.partition_key, event.start, event.stop] - median
        )
        for row, event in hits
    }
    ordered = _rank_by_patient(hits, lambda row, event: -distance[row.partition_key, event])
    return [_highlight("detected seizure", row, event) for row, event in ordered[:count]]


def worst_misses(results: EvaluationResults, count: int = 4) -> list[Highlight]:
    """The longest seizures that no detection overlaps.

    The longest of every patient comes before the second longest of any patient.
    """
    misses = []
    for row in results.recordings:
        reference, hypothesis = nedc.join_events(row.events)
        hits, _ = nedc.overlaps(reference, hypothesis)
        misses += [
            (row, event) for event, hit in zip(reference, hits.tolist(), strict=True) if not hit
        ]
    worst = _rank_by_patient(misses, lambda _, event: event.duration)[:count]
    return [_highlight("missed seizure", row, event) for row, event in worst]


def worst_false_alarms(results: EvaluationResults, count: int = 4) -> list[Highlight]:
    """The detections of highest confidence that overlap no seizure.

    The first of every patient comes before the second of any patient.
    """
    alarms = []
    for row in results.recordings:
        reference, hypothesis = nedc.join_events(row.events)
        _, false = nedc.overlaps(reference, hypothesis)
        alarms += [
            (row, event) for event, alarm in zip(hypothesis, false.tolist(), strict=True) if alarm
        ]
    worst = _rank_by_patient(alarms, lambda _, event: event.confidence)[:count]
    return [_highlight("false alarm", row, event) for row, event in worst]


_Candidates = list[tuple[RecordingResult, Event]]


def _rank_by_patient(
    candidates: _Candidates, rank: Callable[[RecordingResult, Event], float]
) -> _Candidates:
    """Sort by falling rank, with the first of every patient before the second of any patient."""
    ordered = sorted(candidates, key=lambda pair: (-rank(*pair), pair[0].partition_key, pair[1]))
    turns: dict[str, int] = {}
    ranked = []
    for row, event in ordered:
        turns[row.patient] = turns.get(row.patient, 0) + 1
        ranked.append((turns[row.patient], row, event))
    ranked.sort(key=lambda entry: entry[0])
    return [(row, event) for _, row, event in ranked]


def _highlight(
    kind: Kind,
    row: RecordingResult,
    event: Event,
) -> Highlight:
    """A highlight with some time before and after the event; a long one is cut at its end."""
    start = max(event.start - _CONTEXT_S, 0.0)
    stop = min(event.stop + _CONTEXT_S, start + _LONGEST_S, row.duration_s)
    return Highlight(kind, row.partition_key, event, start, stop)
