"""Recorders subtract their reference, filter, and are as coarse and as narrow as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from brainbrr_core.simulation.head import NAMES
from brainbrr_core.simulation.recorder import Recorder, digitize, draw_recorder, record
from brainbrr_core.synthesis.scalp import TEN_TWENTY
from tests.support.simulated import band_power, peak_hz, varied

RATE = 256
PLAIN = Recorder(RATE, "average", 0.1, 0.0, 0, 60, 1e-6, 0.1, 3000.0, 1.0, ears=True)


def noise(seconds: float = 40.0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    data = np.random.default_rng(0).normal(0, 20, (len(NAMES), round(seconds * RATE)))
    return data.astype(np.float32)


def recorded(recorder: Recorder) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    signals = record(np.random.default_rng(1), noise(), recorder)
    return dict(zip(recorder.electrodes, signals, strict=True))


def test_against_the_average_the_electrodes_add_up_to_nothing() -> None:
    signals = recorded(PLAIN)
    total = np.sum([signals[name] for name in TEN_TWENTY], axis=0)
    assert np.abs(total).max() < 0.1


def test_against_linked_ears_the_ears_have_opposite_signs() -> None:
    signals = recorded(replace(PLAIN, reference="linked ears"))
    assert signals["A1"] == pytest.approx(-signals["A2"], abs=0.1)


@pytest.mark.parametrize("reference", ["CPZ", "FCZ", "left ear", "average", "linked ears"])
def test_differences_of_electrodes_do_not_depend_on_the_reference(reference: str) -> None:
    usual, other = recorded(PLAIN), recorded(replace(PLAIN, reference=reference))
    assert other["F3"] - other["C3"] == pytest.approx(usual["F3"] - usual["C3"], abs=0.1)


def test_filters_take_away_what_they_should() -> None:
    usual = recorded(PLAIN)["C3"]
    slow = recorded(replace(PLAIN, highpass_hz=1.6))["C3"]
    fast = recorded(replace(PLAIN, lowpass_hz=35.0))["C3"]
    notched = recorded(replace(PLAIN, notch_hz=60))["C3"]
    # 3 dB at the cut-off of a first-order filter is half the power.
    at = band_power(slow, RATE, 1.5, 1.5) / band_power(usual, RATE, 1.5, 1.5)
    assert at == pytest.approx(0.5, abs=0.15)
    assert band_power(fast, RATE, 70, 90) < 0.1 * band_power(usual, RATE, 70, 90)
    assert band_power(notched, RATE, 60, 60) < 0.2 * band_power(usual, RATE, 60, 60)


def test_hum_is_at_the_frequency_of_the_mains() -> None:
    quiet = np.zeros((len(NAMES), 40 * RATE), np.float32)
    for mains in (50, 60):
        recorder = replace(PLAIN, mains_hz=mains, hum_uv=5.0)
        signals = record(np.random.default_rng(2), quiet, recorder)
        assert peak_hz(signals[3], RATE) == pytest.approx(mains, abs=0.3)


def test_what_is_out_of_range_is_at_its_end_and_the_rest_within_half_a_step() -> None:
    channel = replace(PLAIN, resolution_uv=0.5, range_uv=800.0).channels()[0]
    assert channel.physical == (-800.0, 800.0) and channel.digital == (-1600, 1600)
    wave = np.array([-5000, -0.6, 0.2, 799.9, 5000], np.float32)
    assert digitize(wave, channel).tolist() == [-1600, -1, 0, 1600, 1600]


def test_recorders_are_drawn_from_the_ranges() -> None:
    ranges = varied().recorders
    drawn = [draw_recorder(np.random.default_rng(seed), ranges) for seed in range(200)]
    assert {one.rate_hz for one in drawn} == set(ranges.rates_hz)
    assert {one.reference for one in drawn} == {
        name for name, weight in ranges.references.items() if weight
    }
    low, high = ranges.strong_hum_uv
    assert high > low > ranges.hum_uv[1]
    strong = [one.hum_uv for one in drawn if one.hum_uv > ranges.hum_uv[1]]
    assert len(strong) / len(drawn) == pytest.approx(ranges.strong_hum, abs=0.04)
    assert all(low <= level <= high for level in strong)
    lacking = [one.missing for one in drawn if one.missing]
    assert len(lacking) / len(drawn) == pytest.approx(ranges.missing, abs=0.06)
    assert max(map(len, lacking)) <= 3
    assert all(not set(one.missing) & set(one.electrodes) for one in drawn)
    low, high = ranges.resolution_uv
    assert all(low <= one.resolution_uv <= high for one in drawn)
    assert {one.montage for one in drawn} == {"01_tcp_ar", "02_tcp_le", "03_tcp_ar_a"}
    assert all(len(str(c.physical[0])) <= 8 for one in drawn for c in one.channels())
