"""A z-score that needs nothing of what is still to come: the same in the store and in a stream."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.shard import Shard
from brainbrr_core.cache.version import chain_parameters, preprocessing_version
from brainbrr_core.configuration import Configuration, Preprocessing, apply_assignments
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.method import signal_sentence
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.online import OnlineDetector
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.prediction.recording import Prediction
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal import chain as chain_module
from brainbrr_core.signal import trailing
from brainbrr_core.signal.chain import STREAM_STEP, Chain, Quantizer, filter_signal
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.statistics import Statistics
from brainbrr_core.signal.stream import SignalStream
from brainbrr_core.signal.trailing import TrailingStatistics
from tests.support.examples import examples
from tests.support.prediction_runs import (
    UNIT,
    digital_eeg,
    random_predictor,
    random_run,
    write_digital,
)
from tests.support.shell import Shell
from tests.support.signal_reference import ArraySource

BLOCK = 2560
RATE = Fraction(256)
EVEN = OperatingPoint.of_probability(0.5, 0.99)


def causal(minutes: int, scale: str = "recording_sd") -> Preprocessing:
    return Preprocessing.model_validate({"zscore_minutes": minutes, "scale": scale})


def eeg(rate: float, seconds: float, seed: int = 0, channels: int = 19) -> NDArray[np.float64]:
    """Noise whose amplitude changes every 15 s, up to tenfold."""
    rng = np.random.default_rng(seed)
    count = int(rate * seconds)
    loud = np.repeat(rng.choice([5.0, 15.0, 50.0], count // int(15 * rate) + 1), int(15 * rate))
    return np.asarray(loud[:count] * rng.standard_normal((channels, count)) + 7)


def stored(source: ArraySource, settings: Preprocessing) -> NDArray[np.int16]:
    """All of the blocks (n, 19, 2560)."""
    return np.concatenate([blocks for blocks, _ in Chain(source, settings).quantized()])


def signal_of(source: ArraySource, settings: Preprocessing) -> NDArray[np.float64]:
    """What is to be z-scored, in µV."""
    pieces = list(filter_signal(source, settings, STREAM_STEP))
    return np.concatenate(pieces, axis=1).astype(np.float64)


def expected_blocks(
    signal: NDArray[np.float64], minutes: int, scale: str
) -> list[NDArray[np.float64]]:
    """Each block in standard deviations, from the definition: whole slices, numpy's own figures."""
    blocks = []
    for start in range(0, signal.shape[1], BLOCK):
        stop = min(start + BLOCK, signal.shape[1])
        if start < 60 * 256:
            counted = signal[:, 512 : 60 * 256]
        else:
            counted = signal[:, max(512, start + BLOCK - minutes * 60 * 256) : stop]
        if scale == "recording_sd":
            center, spread = counted.mean(axis=1), counted.std(axis=1)
        else:
            low, center, high = np.quantile(counted, [0.25, 0.5, 0.75], axis=1)
            spread = (high - low) / 1.3489795003921634
        scaled = (signal[:, start:stop] - center[:, None]) / spread[:, None]
        blocks.append(np.clip(scaled, -10, 10))
    return blocks


@pytest.mark.parametrize("scale", ["recording_sd", "robust"])
@examples(8)
@given(
    seconds=st.integers(11, 260),
    minutes=st.integers(1, 4),
    seed=st.integers(0, 99),
    odd=st.booleans(),
)
def test_each_block_has_the_figures_of_the_minutes_that_end_with_it(
    scale: str, seconds: int, minutes: int, seed: int, odd: bool
) -> None:
    data = eeg(256, seconds + (0.3 if odd else 0), seed)
    source, settings = ArraySource(data, RATE), causal(minutes, scale)
    wanted = expected_blocks(signal_of(source, settings), minutes, scale)
    found = stored(source, settings)
    assert len(found) == len(wanted)
    for block, scaled in zip(found, wanted, strict=True):
        length = scaled.shape[1]
        assert np.abs(block[:, :length] * SCALE - scaled).max() < 0.001
        assert not block[:, length:].any()


@pytest.mark.parametrize("rate", [Fraction(200), Fraction(250), RATE, Fraction(1999, 10)])
@pytest.mark.parametrize("scale", ["recording_sd", "robust"])
@examples(5)
@given(
    sizes=st.lists(st.integers(50, 9000), min_size=1, max_size=4),
    seconds=st.floats(15, 150),
    two_missing=st.booleans(),
)
def test_samples_as_they_arrive_give_the_stores_bytes(
    rate: Fraction, scale: str, sizes: list[int], seconds: float, two_missing: bool
) -> None:
    settings, missing = causal(1, scale), ("Fz", "Cz") if two_missing else ()
    data = eeg(float(rate), seconds, 3, 19 - len(missing)).astype(np.float32)
    stream, scaled = SignalStream(rate, missing, settings), TrailingStatistics(settings)
    made: list[tuple[NDArray[np.float32], Statistics]] = []
    place = turn = 0
    while place < data.shape[1]:
        size = sizes[turn % len(sizes)]
        for piece in stream.push(data[:, place : place + size]):
            made += scaled.push(piece)
        place, turn = place + size, turn + 1
    for piece in stream.finish():
        made += scaled.push(piece)
    made += scaled.finish()
    blocks = [Quantizer(statistics, settings).apply(block)[0] for block, statistics in made]
    source = ArraySource((data - data[:, :1]).astype(np.float64), rate, missing)
    assert np.array_equal(np.concatenate(blocks), stored(source, settings))


@pytest.mark.parametrize("scale", ["recording_sd", "robust"])
def test_a_filtered_signal_in_pieces_of_any_length_has_the_same_blocks(scale: str) -> None:
    settings, signal = causal(1, scale), eeg(256, 95, 3).astype(np.float32)

    def blocks(size: int) -> list[tuple[NDArray[np.float32], NDArray[np.int16]]]:
        statistics = TrailingStatistics(settings)
        made: list[tuple[NDArray[np.float32], Statistics]] = []
        for first in range(0, signal.shape[1], size):
            made += statistics.push(signal[:, first : first + size])
        made += statistics.finish()
        return [(block, Quantizer(of_block, settings).apply(block)[0]) for block, of_block in made]

    whole = blocks(signal.shape[1])
    assert np.array_equal(np.concatenate([block for block, _ in whole], axis=1), signal)
    for size in (999, 4000):
        pieces = blocks(size)
        assert len(pieces) == len(whole) == 10
        for one, other in zip(pieces, whole, strict=True):
            assert np.array_equal(one[0], other[0])
            assert np.array_equal(one[1], other[1])


@examples(15)
@given(
    cut=st.integers(6, 16),
    further=st.floats(1, 60),
    minutes=st.integers(1, 3),
    scale=st.sampled_from(["recording_sd", "robust"]),
)
def test_nothing_that_comes_later_changes_a_block(
    cut: int, further: float, minutes: int, scale: str
) -> None:
    data = eeg(256, cut * 10 + further)
    data[:, cut * BLOCK :] *= 30
    settings = causal(minutes, scale)
    whole = stored(ArraySource(data, RATE), settings)
    so_far = stored(ArraySource(data[:, : cut * BLOCK], RATE), settings)
    assert np.array_equal(whole[:cut], so_far)
    # The whole recording's z-score is another one before the cut, too.
    plain = stored(ArraySource(data, RATE), Preprocessing.model_validate({"scale": scale}))
    assert not np.array_equal(plain[:cut], whole[:cut])


@pytest.mark.parametrize("scale", ["recording_sd", "robust"])
@pytest.mark.parametrize("seconds", [3, 9.5, 30, 60])
def test_a_recording_of_a_minute_at_most_has_its_own(scale: str, seconds: float) -> None:
    source = ArraySource(eeg(256, seconds), RATE)
    plain = Preprocessing.model_validate({"scale": scale})
    assert np.array_equal(stored(source, causal(5, scale)), stored(source, plain))


def test_a_channel_that_is_connected_late_is_not_all_clipped() -> None:
    data = eeg(256, 200)
    data[4, : 120 * 256] = data[4, 0] + 0.001 * eeg(256, 120)[4]
    data[5, : 120 * 256] = data[5, 0]
    found = stored(ArraySource(data, RATE), causal(10))
    assert not found[:12, 5].any()
    after = found[12:, 4:6].astype(float) * SCALE
    assert (np.abs(after) >= 10).mean() < 0.01
    # A block is among what it is divided by: its square is at most the number of blocks.
    assert (after**2).mean(axis=2).max() <= 20 * 1.01


def test_recordings_too_long_to_keep_have_the_same_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(eeg(250, 130), Fraction(250))
    kept = stored(source, causal(1))
    monkeypatch.setattr(chain_module, "KEEP_BYTES", 0)
    assert np.array_equal(stored(source, causal(1)), kept)


def test_the_version_says_it_where_it_is_on_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert preprocessing_version(Preprocessing()) == "v2_256hz_10-20_89f91765f0ac"
    assert "zscore_minutes" not in json.dumps(chain_parameters(Preprocessing()))
    names = {preprocessing_version(causal(minutes)) for minutes in (1, 5, 10)}
    names |= {preprocessing_version(causal(10, "robust")), preprocessing_version(Preprocessing())}
    assert len(names) == 5
    # So does how the first minute is z-scored.
    before, plain = chain_parameters(causal(10)), chain_parameters(Preprocessing())
    monkeypatch.setitem(trailing.CONSTANTS, "start_s", 30)
    assert chain_parameters(causal(10)) != before
    assert chain_parameters(Preprocessing()) == plain


@pytest.mark.parametrize("minutes", [0, 61, 1.5, True])
def test_minutes_that_cannot_be(settings: Configuration, minutes: object) -> None:
    with pytest.raises(BrainbrrError, match=r"preprocessing\.zscore_minutes"):
        apply_assignments(settings, [f"preprocessing.zscore_minutes={minutes}"])


def test_the_store_holds_them(settings: Configuration) -> None:
    settings = apply_assignments(settings, ["preprocessing.zscore_minutes=1"])
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    assert plan.store.version == preprocessing_version(causal(1))
    for item in plan.items[:2]:
        shard = Shard(plan.store.shard_path(item.recording.partition_key))
        chain_settings = shard.header.parameters["chain"]
        assert isinstance(chain_settings, dict)
        assert chain_settings["zscore_minutes"] == 1
        source = open_edf(Path(item.recording.path))
        chain = Chain(source, causal(1))
        assert shard.header.deviation == pytest.approx(chain.statistics.deviation)
        rows = np.concatenate([blocks for blocks, _ in chain.quantized()])
        again = np.concatenate(list(shard.blocks(0, shard.header.blocks)), axis=1)
        assert np.array_equal(again.reshape(19, len(rows), BLOCK), rows.transpose(1, 0, 2))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    made = random_predictor(tmp_path_factory.mktemp("run"))
    return replace(made, preprocessing=made.preprocessing.model_copy(update={"zscore_minutes": 1}))


@pytest.mark.parametrize(("rate", "channels"), [(256, 19), (250, 18), (200, 19)])
@examples(5)
@given(
    seconds=st.integers(10, 130),
    sizes=st.lists(st.integers(100, 6000), min_size=1, max_size=4),
    on=st.sampled_from([0.5, 0.55]),
)
def test_the_events_of_a_stream_are_those_of_the_file(
    predictor: Predictor,
    tmp_path_factory: pytest.TempPathFactory,
    rate: int,
    channels: int,
    seconds: int,
    sizes: list[int],
    on: float,
) -> None:
    digital = digital_eeg(seconds, rate, seconds, channels)
    path = write_digital(tmp_path_factory.mktemp("e") / "a.edf", digital, rate)
    point = OperatingPoint.of_probability(on, 0.99)
    [(_, outcome)] = predictor.predict_all([path], point)
    assert isinstance(outcome, Prediction)
    missing = ("Fz",) if channels == 18 else ()
    online = OnlineDetector(predictor, Fraction(rate), missing, point, Normalization())
    samples = (digital - digital[:, :1].astype(np.float32)) * np.float32(UNIT)
    lines = []
    place = turn = 0
    while place < samples.shape[1]:
        size = sizes[turn % len(sizes)]
        lines += online.push(samples[:, place : place + size])
        place, turn = place + size, turn + 1
    lines += online.finish()
    found = [
        (x["onset_s"], x["duration_s"], x["confidence"]) for x in lines if x["kind"] == "event"
    ]
    assert found == [(e.start, e.duration, e.confidence) for e in outcome.events]


def test_a_moment_is_judged_within_the_stated_latency(predictor: Predictor) -> None:
    """Windows of 20 s wait for the first minute, and for nothing after it."""
    digital = digital_eeg(200, 256, 4)
    online = OnlineDetector(predictor, RATE, (), EVEN, Normalization())
    assert online.latency_s == pytest.approx(60 + 0.5 + 0.125, abs=0.01)
    samples = digital.astype(np.float32) * np.float32(UNIT)
    onsets = []
    for place in range(0, samples.shape[1], 64):
        for line in online.push(samples[:, place : place + 64]):
            if line["kind"] == "onset":
                onsets.append((float(str(line["onset_s"])), float(str(line["signal_s"]))))
    assert len(onsets) > 2
    for onset, at in onsets:
        lasting = predictor.detection.min_duration_s
        # The first minute's moments wait for its end at most; later ones for their windows.
        limit = online.latency_s if onset < 60 else 20 + 10 + 0.5 + 0.125
        assert at <= onset + lasting + limit + 0.25


def test_figures_that_are_given_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    path = write_digital(tmp_path / "a.edf", digital_eeg(12, 256), 256)
    given_ones = Normalization(Statistics(np.zeros(19), np.ones(19)))
    for how in (given_ones, Normalization(first_s=30)):
        with pytest.raises(BrainbrrError, match="leave --stats and --first-minutes out"):
            OnlineDetector(predictor, RATE, (), EVEN, how)
        [(_, outcome)] = predictor.predict_all([path], EVEN, how)
        assert isinstance(outcome, BrainbrrError)
        assert "zscore_minutes is 1" in str(outcome)


def test_a_report_says_over_what_the_signal_was_z_scored() -> None:
    plain, blocks = signal_sentence(Preprocessing()), signal_sentence(causal(7, "robust"))
    assert "deviation of the whole recording" in plain
    assert "The z-score is not causal" in plain
    assert "interquartile range of the 7 min that end with each block of 10 s" in blocks
    assert "not causal" not in blocks
    assert "whole recording" not in blocks


def test_predict_says_what_it_is_and_takes_no_other(tmp_path: Path, shell: Shell) -> None:
    folder, config = random_run(tmp_path)
    (tmp_path / "causal.yaml").write_text("preprocessing: {zscore_minutes: 2}\n")
    run = json.loads((folder / "run.json").read_text())
    run["identity"]["preprocessing_version"] = preprocessing_version(causal(2))
    (folder / "run.json").write_text(json.dumps(run))
    chosen = ("--config", f"{config}:{tmp_path / 'causal.yaml'}")
    edf = write_digital(tmp_path / "a.edf", digital_eeg(150, 256), 256)
    done = shell.type("predict", edf, tmp_path / "a.json", *chosen)
    assert done.returncode == 0
    offline = json.loads((tmp_path / "a.json").read_text())
    assert "the last 2 min's" in json.dumps(offline)
    done = shell.type("predict", edf, "--stream", "--idle", 0, *chosen)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["mean_and_deviation"] == "the last 2 min's"
    assert lines[-1]["events"] == sum(line["kind"] == "event" for line in lines) > 0
    out = tmp_path / "b.json"
    for words in (("--first-minutes", 1), ("--stream", "--first-minutes", 1)):
        line = shell.refused("predict", edf, out, *words, *chosen, status=2)
        assert "leave --stats and --first-minutes out" in line
    line = shell.refused(
        "predict", edf, out, "--save-stats", tmp_path / "s.json", *chosen, status=2
    )
    assert "leave --save-stats out" in line
