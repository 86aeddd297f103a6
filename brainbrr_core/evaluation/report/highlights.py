"""The events of an evaluation that are worth a picture: typical hits, worst misses and alarms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.results import EvaluationResults, RecordingResult
from brainbrr_core.evaluation.statistics import LATENCY
from brainbrr_core.scoring import nedc

Kind = Literal["detected seizure", "missed seizure", "false alarm"]


@dataclass(frozen=True, slots=True)
class Highlight:
    """An event worth a picture: which, and the seconds of the recording to show."""

    kind: Kind
    partition_key: str
    event: Event
    start_s: float
    stop_s: float


def typical_hits(
    results: EvaluationResults, count: int = 2, context_s: float = 10.0, longest_s: float = 60.0
) -> list[Highlight]:
    """Detected seizures whose latency is nearest to the median, each patient's before second ones.

    The median, because the best hit would flatter.
    """
    median = results.estimates[LATENCY].value
    late = {
        (outcome.partition_key, outcome.start_s, outcome.stop_s): outcome.latency_s
        for outcome in results.outcomes
        if outcome.detected
    }
    found = [
        (row, event)
        for row in results.recordings
        for event in row.reference
        if (row.partition_key, event.start, event.stop) in late
    ]
    distance = {
        (row.partition_key, event): abs(late[row.partition_key, event.start, event.stop] - median)
        for row, event in found
    }
    ordered = _spread(found, lambda row, event: -distance[row.partition_key, event])
    return [
        _highlight("detected seizure", row, event, context_s, longest_s)
        for row, event in ordered[:count]
    ]


def worst_misses(
    results: EvaluationResults, count: int = 4, context_s: float = 10.0, longest_s: float = 60.0
) -> list[Highlight]:
    """The longest seizures that no detection overlaps, each patient's worst before second ones."""
    found = []
    for row in results.recordings:
        reference, hypothesis = nedc.joined_events(row.events)
        hit, _ = nedc.overlaps(reference, hypothesis)
        found += [
            (row, event) for event, seen in zip(reference, hit.tolist(), strict=True) if not seen
        ]
    worst = _spread(found, lambda _, event: event.duration)[:count]
    return [_highlight("missed seizure", row, event, context_s, longest_s) for row, event in worst]


def worst_false_alarms(
    results: EvaluationResults, count: int = 4, context_s: float = 10.0, longest_s: float = 60.0
) -> list[Highlight]:
    """The most confident detections that overlap no seizure, spread over patients likewise."""
    found = []
    for row in results.recordings:
        reference, hypothesis = nedc.joined_events(row.events)
        _, alone = nedc.overlaps(reference, hypothesis)
        found += [
            (row, event) for event, alarm in zip(hypothesis, alone.tolist(), strict=True) if alarm
        ]
    worst = _spread(found, lambda _, event: event.confidence)[:count]
    return [_highlight("false alarm", row, event, context_s, longest_s) for row, event in worst]


Found = list[tuple[RecordingResult, Event]]


def _spread(found: Found, rank: Callable[[RecordingResult, Event], float]) -> Found:
    """Highest rank first, but each patient's highest before anyone's second highest."""
    ordered = sorted(found, key=lambda pair: (-rank(*pair), pair[0].partition_key, pair[1]))
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
    context_s: float,
    longest_s: float,
) -> Highlight:
    """The event with ``context_s`` seconds around it, from its start if it is too long."""
    start = max(event.start - context_s, 0.0)
    stop = min(event.stop + context_s, start + longest_s, row.duration_s)
    return Highlight(kind, row.partition_key, event, start, stop)
