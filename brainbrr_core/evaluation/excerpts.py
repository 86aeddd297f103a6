"""Scores of a detector on excerpts that are labeled in some intervals only.

Collections such as the clips of Jing et al. (Neurology 2023) label ten seconds in the middle of a
longer excerpt, many with a rhythmic or periodic pattern that is no seizure. They are neither
whole recordings nor splits of a corpus. Time without a label is not scored, unless no interval of
the excerpt is labeled as seizure.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv

from brainbrr_core.annotation import Event, uncovered
from brainbrr_core.errors import BrainbrrError, cannot_read
from brainbrr_core.evaluation.results import SECONDS_PER_HOUR
from brainbrr_core.machine.filesystem import real_path
from brainbrr_core.scoring import auroc, per_second, rank
from brainbrr_core.scoring.bootstrap import LEVEL

#: Labels that mean a seizure, in lower case.
SEIZURE_LABELS = ("sz", "seiz", "seizure")
_COLUMNS = ("file", "label", "start_s", "stop_s")


@dataclass(frozen=True, slots=True)
class LabeledInterval:
    """An interval of a recording whose label is known.

    Attributes
    ----------
    file : pathlib.Path
        The recording.
    label : str
        What the interval shows, such as ``SZ`` or ``LPD``.
    start_s, stop_s : float
        The interval, in seconds from the first sample.
    """

    file: Path
    label: str
    start_s: float
    stop_s: float


class Detected(Protocol):
    """The detections of a detector in one recording, such as a ``Prediction``."""

    @property
    def events(self) -> Sequence[Event]:
        """The events, in order."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """The score of each frame of 1/8 s, higher where a seizure is more likely."""

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion of trials, with Clopper and Pearson's 95 % interval (1934).

    Attributes
    ----------
    hits, trials : int
        Number of trials that succeeded, and of all trials.
    """

    hits: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of the proportion; (0, 1) without a trial."""
        tail, misses = (1 - LEVEL) / 2, self.trials - self.hits
        low = float(betaincinv(self.hits, misses + 1, tail)) if self.hits else 0.0
        high = float(betaincinv(self.hits + 1, misses, 1 - tail)) if misses else 1.0
        return low, high


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of events, with Garwood's 95 % interval of a Poisson rate (1936).

    Attributes
    ----------
    events : int
        Number of events.
    hours : float
        Length of the time in which they were counted, in hours.
    """

    events: int
    hours: float

    @property
    def per_hour(self) -> float:
        """Events per hour; NaN for no time."""
        return self.events / self.hours if self.hours else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of the rate per hour; NaN for no time."""
        if not self.hours:
            return math.nan, math.nan
        tail = (1 - LEVEL) / 2
        low = float(gammaincinv(self.events, tail)) if self.events else 0.0
        return low / self.hours, float(gammaincinv(self.events + 1, 1 - tail)) / self.hours


@dataclass(frozen=True, slots=True)
class ExcerptResult:
    """A labeled interval, and whether the detector has an event in it.

    Attributes
    ----------
    interval : LabeledInterval
        The interval.
    is_seizure : bool
        Whether its label means a seizure.
    detected : bool
        Whether an event overlaps the interval.
    latency_s : float
        Seconds from the start of the interval to the first such event, 0 where that began before;
        NaN where there is none.
    """

    interval: LabeledInterval
    is_seizure: bool
    detected: bool
    latency_s: float


@dataclass(frozen=True)
class ExcerptScores:
    """The scores of a detector on labeled excerpts.

    Attributes
    ----------
    results : tuple of ExcerptResult
        One for each interval, in the order of the table.
    false_alarms : Rate
        Events in recordings without a labeled seizure, over their whole length.
    without_events : Share
        Recordings without a labeled seizure that have no event at all.
    auroc : float
        Probability that a second labeled as seizure has a higher mean score than a second with
        another label, ties counting half; NaN where one of the two is missing.
    seconds : tuple of int
        How many seconds are labeled as seizure, and as something else.
    """

    results: tuple[ExcerptResult, ...]
    false_alarms: Rate
    without_events: Share
    auroc: float
    seconds: tuple[int, int]

    def share(self, label: str | None = None) -> Share:
        """The share of intervals of a label that have an event; by default, of labeled seizures."""
        chosen = [
            result.detected
            for result in self.results
            if (result.is_seizure if label is None else result.interval.label == label)
        ]
        return Share(sum(chosen), len(chosen))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, those of seizures first, each in the order of the table."""
        ordered = sorted(self.results, key=lambda result: not result.is_seizure)
        return tuple(dict.fromkeys(result.interval.label for result in ordered))


def read_intervals(table: Path) -> tuple[LabeledInterval, ...]:
    """Read a table of labeled intervals.

    Parameters
    ----------
    table : pathlib.Path
        A file with the columns ``file``, ``label``, ``start_s`` and ``stop_s``, separated by
        commas (``.csv``) or tabs. Paths of files are relative to the folder of the table.

    Returns
    -------
    tuple of LabeledInterval
        In the order of the table.

    Raises
    ------
    BrainbrrError
        For a table that cannot be read, lacks a column or has no row, and an impossible interval.
    """
    separator = "," if table.suffix.lower() == ".csv" else "\t"
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=separator)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                between = "commas" if separator == "," else "tabs"
                raise BrainbrrError(
                    f"{table} has no column {missing[0]!r}: it needs {', '.join(_COLUMNS)}, "
                    f"separated by {between}"
                )
            intervals = [_interval(table, reader.line_num, row) for row in reader]
    except OSError as error:
        raise cannot_read(table, error) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BrainbrrError(f"{table} is not a table of text: {error}") from None
    if not intervals:
        raise BrainbrrError(f"{table} has no row: add a labeled interval")
    return tuple(intervals)


def _interval(table: Path, line: int, row: Mapping[str, str | None]) -> LabeledInterval:
    name, label, start, stop = ((row[column] or "").strip() for column in _COLUMNS)
    try:
        interval = LabeledInterval(table.parent / name, label, float(start), float(stop))
    except ValueError:
        interval = None
    if (
        interval is None
        or not name
        or not label
        or not 0 <= interval.start_s < interval.stop_s < math.inf
    ):
        raise BrainbrrError(
            f"{table}, line {line}: a row needs a file, a label, and 0 <= start_s < stop_s"
        )
    return interval


def score_excerpts(
    intervals: Iterable[LabeledInterval],
    detect: Callable[[Path], Detected],
    seizure_labels: Sequence[str] = SEIZURE_LABELS,
) -> ExcerptScores:
    """Score a detector on intervals whose labels are known.

    Parameters
    ----------
    intervals : iterable of LabeledInterval
        The intervals; a recording may have several.
    detect : callable
        Takes the path of a recording and returns its ``events``, the ``scores`` of its frames of
        1/8 s, and its ``duration_s``, as :meth:`brainbrr_core.api.detector.Detector.analyze` does.
        Called once for each recording.
    seizure_labels : sequence of str
        The labels that mean a seizure, in upper or lower case.

    Returns
    -------
    ExcerptScores
        The scores. In a recording with a labeled seizure, events outside the labeled intervals are
        not counted, since it is not known what that time shows.

    Raises
    ------
    BrainbrrError
        For an interval that ends after its recording and for two overlapping intervals of one
        recording (each second has one label); and whatever ``detect`` raises.
    """
    rows = tuple(intervals)
    _check_disjoint(rows)
    names = {label.lower() for label in seizure_labels}
    detections: dict[Path, Detected] = {}
    by_file: dict[Path, list[ExcerptResult]] = {}
    results = []
    for row in rows:
        file = real_path(row.file)
        if file not in detections:
            detections[file] = detect(row.file)
        if row.stop_s > detections[file].duration_s:
            raise BrainbrrError(
                f"{row.file} lasts {detections[file].duration_s:g} s, and an interval labeled "
                f"{row.label} ends at {row.stop_s:g} s: correct the table"
            )
        result = _result(row, detections[file], row.label.lower() in names)
        results.append(result)
        by_file.setdefault(file, []).append(result)
    without_seizure = [
        detected
        for file, detected in detections.items()
        if not any(result.is_seizure for result in by_file[file])
    ]
    pairs = [_labeled_seconds(detections[file], of_file) for file, of_file in by_file.items()]
    labels = np.concatenate([labels for _, labels in pairs])
    ranking = rank(np.concatenate([scores for scores, _ in pairs]), labels)
    return ExcerptScores(
        tuple(results),
        Rate(
            sum(len(detected.events) for detected in without_seizure),
            math.fsum(detected.duration_s for detected in without_seizure) / SECONDS_PER_HOUR,
        ),
        Share(sum(not detected.events for detected in without_seizure), len(without_seizure)),
        auroc(ranking),
        (ranking.positives, ranking.negatives),
    )


def _check_disjoint(rows: Sequence[LabeledInterval]) -> None:
    """Raise :class:`BrainbrrError` where two intervals of a recording overlap."""
    ordered = sorted(rows, key=lambda row: (real_path(row.file), row.start_s, row.stop_s))
    for one, following in pairwise(ordered):
        if real_path(one.file) == real_path(following.file) and following.start_s < one.stop_s:
            raise BrainbrrError(
                f"{one.file}: the intervals {one.start_s:g} to {one.stop_s:g} s ({one.label}) and "
                f"{following.start_s:g} to {following.stop_s:g} s ({following.label}) overlap: "
                "each second has one label; correct the table"
            )


def _result(row: LabeledInterval, detected: Detected, is_seizure: bool) -> ExcerptResult:
    starts = [
        event.start
        for event in detected.events
        if event.start < row.stop_s and event.stop > row.start_s
    ]
    latency = max(min(starts) - row.start_s, 0.0) if starts else math.nan
    return ExcerptResult(row, is_seizure, bool(starts), latency)


def _labeled_seconds(
    detected: Detected, results: Sequence[ExcerptResult]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Score and label (seizure or not) of each second of a recording that has a label."""
    labeled = [Event(one.interval.start_s, one.interval.stop_s) for one in results]
    ictal = [event for event, one in zip(labeled, results, strict=True) if one.is_seizure]
    unknown = uncovered([Event(0.0, detected.duration_s)], labeled)
    return per_second(detected.scores, ictal, unknown)
