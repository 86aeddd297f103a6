"""The events of an evaluation that are worth a picture: the worst misses and false alarms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from brainbrr_core.annotation import Event
from brainbrr_core.evaluation.results import EvaluationResults, RecordingResult
from brainbrr_core.scoring import nedc


@dataclass(frozen=True, slots=True)
class Highlight:
    """An event worth a picture: which, and the stretch of the recording to show."""

    kind: Literal["missed seizure", "false alarm"]
    partition_key: str
    event: Event
    start_s: float
    stop_s: float


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
    worst = _spread(found, lambda event: event.duration)[:count]
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
    worst = _spread(found, lambda event: event.confidence)[:count]
    return [_highlight("false alarm", row, event, context_s, longest_s) for row, event in worst]


Found = list[tuple[RecordingResult, Event]]


def _spread(found: Found, badness: Callable[[Event], float]) -> Found:
    """Worst first, but each patient's worst before anyone's second worst."""
    ordered = sorted(found, key=lambda pair: (-badness(pair[1]), pair[0].partition_key, pair[1]))
    turns: dict[str, int] = {}
    ranked = []
    for row, event in ordered:
        turns[row.patient] = turns.get(row.patient, 0) + 1
        ranked.append((turns[row.patient], row, event))
    ranked.sort(key=lambda entry: entry[0])
    return [(row, event) for _, row, event in ranked]


def _highlight(
    kind: Literal["missed seizure", "false alarm"],
    row: RecordingResult,
    event: Event,
    context_s: float,
    longest_s: float,
) -> Highlight:
    """The event with ``context_s`` seconds around it, from its start if it is too long."""
    start = max(event.start - context_s, 0.0)
    stop = min(event.stop + context_s, start + longest_s, row.duration_s)
    return Highlight(kind, row.partition_key, event, start, stop)
