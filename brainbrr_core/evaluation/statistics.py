"""What each patient contributes to every figure, and the figures of weighted patients.

Every figure of a report follows from sums over patients. Kept apart by patient, they give the
figures of any resample of the patients, hence confidence intervals, and the difference of two
detectors on the same resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.scoring import (
    FALSE_ALARM_LIMITS,
    OperatingPoint,
    RuleSweep,
    Sweep,
    sensitivity_at,
    sigmoid,
)
from brainbrr_core.scoring.counts import SECONDS_PER_DAY

Floats = NDArray[np.float64]
#: Rules whose figures are also averaged over patients, as SzCORE does.
AVERAGED = ("szcore_event", "szcore_sample")
SUBJECT_MEAN = "_subject_mean"
#: Names of groups of seizures begin with these.
SEIZURE_GROUPS = ("type.", "duration.")
FIGURES = ("sensitivity", "precision", "f1", "false_per_day")
#: Ranked seconds fall into so many bins at most, half of them cut by ictal seconds.
RANK_BINS = 2048
LIMITED_RULES = ("szcore_event", "nedc_ovlp")


@dataclass(frozen=True, slots=True, eq=False)
class PatientStatistics:
    """Sums of each patient; P patients, sorted.

    ``counts`` by rule or group, ``(P, 4)``: reference, detected, false, seconds. The rate per
    day of a rule counts ``units[rule]`` for one false count (1 where it is not named).
    ``sweep`` has the same patients; None without a sweep. ``ranked`` ``(2, P, K)`` are other and
    ictal seconds by rising score. ``calibration`` ``(P, bins, 3)`` are seconds, sums of
    their probabilities, and ictal seconds. ``latency_s`` are those of all detected seizures, of
    the patients ``latency_patient``.
    """

    patients: tuple[str, ...]
    counts: dict[str, Floats]
    units: dict[str, float]
    sweep: Sweep | None
    ranked: Floats
    calibration: Floats
    latency_s: Floats
    latency_patient: NDArray[np.intp]

    def figures(self, weights: Floats | None = None) -> dict[str, Floats]:
        """Every figure, by name, of resamples ``(B, P)`` of the patients: ``(B,)`` each.

        ``weights`` says how often a patient is drawn; without, each is taken once. Undefined
        figures are NaN. AUROC and AUPRC are of the binned ranks.

        The mean over patients is SzCORE's average: the counts of each patient are added, each
        figure is taken per patient, and its mean is over the patients for whom it is defined.
        So a patient without seizures is left out of the mean of sensitivity, one without
        detections out of that of precision; its F1 is 0 if it has seizures (timescoring 0.0.7),
        and left out if it has neither seizures nor false positives.
        """
        drawn = np.ones((1, len(self.patients))) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self._counted(drawn) | self._kappa(drawn) | self._seconds(drawn)
            found |= self._at_limits(drawn) | self._latency(drawn)
        return found

    def _counted(self, drawn: Floats) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        for rule, counts in self.counts.items():
            unit = self.units.get(rule, 1.0)
            figures = _figures(drawn @ counts, unit)
            if rule.startswith(SEIZURE_GROUPS):
                # A false alarm has neither a type nor the duration of a seizure.
                figures = {"sensitivity": figures["sensitivity"]}
            for name, values in figures.items():
                found[f"{rule}.{name}"] = values
            if rule in AVERAGED:
                for name, values in _figures(counts, unit).items():
                    defined = ~np.isnan(values)
                    # Over no patient at all this is 0 / 0: undefined, as it should be.
                    mean = (drawn[:, defined] @ values[defined]) / drawn[:, defined].sum(axis=1)
                    found[f"{rule}{SUBJECT_MEAN}.{name}"] = mean
        return found

    def _kappa(self, drawn: Floats) -> dict[str, Floats]:
        """Cohen's kappa of seiz and bckg; with two labels that of each and of both are one."""
        seiz, bckg = drawn @ self.counts["nedc_epoch"], drawn @ self.counts["nedc_epoch_bckg"]
        size = seiz[:, 0] + bckg[:, 0]
        agreed = (seiz[:, 1] + bckg[:, 1]) / size
        chance = (
            seiz[:, 0] * (seiz[:, 1] + seiz[:, 2]) + bckg[:, 0] * (bckg[:, 1] + bckg[:, 2])
        ) / size**2
        kappa = np.where(chance == 1, 1.0, (agreed - chance) / (1 - chance))
        return {"nedc_ira.kappa": kappa}

    def _seconds(self, drawn: Floats) -> dict[str, Floats]:
        # From the highest score downwards.
        other, ictal = ((drawn @ part)[:, ::-1] for part in self.ranked)
        true, false = np.cumsum(ictal, axis=1), np.cumsum(other, axis=1)
        positives, negatives = true[:, -1], false[:, -1]
        wins = (other * (true - ictal / 2)).sum(axis=1)
        precision = true / np.maximum(true + false, 1.0)
        summed = np.tensordot(drawn, self.calibration, axes=1)
        share = summed[:, :, 2] / summed[:, :, 0]
        gap = np.abs(summed[:, :, 1] - summed[:, :, 2]).sum(axis=1)
        return {
            "seconds.auroc": wins / (positives * negatives),
            "seconds.auprc": (ictal * precision).sum(axis=1) / positives,
            "seconds.calibration_error": gap / summed[:, :, 0].sum(axis=1),
            **{f"reliability.{number}.ictal": share[:, number] for number in range(share.shape[1])},
        }

    def _at_limits(self, drawn: Floats) -> dict[str, Floats]:
        if self.sweep is None:
            return {}
        found = {}
        for rule, part in zip(LIMITED_RULES, (self.sweep.szcore, self.sweep.ovlp), strict=True):
            sums = _resampled(part, drawn)
            for limit in FALSE_ALARM_LIMITS:
                found[limit_name(rule, limit)] = sensitivity_at(*sums, limit)[0]
        return found

    def _latency(self, drawn: Floats) -> dict[str, Floats]:
        order = np.argsort(self.latency_s, kind="stable")
        values = self.latency_s[order]
        if not values.size:
            return {"latency.median_s": np.full(len(drawn), np.nan)}
        mass = np.cumsum(drawn[:, self.latency_patient[order]], axis=1)
        half = mass[:, -1:] / 2
        # The median of an even number is the mean of the two in the middle.
        low, high = (mass < half).sum(axis=1), (mass <= half).sum(axis=1)
        high = np.minimum(high, values.size - 1)
        median = (values[np.minimum(low, values.size - 1)] + values[high]) / 2
        return {"latency.median_s": np.where(mass[:, -1] > 0, median, np.nan)}


def limit_name(rule: str, limit: float) -> str:
    """Name of the sensitivity at a limit of false alarms per 24 hours."""
    return f"{rule}.sensitivity_at_{limit:g}"


def tuned_name(rule: str, limit: float) -> str:
    """Name of a rule's counts at the point that keeps a limit on the tuning split."""
    return f"{rule}_tuned_at_{limit:g}"


def rank_counts(
    scores: Floats, labels: NDArray[np.bool_], patient: NDArray[np.intp], patients: int
) -> Floats:
    """Other and ictal seconds of each patient by rising score, ``(2, patients, bins)``.

    One bin for each distinct score, where there are no more than :data:`RANK_BINS`;
    otherwise bins cut at quantiles of the ictal and of the other seconds, half each.
    """
    edges = np.unique(scores)
    if edges.size > RANK_BINS:
        shares = np.linspace(0, 1, RANK_BINS // 2 + 1)[:-1]
        parts = [
            np.quantile(scores[labels == kind], shares, method="lower")
            for kind in (False, True)
            if (labels == kind).any()
        ]
        edges = np.unique(np.concatenate(parts))
    place = np.maximum(np.searchsorted(edges, scores, side="right") - 1, 0)
    bins = max(edges.size, 1)
    cell = (labels.astype(np.intp) * patients + patient) * bins + place
    counted = np.bincount(cell, minlength=2 * patients * bins)
    return counted.reshape(2, patients, bins).astype(np.float64)


def calibration_counts(
    scores: Floats,
    labels: NDArray[np.bool_],
    patient: NDArray[np.intp],
    patients: int,
    bins: int,
) -> Floats:
    """Seconds, their probabilities and ictal seconds by bin of equal width, (patients, bins, 3).

    ``scores`` are logits.
    """
    probabilities = sigmoid(scores)
    place = np.clip((probabilities * bins).astype(np.intp), 0, bins - 1)
    cell, size = patient * bins + place, patients * bins
    parts = [
        np.bincount(cell, minlength=size),
        np.bincount(cell, weights=probabilities, minlength=size),
        np.bincount(cell, weights=labels, minlength=size),
    ]
    return np.stack(parts, axis=-1).reshape(patients, bins, 3).astype(np.float64)


def rows_at_limits(sweep: Sweep) -> dict[str, int | None]:
    """The row of a sweep at each limit of false alarms, by name; None where none keeps it."""
    once = np.ones((1, len(sweep.patients)))
    found: dict[str, int | None] = {}
    for rule, part in zip(LIMITED_RULES, (sweep.szcore, sweep.ovlp), strict=True):
        for limit in FALSE_ALARM_LIMITS:
            number = int(sensitivity_at(*_resampled(part, once), limit)[1][0])
            found[limit_name(rule, limit)] = number if number >= 0 else None
    return found


def points_at_limits(sweep: Sweep) -> dict[str, OperatingPoint | None]:
    """The operating point at each limit of false alarms, by name; None where none keeps it."""
    return {
        name: None if row is None else sweep.point(row)
        for name, row in rows_at_limits(sweep).items()
    }


def tuned_counts(applied: Sweep, points: Mapping[str, OperatingPoint | None]) -> dict[str, Floats]:
    """What the tuned points find, ``(patients, 4)`` by :func:`tuned_name`.

    The rows of ``applied`` are those of the ``points`` that there are, in their order.
    """
    counted = {}
    there = [name for name, point in points.items() if point is not None]
    for rule, part in zip(LIMITED_RULES, (applied.szcore, applied.ovlp), strict=True):
        for limit in FALSE_ALARM_LIMITS:
            name = limit_name(rule, limit)
            if name in there:
                row = there.index(name)
                counted[tuned_name(rule, limit)] = np.stack(
                    [part.reference, part.detected[row], part.false[row], part.seconds], axis=1
                )
    return counted


def _resampled(part: RuleSweep, drawn: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        drawn @ part.detected.T,
        drawn @ part.false.T,
        drawn @ part.reference,
        drawn @ part.seconds,
    )


def _figures(counts: Floats, unit: float) -> dict[str, Floats]:
    """The four figures of counts ``(..., 4)``; as :class:`Counts` defines them."""
    reference, detected, false, seconds = np.moveaxis(counts, -1, 0)
    return {
        "sensitivity": np.where(reference > 0, detected / reference, np.nan),
        "precision": np.where(detected + false > 0, detected / (detected + false), np.nan),
        "f1": np.where(
            reference + false > 0, 2 * detected / (detected + false + reference), np.nan
        ),
        "false_per_day": np.where(seconds > 0, false * unit * SECONDS_PER_DAY / seconds, np.nan),
    }
