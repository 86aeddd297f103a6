"""Amplitudes are those that were recorded: units, the first sample, the scale, what is clipped."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.annotation.tuh import format_csv_bi
from brainbrr_core.cache import shard as shard_module
from brainbrr_core.cache.build import build
from brainbrr_core.cache.clipping import Clipping, clipping_lines
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.cache.shard import DamagedShard, Shard, ShardHeader, write_shard
from brainbrr_core.cache.status import status
from brainbrr_core.cache.version import chain_parameters
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS
from brainbrr_core.edf.header import UnusableEdf
from brainbrr_core.edf.reader import EdfRecording, open_edf
from brainbrr_core.files.canonical import digest
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.signal import chain as chain_module
from brainbrr_core.signal import edges, interpolation, montage, statistics
from brainbrr_core.signal.chain import STREAM_STEP, Chain
from brainbrr_core.signal.chain import filtered as production_filtered
from brainbrr_core.signal.filters import at_rest, filter_in_place, sections
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.statistics import Statistics
from brainbrr_core.signal.stream import SignalStream
from tests.support.edf_files import patch_signal, write_edf
from tests.support.shell import Shell
from tests.support.signal_reference import ArraySource, chain, filtered, settled
from tests.support.small_run import small_config

ROBUST = Preprocessing(scale="robust")


# Units


def with_unit(
    path: Path, unit: bytes, low: bytes = b"-200", high: bytes = b"200", channels: int = 19
) -> EdfRecording:
    """A recording whose first ``channels`` signals have this unit and range."""
    write_edf(path)
    for index in range(channels):
        patch_signal(path, 96, 8, index, unit)
        patch_signal(path, 104, 8, index, low)
        patch_signal(path, 112, 8, index, high)
    return open_edf(path)


@pytest.mark.parametrize("unit", [b"uV", b"UV", b"\xb5V", b"mV", b"V", b"nV"])
def test_a_unit_that_is_written_as_it_should_be_is_no_finding(tmp_path: Path, unit: bytes) -> None:
    expected = open_edf(write_edf(tmp_path / "b.edf")).read(0, 3000)
    got = with_unit(tmp_path / "a.edf", unit)
    factor = {b"mV": 1e3, b"V": 1e6, b"nV": 1e-3}.get(unit, 1.0)
    assert got.read(0, 3000) == pytest.approx(expected * factor, rel=1e-6)
    assert got.findings == ()


ODD = {
    b"\xc2\xb5V": r"'\xc2\xb5V'",
    b"\xce\xbcV": r"'\xce\xbcV'",
    b"\xe6V": r"'\xe6V'",
    b"microV": "'microV'",
    b"uVolt": "'uVolt'",
    b"mcV": "'mcV'",
}


@pytest.mark.parametrize("unit", ODD)
def test_microvolts_in_other_words_are_read_and_named(tmp_path: Path, unit: bytes) -> None:
    expected = open_edf(write_edf(tmp_path / "b.edf")).read(0, 3000)
    got = with_unit(tmp_path / "a.edf", unit)
    assert np.array_equal(got.read(0, 3000), expected)
    [finding] = got.findings
    assert finding.code == "odd_unit" and finding.code in SIGNAL_FINDINGS
    assert finding.detail == f"{ODD[unit]} on 19 channels"


@pytest.mark.parametrize("unit", [b"", b".V", b"?V"])
def test_a_lost_unit_is_microvolts_where_the_range_is_that_of_an_eeg(
    tmp_path: Path, unit: bytes
) -> None:
    got = with_unit(tmp_path / "a.edf", unit, b"-3276.8", b"3276.7", channels=2)
    assert [finding.code for finding in got.findings] == ["lost_unit"]
    assert got.findings[0].detail == f"{unit.decode()!r} on 2 channels"
    signal = got.read(0, 3000)
    # The other channels have a range of ±200 µV.
    assert signal[0].std() == pytest.approx(20 * 3276.75 / 200, rel=0.1)
    assert signal[5].std() == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high"), [(b"-3.2768", b"3.2767"), (b"-187500", b"187500"), (b"-0.0032", b"0.0032")]
)
@pytest.mark.parametrize("unit", [b"", b".V"])
def test_a_lost_unit_is_not_guessed_at_elsewhere(
    tmp_path: Path, unit: bytes, low: bytes, high: bytes
) -> None:
    with pytest.raises(UnusableEdf) as caught:
        with_unit(tmp_path / "a.edf", unit, low, high)
    assert caught.value.reason == "unknown_unit"
    assert f"{unit.decode()!r} from {float(low):g} to {float(high):g}" in caught.value.detail


def test_the_unit_that_excludes_a_recording_is_named_printably(tmp_path: Path) -> None:
    with pytest.raises(UnusableEdf) as caught:
        with_unit(tmp_path / "a.edf", b"\x1b[2J\xff", channels=1)
    assert caught.value.reason == "unknown_unit"
    assert caught.value.detail == r"EEG FP1-REF: '\x1b[2J\xff'"
    assert caught.value.detail.isprintable()


# The first sample


def eeg(rate: float, seconds: float, channels: int = 19) -> NDArray[np.float64]:
    """Brown-ish noise with a deviation of 30 µV on offsets of some hundred µV."""
    rng = np.random.default_rng(11)
    count = int(rate * seconds)
    walk = rng.standard_normal((channels, count)).cumsum(axis=1)
    # Without the drift that no EEG has.
    smooth = np.apply_along_axis(np.convolve, 1, walk, np.ones(int(rate)) / rate, "same")
    noise = walk - smooth
    noise *= 30 / noise.std(axis=1, keepdims=True)
    return np.asarray(noise + 300 * rng.standard_normal((channels, 1)))


def z_scores(
    data: NDArray[np.float64], rate: float, settings: Preprocessing | None = None
) -> NDArray[np.float64]:
    """The stored signal (19, n) in standard deviations."""
    made = Chain(ArraySource(data, Fraction(rate)), settings or Preprocessing())
    blocks = np.concatenate([chunk for chunk, _ in made.quantized()])
    return np.asarray(blocks.swapaxes(0, 1).reshape(19, -1)[:, : made.samples] * SCALE)


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
    data = eeg(rate, 60)
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
    data = eeg(250, 60)
    data[:, 0] = 100_000.0
    assert np.abs(z_scores(data, 250) - chain(data, Fraction(250))).max() < 0.001


def test_a_garbage_sample_at_the_end_is_not_mirrored() -> None:
    data = eeg(250, 60)
    expected = filtered(data, Fraction(250))
    data[:, -1] = 3276.7
    source = ArraySource(data, Fraction(250))
    got = np.concatenate(list(production_filtered(source, Preprocessing(), STREAM_STEP)), axis=1)
    difference = np.abs(got - expected)
    # Mirrored about itself it would add twice its size for the length of the resampler's filter.
    assert difference[:, -70:-1].max() < 1500
    assert difference[:, :-75].max() < 0.01


@pytest.mark.parametrize("rate", [Fraction(250), Fraction(256)])
def test_a_stream_starts_as_the_whole_recording_does(rate: Fraction) -> None:
    data = eeg(float(rate), 31).astype(np.float32)
    data[:, 0] = 3276.7
    source = ArraySource(data - data[:, :1], rate)
    whole = np.concatenate(list(production_filtered(source, Preprocessing(), 15360)), axis=1)
    stream = SignalStream(rate, (), Preprocessing())
    made = [
        piece
        for start in range(0, data.shape[1], 97)
        for piece in stream.push(data[:, start : start + 97])
    ]
    made += stream.finish()
    assert np.array_equal(np.concatenate(made, axis=1), whole)


# The scale


def seizure(rate: int, seconds: int, at: int, microvolts: float = 500.0) -> NDArray[np.float64]:
    """A minute of 3 Hz in a background of 15 µV."""
    data = eeg(rate, seconds) / 2
    time_s = np.arange(60 * rate) / rate
    data[:, at * rate : (at + 60) * rate] += microvolts * np.sin(2 * np.pi * 3 * time_s)
    return data


@pytest.mark.parametrize("rate", [250, 256])
@pytest.mark.parametrize("seconds", [10, 60, 130.7])
def test_the_robust_scale_is_median_and_interquartile_range(rate: int, seconds: float) -> None:
    data = eeg(rate, seconds)
    data[3] += 200 * (np.arange(data.shape[1]) % 50 == 0)
    got = z_scores(data, rate, ROBUST)
    assert np.abs(got - chain(data, Fraction(rate), robust=True)).max() < 0.001
    assert np.abs(got - chain(data, Fraction(rate))).max() > 0.005


def test_a_seizure_does_not_set_the_robust_scale() -> None:
    without = z_scores(seizure(256, 600, 300, 0.0), 256, ROBUST)
    data = seizure(256, 600, 300)
    plain, robust = z_scores(data, 256), z_scores(data, 256, ROBUST)
    background = slice(30 * 256, 280 * 256)
    assert np.abs(plain[:, background]).std() < 0.2
    # A tenth of the recording is seizure: the quartiles move by some percent.
    assert robust[:, background].std() / without[:, background].std() == pytest.approx(1, abs=0.25)
    assert robust[:, background].std() > 5 * plain[:, background].std()


def test_quartiles_are_exact_whatever_the_values() -> None:
    rng = np.random.default_rng(0)
    signal = np.zeros((19, 4001), np.float32)
    for channel in range(19):
        kind = (rng.standard_normal, rng.standard_cauchy, rng.random)[channel % 3]
        signal[channel] = kind(4001) * 10.0 ** (channel - 9) - channel
    signal[4] = rng.integers(-3, 4, 4001)
    signal[5, ::2] = -0.0
    cuts = [0, 1, 500, 513, 2000, 4001]
    pieces = [signal[:, a:b] for a, b in pairwise(cuts)]
    got = Statistics.of(iter(pieces), 4000, ROBUST)
    used = signal[:, 512:4000].astype(float)
    lower, middle, upper = np.quantile(used, [0.25, 0.5, 0.75], axis=1)
    assert got.mean == pytest.approx(middle, rel=1e-12, abs=1e-12)
    wide = upper - lower >= 0.1
    assert 5 < wide.sum() < 19
    assert got.deviation[wide] == pytest.approx((upper - lower)[wide] / 1.3489795003921634)
    assert got.deviation[~wide] == pytest.approx(used.std(axis=1)[~wide], abs=1e-6)


def test_a_channel_that_was_mostly_disconnected_keeps_its_standard_deviation() -> None:
    data = eeg(256, 60)
    data[2, 10 * 256 :] = data[2, 10 * 256]
    robust, plain = (Chain(ArraySource(data, Fraction(256)), s) for s in (ROBUST, Preprocessing()))
    assert robust.statistics.deviation[2] == plain.statistics.deviation[2] > 1
    assert robust.statistics.deviation[3] != plain.statistics.deviation[3]


def test_recordings_too_long_to_keep_have_the_same_robust_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ArraySource(eeg(250, 130), Fraction(250))
    kept = list(Chain(source, ROBUST).quantized())
    monkeypatch.setattr(chain_module, "_KEEP_BYTES", 0)
    again = list(Chain(source, ROBUST).quantized())
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(kept, again, strict=True))


def test_a_first_stretch_is_measured_on_the_chosen_scale() -> None:
    data = eeg(256, 40)
    data[:, 20 * 256 :] *= 10
    source = ArraySource(data, Fraction(256))
    pieces = production_filtered(source, ROBUST, STREAM_STEP)
    got = Statistics.of(pieces, 20 * 256, ROBUST)
    used = settled(filtered(data, Fraction(256))[:, : 20 * 256])
    lower, middle, upper = np.quantile(used, [0.25, 0.5, 0.75], axis=1)
    assert got.mean == pytest.approx(middle, abs=1e-3)
    assert got.deviation == pytest.approx((upper - lower) / 1.34898, rel=1e-4)


def test_interpolation_and_labels_are_in_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {digest(chain_parameters(Preprocessing()))}
    changes = [
        (interpolation.POSITIONS, "Cz", (0.0, 0.0, 1.0)),
        (montage._BY_NAME, "T7", "T4"),
        (edges.CONSTANTS, "edge_s", 2),
        (statistics.CONSTANTS, "settling_s", 3),
    ]
    for table, key, value in changes:
        with monkeypatch.context() as patched:
            patched.setitem(table, key, value)
            names.add(digest(chain_parameters(Preprocessing())))
    assert len(names) == 5


def test_the_default_scale_is_not_in_the_version() -> None:
    assert "scale" not in chain_parameters(Preprocessing())["chain"]
    assert chain_parameters(ROBUST)["chain"]["scale"] == "robust"


# Clipping


def clipping_shard(path: Path, clipped: NDArray[np.int32]) -> Shard:
    """A shard of zeros whose counts of clipped samples (blocks, 19) are given, in odd chunks."""
    blocks = len(clipped)
    header = ShardHeader(
        format_version=2,
        partition_key="train/a",
        fingerprint="f",
        parameters={},
        source_hash="s",
        source_size=1,
        channels=CHANNELS,
        rate=256,
        samples=blocks * 2560,
        mean=(0.0,) * 19,
        deviation=(1.0,) * 19,
        interpolated=(),
        libraries={},
    )
    zeros = np.zeros((blocks, 19, 2560), np.int16)
    edges = [*range(0, blocks, 7), blocks]
    with path.open("wb") as file:
        _, counts = write_shard(
            file, header, ((zeros[a:b], clipped[a:b]) for a, b in pairwise(edges))
        )
    assert np.array_equal(counts, clipped)
    return Shard(path)


def some_clipped(blocks: int) -> NDArray[np.int32]:
    clipped = np.zeros((blocks, 19), np.int32)
    clipped[[0, 7, 35, 36, 44], [18, 0, 3, 3, 5]] = [1, 2560, 17, 18, 300]
    return clipped


def test_a_shard_says_what_was_clipped_in_which_block_and_channel(tmp_path: Path) -> None:
    clipped = some_clipped(45)
    shard = clipping_shard(tmp_path / "a.arrow", clipped)
    got = shard.clipped()
    assert got is not None and np.array_equal(got, clipped)
    assert shard.verify() == clipped.sum()


def test_changed_counts_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    clipping_shard(path, some_clipped(45))
    content = path.read_bytes()
    assert content.count(b"[7,0,2560]") == 1
    path.write_bytes(content.replace(b"[7,0,2560]", b"[7,1,2560]"))
    with pytest.raises(DamagedShard, match="counts of clipped samples"):
        Shard(path).verify()
    with pytest.raises(DamagedShard, match="counts of clipped samples"):
        Shard(path).clipped()


def test_a_shard_without_counts_is_whole_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of version 1 are."""
    path = tmp_path / "a.arrow"
    with monkeypatch.context() as patched:
        patched.setattr(shard_module, "_CLIPPED_COUNTS", b"something else")
        clipping_shard(path, some_clipped(45))
    shard = Shard(path)
    assert shard.verify() == some_clipped(45).sum()
    assert shard.clipped() is None


def test_the_chain_counts_what_is_beyond_the_limit() -> None:
    data = seizure(256, 120, 50)
    settings = Preprocessing(clip_sd=1.5)
    made = Chain(ArraySource(data, Fraction(256)), settings)
    counts = np.concatenate([clipped for _, clipped in made.quantized()])
    y = filtered(data, Fraction(256))
    used = settled(y)
    z = (y - used.mean(axis=1)[:, None]) / used.std(axis=1)[:, None]
    expected = (np.abs(z) > 1.5).reshape(19, 12, 2560).sum(axis=2).T
    assert np.abs(counts - expected).max() <= 2
    assert counts.sum() == pytest.approx(expected.sum(), rel=1e-3) and counts.sum() > 1000


def test_clipping_within_seizures_is_that_of_the_blocks_they_touch() -> None:
    blocks = ((1, 100), (3, 50), (4, 7), (9, 1))
    events = [Event(12.0, 40.0, "seiz"), Event(39.0, 40.5, "fnsz"), Event(94.0, 200.0, "seiz")]
    got = Clipping.of("train/a", blocks, 95 * 256, events)
    assert got.clipped == 158 and got.samples == 95 * 256 * 19
    # Blocks 1 to 4 and 9, which holds 5 s.
    assert got.clipped_in_seizures == 158
    assert got.samples_in_seizures == (4 * 2560 + 5 * 256) * 19
    none = Clipping.of("train/a", blocks, 95 * 256, [])
    assert (none.clipped_in_seizures, none.part_in_seizures) == (0, 0.0)


def test_status_says_what_was_clipped(settings: Configuration) -> None:
    narrow = Preprocessing(clip_sd=3.0)
    settings = settings.model_copy(update={"preprocessing": narrow})
    plan = plan_corpus(settings)
    build(plan, narrow, workers=1)
    plan = plan_corpus(settings)
    labels = settings.labels.seizure
    total = samples = ictal = ictal_samples = 0
    for item in plan.items:
        if item.state is not State.FRESH:
            continue
        shard = Shard(plan.store.shard_path(item.recording.partition_key))
        counts = shard.clipped()
        assert counts is not None
        total += int(counts.sum())
        samples += shard.header.samples * 19
        for block in range(shard.header.blocks):
            if any(
                event.start < 10 * block + 10 and event.stop > 10 * block
                for event in item.recording.seizures(labels)
            ):
                ictal += int(counts[block].sum())
                ictal_samples += 19 * min(2560, shard.header.samples - 2560 * block)
    assert total > 100 and ictal > 10
    told = status(plan, settings)["clipping"]
    assert told["clipped"] == pytest.approx(total / samples, abs=1e-8)
    assert told["clipped_in_seizures"] == pytest.approx(ictal / ictal_samples, abs=1e-8)
    assert told["not_known"] == 0
    assert told["most"][0]["clipped_in_seizures"] >= told["clipped_in_seizures"]
    assert len(told["most"]) == 5
    lines = clipping_lines(told)
    assert f"{total / samples:.4%} of all samples" in lines[0]
    # A record without counts, as an earlier program wrote it: not known, and nothing is missing.
    records = plan.store.folder / "records.jsonl"
    content = [json.loads(line) for line in records.read_text().splitlines()]
    content[0].pop("clipped")
    records.write_text("".join(json.dumps(line) + "\n" for line in content))
    plan = plan_corpus(settings)
    assert status(plan, settings)["clipping"]["not_known"] == 1
    assert not plan.to_build
    assert "not known of 1 recordings" in clipping_lines(status(plan, settings)["clipping"])[-1]


def test_inspect_counts_clipping_within_seizures(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=60)
    seen = inspect_recording(path, Preprocessing(clip_sd=2.0))
    assert all(channel.clipped_in_seizures is None for channel in seen.channels)
    text = format_csv_bi([Event(20.0, 30.0)], 60.0, "a")
    (tmp_path / "a.csv_bi").write_text(text)
    seen = inspect_recording(path, Preprocessing(clip_sd=2.0))
    data = open_edf(path).read(0, 60 * 256).astype(float)
    z = chain(data, Fraction(256))[:, 20 * 256 : 30 * 256]
    for channel, row in zip(seen.channels, z, strict=True):
        assert channel.clipped_in_seizures == pytest.approx((np.abs(row) > 2).mean(), abs=1e-3)


def test_status_and_manifest_print_it(settings: Configuration, shell: Shell) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing, workers=1)
    chosen = {"BRAINBRR_CONFIG": small_config(settings.cache_root.parent)}
    for command in (["cache", "status"], ["manifest"]):
        told = json.loads(shell.type(*command, "--json", environment=chosen).stdout)["clipping"]
        assert told["not_known"] == 0 and told["clipped"] is not None
        printed = shell.type(*command, environment=chosen).stdout
        assert f"clipped: {told['clipped']:.4%} of all samples" in printed


# Silence


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


def test_what_is_set_to_zero_is_nothing() -> None:
    """A signal that begins again after an hour of zeros is what scipy makes of it."""
    data = eeg(256, 20) - eeg(256, 20)[:, :1]
    quiet = np.concatenate([data, np.zeros((19, 700 * 256)), data], axis=1)
    source = ArraySource(quiet, Fraction(256))
    got = np.concatenate(list(production_filtered(source, Preprocessing(), 15360)), axis=1)
    assert np.abs(got - filtered(quiet, Fraction(256))).max() < 1e-3
