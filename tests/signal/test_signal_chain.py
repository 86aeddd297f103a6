"""The stored signal equals the reference everywhere; the resampler has the published response."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from brainbrr_core.cache.version import chain_parameters
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.files.canonical import digest
from brainbrr_core.signal.chain import ALGORITHM_VERSION, Chain
from brainbrr_core.signal.interpolation import POSITIONS, interpolation_weights
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.resampling import DESIGN, design
from tests.support.edf_files import write_edf
from tests.support.signal_reference import ArraySource, chain, filtered, resample, settled

#: Stored samples of :func:`test_the_chain_gives_what_version_2_gave`; the float64 reference gives
#: the same.
GOLDEN = (
    *(-1058, -453, 472, 2687, 655, 2308, -1995, 500, -2, 2485, 5566, -3047),
    *(3186, 3675, 444, 2687, 1752, 2807, -2001, 500, -1235, 1157, 5576, -3047),
    *(3186, 3675, 444, 2707, 1752, 2807, -2001, 518, -1235, 1157, 5576, -3014),
)
#: The last is as awkward as a rate can be: 2,560 outputs for 1,999 samples.
RATES = [
    *map(Fraction, (200, 240, 250, 256, 333, 400, 500, 512, 1000)),
    Fraction(1999, 10),
]


def eeg(
    rate: float | Fraction, seconds: float, seed: int = 0, channels: int = 19
) -> NDArray[np.float64]:
    """Brown-ish noise with 20 µV of deviation, mains hum and an offset per channel."""
    rng = np.random.default_rng(seed)
    rate = float(rate)
    count = int(seconds * rate)
    walk = np.cumsum(rng.standard_normal((channels, count)), axis=1) / np.sqrt(rate)
    noise = walk - walk.mean(axis=1, keepdims=True) + rng.standard_normal((channels, count))
    hum = np.sin(2 * np.pi * 60 * np.arange(count) / rate)
    return np.asarray(20 * noise / noise.std(axis=1, keepdims=True) + 5 * hum + 40.0)


def stored(source: ArraySource, settings: Preprocessing | None = None) -> NDArray[np.float64]:
    """What a reader of the store gets, in standard deviations, without the padding."""
    made = Chain(source, settings or Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    flat = blocks.swapaxes(0, 1).reshape(19, -1)
    assert blocks.shape == (made.blocks, 19, 2560)
    assert not flat[:, made.samples :].any()
    return flat[:, : made.samples] * SCALE


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_stored_signal_is_within_a_thousandth_of_a_deviation(rate: Fraction) -> None:
    data = eeg(rate, 187.3)
    expected = chain(data, rate)
    got = stored(ArraySource(data, rate))
    assert got.shape == expected.shape
    assert got.shape[1] == int(Fraction(data.shape[1]) / rate * 256)
    error = np.abs(got - expected)
    assert error.max() < 0.001
    assert max(error[:, :256].max(), error[:, -256:].max()) < 0.001


@pytest.mark.parametrize("seconds", [10, 59.99, 60, 60.01, 180.3])
def test_ends_of_chunks_and_of_short_recordings_are_no_different(seconds: float) -> None:
    data = eeg(400, seconds)
    error = stored(ArraySource(data, Fraction(400))) - chain(data, Fraction(400))
    assert np.abs(error).max() < 0.001


def test_settings_of_the_filters_are_used() -> None:
    data = eeg(250, 60)
    got = stored(ArraySource(data, Fraction(250)), Preprocessing(notch_hz=50))
    assert np.abs(got - chain(data, Fraction(250), notch=50.0)).max() < 0.001
    assert np.abs(got - chain(data, Fraction(250))).max() > 0.1


@pytest.mark.parametrize("rate", [250, 256, 1000])
def test_a_large_electrode_offset_costs_no_accuracy(rate: int) -> None:
    """100 mV under 20 µV: as far as an amplifier coupled to direct current may drift."""
    data = eeg(rate, 65) + 100_000.0
    error = stored(ArraySource(data, Fraction(rate))) - chain(data, Fraction(rate))
    assert np.abs(error).max() < 0.001


@pytest.mark.parametrize("rate", [250, 256])
def test_an_offset_leaves_no_trace_in_the_first_seconds(rate: int) -> None:
    # The band-pass forgets a step in ten seconds: started from zero, an offset of 5 mV would be
    # all that is seen of them, and of the z-score.
    data = eeg(rate, 60)
    offset = np.linspace(-5000, 5000, 19)[:, None]
    with_offset = stored(ArraySource(data + offset, Fraction(rate)))
    assert np.abs(with_offset - stored(ArraySource(data, Fraction(rate)))).max() < 0.001
    assert np.abs(with_offset[:, :2560]).max() < 8


def microvolts(data: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """The stored signal before its z-score."""
    source = ArraySource(data, Fraction(rate))
    statistics = Chain(source, Preprocessing()).statistics
    return stored(source) * statistics.deviation[:, None] + statistics.mean[:, None]


def test_the_end_of_a_recording_does_not_reach_its_start() -> None:
    data = eeg(250, 120)
    other = data.copy()
    other[:, -250 * 20 :] += 300 * np.sin(np.arange(250 * 20))
    changed = np.abs(microvolts(other, 250) - microvolts(data, 250)).max(axis=0)
    # Half of the filter is 73 samples at 250 Hz; before that only the rounding differs.
    assert changed[: 256 * 99].max() < 0.05
    assert changed[256 * 101 :].max() > 100


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_line_stays_a_line_to_both_ends(rate: Fraction) -> None:
    """Odd reflection continues a line; zeros or an even reflection would bend it."""
    line = np.arange(int(30 * rate), dtype=np.float64)[None, :]
    got = resample(line, rate)[0]
    assert np.abs(got - np.arange(len(got)) * float(rate / 256)).max() < 1e-3 * float(rate)


def test_mean_and_deviation_are_those_of_the_filtered_signal() -> None:
    data = eeg(250, 90)
    data[4] *= 3
    found = Chain(ArraySource(data, Fraction(250)), Preprocessing()).statistics
    reference = settled(filtered(data, Fraction(250)))
    assert found.deviation == pytest.approx(reference.std(axis=1), rel=1e-5)
    assert found.mean == pytest.approx(reference.mean(axis=1), abs=1e-4)
    assert found.deviation[4] > 2 * found.deviation[3]


def test_an_ekg_at_1000_hz_does_not_change_the_eeg(tmp_path: Path) -> None:
    wanted = [f"EEG {name.upper()}-REF" for name in CHANNELS]
    alone = open_edf(write_edf(tmp_path / "a.edf", labels=wanted, rate=250))
    both = open_edf(
        write_edf(
            tmp_path / "b.edf", labels=[*wanted, "EKG"], rate=250, rates={"EKG": 1000}, seed=0
        )
    )
    assert both.rate == alone.rate == 250
    made = [Chain(source, Preprocessing()).quantized() for source in (alone, both)]
    for (first, _), (second, _) in zip(*made, strict=True):
        assert np.array_equal(first, second)


def test_recordings_too_long_to_keep_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(eeg(400, 130), Fraction(400))
    kept = list(Chain(source, Preprocessing()).quantized())
    monkeypatch.setattr("brainbrr_core.signal.chain.KEEP_BYTES", 0)
    again = list(Chain(source, Preprocessing()).quantized())
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(kept, again, strict=True))


class EndlessSource:
    """Hours of silence that are nowhere, and the longest stretch that was asked for."""

    rate, missing = Fraction(250), ()

    def __init__(self, hours: float) -> None:
        self.samples = int(hours * 3600 * 250)
        self.longest = 0

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        self.longest = max(self.longest, stop - start)
        return np.zeros((19, stop - start), np.float32)


@pytest.mark.parametrize("hours", [2.5, 5.0])
def test_memory_is_bounded_whatever_the_length(hours: float) -> None:
    source = EndlessSource(hours)
    tracemalloc.start()
    blocks = sum(len(chunk) for chunk, _ in Chain(source, Preprocessing()).quantized())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks == hours * 360
    assert source.longest < 250 * 120
    # Five hours of 19 channels in float32 are 350 MB.
    assert peak < 50e6


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
    assert 0 < sum(int(clipped.sum()) for _, clipped in parts) <= at_limit


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


@pytest.mark.parametrize("rate", [200, 250, 333, 400, 500, 512, 1000])
def test_the_response_of_the_resampler(rate: int) -> None:
    """Ripple below 0.001 dB, half amplitude at the Nyquist frequency, 89 dB from its mirror on."""
    filters = design(Fraction(rate))
    spectrum = np.abs(np.fft.rfft(filters.taps / filters.up, 1 << 20))
    frequency = np.linspace(0, rate * filters.up / 2, len(spectrum))
    nyquist = min(rate, 256) / 2
    passes = min(120.0, 0.96 * nyquist)
    assert np.abs(20 * np.log10(spectrum[frequency <= passes])).max() < 0.001
    assert 20 * np.log10(spectrum[frequency >= 2 * nyquist - passes].max()) < -89
    assert np.interp(nyquist, frequency, spectrum) == pytest.approx(0.5, abs=1e-4)
    assert np.array_equal(filters.taps, filters.taps[::-1]) or np.allclose(
        filters.taps, filters.taps[::-1], atol=1e-7
    )


@pytest.mark.parametrize("rate", [400, 500, 1000])
@pytest.mark.parametrize("tone", [137.0, 150.0, 180.0, 199.0])
def test_a_tone_above_the_new_nyquist_frequency_does_not_come_back(rate: int, tone: float) -> None:
    time = np.arange(20 * rate) / rate
    out = resample(np.sin(2 * np.pi * tone * time)[None, :], Fraction(rate))[0]
    assert np.abs(out[5 * 256 : 15 * 256]).max() < 1e-4


#: Length, middle, sum of squares and the 100th value from the middle of the published taps.
TAPS = {
    200: (4573, 1.000000000, 31.764514582, -0.038666037),
    250: (18289, 1.000000000, 127.058033761, 0.258344514),
    400: (2287, 0.640001782, 10.122322334, -0.000000000),
    500: (11431, 0.512001523, 32.391421197, 0.119587943),
    512: (185, 0.500001562, 0.494290260, -0.000000000),
    1000: (11431, 0.256000384, 8.097855299, 0.059794059),
}


@pytest.mark.parametrize("rate", TAPS)
def test_the_taps_are_those_of_version_2(rate: int) -> None:
    """Other taps are another signal: whoever changes them bumps the algorithm version."""
    assert ALGORITHM_VERSION == 2
    taps = design(Fraction(rate)).taps
    half = len(taps) // 2
    got = (len(taps), taps[half], float(taps @ taps), taps[half + min(100, half)])
    assert got == pytest.approx(TAPS[rate], rel=1e-6, abs=1e-9)


def test_the_design_of_the_resampler_is_part_of_the_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = digest(chain_parameters(Preprocessing()))
    monkeypatch.setitem(DESIGN, "stopband_db", 80.0)
    assert digest(chain_parameters(Preprocessing())) != before


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_the_resampler_does_not_shift_an_impulse(rate: Fraction) -> None:
    # An output sample falls on the impulse, which lies off the middle.
    place = 7 * rate.numerator
    data = np.zeros((1, 3 * place))
    data[0, place] = 1.0
    out = resample(data, rate)[0]
    middle = int(place / rate * 256)
    assert np.argmax(out) == middle
    assert np.allclose(out[middle - 90 : middle], out[middle + 90 : middle : -1], atol=1e-6)


MIDLINE = [names for n in (1, 2, 3) for names in combinations(("Fz", "Cz", "Pz"), n)]


@pytest.mark.parametrize("missing", MIDLINE, ids="+".join)
@pytest.mark.parametrize("positions", ["ours", "standard_1020"])
def test_interpolation_equals_mne(missing: tuple[str, ...], positions: str) -> None:
    """With our directions to the sixth digit; with MNE's own positions and sphere to 0.1 %."""
    import mne

    rng = np.random.default_rng(3)
    data = 20 * rng.standard_normal((19, 500))
    info = mne.create_info(list(CHANNELS), 256, "eeg", verbose="error")
    raw = mne.io.RawArray(data * 1e-6, info, verbose="error")
    origin: str | tuple[float, float, float] = "auto"
    montage = "standard_1020"
    if positions == "ours":
        origin = (0.0, 0.0, 0.0)
        where = {name: 0.095 * np.array(p) / np.linalg.norm(p) for name, p in POSITIONS.items()}
        montage = mne.channels.make_dig_montage(where, coord_frame="head")
    raw.set_montage(montage, verbose="error")
    raw.info["bads"] = list(missing)
    raw.interpolate_bads(origin=origin, verbose="error")
    expected = raw.get_data(picks=list(missing)) * 1e6
    present = [i for i, name in enumerate(CHANNELS) if name not in missing]
    error = np.abs(interpolation_weights(missing) @ data[present] - expected)
    assert error.max() < (1e-5 if positions == "ours" else 0.001 * np.abs(expected).max())


def test_missing_midline_is_interpolated_before_the_z_score() -> None:
    data = eeg(250, 60)
    missing = ("Fz", "Cz", "Pz")
    present = [i for i, name in enumerate(CHANNELS) if name not in missing]
    absent = [CHANNELS.index(name) for name in missing]
    whole = filtered(data, Fraction(250))
    whole[absent] = interpolation_weights(missing) @ whole[present]
    used = settled(whole)
    expected = (whole - used.mean(axis=1)[:, None]) / used.std(axis=1)[:, None]
    got = stored(ArraySource(data[present], Fraction(250), missing))
    assert np.abs(got - expected).max() < 0.001


def test_the_chain_gives_what_version_2_gave() -> None:
    """A library whose upgrade changes these samples changes every shard: bump the algorithm.

    Libraries differ in the last bit of the sines of the input, hence one unit of tolerance.
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
