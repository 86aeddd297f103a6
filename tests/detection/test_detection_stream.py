"""Events from frames that arrive in pieces are the events of the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import Stitcher, detect, stitch, window_starts
from brainbrr_core.detection.stitching import Stitching
from brainbrr_core.detection.stream import EventStream
from brainbrr_core.scoring import OperatingPoint, sigmoid
from tests.support.examples import examples


def raw(how: Detection) -> OperatingPoint:
    """Thresholds that are in the unit of the scores here, whatever that is."""
    return OperatingPoint(how.on_threshold, how.on_threshold * how.off_ratio)


def wave(seed: int, frames: int) -> NDArray[np.float32]:
    """Scores that cross the thresholds often, at all durations."""
    rng = np.random.default_rng(seed)
    slow = np.repeat(rng.random(frames // 16 + 1), 16)[:frames]
    fast = rng.random(frames)
    mixed = 0.75 * slow + 0.25 * fast
    return np.where(rng.random(frames) < 0.02, np.float32(1), mixed).astype(np.float32)


detections = st.builds(
    Detection,
    on_threshold=st.sampled_from([0.5, 0.6, 0.7]),
    off_ratio=st.sampled_from([0.6, 0.9, 1.0]),
    smooth_s=st.sampled_from([0.0, 0.5, 2.0]),
    opening_s=st.sampled_from([0.0, 0.5]),
    closing_s=st.sampled_from([0.0, 1.0, 2.5]),
    merge_gap_s=st.sampled_from([0.0, 1.0, 2.0]),
    min_duration_s=st.sampled_from([0.0, 1.0, 3.0]),
    max_duration_s=st.sampled_from([None, 6.5, 10.0]),
    confidence=st.sampled_from(["mean", "max"]),
)


def streamed(
    scores: NDArray[np.float32], duration_s: float, how: Detection, sizes: list[int]
) -> tuple[list[Event], list[tuple[float, int]], list[tuple[Event, int]]]:
    """Events; onsets and events, each with the frames that had arrived when it was given."""
    stream = EventStream(how, raw(how))
    onsets, events = [], []
    whole = int(duration_s * 8)
    arrived = turn = 0
    while arrived < whole:
        piece = scores[arrived : min(arrived + sizes[turn % len(sizes)], whole)]
        arrived, turn = arrived + piece.size, turn + 1
        new = stream.add(piece)
        onsets += [(onset, arrived) for onset in new.onsets]
        events += [(event, arrived) for event in new.events]
    new = stream.finish(scores[whole:], duration_s)
    onsets += [(onset, scores.size) for onset in new.onsets]
    events += [(event, scores.size) for event in new.events]
    return [event for event, _ in events], onsets, events


#: One event, which the end of the recording makes shorter than the shortest one.
TOO_SHORT_AT_LAST = Detection(on_threshold=0.5, off_ratio=0.6, smooth_s=0.0, min_duration_s=1.0)


@examples(80)
@given(
    how=detections,
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 700),
    cut_s=st.sampled_from([0.0, 0.06]),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6),
)
@example(how=TOO_SHORT_AT_LAST, seed=0, frames=8, cut_s=0.06, sizes=[8])
def test_any_pieces_give_the_events_of_all_frames(
    how: Detection, seed: int, frames: int, cut_s: float, sizes: list[int]
) -> None:
    scores = wave(seed, frames)
    duration_s = frames / 8 - cut_s
    expected = detect(scores, duration_s, how, raw(how))
    events, onsets, _ = streamed(scores, duration_s, how, sizes)
    assert events == expected
    # Every event has an onset of its own, and no onset is without its event.
    assert [onset for onset, _ in onsets] == sorted(onset for onset, _ in onsets)
    assert {event.start for event in expected} >= {onset for onset, _ in onsets}
    if how.max_duration_s is None:
        assert [onset for onset, _ in onsets] == [event.start for event in expected]


def test_an_onset_waits_for_the_frame_that_the_recordings_end_may_cut() -> None:
    ictal = np.ones(8, np.float32)
    for duration_s, lasting in ((1.0, True), (0.94, False)):
        whole = int(duration_s * 8)
        stream = EventStream(TOO_SHORT_AT_LAST, raw(TOO_SHORT_AT_LAST))
        onsets = stream.add(ictal[:whole]).onsets
        new = stream.finish(ictal[whole:], duration_s)
        assert onsets == ((0.0,) if lasting else ())
        assert [event.start for event in new.events] == ([0.0] if lasting else [])


def test_frames_that_are_not_the_recordings_are_refused() -> None:
    for whole, last, duration_s in ((8, 0, 0.94), (8, 1, 1.0), (7, 0, 1.0), (0, 0, 0.1)):
        stream = EventStream(TOO_SHORT_AT_LAST, raw(TOO_SHORT_AT_LAST))
        stream.add(np.zeros(whole, np.float32))
        with pytest.raises(ValueError, match="not those of a recording"):
            stream.finish(np.zeros(last, np.float32), duration_s)


@examples(60)
@given(how=detections, seed=st.integers(0, 10_000))
def test_an_event_is_given_once_its_gap_has_passed(how: Detection, seed: int) -> None:
    scores = wave(seed, 400)
    _, onsets, events = streamed(scores, 50.0, how, [1])
    gap_s = max(how.merge_gap_s, how.closing_s)
    for event, frames in events:
        # What opening drops still keeps a gap open.
        if how.max_duration_s is None and not how.opening_s:
            assert frames / 8 <= min(event.stop + gap_s + how.smooth_s / 2 + 2 / 8, 50.0)
        assert frames / 8 >= event.stop - 1e-9 or frames == 400
    for onset, frames in onsets:
        assert frames / 8 >= min(onset + how.min_duration_s, 50.0) - 1 / 8 or frames == 400


def test_an_onset_comes_while_the_seizure_goes_on() -> None:
    how = Detection(on_threshold=0.5, smooth_s=0, min_duration_s=3, merge_gap_s=2)
    stream = EventStream(how, raw(how))
    quiet, loud = np.zeros(80, np.float32), np.ones(8, np.float32)
    assert stream.add(quiet).onsets == ()
    assert [stream.add(loud).onsets for _ in range(4)] == [(), (), (10.0,), ()]
    assert stream.add(np.zeros(16, np.float32)).events == ()
    # 2 s of quiet would still be joined; one frame more would not.
    assert stream.add(np.zeros(1, np.float32)).events == (
        Event(10.0, 14.0, "seiz", float(sigmoid(loud)[0])),
    )
    assert stream.finish(np.empty(0, np.float32), 129 / 8).events == ()


def test_what_is_over_is_forgotten() -> None:
    stream = EventStream(Detection(), OperatingPoint(0.5, 0.45))
    rng = np.random.default_rng(0)
    for _ in range(200):
        stream.add(rng.random(240).astype(np.float32) * np.float32(0.9))
        held = stream._smoothed.size + stream._scores.size + stream._smoothing._frames.size
        assert held < 2000


@examples(40)
@given(
    samples=st.integers(1, 3000),
    window=st.sampled_from([320, 640, 700]),
    stride=st.sampled_from([160, 320]),
    how=st.sampled_from(["average", "triangular", "max"]),
    seed=st.integers(0, 99),
)
def test_frames_are_given_once_and_in_order(
    samples: int, window: int, stride: int, how: Stitching, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    starts = window_starts(samples, window, stride)
    windows = [rng.random(window) for _ in starts]
    whole = stitch(windows, samples, window, stride, how)
    stitcher = Stitcher(window, how)
    given_frames = 0
    for start, scores in zip(starts, windows, strict=True):
        frames = stitcher.add(start, scores)
        # A frame is complete when its last sample lies before the newest window.
        assert given_frames + frames.size == start // 32
        assert np.array_equal(frames, whole[given_frames : given_frames + frames.size])
        given_frames += frames.size
    assert np.array_equal(stitcher.finish(samples), whole[given_frames:])


def test_windows_leave_no_gap() -> None:
    stitcher = Stitcher(320)
    with pytest.raises(ValueError, match="does not follow"):
        stitcher.add(32, np.zeros(320))
    stitcher.add(0, np.zeros(320))
    for start in (321, 640):
        with pytest.raises(ValueError, match="does not follow"):
            stitcher.add(start, np.zeros(320))
