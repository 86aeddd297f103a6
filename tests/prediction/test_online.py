"""Detection on samples as they arrive: the events of the whole recording, soon enough."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.edf.growing import GrowingEdf
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.online import OnlineDetector
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.prediction.raw_samples import raw_samples, sample_type_of
from brainbrr_core.prediction.recording import Prediction, open_source
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal.chain import Chain
from brainbrr_core.signal.statistics import Statistics
from tests.support.examples import examples
from tests.support.prediction_runs import (
    UNIT,
    WINDOW_S,
    digital_eeg,
    random_predictor,
    write_digital,
)


def at(probability: float) -> OperatingPoint:
    return OperatingPoint.of_probability(probability, 0.99)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return random_predictor(tmp_path_factory.mktemp("run"))


#: What a stream writes, of values that JSON has.
Line = dict[str, Any]


def events_of(lines: list[Line]) -> list[Event]:
    return [
        Event(x["onset_s"], x["onset_s"] + x["duration_s"], x["label"], x["confidence"])
        for x in lines
        if x["kind"] == "event"
    ]


def offline(
    predictor: Predictor, path: Path, normalization: Normalization, on: OperatingPoint
) -> list[Event]:
    [(_, outcome)] = predictor.predict_all([path], on, normalization)
    assert isinstance(outcome, Prediction)
    return outcome.events


def other_statistics(predictor: Predictor, path: Path) -> Statistics:
    """A mean and deviation that are not the recording's own."""
    own = Chain(open_source(path), predictor.preprocessing).statistics
    return Statistics(own.mean + 3.0, own.deviation * 1.3)


@pytest.mark.parametrize(("rate", "channels"), [(256, 19), (250, 18), (200, 19)])
@examples(8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.floats(10, 75),
    sizes=st.lists(st.integers(100, 6000), min_size=1, max_size=6),
    on=st.sampled_from([at(0.5), at(0.55), at(0.6)]),
    first_s=st.sampled_from([None, 7.3, 30.0, 200.0]),
)
def test_any_pieces_give_the_events_of_the_whole_recording(
    predictor: Predictor,
    tmp_path_factory: pytest.TempPathFactory,
    rate: int,
    channels: int,
    seconds: float,
    sizes: list[int],
    on: OperatingPoint,
    first_s: float | None,
) -> None:
    # Whole data records: an EDF holds no others.
    digital = digital_eeg(int(seconds), rate, int(seconds * 10), channels)
    path = write_digital(tmp_path_factory.mktemp("e") / "a.edf", digital, rate)
    how = Normalization(
        statistics=other_statistics(predictor, path) if first_s is None else None, first_s=first_s
    )
    expected = offline(predictor, path, how, on)
    missing = ("Fz",) if channels == 18 else ()
    online = OnlineDetector(predictor, Fraction(rate), missing, on, how)
    samples = (digital - digital[:, :1].astype(np.float32)) * np.float32(UNIT)
    lines: list[Line] = []
    place = turn = 0
    while place < samples.shape[1]:
        size = sizes[turn % len(sizes)]
        lines += online.push(samples[:, place : place + size])
        place, turn = place + size, turn + 1
    lines += online.finish()
    assert events_of(lines) == expected
    onsets = [line["onset_s"] for line in lines if line["kind"] == "onset"]
    assert onsets == [event.start for event in expected]
    assert online.found == len(expected)
    assert online.signal_s == int(seconds)


def test_there_are_events_to_compare(predictor: Predictor, tmp_path: Path) -> None:
    """The tests above compare something."""
    path = write_digital(tmp_path / "a.edf", digital_eeg(60, 256, 600), 256)
    assert len(offline(predictor, path, Normalization(first_s=30), at(0.55))) > 2


def test_a_network_that_gives_no_number_is_named_with_the_time(tmp_path: Path) -> None:
    predictor = random_predictor(tmp_path)
    predictor.network.register_forward_hook(lambda _network, _inputs, logits: logits / 0)
    given = Normalization(Statistics(np.zeros(19), np.full(19, 20.0)))
    online = OnlineDetector(predictor, Fraction(256), (), at(0.55), given)
    samples = digital_eeg(WINDOW_S + 1, 256).astype(np.float32) * np.float32(UNIT)
    with pytest.raises(BrainbrrError, match=r"^window at 0 s: .* 5,120 of 5,120 scores: correct"):
        online.push(samples)


@pytest.mark.parametrize("rate", [256, 250])
def test_a_moment_is_judged_within_the_stated_latency(predictor: Predictor, rate: int) -> None:
    digital = digital_eeg(150, rate, 4)
    statistics = Statistics(np.zeros(19), np.full(19, 20.0))
    online = OnlineDetector(predictor, Fraction(rate), (), at(0.55), Normalization(statistics))
    detection = predictor.detection
    # Window and stride, half of the smoothing, a frame, half of the resampler's filter.
    expected = WINDOW_S + 10 + 0.5 + 0.125 + (0.0 if rate == 256 else 0.284)
    assert online.latency_s == pytest.approx(expected, abs=0.01)
    samples = digital.astype(np.float32) * np.float32(UNIT)
    lines: list[Line] = []
    piece = rate // 10
    for place in range(0, samples.shape[1], piece):
        lines += online.push(samples[:, place : place + piece])
    seen = 0
    for line in lines:
        limit = online.latency_s + 0.1
        if line["kind"] == "onset":
            # At once where the event lasted; a short one is known when it is over.
            limit += max(detection.min_duration_s, detection.merge_gap_s) + 10
        else:
            limit += line["duration_s"] + detection.merge_gap_s
        assert line["signal_s"] <= line["onset_s"] + limit
        seen += 1
    assert seen > 5
    assert max(x["signal_s"] - x["onset_s"] for x in lines if x["kind"] == "onset") > WINDOW_S


def test_memory_does_not_grow(predictor: Predictor) -> None:
    statistics = Statistics(np.zeros(19), np.full(19, 20.0))
    online = OnlineDetector(predictor, Fraction(200), (), at(0.5), Normalization(statistics))
    minute = digital_eeg(60, 200).astype(np.float32) * np.float32(UNIT)
    for _ in range(5):
        for place in range(0, 12_000, 1000):
            online.push(minute[:, place : place + 1000])
            assert sum(piece.shape[1] for piece in online._pieces) <= (WINDOW_S + 20) * 256
            assert (
                online._stream._tail.read(
                    online._stream._tail._first, online._stream._tail.samples
                ).shape[1]
                <= 200 * 35
            )


def test_the_recordings_own_mean_is_refused(predictor: Predictor) -> None:
    with pytest.raises(BrainbrrError, match="--stats or --first-minutes"):
        OnlineDetector(predictor, Fraction(256), (), at(0.5), Normalization())


def test_nothing_comes_of_nothing(predictor: Predictor) -> None:
    online = OnlineDetector(predictor, Fraction(256), (), at(0.5), Normalization(first_s=60))
    assert online.push(np.empty((19, 0), np.float32)) == []
    assert online.finish() == []


class Pipe(io.RawIOBase):
    """Gives its bytes in pieces of the sizes that are asked of it, as a pipe may."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content, self._sizes, self._turn = content, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        buffer = memoryview(into)
        size = min(self._sizes[self._turn % len(self._sizes)], len(buffer))
        self._turn += 1
        piece, self._content = self._content[:size], self._content[size:]
        buffer[: len(piece)] = piece
        return len(piece)


@given(
    frames=st.integers(0, 50),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    kind=st.sampled_from(["int16", "float32"]),
    rest=st.integers(0, 30),
)
def test_frames_are_read_whatever_a_pipe_gives(
    frames: int, sizes: list[int], kind: str, rest: int
) -> None:
    rng = np.random.default_rng(frames)
    samples = rng.integers(-3000, 3000, (frames, 19)).astype("<i2" if kind == "int16" else "<f4")
    said: list[str] = []
    pipe = Pipe(samples.tobytes() + b"\x01" * rest, sizes)
    file = io.BufferedReader(pipe, 64)
    pieces = list(raw_samples(file, sample_type_of(kind), 0.5, said.append))
    read = np.concatenate([np.empty((19, 0)), *pieces], axis=1)
    assert np.array_equal(read, 0.5 * (samples.T - samples[:1].T).astype(float))
    assert bool(said) == bool(rest)


def test_samples_that_are_not_finite_are_refused() -> None:
    for value in (np.nan, np.inf):
        frame = np.full(19, value, "<f4").tobytes()
        with pytest.raises(BrainbrrError, match="not finite"):
            list(raw_samples(io.BytesIO(frame), "float32", 1.0, print))
    with pytest.raises(BrainbrrError, match="float32 or int16"):
        sample_type_of("int24")


def test_an_edf_is_followed_while_it_grows(tmp_path: Path) -> None:
    digital = digital_eeg(40, 200, channels=18)
    content = write_digital(tmp_path / "whole.edf", digital, 200).read_bytes()
    whole = open_source(tmp_path / "whole.edf")
    path = tmp_path / "growing.edf"
    # The header promises 40 records; 3 and a half are there.
    header, record = 256 * 19, 18 * 200 * 2
    have = header + 3 * record + record // 2
    path.write_bytes(content[:have])
    steps = iter([record, 5, 10 * record + 1, 0, 0, 100 * record])
    waits = []

    def sleep(seconds: float) -> None:
        nonlocal have
        waits.append(seconds)
        have += next(steps, 0)
        path.write_bytes(content[:have])

    edf = GrowingEdf(path)
    assert (edf.rate, edf.missing) == (200, ("Fz",))
    pieces = list(edf.pieces(1.5, sleep))
    assert [p.shape[1] // 200 for p in pieces] == [3, 1, 10, 26]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole.read(0, whole.samples))
    # Three looks in vain, half a second apart, end it.
    assert waits[-3:] == [0.5] * 3
    assert np.concatenate(list(GrowingEdf(path).pieces(0)), axis=1).shape == (18, 8000)
    path.write_bytes(b"0".ljust(100))
    with pytest.raises(UnusableEdf):
        GrowingEdf(path)
