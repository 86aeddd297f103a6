"""Seconds in which a signal is flat, saturated, full of mains hum, or from a loose electrode."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.inspection.page import page
from brainbrr_core.inspection.quality import SignalQuality

RATE, SECONDS = 250, 60
GAIN = 0.1  # µV per digital unit


def scalp(seed: int = 0) -> NDArray[np.float64]:
    """A minute of signal similar to EEG: slow, some 30 µV, with a drift."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal(RATE * SECONDS))
    trend = np.linspace(walk[0], walk[-1], len(walk))
    return np.asarray(30 * (walk - trend) / walk.std() + 10 * rng.standard_normal(len(walk)))


def quality(microvolts: NDArray[np.float64], rate: Fraction = Fraction(RATE)) -> SignalQuality:
    digital = np.clip(np.rint(microvolts / GAIN), -20000, 20000).astype(np.int16)
    figures = SignalQuality(rate, GAIN, (-20000, 20000))
    position = 0
    # In chunks of various sizes.
    for size in (1, 7, 249, 250, 251, 1000, 3333, 10**6):
        figures.add(digital[position : position + size])
        position += size
    return figures


def seconds(figures: SignalQuality) -> list[float]:
    wanted = (figures.flat_s, figures.saturated_s, figures.mains_s, figures.disconnected_s)
    return [round(value, 6) for value in wanted if value is not None]


def span(start: float, stop: float) -> slice:
    return slice(round(start * RATE), round(stop * RATE))


def test_a_good_signal_has_no_unusable_seconds() -> None:
    assert seconds(quality(scalp())) == [0, 0, 0, 0]


def test_flat_seconds_vary_by_at_most_one_digital_step() -> None:
    signal = scalp()
    signal[span(10, 14)] = 12.0
    # A constant may vary by one step through rounding.
    signal[span(20, 22.5)] = 33.0 + GAIN * (np.arange(625) % 2)
    # Not flat: too short an interval, and a slope.
    signal[span(30, 30.9)] = 5.0
    signal[span(40, 45)] = GAIN * np.arange(1250) / 4
    # The samples at the ends of a flat interval may count as well.
    assert quality(signal).flat_s == pytest.approx(6.5, abs=0.02)
    assert quality(np.full(RATE * SECONDS, 3.0)).flat_s == SECONDS


def test_saturated_seconds_are_at_the_ends_of_the_digital_range() -> None:
    signal = scalp()
    signal[span(10, 13)] = 2000.0
    signal[span(20, 21.5)] = -2500.0
    signal[span(30, 40)] = 1990.0
    assert quality(signal).saturated_s == pytest.approx(4.5)


@pytest.mark.parametrize("hertz", [50, 60])
def test_mains_seconds_have_most_of_their_power_at_the_mains_frequency(hertz: int) -> None:
    signal = scalp()
    time = np.arange(len(signal)) / RATE
    hum = np.sin(2 * np.pi * hertz * time)
    signal[span(10, 17)] += 200 * hum[span(10, 17)]
    # A little mains hum is normal.
    signal[span(20, 40)] += 3 * hum[span(20, 40)]
    # A rhythm of another frequency is not mains hum.
    signal[span(50, 55)] += 200 * np.sin(2 * np.pi * (hertz + 5) * time)[span(50, 55)]
    assert quality(signal).mains_s == pytest.approx(7)


def test_disconnected_seconds_are_smaller_or_larger_than_eeg() -> None:
    rng = np.random.default_rng(1)
    signal = scalp()
    signal[span(10, 14)] = 0.2 * rng.standard_normal(1000)
    signal[span(20, 25)] = 900 * rng.standard_normal(1250)
    # A drift alone is not a disconnected electrode.
    signal[span(30, 40)] += np.linspace(0, 3000, 2500) - 1500
    signal[span(50, 52)] = 12.0
    assert quality(signal).disconnected_s == pytest.approx(11)


def test_unknown_figures_are_none_rather_than_zero() -> None:
    figures = SignalQuality(Fraction(90), None, None)
    figures.add(np.zeros(900, np.int16))
    assert (figures.flat_s, figures.saturated_s) == (10, None)
    assert (figures.mains_s, figures.disconnected_s) == (None, None)
    slow = SignalQuality(Fraction(1), 1.0, (-9, 9))
    slow.add(np.arange(-9, 10, 3, dtype=np.int16))
    assert (slow.flat_s, slow.saturated_s, slow.mains_s) == (0, 2, None)
    fractional = Fraction(1999, 10)
    hum = 100 * np.sin(2 * np.pi * 50 * np.arange(1999) / float(fractional))
    assert quality(hum, fractional).mains_s == pytest.approx(9 * 200 / 199.9)


def test_an_inspection_has_the_quality_of_each_channel(tmp_path: Path) -> None:
    import edfio

    signals = []
    for number, name in enumerate(CHANNELS):
        microvolts = scalp(number)
        if name == "P3":
            microvolts[span(10, 14)] = 12.0
        if name == "O2":
            microvolts[span(20, 23)] = 2000.0
        signals.append(
            edfio.EdfSignal(
                microvolts,
                RATE,
                label=f"EEG {name}-Ref",
                physical_dimension="uV",
                physical_range=(-2000, 2000),
            )
        )
    edfio.Edf(signals).write(tmp_path / "a.edf")
    inspection = inspect_recording(tmp_path / "a.edf", Preprocessing())
    rows = {channel.name: channel.raw for channel in inspection.channels if channel.raw}
    assert list(rows) == list(CHANNELS)
    assert rows["P3"].flat_s == pytest.approx(4, abs=0.02) and rows["P3"].saturated_s == 0
    assert rows["O2"].saturated_s == pytest.approx(3) and rows["O2"].disconnected_s == 3
    assert all(rows[name].disconnected_s == 0 for name in CHANNELS if name not in ("P3", "O2"))
    html = page(inspection, 10.0)
    for column in ("Flat, s", "Saturated, s", "Mains, s", "Disconnected, s"):
        assert column in html
