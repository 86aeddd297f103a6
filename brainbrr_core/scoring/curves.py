"""Figures of scores without a threshold: ROC, precision and recall, calibration.

All take one score and one label per second of recording. ROC, precision and recall depend on the
order of the scores alone. Calibration takes scores that are logits, and judges the probabilities
that they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.constants import BACKGROUND, FRAME_HZ
from brainbrr_core.scoring.counts import Measure
from brainbrr_core.scoring.operating_point import sigmoid
from brainbrr_core.scoring.unknown import UnknownTime

Floats = NDArray[np.float64]
DRAWN_POINTS = 200


@dataclass(frozen=True, slots=True)
class Ranking:
    """Seconds at or above each distinct score, from the highest to the lowest.

    Attributes
    ----------
    thresholds : array of float64, shape (scores,)
        The distinct scores, falling; none without seconds.
    true, false : array of int64, shape (scores,)
        How many ictal and how many other seconds have at least each score. The last entries are
        all the seconds there are.
    """

    thresholds: Floats
    true: NDArray[np.int64]
    false: NDArray[np.int64]

    @property
    def positives(self) -> int:
        """Number of ictal seconds."""
        return int(self.true[-1]) if self.true.size else 0

    @property
    def negatives(self) -> int:
        """Number of other seconds."""
        return int(self.false[-1]) if self.false.size else 0


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The seconds whose predicted probability lies in one interval.

    Attributes
    ----------
    low, high : float
        Ends of the interval; ``high`` belongs to it only in the last bin.
    seconds : int
        Number of these seconds.
    probability : float
        Mean of their probabilities; NaN in an empty bin.
    ictal : float
        Share of them that is ictal; NaN in an empty bin.
    """

    low: float
    high: float
    seconds: int
    probability: Measure
    ictal: Measure


def per_second(
    scores: NDArray[np.floating],
    reference: Sequence[Event],
    unknown: Sequence[tuple[float, float]] = (),
) -> tuple[Floats, NDArray[np.bool_]]:
    """Score and label of each whole second of a recording, without unknown seconds.

    A second is ictal when its middle lies in a seizure of ``reference``, and unknown when its
    middle lies in ``unknown`` and in no seizure. What remains of a recording after its last whole
    second is left out.

    Parameters
    ----------
    scores : array, shape (frames,)
        Scores of the recording's frames, eight per second.
    reference : sequence of Event
        Annotated events, times in seconds.
    unknown : sequence of (float, float)
        Intervals, start and stop in seconds, that are neither seizure nor background.

    Returns
    -------
    scores : array of float64, shape (seconds,)
        The fourth lowest of the eight scores of each second: the lower of the two middle ones, so
        that it depends on their order alone.
    labels : array of bool, shape (seconds,)
        Whether each second is ictal.
    """
    seconds = len(scores) // FRAME_HZ
    whole = np.asarray(scores[: seconds * FRAME_HZ], dtype=np.float64)
    labels = np.zeros(seconds, dtype=np.bool_)
    for event in reference:
        if event.label != BACKGROUND:
            first, last = math.ceil(event.start - 0.5), math.ceil(event.stop - 0.5)
            labels[max(first, 0) : max(last, 0)] = True
    middle = (FRAME_HZ - 1) // 2
    frames = whole.reshape(seconds, FRAME_HZ)
    values = np.partition(frames, middle, axis=1)[:, middle]
    if not unknown:
        return values, labels
    ictal = [event for event in reference if event.label != BACKGROUND]
    is_known = UnknownTime.of(unknown, ictal, float(seconds)).known_seconds_mask(seconds)
    return values[is_known], labels[is_known]


def rank(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Ranking:
    """Order seconds by score. Seconds with the same score share one entry.

    Parameters
    ----------
    scores : array, shape (seconds,)
        A score for each second.
    labels : array of bool, shape (seconds,)
        Whether each second is ictal.

    Returns
    -------
    Ranking
        Ictal and other seconds at or above each score.

    Raises
    ------
    ValueError
        Where a score is not finite or the lengths differ.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != labels.shape or values.ndim != 1:
        raise ValueError(f"{values.shape} scores do not fit {labels.shape} labels")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite")
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    true = np.cumsum(labels[order], dtype=np.int64)
    last_of_value = np.flatnonzero(np.append(np.diff(ordered) != 0, True)[: ordered.size])
    true = true[last_of_value]
    return Ranking(ordered[last_of_value], true, last_of_value + 1 - true)


def auroc(ranking: Ranking) -> float:
    """Probability that an ictal second ranks above another, ties counting half; NaN if undefined.

    The rank statistic of Mann and Whitney, in whole numbers until the last division.

    Parameters
    ----------
    ranking : Ranking
        Seconds by score, from :func:`rank`.

    Returns
    -------
    float
        Between 0 and 1; NaN without ictal or without other seconds.
    """
    if not (ranking.positives and ranking.negatives):
        return math.nan
    before = np.concatenate([[0], ranking.true[:-1]])
    steps = np.diff(ranking.false, prepend=0)
    twice = int(np.sum(steps * (before + ranking.true)))
    return twice / (2 * ranking.positives * ranking.negatives)


def auprc(ranking: Ranking) -> float:
    """Average precision: precision weighted by the steps of recall; NaN without ictal seconds.

    Not interpolated, as scikit-learn's ``average_precision_score``.

    Parameters
    ----------
    ranking : Ranking
        Seconds by score, from :func:`rank`.

    Returns
    -------
    float
        Between 0 and 1; NaN without ictal seconds.
    """
    if not ranking.positives:
        return math.nan
    steps = np.diff(ranking.true, prepend=0)
    precision = ranking.true / (ranking.true + ranking.false)
    return float(np.sum(steps * precision)) / ranking.positives


def roc_points(ranking: Ranking, limit: int = DRAWN_POINTS) -> list[tuple[float, float]]:
    """Points of the ROC curve.

    Parameters
    ----------
    ranking : Ranking
        Seconds by score, from :func:`rank`.
    limit : int
        The most points to return.

    Returns
    -------
    list of (float, float)
        False positive rate and sensitivity, from (0, 0) to (1, 1). Empty without ictal or without
        other seconds.
    """
    if not (ranking.positives and ranking.negatives):
        return []
    rate = np.concatenate([[0.0], ranking.false / ranking.negatives])
    sensitivity = np.concatenate([[0.0], ranking.true / ranking.positives])
    return _thin(rate, sensitivity, limit)


def pr_points(ranking: Ranking, limit: int = DRAWN_POINTS) -> list[tuple[float, float]]:
    """Points of the precision-recall curve.

    Parameters
    ----------
    ranking : Ranking
        Seconds by score, from :func:`rank`.
    limit : int
        The most points to return.

    Returns
    -------
    list of (float, float)
        Sensitivity (recall), rising, and precision. Empty without ictal seconds.
    """
    if not ranking.positives:
        return []
    recall = ranking.true / ranking.positives
    return _thin(recall, ranking.true / (ranking.true + ranking.false), limit)


def reliability(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], bins: int = 10
) -> list[ReliabilityBin]:
    """Compare predicted probabilities with the share of ictal seconds (Guo et al. 2017).

    Parameters
    ----------
    scores : array, shape (seconds,)
        A logit for each second.
    labels : array of bool, shape (seconds,)
        Whether each second is ictal.
    bins : int
        Number of bins of equal width between the probabilities 0 and 1.

    Returns
    -------
    list of ReliabilityBin
        One for each bin, empty ones included.
    """
    values = sigmoid(scores)
    index = np.clip((values * bins).astype(np.int64), 0, bins - 1)
    seconds = np.bincount(index, minlength=bins)
    mass = np.bincount(index, weights=values, minlength=bins)
    ictal = np.bincount(index, weights=labels, minlength=bins)
    return [
        ReliabilityBin(
            number / bins,
            (number + 1) / bins,
            int(seconds[number]),
            float(mass[number] / seconds[number]) if seconds[number] else math.nan,
            float(ictal[number] / seconds[number]) if seconds[number] else math.nan,
        )
        for number in range(bins)
    ]


def expected_calibration_error(bins: Iterable[ReliabilityBin]) -> float:
    """Mean distance between probability and ictal share, weighted by seconds.

    Parameters
    ----------
    bins : iterable of ReliabilityBin
        The bins, from :func:`reliability`.

    Returns
    -------
    float
        From 0 (calibrated) to 1; NaN without seconds.
    """
    filled = [score_bin for score_bin in bins if score_bin.seconds]
    seconds = math.fsum(score_bin.seconds for score_bin in filled)
    if not seconds:
        return math.nan
    gaps = math.fsum(
        score_bin.seconds * abs(score_bin.probability - score_bin.ictal) for score_bin in filled
    )
    return gaps / seconds


def _thin(x: Floats, y: Floats, limit: int) -> list[tuple[float, float]]:
    """Points spread evenly along the drawn line, both ends among them."""
    chosen = np.arange(x.size)
    if x.size > limit:
        steps = np.abs(np.diff(x, prepend=x[0])) + np.abs(np.diff(y, prepend=y[0]))
        length = np.cumsum(steps)
        wanted = np.searchsorted(length, np.linspace(0.0, length[-1], limit - 1))
        chosen = np.unique(np.append(np.minimum(wanted, x.size - 1), x.size - 1))
    return [(float(x[index]), float(y[index])) for index in chosen]
