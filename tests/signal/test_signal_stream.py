"""The chain on samples as they arrive gives what it gives on the whole recording."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import STREAM_STEP, Chain, Quantizer, filter_signal, regroup
from brainbrr_core.signal.statistics import Statistics
from brainbrr_core.signal.stream import SignalStream
from tests.support.examples import examples
from tests.support.signal_reference import ArraySource


def noise(rate: float, seconds: float, channels: int = 19) -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    signal = 30 * rng.standard_normal((channels, int(rate * seconds))).cumsum(axis=1) / 20
    offsets = 100 * rng.standard_normal((channels, 1))
    return (signal + offsets).astype(np.float32)


def streamed(
    data: NDArray[np.float32], rate: Fraction, missing: tuple[str, ...], sizes: list[int]
) -> NDArray[np.float32]:
    """What a stream gives of ``data`` in pieces of ``sizes``, over and over."""
    stream = SignalStream(rate, missing, Preprocessing())
    made = []
    place, turn = 0, 0
    while place < data.shape[1]:
        size = sizes[turn % len(sizes)]
        made += list(stream.push(data[:, place : place + size]))
        place, turn = place + size, turn + 1
    made += list(stream.finish())
    return np.concatenate(made, axis=1)


@pytest.mark.parametrize("rate", [Fraction(200), Fraction(250), Fraction(256), Fraction(500)])
@examples(12)
@given(
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=5),
    seconds=st.floats(10, 25),
    two_missing=st.booleans(),
)
def test_any_pieces_give_the_whole_recordings_signal(
    rate: Fraction, sizes: list[int], seconds: float, two_missing: bool
) -> None:
    # Many pieces of a few samples are as slow as they are unlikely to differ.
    sizes = [size + 50 for size in sizes]
    missing = ("Fz", "Cz") if two_missing else ()
    data = noise(float(rate), seconds, 19 - len(missing))
    source = ArraySource(data - data[:, :1], rate, missing)
    whole = np.concatenate(list(filter_signal(source, Preprocessing(), STREAM_STEP)), axis=1)
    assert np.array_equal(streamed(data, rate, missing, sizes), whole)


def test_single_samples_are_pieces_too() -> None:
    data = noise(250, 11)
    source = ArraySource(data - data[:, :1], Fraction(250))
    whole = np.concatenate(list(filter_signal(source, Preprocessing(), STREAM_STEP)), axis=1)
    assert np.array_equal(streamed(data, Fraction(250), (), [1]), whole)


def test_given_statistics_give_the_stores_samples() -> None:
    data = noise(250, 130)
    source = ArraySource(data - data[:, :1], Fraction(250))
    own = Chain(source, Preprocessing())
    fixed = Chain(source, Preprocessing(), own.statistics)
    for (stored, _), (again, _) in zip(own.quantized(), fixed.quantized(), strict=True):
        assert np.array_equal(stored, again)


def test_statistics_of_the_first_seconds_are_those_of_numpy() -> None:
    data = noise(256, 30)
    source = ArraySource(data - data[:, :1], Fraction(256))
    pieces = list(filter_signal(source, Preprocessing(), STREAM_STEP))
    first = Statistics.of(iter(pieces), 12 * 256 + 7, Preprocessing())
    # The filters settle in the first two seconds.
    signal = np.concatenate(pieces, axis=1)[:, 512 : 12 * 256 + 7].astype(float)
    assert first.mean == pytest.approx(signal.mean(axis=1), abs=1e-9)
    assert first.deviation == pytest.approx(signal.std(axis=1))
    # Fewer samples than asked for: those that there are.
    assert Statistics.of(iter(pieces), 10**9, Preprocessing()).deviation == pytest.approx(
        np.concatenate(pieces, axis=1)[:, 512:].astype(float).std(axis=1)
    )


def test_a_quantizer_knows_nothing_of_the_pieces() -> None:
    signal = noise(256, 30)
    statistics = Statistics.of([signal], signal.shape[1], Preprocessing())
    quantizer = Quantizer(statistics, Preprocessing())
    whole, clipped = quantizer.apply(signal)
    expected = np.rint(
        np.clip((signal - statistics.mean[:, None]) / statistics.deviation[:, None], -10, 10)
        * 32767
        / 10
    )
    flat = whole.transpose(1, 0, 2).reshape(19, -1)[:, : signal.shape[1]]
    assert np.abs(flat - expected).max() <= 1
    assert clipped.shape == whole.shape[:2] and not clipped.any()


@given(sizes=st.lists(st.integers(1, 40), max_size=12), length=st.integers(1, 30))
def test_regroup_pieces_have_the_length_that_is_asked_for(sizes: list[int], length: int) -> None:
    whole = np.arange(sum(sizes), dtype=np.float32)[None]
    edges = np.cumsum([0, *sizes])
    pieces = [whole[:, a:b] for a, b in pairwise(edges)]
    made = list(regroup(pieces, length))
    assert all(piece.shape[1] == length for piece in made[:-1])
    assert not made or 0 < made[-1].shape[1] <= length
    assert np.array_equal(np.concatenate([np.empty((1, 0)), *made], axis=1), whole)
