"""Stitching and event extraction, each against a loop over samples."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import scipy.ndimage
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import (
    detect,
    hysteresis,
    smooth,
    stitch,
    window_starts,
)
from brainbrr_core.detection.events import Intervals, confidences, finder, shape_intervals, to_spans
from brainbrr_core.detection.stitching import Stitching
from brainbrr_core.scoring import OperatingPoint
from tests.support.examples import examples

PLAIN = Detection(on_threshold=0.5, off_ratio=1.0, smooth_s=0, min_duration_s=0, merge_gap_s=0)


def logits(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = scipy.special.logit(
        np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    ).astype(np.float32)
    return values


def found_in(
    probabilities: NDArray[np.float32], duration_s: float, how: Detection, on: float | None = None
) -> list[Event]:
    """Events of frames that are given as probabilities, at a threshold that is one."""
    point = OperatingPoint.of_probability(on or how.on_threshold, how.off_ratio)
    return detect(logits(probabilities), duration_s, how, point)


def test_window_starts_by_hand() -> None:
    assert window_starts(100, 40, 30) == [0, 30, 60]
    # 110 samples: 0, 30, 60 end at 100, so a last one at 110 - 40 = 70.
    assert window_starts(110, 40, 30) == [0, 30, 60, 70]
    assert window_starts(40, 40, 30) == [0]
    assert window_starts(25, 40, 30) == [0]
    with pytest.raises(ValueError, match="gaps"):
        window_starts(100, 40, 41)
    with pytest.raises(ValueError, match="positive"):
        window_starts(0, 40, 30)


def naive_stitch(
    windows: list[NDArray[np.float64]], samples: int, window: int, stride: int, how: Stitching
) -> list[float]:
    """Every sample by itself, from all windows that hold it, then the frames' means."""
    values = []
    for sample in range(samples):
        mass, weight, highest = 0.0, 0.0, -math.inf
        for start, probabilities in zip(
            window_starts(samples, window, stride), windows, strict=True
        ):
            offset = sample - start
            if 0 <= offset < window:
                of_window = min(offset + 1, window - offset) if how == "triangular" else 1
                mass += of_window * float(probabilities[offset])
                weight += of_window
                highest = max(highest, float(probabilities[offset]))
        values.append(highest if how == "max" else mass / weight)
    return [float(np.mean(values[first : first + 32])) for first in range(0, samples, 32)]


@examples(60)
@given(
    st.integers(1, 700),
    st.integers(1, 200),
    st.sampled_from(["average", "triangular", "max"]),
    st.data(),
)
def test_stitching_against_a_loop_over_samples(
    samples: int, window: int, how: Stitching, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    generator = np.random.default_rng(data.draw(st.integers(0, 1000)))
    windows = [generator.normal(-2, 2, window) for _ in window_starts(samples, window, stride)]
    frames = stitch(windows, samples, window, stride, how)
    assert frames.dtype == np.float32 and frames.shape == (math.ceil(samples / 32),)
    expected = naive_stitch(windows, samples, window, stride, how)
    np.testing.assert_allclose(frames, expected, atol=1e-6)


def test_stitching_weighs_the_middle_of_a_window_more() -> None:
    # Two windows of 4 over 6 samples, stride 2: weights 1 2 2 1. Windows of zeros and ones:
    # samples 0, 1: 0; sample 2: (2*0 + 1*1) / 3; sample 3: (1*0 + 2*1) / 3; 4, 5: 1.
    frames = stitch([np.zeros(4), np.ones(4)], 6, 4, 2)
    assert frames.tolist() == [pytest.approx((0 + 0 + 1 / 3 + 2 / 3 + 1 + 1) / 6)]


def test_stitching_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="not 4"):
        stitch([np.zeros(3)], 4, 4, 2)
    with pytest.raises(ValueError):
        stitch([np.zeros(4)], 8, 4, 4)
    with pytest.raises(ValueError):
        stitch([np.zeros(4)] * 3, 8, 4, 4)


def test_other_ways_of_stitching_by_hand() -> None:
    # The same windows: samples 2 and 3 lie in both, 0 and 1. Average 1/2, highest 1.
    windows = [np.zeros(4), np.ones(4)]
    assert stitch(windows, 6, 4, 2, "average").tolist() == [pytest.approx((0.5 + 0.5 + 2) / 6)]
    assert stitch(windows, 6, 4, 2, "max").tolist() == [pytest.approx((1 + 1 + 2) / 6)]


@pytest.mark.parametrize("how", ["triangular", "average", "max"])
def test_stitching_a_day_holds_little_memory(how: Stitching) -> None:
    samples, window, stride = 24 * 3600 * 256, 60 * 256, 30 * 256
    one = np.full(window, 0.25, dtype=np.float32)

    def windows() -> Iterator[NDArray[np.float32]]:
        for _ in window_starts(samples, window, stride):
            yield one

    tracemalloc.start()
    try:
        frames = stitch(windows(), samples, window, stride, how)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames.size == 24 * 3600 * 8 and np.allclose(frames, 0.25)
    # The day at 256 Hz in float64 would be 177 MB; its frames are 5.5 MB.
    assert peak < 40e6


def test_importing_detection_does_not_import_torch() -> None:
    code = (
        "import sys, brainbrr_core.detection, brainbrr_core.scoring; print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


tenths = st.lists(st.integers(0, 10), max_size=80)


def naive_hysteresis(values: list[int], on: int, off: int) -> list[tuple[int, int]]:
    intervals, begin = [], None
    for index, value in enumerate([*values, -1]):
        if begin is None and value >= on:
            begin = index
        elif begin is not None and value < off:
            intervals.append((begin, index))
            begin = None
    return intervals


@examples(300)
@given(tenths, st.integers(1, 10), st.data())
def test_hysteresis_against_a_loop(values: list[int], on: int, data: st.DataObject) -> None:
    off = data.draw(st.integers(0, on))
    first, stop = hysteresis(np.array(values, dtype=np.float64), OperatingPoint(on, off))
    assert list(zip(first.tolist(), stop.tolist(), strict=True)) == naive_hysteresis(
        values, on, off
    )


def test_hysteresis_begins_at_the_on_threshold_and_ends_at_the_off_threshold() -> None:
    values = np.array([0.2, 0.6, 0.9, 0.6, 0.7, 0.4, 0.6, 0.2])
    first, stop = hysteresis(values, OperatingPoint(0.8, 0.5))
    assert (first.tolist(), stop.tolist()) == ([2], [5])
    with pytest.raises(ValueError, match="above the on-threshold"):
        OperatingPoint(0.5, 0.8)


@examples(100)
@given(
    st.lists(st.floats(-50, 50, width=32), max_size=60),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 2.0, 30.0]),
)
def test_smoothing_against_a_loop(values: list[float], smooth_s: float) -> None:
    half = round(smooth_s * 8 / 2)
    wanted = [
        statistics.median_low(values[max(index - half, 0) : index + half + 1])
        for index in range(len(values))
    ]
    assert smooth(np.array(values, dtype=np.float32), smooth_s).tolist() == wanted


def frames_of(
    duration_s: float, spans: list[tuple[float, float]], value: float = 0.9
) -> NDArray[np.float32]:
    frames = np.full(math.ceil(duration_s * 8), 0.1, dtype=np.float32)
    for start, stop in spans:
        frames[round(start * 8) : round(stop * 8)] = value
    return frames


def test_events_by_hand() -> None:
    frames = frames_of(60, [(5, 10), (12, 20), (30, 32), (50, 60)])
    found = found_in(frames, 60.0, PLAIN)
    assert [(event.start, event.stop) for event in found] == [(5, 10), (12, 20), (30, 32), (50, 60)]
    assert all(event.label == "seiz" for event in found)
    assert all(event.confidence == pytest.approx(0.9) for event in found)


def test_gaps_are_closed_before_short_events_are_dropped() -> None:
    frames = frames_of(60, [(5, 7), (9, 11), (30, 32)])
    settings_ = PLAIN.model_copy(update={"merge_gap_s": 2.0, "min_duration_s": 3.0})
    # 5-7 and 9-11 are exactly 2 s apart and become 6 s; 30-32 is 2 s and dropped.
    assert [(event.start, event.stop) for event in found_in(frames, 60.0, settings_)] == [(5, 11)]
    # 16 frames of 0.9, 16 of 0.1 in between, 16 of 0.9.
    assert found_in(frames, 60.0, settings_)[0].confidence == pytest.approx((2 * 0.9 + 0.1) / 3)
    # A gap longer by a frame is kept, and both are too short.
    apart = frames_of(60, [(5, 7), (9.125, 11)])
    assert found_in(apart, 60.0, settings_) == []
    # Exactly the shortest duration is kept.
    assert len(found_in(frames_of(60, [(5, 8)]), 60.0, settings_)) == 1


def test_the_off_threshold_follows_the_on_threshold() -> None:
    frames = frames_of(60, [(10, 20)], 0.9)
    frames[160:240] = 0.5
    settings_ = PLAIN.model_copy(update={"off_ratio": 0.5})
    # On 0.8, off 0.4: lasts to 30 s. On 0.96: nothing. On 0.5, off 0.25: same as the first.
    assert [(e.start, e.stop) for e in found_in(frames, 60.0, settings_, 0.8)] == [(10, 30)]
    assert found_in(frames, 60.0, settings_, 0.96) == []
    strict = PLAIN.model_copy(update={"off_ratio": 0.75})
    assert [(e.start, e.stop) for e in found_in(frames, 60.0, strict, 0.8)] == [(10, 20)]


def test_the_last_event_ends_with_the_recording() -> None:
    # 59.9 s: 480 frames, the last one reaches 60.0.
    (event,) = found_in(frames_of(59.9, [(50, 60)]), 59.9, PLAIN)
    assert (event.start, event.stop) == (50.0, 59.9)


def test_smoothing_removes_a_spike() -> None:
    frames = frames_of(60, [(20, 20.25)], 1.0)
    smoothing = PLAIN.model_copy(update={"smooth_s": 2.0})
    assert len(found_in(frames, 60.0, PLAIN)) == 1
    assert found_in(frames, 60.0, smoothing) == []


def test_no_frames_and_no_fit() -> None:
    assert found_in(np.zeros(0, dtype=np.float32), 0.0, Detection()) == []
    with pytest.raises(ValueError, match="do not fit"):
        found_in(np.zeros(80, dtype=np.float32), 60.0, Detection())
    with pytest.raises(ValueError, match="not finite"):
        found_in(np.full(80, np.nan, dtype=np.float32), 10.0, Detection())


@examples(60)
@given(st.integers(0, 2**31), st.floats(0.05, 0.95))
def test_events_are_sorted_disjoint_and_inside(seed: int, threshold: float) -> None:
    frames = np.random.default_rng(seed).random(800).astype(np.float32)
    found: list[Event] = found_in(frames, 100.0, Detection(smooth_s=0.5), threshold)
    edges = [edge for event in found for edge in (event.start, event.stop)]
    assert edges == sorted(edges)
    assert all(0 <= event.start < event.stop <= 100 for event in found)
    assert all(event.duration >= 3 and 0 <= event.confidence <= 1 for event in found)
    assert all(b.start - a.stop > 2 for a, b in pairwise(found))


def with_(**steps: float) -> Detection:
    return PLAIN.model_copy(update=steps)


def mask_of(first: NDArray[np.intp], stop: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    for begin, end in zip(first.tolist(), stop.tolist(), strict=True):
        mask[begin:end] = True
    return mask


@examples(200)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 9))
def test_morphology_is_that_of_images(values: list[bool], frames: int) -> None:
    """Opening and closing of intervals are binary opening and closing by a flat element."""
    mask = np.array(values)
    half = OperatingPoint(0.5, 0.5)
    intervals = hysteresis(mask.astype(np.float64), half)
    element = np.ones(frames, dtype=np.bool_)
    opened = mask_of(*shape_intervals(intervals, with_(opening_s=frames / 8)), mask.size)
    np.testing.assert_array_equal(opened, scipy.ndimage.binary_opening(mask, element))
    # Closing far from the ends, which are no gaps.
    room = np.pad(mask, 10)
    padded = hysteresis(room.astype(np.float64), half)
    closed = mask_of(*shape_intervals(padded, with_(closing_s=frames / 8)), room.size)
    np.testing.assert_array_equal(closed, scipy.ndimage.binary_closing(room, element))


def test_the_steps_come_in_their_order() -> None:
    # 1 s, a gap of 1 s, 4 s. Opening first drops the one second, so nothing is left to close.
    frames = frames_of(60, [(5, 6), (7, 11)])
    opened = PLAIN.model_copy(update={"opening_s": 2.0, "closing_s": 2.0})
    assert [(e.start, e.stop) for e in found_in(frames, 60.0, opened)] == [(7, 11)]
    closed = PLAIN.model_copy(update={"closing_s": 2.0, "min_duration_s": 5.0})
    assert [(e.start, e.stop) for e in found_in(frames, 60.0, closed)] == [(5, 11)]
    # A gap of exactly the element's length is not closed, but merged.
    exact = PLAIN.model_copy(update={"closing_s": 1.0})
    assert len(found_in(frames, 60.0, exact)) == 2
    assert len(found_in(frames, 60.0, exact.model_copy(update={"merge_gap_s": 1.0}))) == 1


def test_events_that_are_too_long_are_cut_into_equal_parts() -> None:
    longest = PLAIN.model_copy(update={"max_duration_s": 20.0})
    found = found_in(frames_of(100, [(10, 60), (70, 90)]), 100.0, longest)
    # 50 s are three parts of 16.67 s; exactly 20 s stay one.
    assert [event.duration for event in found] == pytest.approx([50 / 3] * 3 + [20])
    assert [event.start for event in found[1:3]] == [event.stop for event in found[:2]]
    assert (found[2].stop, found[3].start, found[3].stop) == (60.0, 70.0, 90.0)
    nothing: Intervals = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert to_spans(nothing, 100.0, longest) == []
    with pytest.raises(ValueError, match="at least twice min_duration_s"):
        Detection(min_duration_s=11, max_duration_s=20)


def test_confidence_is_the_mean_or_the_highest_probability() -> None:
    frames = frames_of(60, [(10, 20)], 0.6)
    frames[100] = 1.0
    (mean,) = found_in(frames, 60.0, PLAIN)
    (highest,) = found_in(frames, 60.0, PLAIN.model_copy(update={"confidence": "max"}))
    assert mean.confidence == pytest.approx((79 * 0.6 + 1.0) / 80)
    assert highest.confidence == pytest.approx(1.0, abs=2e-6)
    assert confidences(logits(frames), [(59.95, 60.0)]) == [pytest.approx(0.1)]


@examples(40)
@given(st.integers(0, 2**31))
def test_a_table_has_at_every_point_what_detection_gives(seed: int) -> None:
    generator = np.random.default_rng(seed)
    frames = generator.normal(size=800).astype(np.float32)
    steps = Detection(smooth_s=0.5, opening_s=0.5, closing_s=0.5, max_duration_s=7.0)
    on = np.sort(generator.normal(size=12))
    off = np.minimum(np.sort(generator.normal(size=12)), on)
    table = finder(frames, 100.0, steps).table(on, off)
    for number, point in enumerate(map(OperatingPoint, on.tolist(), off.tolist())):
        expected = detect(frames, 100.0, steps, point)
        assert table.spans(number) == [(event.start, event.stop) for event in expected]
