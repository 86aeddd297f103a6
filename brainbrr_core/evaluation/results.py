"""What an evaluation found: everything a report shows, as plain values that survive JSON.

A figure that is undefined (sensitivity without seizures) is NaN here and null in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.scoring import (
    COARSE_THRESHOLDS,
    Counts,
    Detect,
    Figures,
    Measure,
    RecordingEvents,
    ReliabilityBin,
    SweepRow,
    auprc,
    auroc,
    expected_calibration_error,
    figures,
    nedc,
    per_second,
    pr_points,
    rank,
    reliability,
    roc_points,
    seizures,
    summarise,
    sweep_thresholds,
    szcore,
    total,
)

SECONDS_PER_HOUR = 3600.0
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRecording:
    """One recording as it comes from detection; ``probabilities_8hz`` are its frames."""

    partition_key: str
    patient: str
    montage: str
    duration_s: float
    reference: tuple[Event, ...]
    hypothesis: tuple[Event, ...]
    probabilities_8hz: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """One recording with what two of the rules count in it.

    ``ovlp`` counts events as they are written (NEDC, SEIZ only), ``szcore`` after SzCORE's
    merging and splitting.
    """

    partition_key: str
    patient: str
    montage: str
    duration_s: float
    reference: tuple[Event, ...]
    hypothesis: tuple[Event, ...]
    ovlp: Counts
    szcore: Counts


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Figures of some of the recordings: those of a patient or of a montage.

    ``figures`` are SzCORE's event-based ones, pooled within the group.
    """

    name: str
    recordings: int
    hours: float
    seizures: int
    figures: Figures
    ovlp: Counts


@dataclass(frozen=True, slots=True)
class SecondFigures:
    """Figures of the probability of each second, without a threshold, and their curves."""

    seconds: int
    ictal_seconds: int
    auroc: Measure
    auprc: Measure
    calibration_error: Measure
    roc: Points
    precision_recall: Points
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The thresholds in use and where they come from.

    ``split`` is the split the on-threshold was tuned on, None where it was set by hand;
    ``f1`` is the pooled event F1 it reached there and ``rows`` what was tried.
    """

    on_threshold: float
    off_threshold: float
    split: str | None
    f1: Measure = float("nan")
    rows: tuple[SweepRow, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """Everything a report shows.

    ``headline`` has one entry per rule: ``szcore_event``, ``szcore_sample`` (pooled), both with
    ``_subject_mean`` (SzCORE's average over subjects), ``nedc_ovlp``, ``nedc_taes``,
    ``nedc_epoch`` (SEIZ only, pooled). ``counts`` has the sums behind the pooled ones.
    ``operating_curve`` are figures of the scored split over a range of thresholds; nothing is
    chosen by it. ``weights_chosen_on`` is the split by which the network's weights were picked,
    if any.
    """

    split: str
    profile: str
    threshold: ThresholdChoice
    weights_chosen_on: str | None
    headline: dict[str, Figures]
    counts: dict[str, Counts]
    seconds: SecondFigures
    operating_curve: tuple[SweepRow, ...]
    patients: tuple[GroupRow, ...]
    montages: tuple[GroupRow, ...]
    recordings: tuple[RecordingResult, ...]
    provenance: dict[str, str]

    @property
    def hours(self) -> float:
        """Length of all recordings."""
        return sum(row.duration_s for row in self.recordings) / SECONDS_PER_HOUR

    @property
    def seizures(self) -> int:
        """Reference events as they are written."""
        return round(self.counts["nedc_ovlp"].reference)

    def to_json(self) -> str:
        """JSON text; the same results give the same text."""
        return _adapter().dump_json(self, indent=1).decode() + "\n"

    @staticmethod
    def from_json(text: str, where: str = "results") -> EvaluationResults:
        """Results from :meth:`to_json`'s text; raises :class:`BrainbrrError` naming ``where``."""
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BrainbrrError(
                f"{where} does not hold evaluation results ({place}: {first['msg']}): "
                "evaluate again"
            ) from None


@cache
def _adapter() -> TypeAdapter[EvaluationResults]:
    return TypeAdapter(EvaluationResults)


@dataclass(frozen=True, slots=True)
class Highlight:
    """An event worth a picture: which, and the stretch of the recording to show."""

    kind: Literal["missed seizure", "false alarm"]
    partition_key: str
    event: Event
    start_s: float
    stop_s: float


def score(
    recordings: Iterable[ScoredRecording],
    *,
    split: str,
    threshold: ThresholdChoice,
    provenance: Mapping[str, str],
    profile: str = "",
    weights_chosen_on: str | None = None,
    detect: Detect | None = None,
    thresholds: Sequence[float] = COARSE_THRESHOLDS,
) -> EvaluationResults:
    """All figures of some recordings of one split; their order does not matter.

    With ``detect(probabilities, duration_s, on_threshold)`` the operating curve over
    ``thresholds`` and the one in use is drawn up too.

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
        )
        for recording in ordered
    ]
    by_szcore = [szcore.score_recording(pair) for pair in pairs]
    by_nedc = [nedc.score_recording(pair) for pair in pairs]
    results = tuple(
        RecordingResult(
            recording.partition_key,
            recording.patient,
            recording.montage,
            recording.duration_s,
            tuple(recording.reference),
            tuple(recording.hypothesis),
            nedc_counts.ovlp,
            szcore_counts.event,
        )
        for recording, szcore_counts, nedc_counts in zip(ordered, by_szcore, by_nedc, strict=True)
    )
    patients = [recording.patient for recording in ordered]
    events = summarise(zip(patients, (part.event for part in by_szcore), strict=True))
    samples = summarise(zip(patients, (part.sample for part in by_szcore), strict=True))
    counts = {
        "szcore_event": events.counts,
        "szcore_sample": samples.counts,
        "nedc_ovlp": total(part.ovlp for part in by_nedc),
        "nedc_taes": total(part.taes for part in by_nedc),
        "nedc_epoch": total(part.epoch for part in by_nedc),
    }
    headline = {rule: figures(part) for rule, part in counts.items()}
    headline["szcore_event_subject_mean"] = events.subject_mean
    headline["szcore_sample_subject_mean"] = samples.subject_mean
    curve = (
        sweep_thresholds(ordered, detect, (*thresholds, threshold.on_threshold)) if detect else ()
    )
    return EvaluationResults(
        split,
        profile,
        threshold,
        weights_chosen_on,
        dict(sorted(headline.items())),
        counts,
        second_figures(ordered),
        curve,
        _groups(results, lambda row: row.patient),
        _groups(results, lambda row: row.montage),
        results,
        dict(provenance),
    )


def second_figures(recordings: Sequence[ScoredRecording]) -> SecondFigures:
    """Figures of the seconds of all recordings together."""
    pairs = [
        per_second(recording.probabilities_8hz, recording.reference) for recording in recordings
    ]
    probabilities = np.concatenate([pair[0] for pair in pairs])
    labels = np.concatenate([pair[1] for pair in pairs])
    ranking = rank(probabilities, labels)
    bins = reliability(probabilities, labels)
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


def worst_misses(
    results: EvaluationResults, count: int = 4, context_s: float = 10.0, longest_s: float = 60.0
) -> list[Highlight]:
    """The longest seizures that no detection overlaps, each patient's worst before second ones."""
    found = []
    for row in results.recordings:
        reference, hypothesis = _written(row)
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
        reference, hypothesis = _written(row)
        _, alone = nedc.overlaps(reference, hypothesis)
        found += [
            (row, event) for event, alarm in zip(hypothesis, alone.tolist(), strict=True) if alarm
        ]
    worst = _spread(found, lambda event: event.confidence)[:count]
    return [_highlight("false alarm", row, event, context_s, longest_s) for row, event in worst]


Found = list[tuple[RecordingResult, Event]]


def _written(row: RecordingResult) -> tuple[list[Event], list[Event]]:
    return seizures(row.reference, row.partition_key), seizures(row.hypothesis, row.partition_key)


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
