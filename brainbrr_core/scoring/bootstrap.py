"""Confidence intervals by a bootstrap over patients, and exact ones where that has no width.

Recordings of one patient resemble each other, so patients are drawn, with replacement, and all
recordings of a drawn patient come along (cluster bootstrap; Field and Welsh 2007, J. R. Stat. Soc.
B 69, 369-390). An interval goes from the 2.5th to the 97.5th percentile of the resampled figures.

A figure of fewer than two patients has no interval. Where all resamples give the same figure, the
bootstrap says nothing either. If all seizures or none were detected, Clopper and Pearson's interval
(1934) is given, with the patients as trials; without a false alarm, Garwood's interval of a Poisson
count (1936).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.scoring.counts import SECONDS_PER_DAY, Measure

LEVEL = 0.95
#: Intervals over fewer patients are marked: percentiles of so few are too narrow.
FEW_PATIENTS = 10
Method = Literal["bootstrap", "clopper-pearson", "poisson", "undefined"]


class Interval(NamedTuple):
    """Ends of a 95 % confidence interval; NaN where it is undefined.

    Attributes
    ----------
    low, high : float
        Lower and upper end, in the unit of the figure.
    """

    low: Measure
    high: Measure


UNDEFINED = Interval(math.nan, math.nan)


def resamples(patients: int, samples: int, seed: int) -> NDArray[np.float64]:
    """How often each patient is drawn in each resample.

    The same arguments give the same draws, so that two detectors can be compared on the same
    patients.

    Parameters
    ----------
    patients : int
        Number of patients to draw from.
    samples : int
        Number of resamples.
    seed : int
        Seed of the random generator.

    Returns
    -------
    array of float64, shape (samples, patients)
        Whole numbers; each row adds up to the number of patients.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(patients, np.full(patients, 1 / patients), size=samples)
    return drawn.astype(np.float64)


def interval(figures: NDArray[np.float64], patients: int) -> Interval:
    """Confidence interval of a figure from its resampled values (percentiles).

    Parameters
    ----------
    figures : array of float64, shape (samples,)
        The figure in each resample; those in which it is undefined (NaN) are left out.
    patients : int
        Number of patients that contribute to the figure.

    Returns
    -------
    Interval
        Undefined with fewer than two patients, and where the figure is undefined in half of the
        resamples.
    """
    defined = figures[~np.isnan(figures)]
    if patients < 2 or 2 * defined.size <= figures.size:
        return UNDEFINED
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def all_or_none(patients: int, figure: float) -> Interval:
    """Clopper and Pearson's interval of a share that is 1, or 0, in every patient.

    Each patient is one trial, however many seizures it has: nothing is assumed about how alike
    these are. The mean over patients of any figure between 0 and 1 is at least the share of
    patients in whom it is 1, and at most that of patients in whom it is not 0, so the interval
    holds for sensitivity, precision and F1.

    Parameters
    ----------
    patients : int
        Number of patients that contribute to the figure.
    figure : float
        The share, 0 or 1.

    Returns
    -------
    Interval
        Undefined with fewer than two patients, and for a figure between 0 and 1.
    """
    if patients < 2 or figure not in (0.0, 1.0):
        return UNDEFINED
    least = ((1 - LEVEL) / 2) ** (1 / patients)
    return Interval(least, 1.0) if figure == 1.0 else Interval(0.0, 1 - least)


def no_false_alarm(patients: int, seconds: float) -> Interval:
    """Garwood's interval of a rate of false alarms where none was raised.

    Parameters
    ----------
    patients : int
        Number of patients that were recorded.
    seconds : float
        How long they were recorded, in seconds.

    Returns
    -------
    Interval
        False alarms per 24 hours, from 0. Undefined with fewer than two patients, and for a
        recorded time of 0.
    """
    if patients < 2 or seconds <= 0:
        return UNDEFINED
    return Interval(0.0, -math.log((1 - LEVEL) / 2) * SECONDS_PER_DAY / seconds)


def two_sided_p(differences: NDArray[np.float64]) -> float:
    """Bootstrap p-value of the hypothesis that there is no difference.

    Twice the smaller of the shares of resamples on either side of 0. Resamples at 0 count on both
    sides. One is added to each count, so that the p-value is never 0, as in a permutation test
    (Phipson and Smyth 2010).

    Parameters
    ----------
    differences : array of float64, shape (samples,)
        The difference in each resample; NaN where it is undefined.

    Returns
    -------
    float
        From 0 to 1; NaN where every difference is undefined.
    """
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return math.nan
    side = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (defined.size + 1))


def false_discovery_rates(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p-values by Benjamini and Hochberg's procedure (1995).

    If all differences with an adjusted p-value of at most ``q`` are called real, the expected share
    of those that are due to chance is at most ``q``, provided that the tests are independent or
    positively dependent (Benjamini and Yekutieli 2001).

    Parameters
    ----------
    p_values : array of float64, shape (tests,)
        The p-value of each test.

    Returns
    -------
    array of float64, shape (tests,)
        The adjusted p-values, in the same order.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    rates = np.empty(len(p_values))
    rates[order] = np.minimum(adjusted, 1.0)
    return rates
