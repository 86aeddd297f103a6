"""What each patient contributes to every figure, and the figures of resampled patients.

Every figure of a report follows from sums over patients. Stored for each patient, they give the
figures of any resample of the patients, hence confidence intervals, and the difference of two
detectors on the same resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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
#: Prefixes of the names of groups of seizures.
SEIZURE_GROUPS = ("type.", "duration.")
#: Prefix of the names of figures of one hour of the recordings.
HOURS = "hour."
FIGURES = ("sensitivity", "precision", "f1", "false_per_day")
#: Rules that count samples of time, so that their false counts are seconds.
_OF_TIME = ("szcore_sample", "nedc_epoch")
LATENCY = "latency.median_s"
#: The most bins of ranked seconds; half of their edges are quantiles of the ictal seconds.
RANK_BINS = 2048
LIMITED_RULES = ("szcore_event", "nedc_ovlp")


class Unit(StrEnum):
    """What a figure is measured in."""

    SHARE = "share"
    ALARMS = "false alarms per 24 h"
    FALSE_SECONDS = "false seconds per 24 h"
    SECONDS = "seconds"

    @property
    def heading(self) -> str:
        """The heading of a table of figures with this unit."""
        return "shares (0 to 1)" if self is Unit.SHARE else self.value


def unit_of(figure: str) -> Unit:
    """The unit of a figure, by its name."""
    if figure.endswith(".false_per_day"):
        return Unit.FALSE_SECONDS if figure.startswith(_OF_TIME) else Unit.ALARMS
    return Unit.SECONDS if figure.endswith("_s") else Unit.SHARE


@dataclass(frozen=True, slots=True, eq=False)
class Latencies:
    """Latencies (seconds) of detected seizures, each with the number of its patient."""

    seconds: Floats
    patient: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class PatientStatistics:
    """Sums for each patient, from which every figure of any resample of the patients follows.

    Attributes
    ----------
    patients : tuple of str
        The patients, sorted.
    counts : dict of array, shape (patients, 4)
        Reference, detected, false and seconds, by rule or group.
    units : dict of float
        Weight of one false count in the rate per day, by rule; 1 for other names.
    sweep : Sweep or None
        Counts of the same patients at all thresholds.
    ranked : array, shape (2, patients, bins)
        Number of other and of ictal seconds in bins of rising score.
    calibration : array, shape (patients, bins, 3)
        Number of seconds, sum of their probabilities, and number of ictal seconds.
    latencies : mapping of Latencies
        Latencies behind each median, by the name of the figure.
    """

    patients: tuple[str, ...]
    counts: dict[str, Floats]
    units: dict[str, float]
    sweep: Sweep | None
    ranked: Floats
    calibration: Floats
    latencies: Mapping[str, Latencies]

    def figures(self, weights: Floats | None = None) -> dict[str, Floats]:
        """Compute every figure of resamples of the patients.

        The mean over patients is SzCORE's average: each figure is computed from the summed counts
        of each patient and averaged over the patients for whom it is defined. A patient without
        seizures is left out of the mean sensitivity, and one without detections of the mean
        precision. The F1 of a patient with seizures and without detections is 0 (timescoring
        0.0.7); one with neither seizures nor false positives is left out.

        Parameters
        ----------
        weights : array, shape (resamples, patients), optional
            How often each patient is drawn; by default each is taken once.

        Returns
        -------
        dict of array, shape (resamples,)
            The figures by name, NaN where undefined. AUROC and AUPRC are those of binned ranks.
        """
        drawn = np.ones((1, len(self.patients))) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            by_name = self._counted(drawn) | self._kappa(drawn) | self._seconds(drawn)
            by_name |= self._at_limits(drawn)
        return by_name | self._latency(drawn)

    def contributors(self) -> dict[str, int]:
        """How many patients contribute to each figure, by the names of :meth:`figures`.

        Patients with seizures contribute to sensitivity, F1, kappa, AUROC and AUPRC, those with
        detections to precision, those with detected seizures to a latency, and those with recorded
        time to a rate of false alarms. To a mean over patients contribute those who are averaged:
        to that of F1 also those without seizures who have false alarms.
        """
        patients: dict[str, int] = {}
        for rule, counts in self.counts.items():
            with_reference = _patients(counts[:, 0])
            by_figure = {
                "sensitivity": with_reference,
                "precision": _patients(counts[:, 1] + counts[:, 2]),
                "f1": with_reference,
                "false_per_day": _patients(counts[:, 3]),
            }
            patients |= {f"{rule}.{figure}": by_figure[figure] for figure in _figures_of(rule)}
            if rule in AVERAGED:
                # False alarms alone are an F1 of 0, which is averaged like any other.
                by_figure["f1"] = _patients(counts[:, 0] + counts[:, 2])
                mean = f"{rule}{SUBJECT_MEAN}"
                patients |= {f"{mean}.{figure}": by_figure[figure] for figure in FIGURES}
        other, ictal = (_patients(seconds.sum(axis=1)) for seconds in self.ranked)
        in_bins = self.calibration[:, :, 0]
        patients["nedc_ira.kappa"] = _patients(self.counts["nedc_epoch"][:, 0])
        patients["seconds.auroc"] = min(ictal, other)
        patients["seconds.auprc"] = ictal
        patients["seconds.calibration_error"] = _patients(in_bins.sum(axis=1))
        for number in range(in_bins.shape[1]):
            patients[f"reliability.{number}.ictal"] = _patients(in_bins[:, number])
        if self.sweep is not None:
            for rule, rule_sweep in _limited(self.sweep):
                for limit in FALSE_ALARM_LIMITS:
                    patients[limit_name(rule, limit)] = _patients(rule_sweep.reference)
        for name, latencies in self.latencies.items():
            patients[name] = len(np.unique(latencies.patient))
        return patients

    def silent_seconds(self, figure: str) -> float:
        """The recorded time behind a rate of false alarms, in seconds; 0 for other figures."""
        if unit_of(figure) is not Unit.ALARMS:
            return 0.0
        rule = figure.removesuffix(".false_per_day").removesuffix(SUBJECT_MEAN)
        return float(self.counts[rule][:, 3].sum())

    def _counted(self, drawn: Floats) -> dict[str, Floats]:
        by_name: dict[str, Floats] = {}
        for rule, counts in self.counts.items():
            unit = self.units.get(rule, 1.0)
            figures = _figures(drawn @ counts, unit)
            for name in _figures_of(rule):
                by_name[f"{rule}.{name}"] = figures[name]
            if rule in AVERAGED:
                for name, values in _figures(counts, unit).items():
                    defined = ~np.isnan(values)
                    # Without any patient this is 0 / 0, hence NaN: undefined.
                    mean = (drawn[:, defined] @ values[defined]) / drawn[:, defined].sum(axis=1)
                    by_name[f"{rule}{SUBJECT_MEAN}.{name}"] = mean
        return by_name

    def _kappa(self, drawn: Floats) -> dict[str, Floats]:
        """Cohen's kappa of seiz and bckg; with two labels, either label's is the overall one."""
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
        other, ictal = ((drawn @ seconds)[:, ::-1] for seconds in self.ranked)
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
        sensitivities = {}
        for rule, rule_sweep in _limited(self.sweep):
            sums = _resample_counts(rule_sweep, drawn)
            for limit in FALSE_ALARM_LIMITS:
                sensitivities[limit_name(rule, limit)] = sensitivity_at(*sums, limit)[0]
        return sensitivities

    def _latency(self, drawn: Floats) -> dict[str, Floats]:
        return {name: _weighted_median(each, drawn) for name, each in self.latencies.items()}


def limit_name(rule: str, limit: float) -> str:
    """Name of the sensitivity at a limit of false alarms per 24 hours."""
    return f"{rule}.sensitivity_at_{limit:g}"


def tuned_name(rule: str, limit: float) -> str:
    """Name of a rule's counts at the point that keeps a limit on the tuning split."""
    return f"{rule}_tuned_at_{limit:g}"


def rank_counts(
    scores: Floats, labels: NDArray[np.bool_], patient: NDArray[np.intp], patients: int
) -> Floats:
    """Count other and ictal seconds of each patient in bins of rising score.

    Returns an array of shape ``(2, patients, bins)``. Each distinct score has its own bin if there
    are at most :data:`RANK_BINS`. Otherwise half of the edges of the bins are quantiles of the
    ictal seconds, and half those of the others.
    """
    edges = np.unique(scores)
    if edges.size > RANK_BINS:
        shares = np.linspace(0, 1, RANK_BINS // 2 + 1)[:-1]
        quantiles = [
            np.quantile(scores[labels == kind], shares, method="lower")
            for kind in (False, True)
            if (labels == kind).any()
        ]
        edges = np.unique(np.concatenate(quantiles))
    bin_of_second = np.maximum(np.searchsorted(edges, scores, side="right") - 1, 0)
    bins = max(edges.size, 1)
    cell = (labels.astype(np.intp) * patients + patient) * bins + bin_of_second
    counted = np.bincount(cell, minlength=2 * patients * bins)
    return counted.reshape(2, patients, bins).astype(np.float64)


def calibration_counts(
    scores: Floats,
    labels: NDArray[np.bool_],
    patient: NDArray[np.intp],
    patients: int,
    bins: int,
) -> Floats:
    """Count seconds, sum their probabilities and count ictal seconds in bins of equal width.

    ``scores`` are logits. Returns an array of shape ``(patients, bins, 3)``.
    """
    probabilities = sigmoid(scores)
    bin_of_second = np.clip((probabilities * bins).astype(np.intp), 0, bins - 1)
    cell, size = patient * bins + bin_of_second, patients * bins
    sums = [
        np.bincount(cell, minlength=size),
        np.bincount(cell, weights=probabilities, minlength=size),
        np.bincount(cell, weights=labels, minlength=size),
    ]
    return np.stack(sums, axis=-1).reshape(patients, bins, 3).astype(np.float64)


def rows_at_limits(sweep: Sweep) -> dict[str, int | None]:
    """The row of a sweep for each limit of false alarms, by name; None if no row keeps it."""
    once = np.ones((1, len(sweep.patients)))
    row_numbers: dict[str, int | None] = {}
    for rule, rule_sweep in _limited(sweep):
        for limit in FALSE_ALARM_LIMITS:
            number = int(sensitivity_at(*_resample_counts(rule_sweep, once), limit)[1][0])
            row_numbers[limit_name(rule, limit)] = number if number >= 0 else None
    return row_numbers


def _limited(sweep: Sweep) -> tuple[tuple[str, RuleSweep], ...]:
    return tuple(zip(LIMITED_RULES, (sweep.szcore, sweep.ovlp), strict=True))


def _patients(amount: Floats) -> int:
    return int((amount > 0).sum())


def _figures_of(rule: str) -> tuple[str, ...]:
    """Names of the figures that follow from the counts of a rule or group."""
    if rule.startswith(SEIZURE_GROUPS):
        # A false alarm has neither a type nor the duration of a seizure.
        return ("sensitivity",)
    return ("false_per_day",) if rule.startswith(HOURS) else FIGURES


def _weighted_median(latencies: Latencies, drawn: Floats) -> Floats:
    """Median latency of each resample; NaN if it has no patient with a detected seizure."""
    if not latencies.seconds.size:
        return np.full(len(drawn), np.nan)
    order = np.argsort(latencies.seconds, kind="stable")
    values = latencies.seconds[order]
    mass = np.cumsum(drawn[:, latencies.patient[order]], axis=1)
    half = mass[:, -1:] / 2
    # The median of an even number is the mean of the two in the middle.
    low, high = (mass < half).sum(axis=1), (mass <= half).sum(axis=1)
    high = np.minimum(high, values.size - 1)
    median = (values[np.minimum(low, values.size - 1)] + values[high]) / 2
    return np.asarray(np.where(mass[:, -1] > 0, median, np.nan))


def points_at_limits(sweep: Sweep) -> dict[str, OperatingPoint | None]:
    """The operating point for each limit of false alarms, by name; None if none keeps it."""
    return {
        name: None if row is None else sweep.point(row)
        for name, row in rows_at_limits(sweep).items()
    }


def tuned_counts(applied: Sweep, points: Mapping[str, OperatingPoint | None]) -> dict[str, Floats]:
    """Counts at the tuned points, by :func:`tuned_name`, each of shape ``(patients, 4)``.

    ``applied`` has one row for each of the ``points`` that is not None, in their order.
    """
    counted = {}
    names = [name for name, point in points.items() if point is not None]
    for rule, rule_sweep in _limited(applied):
        for limit in FALSE_ALARM_LIMITS:
            name = limit_name(rule, limit)
            if name in names:
                row = names.index(name)
                counted[tuned_name(rule, limit)] = np.stack(
                    [
                        rule_sweep.reference,
                        rule_sweep.detected[row],
                        rule_sweep.false[row],
                        rule_sweep.seconds,
                    ],
                    axis=1,
                )
    return counted


def _resample_counts(rule_sweep: RuleSweep, drawn: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Detected and false ``(B, thresholds)``, reference and seconds ``(B,)`` of resamples."""
    return (
        drawn @ rule_sweep.detected.T,
        drawn @ rule_sweep.false.T,
        drawn @ rule_sweep.reference,
        drawn @ rule_sweep.seconds,
    )


def _figures(counts: Floats, unit: float) -> dict[str, Floats]:
    """The four figures of counts of shape ``(..., 4)``, as :class:`Counts` defines them."""
    reference, detected, false, seconds = np.moveaxis(counts, -1, 0)
    return {
        "sensitivity": np.where(reference > 0, detected / reference, np.nan),
        "precision": np.where(detected + false > 0, detected / (detected + false), np.nan),
        "f1": np.where(
            reference + false > 0, 2 * detected / (detected + false + reference), np.nan
        ),
        "false_per_day": np.where(seconds > 0, false * unit * SECONDS_PER_DAY / seconds, np.nan),
    }
