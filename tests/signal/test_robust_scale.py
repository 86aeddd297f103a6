"""The robust scale: median and interquartile range."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal import chain as chain_module
from brainbrr_core.signal.chain import STREAM_STEP, Chain, filter_signal
from brainbrr_core.signal.statistics import Statistics
from tests.support.signal_reference import (
    ArraySource,
    chain,
    filtered,
    settled,
    synthetic_eeg,
    synthetic_seizure,
)
from tests.support.stored_signals import z_scores

ROBUST = Preprocessing(scale="robust")


@pytest.mark.parametrize("rate", [250, 256])
@pytest.mark.parametrize("seconds", [10, 60, 130.7])
def test_the_robust_scale_is_median_and_interquartile_range(rate: int, seconds: float) -> None:
    data = synthetic_eeg(rate, seconds)
    data[3] += 200 * (np.arange(data.shape[1]) % 50 == 0)
    got = z_scores(data, rate, ROBUST)
    assert np.abs(got - chain(data, Fraction(rate), robust=True)).max() < 0.001
    assert np.abs(got - chain(data, Fraction(rate))).max() > 0.005


def test_a_seizure_does_not_set_the_robust_scale() -> None:
    without = z_scores(synthetic_seizure(256, 600, 300, 0.0), 256, ROBUST)
    data = synthetic_seizure(256, 600, 300)
    plain, robust = z_scores(data, 256), z_scores(data, 256, ROBUST)
    background = slice(30 * 256, 280 * 256)
    assert np.abs(plain[:, background]).std() < 0.2
    # A tenth of the recording is seizure: the quartiles move by some percent.
    assert robust[:, background].std() / without[:, background].std() == pytest.approx(1, abs=0.25)
    assert robust[:, background].std() > 5 * plain[:, background].std()


def test_quartiles_are_exact_whatever_the_values() -> None:
    rng = np.random.default_rng(0)
    signal = np.zeros((19, 4001), np.float32)
    for channel in range(19):
        kind = (rng.standard_normal, rng.standard_cauchy, rng.random)[channel % 3]
        signal[channel] = kind(4001) * 10.0 ** (channel - 9) - channel
    signal[4] = rng.integers(-3, 4, 4001)
    signal[5, ::2] = -0.0
    cuts = [0, 1, 500, 513, 2000, 4001]
    pieces = [signal[:, a:b] for a, b in pairwise(cuts)]
    got = Statistics.of(iter(pieces), 4000, ROBUST)
    used = signal[:, 512:4000].astype(float)
    lower, middle, upper = np.quantile(used, [0.25, 0.5, 0.75], axis=1)
    assert got.mean == pytest.approx(middle, rel=1e-12, abs=1e-12)
    wide = upper - lower >= 0.1
    assert 5 < wide.sum() < 19
    assert got.deviation[wide] == pytest.approx((upper - lower)[wide] / 1.3489795003921634)
    assert got.deviation[~wide] == pytest.approx(used.std(axis=1)[~wide], abs=1e-6)


def test_a_channel_that_was_mostly_disconnected_keeps_its_standard_deviation() -> None:
    data = synthetic_eeg(256, 60)
    data[2, 10 * 256 :] = data[2, 10 * 256]
    robust, plain = (Chain(ArraySource(data, Fraction(256)), s) for s in (ROBUST, Preprocessing()))
    assert robust.statistics.deviation[2] == plain.statistics.deviation[2] > 1
    assert robust.statistics.deviation[3] != plain.statistics.deviation[3]


def test_recordings_too_long_to_keep_have_the_same_robust_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ArraySource(synthetic_eeg(250, 130), Fraction(250))
    kept = list(Chain(source, ROBUST).quantized())
    monkeypatch.setattr(chain_module, "KEEP_BYTES", 0)
    again = list(Chain(source, ROBUST).quantized())
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(kept, again, strict=True))


def test_the_first_minutes_are_measured_on_the_chosen_scale() -> None:
    data = synthetic_eeg(256, 40)
    data[:, 20 * 256 :] *= 10
    source = ArraySource(data, Fraction(256))
    pieces = filter_signal(source, ROBUST, STREAM_STEP)
    got = Statistics.of(pieces, 20 * 256, ROBUST)
    used = settled(filtered(data, Fraction(256))[:, : 20 * 256])
    lower, middle, upper = np.quantile(used, [0.25, 0.5, 0.75], axis=1)
    assert got.mean == pytest.approx(middle, abs=1e-3)
    assert got.deviation == pytest.approx((upper - lower) / 1.34898, rel=1e-4)
