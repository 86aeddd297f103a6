"""Batches on their way to the device: whole, in order, and nobody's memory but the receiver's."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from brainbrr_core.cache.manifest import Manifest, make_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Augmentation, Configuration
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.augmentation import Changes
from brainbrr_core.data.device_batches import move_labels
from brainbrr_core.data.device_feed import CPU, DeviceFeed, Transfer, host_memory, to_float32
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.signal.quantization import SCALE, widen
from brainbrr_core.signal.streaming import widen_past_caches
from brainbrr_core.training.new_run import training_batches, training_windows

AUGMENTED = Augmentation(
    channel_dropout=0.1, amplitude=0.2, time_shift_s=5, noise_sd=0.05, left_right_flip=0.5
)
BATCHES = 9


@dataclass(frozen=True)
class Ready:
    """A built cache, its manifest, and a training with every augmentation and with weights."""

    settings: Configuration
    manifest: Manifest
    store: Store

    def batches(self, feed: DeviceFeed | None = None, first: int = 0) -> Generator[Batch]:
        training = self.settings.training
        sampling = BalancedSampling.of(self.manifest, self.settings.sampling)
        dataset = training_windows(self.manifest, self.store, training, sampling)
        feed = feed or DeviceFeed(CPU)
        batches = training_batches(dataset, sampling, training, self.settings.hardware, feed)
        return batches(first)


@pytest.fixture
def ready(built: Configuration) -> Ready:
    plan = plan_corpus(built, lambda _line: None)
    training = built.training.model_copy(
        update={"augmentation": AUGMENTED, "seizure_weight": "events"}
    )
    settings = built.model_copy(update={"training": training})
    return Ready(settings, make_manifest(plan, built.manifest_settings), plan.store)


def copied(batch: Batch) -> Batch:
    assert batch.weights is not None
    return replace(
        batch,
        signals=batch.signals.clone(),
        labels=batch.labels.clone(),
        weights=batch.weights.clone(),
    )


def same(one: Batch, other: Batch) -> bool:
    assert one.weights is not None
    assert other.weights is not None
    return (
        torch.equal(one.signals, other.signals)
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.weights, other.weights)
        and (one.names, one.known) == (other.names, other.known)
    )


class LateTransfer(Transfer):
    """A copy that ends no sooner than somebody waits for it, as a slow bus may have it."""

    def __init__(self, copy: Callable[[], tuple[Tensor, ...]]) -> None:
        super().__init__(())
        made: list[tuple[Tensor, ...]] = []
        lock = threading.Lock()

        def once() -> tuple[Tensor, ...]:
            with lock:
                if not made:
                    made.append(copy())
                return made[0]

        object.__setattr__(self, "once", once)

    once: Callable[[], tuple[Tensor, ...]]

    def await_copy(self) -> None:
        self.once()

    def receive(self) -> tuple[Tensor, ...]:
        return self.once()


class LateFeed(DeviceFeed):
    def send(
        self, stored: Tensor, *others: Tensor, widen: Callable[[Tensor], Tensor] = to_float32
    ) -> Transfer:
        def copy() -> tuple[Tensor, ...]:
            return (widen(stored.clone()), *(other.clone() for other in others))

        return LateTransfer(copy)


def test_every_stored_sample_is_widened_to_the_same_bits() -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    expected = np.empty((1, 65536), np.float32)
    widen(samples.reshape(1, 1, -1), np.float32(SCALE), expected, 0)
    assert np.array_equal(to_float32(torch.from_numpy(samples)).numpy(), expected[0])


@pytest.mark.parametrize(("length", "begin"), [(2560, 0), (2560, 3), (2550, 0)])
def test_what_is_written_past_the_caches_is_the_same(length: int, begin: int) -> None:
    """At any address, and with lengths that are no multiple of what one instruction writes."""
    blocks = np.random.default_rng(0).integers(-32768, 32768, (3, 2, length)).astype(np.int16)
    # The memory of a tensor begins at a multiple of 64 bytes.
    memory = torch.full((begin + 2 * 4 * length,), torch.nan).numpy()
    out = memory[begin:].reshape(2, 4 * length)
    expected = out.copy()
    widen(blocks, np.float32(SCALE), expected, 1)
    widen_past_caches(blocks, np.float32(SCALE), out, 1)
    assert np.array_equal(out, expected, equal_nan=True)
    # The first block was left alone.
    assert np.isnan(out[:, :length]).all() and not np.isnan(out[:, length:]).any()


def test_a_buffer_is_not_overwritten_before_its_copy_has_ended(ready: Ready) -> None:
    with contextlib.closing(ready.batches()) as batches:
        expected = [copied(batch) for batch in itertools.islice(batches, BATCHES)]
    assert len({batch.names for batch in expected}) == BATCHES
    with contextlib.closing(ready.batches(LateFeed(CPU))) as batches:
        for wanted, batch in zip(expected, batches, strict=False):
            assert same(batch, wanted)


def test_nothing_overwrites_a_received_batch(ready: Ready) -> None:
    with contextlib.closing(ready.batches()) as batches:
        received = [(batch, copied(batch)) for batch in itertools.islice(batches, BATCHES)]
    assert all(same(batch, before) for batch, before in received)


def test_batches_after_a_resume_are_those_of_the_straight_training(ready: Ready) -> None:
    with contextlib.closing(ready.batches()) as batches:
        straight = [copied(batch) for batch in itertools.islice(batches, BATCHES)]
    with contextlib.closing(ready.batches(first=5)) as batches:
        for wanted, batch in zip(straight[5:], batches, strict=False):
            assert same(batch, wanted)


def test_a_damaged_shard_is_reported_when_its_batch_is_due(ready: Ready) -> None:
    drawn = BalancedSampling.of(ready.manifest, ready.settings.sampling).batches(4, 0)
    wanted = [set(ready.manifest.recording[rows].tolist()) for rows in itertools.islice(drawn, 60)]
    used = set().union(*wanted)
    first = {number: next(n for n, some in enumerate(wanted) if number in some) for number in used}
    last = max(first, key=lambda number: first[number])
    assert first[last] >= 2
    key = ready.manifest.recordings[last].partition_key
    path = ready.store.shard_path(key)
    content = bytearray(path.read_bytes())
    # Every record batch of the shard: whichever is read.
    for place in range(len(content) // 8, len(content) * 7 // 8, 2000):
        content[place] ^= 1
    path.write_bytes(bytes(content))
    arrived = []
    with pytest.raises(WorkRemains, match=f"the shard of {key} is damaged"):
        for batch in ready.batches():
            arrived.append(batch.names)
    assert len(arrived) == first[last]
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_any_number_of_threads_reads_the_same_and_as_many_read_as_are_free(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(len(ready.manifest))
    one = WindowDataset(ready.manifest, ready.store, kind="int16", threads=1).fetch(rows)
    for cores, used in ((1, 1), (5, 5), (64, 8)):
        monkeypatch.setattr("brainbrr_core.data.windows.usable_cores", lambda cores=cores: cores)
        dataset = WindowDataset(ready.manifest, ready.store, kind="int16")
        assert dataset.threads == used
        batch = dataset.fetch(rows)
        assert torch.equal(batch.signals, one.signals)
        assert torch.equal(batch.labels, one.labels)
        assert (batch.names, batch.known) == (one.names, one.known)


def test_only_a_dataset_s_own_batch_can_be_held(ready: Ready) -> None:
    dataset = WindowDataset(ready.manifest, ready.store, ring=1)
    batch = dataset.fetch(np.array([0]))
    asked: list[str] = []
    dataset.hold(batch, lambda: asked.append("once"))
    with pytest.raises(ValueError, match="not in the memory"):
        dataset.hold(copied_signals(batch), lambda: None)
    dataset.fetch(np.array([1]))
    dataset.fetch(np.array([2]))
    assert asked == ["once"]


def copied_signals(batch: Batch) -> Batch:
    return replace(batch, signals=batch.signals.clone())


def test_labels_that_do_not_move_are_left_alone(ready: Ready) -> None:
    batch = WindowDataset(ready.manifest, ready.store).fetch(np.arange(3))
    before = batch.labels.clone()
    assert move_labels(batch, None) == batch.known == (15360,) * 3
    assert torch.equal(batch.labels, before)


def test_known_samples_are_those_after_a_move() -> None:
    labels = torch.zeros(3, 640)
    labels[0, 600:] = -1
    labels[1] = -1
    batch = Batch(torch.zeros(3, 19, 640), labels, ("a", "b", "c"), known=(600, 0, 640))
    none = np.zeros(3, np.bool_), np.ones((3, 19), np.float32), (0, 0, 0), 0.0
    # The first window's unknown end leaves it, and what comes in at its start is all known.
    assert move_labels(batch, Changes(np.array([40, 7, -9]), *none)) == (640, 0, 640)
    assert move_labels(batch, Changes(np.array([0, 7, -9]), *none)) == (640, 0, 640)
    batch = replace(batch, labels=torch.cat([labels[1:2, :32], labels[:1, 32:]], 1), known=(608,))
    one = np.zeros(1, np.bool_), np.ones((1, 19), np.float32), (0,), 0.0
    assert move_labels(batch, Changes(np.array([8]), *one)) == (640 - 40,)


def test_no_memory_to_lock_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*_shape: int, **_options: Any) -> Tensor:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", empty)
        patch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
        with pytest.raises(BrainbrrError) as caught:
            host_memory((32, 19, 15360), torch.int16, torch.device("cuda", 1))
    message = str(caught.value)
    assert "19 MB of memory cannot be page-locked for cuda:1 (CUDA error: out of memory)" in message
    assert "hardware.batch_size" in message
    assert "\n" not in message
