"""Counts of a scoring rule, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

SECONDS_PER_DAY = 86_400.0


def _undefined(value: object) -> object:
    return math.nan if value is None else value


#: A figure that may be undefined: NaN here, null in JSON (which has no NaN).
Measure = Annotated[float, BeforeValidator(_undefined)]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts by one scoring rule, of one recording or summed over several.

    Parameters
    ----------
    reference, detected, false : float
        Numbers of events, seconds or epochs, depending on the rule (fractional for TAES): those of
        the reference, those of the reference that were detected, and those detected falsely.
    seconds : float
        Length of the recordings in seconds, without their unknown time.
    false_unit : float
        Weight of one false count in the rate per day. NEDC multiplies the rate of false epochs by
        their length, so that the rate is in seconds.
    """

    reference: float = 0.0
    detected: float = 0.0
    false: float = 0.0
    seconds: float = 0.0
    false_unit: float = 1.0

    @property
    def missed(self) -> float:
        """Number of the reference's events, seconds or epochs that were not detected."""
        return self.reference - self.detected

    @property
    def sensitivity(self) -> float:
        """Detected share of the reference; NaN if the reference is empty."""
        return self.detected / self.reference if self.reference > 0 else math.nan

    @property
    def precision(self) -> float:
        """Detected over detected and false; NaN without detections."""
        detections = self.detected + self.false
        return self.detected / detections if detections > 0 else math.nan

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; 0 with reference but no detections, NaN with neither.

        This is the definition of timescoring 0.0.7. In earlier releases F1 was undefined wherever
        precision was, and such patients dropped out of means, which are therefore not comparable.
        """
        if self.reference + self.false == 0:
            return math.nan
        return 2 * self.detected / (2 * self.detected + self.false + self.missed)

    @property
    def false_per_day(self) -> float:
        """False counts per 24 hours of recording; NaN if nothing was recorded."""
        if self.seconds <= 0:
            return math.nan
        return self.false * self.false_unit * SECONDS_PER_DAY / self.seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """The four figures of some counts; NaN where undefined.

    Attributes
    ----------
    sensitivity : float
        Detected share of the reference, from 0 to 1.
    precision : float
        Detected over detected and false, from 0 to 1.
    f1 : float
        ``2 TP / (2 TP + FP + FN)``, from 0 to 1; NaN with neither a reference nor a false count.
    false_per_day : float
        False positives per 24 hours, in the unit of the rule.
    """

    sensitivity: Measure
    precision: Measure
    f1: Measure
    false_per_day: Measure


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts of one rule.

    Parameters
    ----------
    counts : iterable of Counts
        Counts of recordings under the same rule.

    Returns
    -------
    Counts
        The sums, all zero without counts.

    Raises
    ------
    ValueError
        Where the units of false counts differ.
    """
    summands = list(counts)
    units = {summand.false_unit for summand in summands}
    if len(units) > 1:
        raise ValueError(f"counts of different rules cannot be added: units {sorted(units)}")
    return Counts(
        math.fsum(summand.reference for summand in summands),
        math.fsum(summand.detected for summand in summands),
        math.fsum(summand.false for summand in summands),
        math.fsum(summand.seconds for summand in summands),
        units.pop() if units else 1.0,
    )


def figures(counts: Counts) -> Figures:
    """Compute the four figures of some counts.

    Parameters
    ----------
    counts : Counts
        Counts of one rule, of one recording or summed over several.

    Returns
    -------
    Figures
        Sensitivity, precision, F1 and false positives per 24 hours; NaN where undefined.
    """
    return Figures(counts.sensitivity, counts.precision, counts.f1, counts.false_per_day)
