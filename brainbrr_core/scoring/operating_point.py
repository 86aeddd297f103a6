"""The operating point of a detector: the two thresholds that its scores are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# scipy is imported where it is used: reading a threshold from a file does not need it.


def sigmoid(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """The probabilities of logits, in float64: in float32 they are 1 from a logit of 17 on."""
    from scipy.special import expit

    probabilities: NDArray[np.float64] = expit(np.asarray(scores, dtype=np.float64))
    return probabilities


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Two thresholds in the unit of the scores, which for a network are logits.

    An event begins at a frame of at least ``on`` and lasts while frames are at least ``off``.

    Parameters
    ----------
    on, off : float
        The thresholds.

    Raises
    ------
    ValueError
        Where ``off`` is above ``on``.
    """

    on: float
    off: float

    def __post_init__(self) -> None:
        if not self.off <= self.on:
            raise ValueError(
                f"the off-threshold {self.off:g} is above the on-threshold {self.on:g}"
            )

    @classmethod
    def of_probability(cls, on: float, off_ratio: float) -> OperatingPoint:
        """The point that is on at a probability ``on``, and off at ``off_ratio`` times that."""
        from scipy.special import logit

        return cls(float(logit(on)), float(logit(on * off_ratio)))

    @property
    def probability(self) -> float:
        """The probability at which an event begins, where scores are logits."""
        return _probability(self.on)

    def __str__(self) -> str:
        return (
            f"on at logit {self.on:.4g} (probability {self.probability:.4g}), "
            f"off at {self.off:.4g} ({_probability(self.off):.4g})"
        )


def _probability(logit: float) -> float:
    """The probability that a logit stands for."""
    from scipy.special import expit

    return float(expit(logit))
