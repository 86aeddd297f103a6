"""The first and last samples of a recording, also where they are garbage."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import STREAM_STEP, filter_signal
from brainbrr_core.signal.stream import SignalStream
from tests.support.signal_reference import ArraySource, chain, filtered, synthetic_eeg
from tests.support.stored_signals import z_scores

ROBUST = Preprocessing(scale="robust")


@pytest.mark.parametrize("settings", [Preprocessing(), ROBUST], ids=["recording_sd", "robust"])
@pytest.mark.parametrize("rate", [200, 250, 256, 1000])
@pytest.mark.parametrize("samples", [1, 5])
def test_garbage_at_the_beginning_is_over_in_two_seconds(
    rate: int, samples: int, settings: Preprocessing
) -> None:
    """Full scale of 16 bits at 0.1 µV, in a recording of one minute with 30 µV of deviation.

    For each such sample, less than 0.2 SD is left of it from two seconds on, and less than 0.01 SD
    from five seconds on.
    """
    data = synthetic_eeg(rate, 60)
    expected = z_scores(data, rate, settings)
    data[:, :samples] = 3276.7
    got = z_scores(data, rate, settings)
    difference = np.abs(got - expected).max(axis=0)
    assert difference[2 * 256 :].max() < 0.2 * samples
    assert difference[5 * 256 :].max() < 0.01 * samples
    # It is not taken away where it was recorded.
    assert np.abs(got[:, :10]).max() > 9.9


def test_garbage_as_large_as_an_amplifiers_range_costs_no_accuracy() -> None:
    """What is counted from that sample is exact enough in float32."""
    data = synthetic_eeg(250, 60)
    data[:, 0] = 100_000.0
    assert np.abs(z_scores(data, 250) - chain(data, Fraction(250))).max() < 0.001


def test_a_garbage_sample_at_the_end_is_not_mirrored() -> None:
    data = synthetic_eeg(250, 60)
    expected = filtered(data, Fraction(250))
    data[:, -1] = 3276.7
    source = ArraySource(data, Fraction(250))
    got = np.concatenate(list(filter_signal(source, Preprocessing(), STREAM_STEP)), axis=1)
    difference = np.abs(got - expected)
    # Mirrored about itself it would add twice its size for the length of the resampler's filter.
    assert difference[:, -70:-1].max() < 1500
    assert difference[:, :-75].max() < 0.01


@pytest.mark.parametrize("rate", [Fraction(250), Fraction(256)])
def test_a_stream_starts_as_the_whole_recording_does(rate: Fraction) -> None:
    data = synthetic_eeg(float(rate), 31).astype(np.float32)
    data[:, 0] = 3276.7
    source = ArraySource(data - data[:, :1], rate)
    whole = np.concatenate(list(filter_signal(source, Preprocessing(), 15360)), axis=1)
    stream = SignalStream(rate, (), Preprocessing())
    made = [
        piece
        for start in range(0, data.shape[1], 97)
        for piece in stream.push(data[:, start : start + 97])
    ]
    made += stream.finish()
    assert np.array_equal(np.concatenate(made, axis=1), whole)
