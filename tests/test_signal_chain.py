"""The stored signal equals the reference everywhere; the resampler has the published response."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from signal_reference import ArraySource, chain, resample
from threadpoolctl import threadpool_limits

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.interpolation import POSITIONS, interpolation_weights
from brainbrr_core.signal.montage import CHANNELS
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: Stored samples of :func:`test_the_chain_gives_what_version_1_gave`; the float64 reference gives
#: the same.
GOLDEN = (
    *(6, 997, 459, 2688, 2, 1417, -1989, 498, 1, 2488, 5565, -3046),
    *(3187, 3677, 443, 2688, 1751, 2805, -2002, 498, -1235, 1157, 5575, -3046),
    *(3187, 3677, 443, 2708, 1751, 2805, -2002, 517, -1235, 1157, 5575, -3014),
)
RATES = [200, 240, 250, 256, 400, 500, 512, 1000]


def eeg(rate: float, seconds: float, seed: int = 0, channels: int = 19) -> NDArray[np.float64]:
    """Brown-ish noise with 20 µV of deviation, mains hum and an offset per channel."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    walk = np.cumsum(rng.standard_normal((channels, count)), axis=1) / np.sqrt(rate)
    noise = walk - walk.mean(axis=1, keepdims=True) + rng.standard_normal((channels, count))
    hum = np.sin(2 * np.pi * 60 * np.arange(count) / rate)
    return 20 * noise / noise.std(axis=1, keepdims=True) + 5 * hum + 40.0


def stored(source: ArraySource, settings: Preprocessing | None = None) -> NDArray[np.float64]:
    """What a reader of the store gets, in standard deviations, without the padding."""
    made = Chain(source, settings or Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    flat = blocks.swapaxes(0, 1).reshape(19, -1)
    assert blocks.shape == (made.blocks, 19, 2560)
    assert not flat[:, made.samples :].any()
    return flat[:, : made.samples] * SCALE


@pytest.mark.parametrize("rate", RATES)
def test_stored_signal_is_within_a_thousandth_of_a_deviation(rate: int) -> None:
    data = eeg(rate, 187.3)
    expected = chain(data, Fraction(rate))
    got = stored(ArraySource(data, Fraction(rate)))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 0.001


def test_a_large_electrode_offset_costs_no_accuracy() -> None:
    data = eeg(250, 65) + 100_000.0
    error = stored(ArraySource(data, Fraction(250))) - chain(data, Fraction(250))
    assert np.abs(error).max() < 0.001


def test_recordings_too_long_to_keep_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(eeg(400, 130), Fraction(400))
    kept = list(Chain(source, Preprocessing()).quantized())
    monkeypatch.setattr("brainbrr_core.signal.chain._KEEP_BYTES", 0)
    again = list(Chain(source, Preprocessing()).quantized())
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(kept, again, strict=True))


def test_the_number_of_blas_threads_changes_no_byte() -> None:
    # At 1000 Hz the products are large enough for BLAS to share them out, where it may.
    source = ArraySource(eeg(1000, 130), Fraction(1000))
    made = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            parts = Chain(source, Preprocessing()).quantized()
            made.append(np.concatenate([chunk for chunk, _ in parts]))
    assert np.array_equal(made[0], made[1])


def test_values_are_clipped_at_ten_deviations() -> None:
    data = eeg(256, 60)
    data[3, 5000] += 50_000
    made = Chain(ArraySource(data, Fraction(256)), Preprocessing())
    parts = list(made.quantized())
    values = np.concatenate([chunk for chunk, _ in parts]) * SCALE
    assert np.abs(values).max() == pytest.approx(10.0)
    # What is at the limit was clipped, but for what was rounded to it.
    at_limit = int((np.abs(values) > 9.9999).sum())
    assert 0 < sum(clipped for _, clipped in parts) <= at_limit


def test_a_flat_channel_is_stored_as_zero() -> None:
    data = eeg(256, 30)
    data[7] = -12.0
    got = stored(ArraySource(data, Fraction(256)))
    assert not got[7].any()
    assert got[6].std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("rate", [250, 400, 512, 1000])
@pytest.mark.parametrize("tone", [0.5, 10.0, 60.0, 100.0, 119.0])
def test_tones_pass_the_resampler_unchanged(rate: int, tone: float) -> None:
    time = np.arange(20 * rate) / rate
    out = resample(np.sin(2 * np.pi * tone * time)[None, :], Fraction(rate))[0]
    expected = np.sin(2 * np.pi * tone * np.arange(len(out)) / 256)
    middle = slice(5 * 256, 15 * 256)
    assert np.abs(out - expected)[middle].max() < 1e-3


@pytest.mark.parametrize("rate", [400, 512, 1000])
def test_what_would_alias_into_the_passband_is_gone(rate: int) -> None:
    filters = design(Fraction(rate))
    spectrum = np.abs(np.fft.rfft(filters.taps / filters.up, 1 << 20))
    frequency = np.linspace(0, rate * filters.up / 2, len(spectrum))
    assert 20 * np.log10(spectrum[frequency >= 136].max()) < -80
    assert np.abs(20 * np.log10(spectrum[frequency <= 120])).max() < 0.01


def test_the_resampler_does_not_shift_an_impulse() -> None:
    for rate in RATES:
        data = np.zeros((1, 20 * rate))
        data[0, 10 * rate] = 1.0
        assert np.argmax(resample(data, Fraction(rate))[0]) == 10 * 256


def test_an_absurd_rate_is_refused() -> None:
    with pytest.raises(UnsupportedRate):
        design(Fraction(2499999, 10000))


def test_interpolation_equals_mne() -> None:
    import mne

    rng = np.random.default_rng(3)
    data = rng.standard_normal((19, 50))
    info = mne.create_info(list(CHANNELS), 256, "eeg", verbose="error")
    raw = mne.io.RawArray(data * 1e-6, info, verbose="error")
    where = {name: 0.095 * np.array(p) / np.linalg.norm(p) for name, p in POSITIONS.items()}
    raw.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"), verbose="error")
    missing = ("Fz", "Pz")
    raw.info["bads"] = list(missing)
    raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="error")
    expected = raw.get_data(picks=list(missing)) * 1e6
    present = [i for i, name in enumerate(CHANNELS) if name not in missing]
    assert np.allclose(interpolation_weights(missing) @ data[present], expected, atol=1e-6)


def test_missing_midline_is_interpolated_before_the_z_score() -> None:
    data = eeg(250, 60)
    missing = ("Fz", "Cz", "Pz")
    present = [i for i, name in enumerate(CHANNELS) if name not in missing]
    absent = [CHANNELS.index(name) for name in missing]
    whole = data.copy()
    whole[absent] = interpolation_weights(missing) @ data[present]
    got = stored(ArraySource(data[present], Fraction(250), missing))
    assert np.abs(got - chain(whole, Fraction(250))).max() < 0.001


def test_the_chain_gives_what_version_1_gave() -> None:
    """A library whose upgrade changes these samples changes every shard: bump the algorithm.

    Processors round differently in the last bit of a float32, hence one unit of tolerance.
    """
    time = np.arange(70 * 400) / 400
    rows = [
        30 * np.sin(2 * np.pi * (1.3 + 0.7 * row) * time)
        + 12 * np.sin(2 * np.pi * (9.5 + row) * time + row)
        + 5 * np.sin(2 * np.pi * 60 * time)
        + 50 * (row - 9)
        for row in range(19)
    ]
    made = Chain(ArraySource(np.array(rows), Fraction(400)), Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    got = blocks[[0, 3, 6]][:, [0, 7, 18]][:, :, [0, 1, 777, 2559]].reshape(-1)
    assert np.abs(got.astype(int) - np.array(GOLDEN)).max() <= 1, got.tolist()
