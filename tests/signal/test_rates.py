"""Rates as recorders really have them: each is brought to 256 Hz, and to the right times."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.signal.chain import STREAM_STEP, Chain, Filtering, filter_signal
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.resampling import (
    BlockResampler,
    InterpolatingResampler,
    UnsupportedRate,
    design,
    passband_hz,
)
from brainbrr_core.signal.stream import SignalStream
from tests.support.edf_files import patch, write_edf
from tests.support.examples import examples
from tests.support.signal_reference import ArraySource, filtered_at_256, level, resample, scored

#: Of real recorders; the last one writes 256 samples in records of 0.9999 s.
RATES = {
    "199.97": Fraction("199.97"),
    "173.61": Fraction("173.61"),
    "256.41": Fraction("256.41"),
    "249.99": Fraction("249.99"),
    "256.016": Fraction("256.016"),
    "600.615": Fraction("600.615"),
    "999.412": Fraction("999.412"),
    "256 in 0.9999 s": Fraction(256) / Fraction("0.9999"),
}
DAY = 24 * 3600 * 256


def eeg(rate: Fraction, seconds: float, channels: int = 19) -> NDArray[np.float64]:
    """Brown-ish noise with 20 µV of deviation, mains hum and an offset per channel."""
    rng = np.random.default_rng(int(rate))
    count = int(seconds * rate)
    walk = np.cumsum(rng.standard_normal((channels, count)), axis=1) / np.sqrt(float(rate))
    noise = walk - walk.mean(axis=1, keepdims=True) + rng.standard_normal((channels, count))
    hum = np.sin(2 * np.pi * 60 * np.arange(count) / float(rate))
    return np.asarray(20 * noise / noise.std(axis=1, keepdims=True) + 5 * hum + 40.0)


def at_exact_times(data: NDArray[np.float64], rate: Fraction) -> NDArray[np.float64]:
    """The published filter in float64, evaluated anew for each output at its exact time.

    Shares nothing with production: a Kaiser-windowed sinc as a function of time, odd reflection at
    both ends, each output's weights scaled to add up to 1.
    """
    nyquist = min(float(rate), 256.0) / 2
    width = 2 * (nyquist - passband_hz(float(rate)))
    half_s = (90.0 - 7.95) / (2.285 * 2 * np.pi * width) / 2
    beta = 0.1102 * (90.0 - 8.7)
    reach = int(half_s * float(rate)) + 2
    left = 2 * data[:, :1] - data[:, reach:0:-1]
    right = 2 * data[:, -1:] - data[:, -2 : -reach - 2 : -1]
    extended = np.concatenate([left, data, right], axis=1)
    count = int(data.shape[1] * 256 / rate)
    out = np.empty((len(data), count))
    offsets = np.arange(-reach, reach + 1)
    # Whole inputs and the exact part of one, in Python's own integers.
    step = rate / 256
    places = [divmod(n * step.numerator, step.denominator) for n in range(count)]
    for first in range(0, count, 4096):
        some = places[first : first + 4096]
        whole = np.array([place[0] for place in some])
        part = np.array([place[1] / step.denominator for place in some])
        time = (part[:, None] - offsets) / float(rate)
        inside = np.sqrt(np.maximum(1 - (time / half_s) ** 2, 0.0))
        weights = np.sinc(2 * nyquist * time) * np.i0(beta * inside)
        weights = np.where(np.abs(time) <= half_s, weights, 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        windows = np.lib.stride_tricks.sliding_window_view(extended, 2 * reach + 1, axis=1)
        for row, source in zip(out, windows, strict=True):
            row[first : first + 4096] = np.einsum("nt,nt->n", source[whole], weights)
    return out


def stored(source: ArraySource) -> NDArray[np.float64]:
    made = Chain(source, Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    return blocks.swapaxes(0, 1).reshape(len(blocks[0]), -1)[:, : made.samples] * SCALE


@pytest.mark.parametrize("name", RATES)
def test_the_stored_signal_is_within_a_thousandth_of_a_deviation(name: str) -> None:
    rate = RATES[name]
    data = eeg(rate, 73.3, 19)
    got = stored(ArraySource(data, rate))
    # Three channels: each is made alone, and the reference takes its time.
    some = data[[0, 7, 18]]
    expected = scored(filtered_at_256(at_exact_times(some, rate), level(some, rate)))
    assert got.shape == (19, int(Fraction(data.shape[1]) / rate * 256))
    assert np.abs(got[[0, 7, 18]] - expected).max() < 0.0005


@pytest.mark.parametrize("rate", [Fraction(250), Fraction(1999, 10), Fraction(1000)], ids=str)
def test_the_reference_is_that_of_the_other_rates(rate: Fraction) -> None:
    data = eeg(rate, 20, 2)
    assert np.abs(at_exact_times(data, rate) - resample(data, rate)).max() < 0.002


@pytest.mark.parametrize("name", RATES)
@examples(4)
@given(sizes=st.lists(st.integers(51, 4050), min_size=1, max_size=5), seconds=st.floats(10, 25))
def test_any_pieces_give_the_whole_recordings_signal(
    name: str, sizes: list[int], seconds: float
) -> None:
    rate = RATES[name]
    data = eeg(rate, seconds).astype(np.float32)
    source = ArraySource(data - data[:, :1], rate)
    whole = np.concatenate(list(filter_signal(source, Preprocessing(), STREAM_STEP)), axis=1)
    # Longer steps give the same outputs, too.
    other = np.concatenate(list(filter_signal(source, Preprocessing(), 15360)), axis=1)
    assert np.array_equal(whole, other)
    stream = SignalStream(rate, (), Preprocessing())
    made, place, turn = [], 0, 0
    while place < data.shape[1]:
        size = sizes[turn % len(sizes)]
        made += list(stream.push(data[:, place : place + size]))
        place, turn = place + size, turn + 1
    made += list(stream.finish())
    assert np.array_equal(np.concatenate(made, axis=1), whole)
    assert stream.delay_s < 1


rates = st.one_of(
    # As a header gives them: whole samples in a record whose length has eight characters.
    st.builds(
        lambda samples, ms: samples * Fraction(1_000_000, ms),
        st.integers(100, 5000),
        st.integers(999_000, 1_001_000),
    ),
    st.builds(Fraction, st.integers(100_000, 5_000_000), st.just(1000)),
    # As a command line may.
    st.fractions(100, 5000),
)


@examples(120)
@given(rate=rates)
@example(rate=Fraction("256.00001"))
@example(rate=Fraction(10**40 + 1, 10**38))
def test_a_day_later_the_time_is_right(rate: Fraction) -> None:
    """A line through the input's times comes out as the time of each output."""
    if not 100 <= rate <= 5000:
        return
    filters = design(rate)
    applied: BlockResampler | InterpolatingResampler
    if filters.is_interpolated:
        applied = InterpolatingResampler(filters)
    else:
        applied = BlockResampler(filters)
    first = DAY // applied.period * applied.period
    start, stop = applied.input_range(first, 40)
    # Seconds after the moment a day after the start at which the first output belongs.
    begin, end = (float(n / rate - Fraction(first, 256)) for n in (start, stop - 1))
    inputs = np.linspace(begin, end, stop - start, dtype=np.float32)[None]
    if isinstance(applied, InterpolatingResampler):
        [got] = applied.apply(inputs, first, 40)
    else:
        # A whole period at least, of which the samples that were asked for are made.
        [got] = applied.apply(inputs, 40)
    # Far below one sample of 3.9 ms: what is left is the filter's ripple on a line.
    assert np.abs(got - np.arange(40) / 256).max() < 2e-5
    assert filters.output_samples(int(rate * 86400)) in (DAY, DAY - 1, DAY - 2, DAY - 3)


def test_a_pulse_is_where_it_was_after_a_day() -> None:
    rate = RATES["999.412"]
    applied = InterpolatingResampler(design(rate))
    first = DAY - 1000
    start, stop = applied.input_range(first, 1000)
    inputs = np.zeros((1, stop - start), np.float32)
    at = start + (stop - start) // 2
    inputs[0, at - start] = 1.0
    [got] = applied.apply(inputs, first, 1000)
    assert abs(float((first + int(np.argmax(got))) / 256 - at / rate)) <= 0.5 / 256


@pytest.mark.parametrize("rate", ["99.99", "50", "1", "100000.1"])
def test_a_rate_outside_100_hz_to_100_khz_is_refused(rate: str) -> None:
    with pytest.raises(UnsupportedRate, match="not between 100 Hz and 100 kHz"):
        design(Fraction(rate))
    assert design(Fraction(100)).up == 64


@pytest.mark.parametrize("name", RATES)
def test_memory_does_not_grow_with_the_numbers_of_the_ratio(name: str) -> None:
    rate = RATES[name]
    design.cache_clear()
    tracemalloc.start()
    Filtering(rate, (), Preprocessing(), STREAM_STEP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All 64,000 filters of 999.412 Hz would be 180 MB.
    assert peak < 20e6


def test_recordings_at_such_rates_are_read(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=40)
    patch(path, 244, b"0.9999", 8)
    recording = open_edf(path)
    assert (recording.rate, recording.findings) == (RATES["256 in 0.9999 s"], ())
    assert Chain(recording, Preprocessing()).samples == int(40 * 256 * 0.9999)
    assert GrowingEdf(path).rate == recording.rate
    patch(path, 244, b"2.7", 8)
    for opened in (open_edf, GrowingEdf):
        with pytest.raises(UnusableEdf, match=r"unsupported_rate: 94\.8148 Hz is not between"):
            opened(path)
