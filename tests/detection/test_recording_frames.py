"""Scores of recordings: many in one stream of batches, in any precision, shared by processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.configuration import Configuration, Hardware
from brainbrr_core.data.prefetch import DEPTH
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import frame_count
from brainbrr_core.detection.recordings import recording_frames
from brainbrr_core.detection.scorer import WindowScorer, windows_at_once
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.scoring import ScoredRecording
from brainbrr_core.training.distributed import SINGLE_PROCESS, ProcessGroup, Value
from brainbrr_core.training.validation import Validator, score_recordings, shares
from tests.support.examples import examples
from tests.support.stored_signals import InMemory, naive_frames, noise
from tests.support.toy_training import toy_network

CPU = torch.device("cpu")
WINDOW, STRIDE = 512, 256


class Mean(torch.nn.Module):
    """The logit of a sample is the mean of its channels; it notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[tuple[int, ...], bool, bool]] = []

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        self.batches.append((tuple(signal.shape), self.training, torch.is_inference_mode_enabled()))
        return signal.mean(dim=1)


def frames_of(
    scorer: WindowScorer, recordings: list[InMemory]
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    found = dict(recording_frames(scorer, enumerate(recordings), WINDOW, STRIDE))
    assert list(found) == list(range(len(recordings)))
    return list(found.values())


@examples(25)
@given(
    lengths=st.lists(st.integers(1, 2600), min_size=1, max_size=6),
    batch=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_recordings_beside_others_get_the_scores_that_each_has_alone(
    lengths: list[int], batch: int, seed: int
) -> None:
    network = toy_network(seed).eval()
    recordings = [InMemory(noise(samples, n)) for n, samples in enumerate(lengths)]
    together = frames_of(WindowScorer(network, CPU, batch), recordings)
    for frames, recording in zip(together, recordings, strict=True):
        assert frames.dtype == np.float32
        assert frames.shape == (frame_count(recording.samples),)
        # Kernels round by the number of windows, 5e-7 of a logit.
        wanted = naive_frames(network, recording.stored, WINDOW, STRIDE)
        np.testing.assert_allclose(frames, wanted, atol=5e-6)
        # What lies beside a window changes no bit.
        [alone] = frames_of(WindowScorer(network, CPU, batch), [InMemory(recording.stored)])
        assert np.array_equal(frames, alone)


@pytest.mark.parametrize("samples", [2000, 1999, 1024, 300, 31])
def test_every_batch_has_one_size_and_the_network_is_left_as_it_was(samples: int) -> None:
    # A network without context: stitching must give the logit of every sample, averaged over
    # frames, whatever the windows.
    network = Mean()
    network.train()
    recordings = [InMemory(noise(samples)), InMemory(noise(1300))]
    frames, _ = frames_of(WindowScorer(network, CPU, 4), recordings)
    wanted = (recordings[0].stored * np.float32(10 / 32767)).mean(axis=0, dtype=np.float64)
    means = [wanted[first : first + 32].mean() for first in range(0, samples, 32)]
    np.testing.assert_allclose(frames, means, atol=1e-6)
    assert network.training
    windows = sum(len(recording.asked) for recording in recordings)
    assert network.batches == [((4, 19, 512), False, True)] * -(-windows // 4)


def test_nothing_is_read_beyond_the_recording() -> None:
    recording = InMemory(noise(1300))
    frames_of(WindowScorer(Mean(), CPU, 1), [recording])
    assert recording.asked == [(0, 512), (256, 768), (512, 1024), (768, 1280), (788, 1300)]


def test_wrong_shapes_are_refused() -> None:
    class Short(torch.nn.Module):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return signal.mean(dim=1)[:, ::2]

    with pytest.raises(ValueError, match=r"the network gave \(2, 256\) for 2 windows of 512"):
        frames_of(WindowScorer(Short(), CPU, 2), [InMemory(noise(1024))])
    with pytest.raises(ValueError, match="a batch of 3 windows where 2 are scored at once"):
        WindowScorer(Mean(), CPU, 2).window_scores([np.zeros((19, 512), np.float32)] * 3)


def test_float32_is_float32_while_windows_are_scored() -> None:
    told: list[bool] = []

    class Looks(Mean):
        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            told.append(torch.backends.cudnn.allow_tf32)
            return super().forward(signal)

    before = torch.backends.cudnn.allow_tf32
    frames_of(WindowScorer(Looks(), CPU, 2), [InMemory(noise(1300))])
    # A training is told the same: its threshold is used with these scores.
    assert set(told) == {False}
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize(
    ("batch", "error", "remedy"),
    [
        (4, torch.OutOfMemoryError("CUDA out of memory. Tried\nand more"), "inference_batch_size"),
        (4, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), "inference_batch_size"),
        (1, torch.OutOfMemoryError("CUDA out of memory. Tried\nand more"), "windows.length_s"),
    ],
)
def test_memory_that_is_too_small_for_scoring_is_one_line(
    batch: int, error: RuntimeError, remedy: str
) -> None:
    class Large(Mean):
        def forward(self, _signal: torch.Tensor) -> torch.Tensor:
            raise error

    with pytest.raises(BrainbrrError) as caught:
        frames_of(WindowScorer(Large(), CPU, batch), [InMemory(noise(1300))])
    message = str(caught.value)
    assert f"{batch} windows at once" in message
    assert str(error).splitlines()[0] in message
    assert remedy in message
    assert "\n" not in message


def test_another_error_of_torch_stays_what_it_is() -> None:
    class Wrong(Mean):
        def forward(self, _signal: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("an index is too large")

    with pytest.raises(RuntimeError, match="an index is too large"):
        frames_of(WindowScorer(Wrong(), CPU, 2), [InMemory(noise(1300))])


@pytest.mark.parametrize("batch", [1, 3, 5, 64])
def test_a_recording_that_cannot_be_read_is_an_error_after_those_before_it(batch: int) -> None:
    recordings = [
        InMemory(noise(1300)),
        InMemory(noise(700, 1)),
        InMemory(noise(3000, 2), broken=1500),
        InMemory(noise(900, 3)),
    ]
    found: list[int] = []
    with pytest.raises(BrainbrrError, match=r"^sample 1500 is damaged$"):
        for key, _ in recording_frames(
            WindowScorer(Mean(), CPU, batch), enumerate(recordings), WINDOW, STRIDE
        ):
            found.append(key)
    assert found == [0, 1]
    # Its first windows were scored: the error came at its place.
    assert {(0, 512), (256, 768), (512, 1024)} <= set(recordings[2].asked)


@pytest.fixture
def stored(built: Configuration) -> tuple[Configuration, list[ManifestRecording]]:
    plan = plan_corpus(built)
    return built, list(update_manifest(plan, built.manifest_settings).manifest.recordings)


def test_a_damaged_shard_says_what_reading_it_alone_says(
    stored: tuple[Configuration, list[ManifestRecording]],
) -> None:
    settings, recordings = stored
    store = plan_corpus(settings).store
    path = store.shard_path(recordings[2].partition_key)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    reader = RecordingReader(store, recordings[2])
    with pytest.raises(WorkRemains) as alone:
        reader.read(0, reader.samples)
    found = []
    with pytest.raises(WorkRemains) as beside:
        for key, _ in recording_frames(
            WindowScorer(Mean(), CPU, 4),
            ((r.partition_key, RecordingReader(store, r)) for r in recordings),
            60 * 256,
            30 * 256,
        ):
            found.append(key)
    assert str(beside.value) == str(alone.value)
    assert "brainbrr cache verify" in str(alone.value)
    assert found == [r.partition_key for r in recordings[:2]]


def test_a_reader_copies_what_it_reads(
    stored: tuple[Configuration, list[ManifestRecording]],
) -> None:
    settings, recordings = stored
    reader = RecordingReader(plan_corpus(settings).store, recordings[1])
    last = reader.samples
    for start, stop in ((0, 5120), (1, 2560), (2559, 2561), (last - 15360, last), (last - 7, last)):
        out = np.empty((19, stop - start), np.int16)
        reader.copy(start, stop, out)
        assert np.array_equal(out * np.float32(10 / 32767), reader.read(start, stop))


def threads() -> set[str]:
    return {thread.name.rpartition("_")[0] for thread in threading.enumerate()}


@pytest.mark.parametrize("batch", [1, 3])
def test_an_interrupted_scoring_leaves_nothing_behind(batch: int) -> None:
    network = Mean()
    network.train()

    def interrupted() -> None:
        for _ in recording_frames(
            WindowScorer(network, CPU, batch),
            ((n, InMemory(noise(1300))) for n in range(50)),
            WINDOW,
            STRIDE,
        ):
            assert {"prefetch", "read windows"} <= threads()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not {"prefetch", "read windows"} & threads()
    assert network.training


def test_a_few_batches_are_read_ahead_however_many_recordings_there_are() -> None:
    recordings = [InMemory(noise(1300)) for _ in range(60)]
    taken = iter(recordings)
    opened = 0

    def one_by_one() -> Iterator[tuple[int, InMemory]]:
        nonlocal opened
        for recording in taken:
            opened += 1
            yield opened, recording

    done = 0
    for _ in recording_frames(WindowScorer(Mean(), CPU, 5), one_by_one(), WINDOW, STRIDE):
        done += 1
        # Of five windows each: those that wait, the one in use and the one that is begun.
        assert opened <= done + DEPTH + 2
    assert done == 60


def test_bfloat16_changes_scores_a_little() -> None:
    network = toy_network(1).eval()
    recordings = [InMemory(noise(3000, seed)) for seed in range(3)]
    exact = np.concatenate(frames_of(WindowScorer(network, CPU, 4), recordings))
    rounded = np.concatenate(frames_of(WindowScorer(network, CPU, 4, "bfloat16"), recordings))
    assert rounded.dtype == np.float32
    difference = np.abs(rounded - exact).max()
    assert 0 < difference < 0.05 * np.abs(exact).max()


# torch's own compiler calls what torch has deprecated.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_is_compiled_once() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = toy_network(1).eval()
    recordings = [InMemory(noise(samples, samples)) for samples in (3000, 300, 1111, 2222, 512)]
    scorer = WindowScorer(network, CPU, 4, compilation=True)
    first = frames_of(scorer, recordings)
    compilations = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert compilations > 0
    again = frames_of(scorer, recordings[::-1])[::-1]
    # One window and several, from memory and from a file that grows.
    for count in (1, 3, 4):
        scorer.window_scores([np.zeros((19, WINDOW), np.float32)] * count)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compilations
    plain = frames_of(WindowScorer(network, CPU, 4), recordings)
    for frames, same, uncompiled in zip(first, again, plain, strict=True):
        assert np.array_equal(frames, same)
        np.testing.assert_allclose(frames, uncompiled, atol=1e-5)


def test_how_many_windows_are_scored_at_once() -> None:
    gpu = torch.device("cuda", 0)
    assert windows_at_once(Hardware(batch_size=64), CPU) == 4
    assert windows_at_once(Hardware(batch_size=256, accumulate=2), gpu) == 128
    assert windows_at_once(Hardware(batch_size=12), gpu) == 32
    given = Hardware(batch_size=64, inference_batch_size=7)
    assert windows_at_once(given, CPU) == windows_at_once(given, gpu) == 7


def of_length(samples: int, number: int) -> ManifestRecording:
    return ManifestRecording(
        partition_key=f"train/{number:04}",
        patient=f"p{number}",
        split="dev",
        montage="tcp",
        samples=samples,
        fingerprint="",
        seizures=(),
    )


@examples(60)
@given(lengths=st.lists(st.integers(1, 10**7), max_size=40), size=st.integers(1, 9), data=st.data())
def test_processes_share_all_recordings_evenly(
    lengths: list[int], size: int, data: st.DataObject
) -> None:
    recordings = [of_length(samples, number) for number, samples in enumerate(lengths)]
    given = shares(recordings, size)
    assert len(given) == size
    assert sorted(r.partition_key for part in given for r in part) == [
        r.partition_key for r in recordings
    ]
    # The same in every process.
    assert shares(data.draw(st.permutations(recordings)), size) == given
    sums = [sum(r.samples for r in part) for part in given]
    # Nobody has more than the least busy one and one recording besides: that one's last.
    for part, total in zip(given, sums, strict=True):
        assert total - min((r.samples for r in part), default=0) <= min(sums)


def test_a_validation_is_that_of_its_recordings_scored_alone(
    stored: tuple[Configuration, list[ManifestRecording]],
) -> None:
    settings, recordings = stored
    store, network = plan_corpus(settings).store, toy_network(1)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    validator = Validator(
        recordings,
        60 * 256,
        store,
        settings.detection,
        settings.hardware,
        CPU,
        SINGLE_PROCESS,
    )
    found = validator(network, 3)
    assert network.training
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    network.eval()
    scored = []
    for recording in recordings:
        reader = RecordingReader(store, recording)
        signal = np.empty((19, reader.samples), np.int16)
        reader.copy(0, reader.samples, signal)
        frames = naive_frames(network, signal, 60 * 256, settings.detection.stride_s * 256)
        scored.append(
            ScoredRecording(
                recording.patient,
                recording.duration_s,
                recording.reference,
                frames.astype(np.float32),
                recording.unknown,
            )
        )
    wanted = score_recordings(scored, settings.detection, 3)
    assert (found.step, found.rule, found.hours) == (3, wanted.rule, wanted.hours)
    assert found.auroc == pytest.approx(wanted.auroc, abs=1e-4)
    assert found.auprc == pytest.approx(wanted.auprc, abs=1e-3)
    # Three processes with their shares come to what one does, the first one last here.
    parts: dict[str, Any] = {}
    for rank in (2, 1, 0):
        validator = replace(validator, group=OneOfThree(rank, 3, parts=parts))
        together = validator(network, 3)
    assert together == found


@dataclass(frozen=True, slots=True)
class OneOfThree(ProcessGroup):
    """A process that leaves its part for the first one; without it nothing is judged."""

    parts: dict[str, Any] = field(default_factory=dict)

    def gather(self, entries: dict[str, Any]) -> dict[str, Any]:
        assert entries and not self.parts.keys() & entries.keys()
        self.parts.update(entries)
        return self.parts

    def broadcast(self, value: Value | None) -> Value:
        return cast("Value", value)
