"""Confidence intervals by a bootstrap over patients.

Recordings of one patient resemble each other, so patients are drawn, with replacement, and all
recordings of a drawn patient come along (cluster bootstrap; Efron and Tibshirani 1993, chapter
8). An interval goes from the 2.5th to the 97.5th percentile of the resampled figures.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.scoring.counts import Measure

LEVEL = 0.95


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval, NaN where it is undefined."""

    low: Measure
    high: Measure


UNDEFINED = Interval(math.nan, math.nan)


def resamples(patients: int, samples: int, seed: int) -> NDArray[np.float64]:
    """How often each patient is drawn in each resample, ``(samples, patients)``.

    Rows add up to the number of patients. The same arguments give the same draws, so that two
    detectors can be compared on the same patients.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(patients, np.full(patients, 1 / patients), size=samples)
    return drawn.astype(np.float64)


def interval(figures: NDArray[np.float64], patients: int) -> Interval:
    """Interval of a figure from its resampled values.

    Resamples in which the figure is undefined (NaN) are left out. The interval is undefined
    with fewer than two patients, or where the figure is undefined in half of the resamples.
    """
    defined = figures[~np.isnan(figures)]
    if patients < 2 or 2 * defined.size <= figures.size:
        return UNDEFINED
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))
