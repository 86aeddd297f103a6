"""Signals of one sample, and of none."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.signal.edges import read_reflected
from brainbrr_core.signal.statistics import Statistics, robust
from brainbrr_core.signal.trailing import TrailingStatistics


class OneSample:
    """A recording of one sample a channel: its number."""

    rate = Fraction(256)
    samples = 1
    missing: tuple[str, ...] = ()

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        values = np.arange(len(CHANNELS), dtype=np.float32)[:, None]
        return values[:, start:stop]


def test_one_sample_has_nothing_to_be_reflected() -> None:
    zero = np.zeros((len(CHANNELS), 1), np.float32)
    signal = read_reflected(OneSample(), zero, -1, 2)
    assert signal.shape == (len(CHANNELS), 3)
    # There is nothing to reflect: the sample stays, and what lies past it is filled up.
    assert np.array_equal(signal[:, 0], np.arange(len(CHANNELS)))


def test_quartiles_of_no_sample_leave_the_scale_of_the_moments() -> None:
    def nothing() -> Iterator[NDArray[np.float32]]:
        yield np.zeros((len(CHANNELS), 0), np.float32)

    moments = Statistics(np.zeros(len(CHANNELS)), np.ones(len(CHANNELS)))
    scale = robust(nothing, 0, moments)
    assert np.array_equal(scale.mean, np.zeros(len(CHANNELS)))
    assert np.all(np.isfinite(scale.deviation))


def test_a_trailing_scale_needs_its_length() -> None:
    with pytest.raises(ValueError, match="zscore_minutes is not set"):
        TrailingStatistics(Preprocessing(zscore_minutes=None))
