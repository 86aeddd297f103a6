"""A signal of zeros."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.signal.chain import filter_signal
from brainbrr_core.signal.filters import at_rest, sections
from brainbrr_core.signal.recurrence import filter_in_place
from tests.support.signal_reference import ArraySource, filtered, synthetic_eeg


def test_silence_takes_no_longer_than_a_signal() -> None:
    """Its state fades into numbers that processors are slow with, were it not set to zero."""
    rng = np.random.default_rng(0)
    seconds = {}
    for name, amplitude in (("noise", 20.0), ("silence", 0.0)):
        state = at_rest(Preprocessing(), 19)
        start = (20 * rng.standard_normal((19, 2560))).astype(np.float32)
        filter_in_place(start, sections(Preprocessing()), state)
        times = []
        for _ in range(150):
            piece = (amplitude * rng.standard_normal((19, 2560))).astype(np.float32)
            begun = time.process_time()
            filter_in_place(piece, sections(Preprocessing()), state)
            times.append(time.process_time() - begun)
        # The state has faded to nothing after about ten minutes.
        seconds[name] = float(np.median(times[-60:]))
    assert not piece.any() and not state.any()
    assert seconds["silence"] < 4 * seconds["noise"]


def test_a_signal_after_an_hour_of_zeros_is_filtered_as_by_scipy() -> None:
    """A signal that begins again after an hour of zeros is what scipy makes of it."""
    data = synthetic_eeg(256, 20) - synthetic_eeg(256, 20)[:, :1]
    quiet = np.concatenate([data, np.zeros((19, 700 * 256)), data], axis=1)
    source = ArraySource(quiet, Fraction(256))
    got = np.concatenate(list(filter_signal(source, Preprocessing(), 15360)), axis=1)
    assert np.abs(got - filtered(quiet, Fraction(256))).max() < 1e-3
