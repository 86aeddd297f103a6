"""A torch ``Dataset`` of a manifest: windows copied from memory-mapped shards to reused buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.shard import BLOCK_SAMPLES
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import channels_of
from brainbrr_core.constants import RATE
from brainbrr_core.data.device_feed import CPU, host_memory
from brainbrr_core.data.open_shards import OpenShards, check_shards
from brainbrr_core.data.weighting import SeizureWeights
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.signal.quantization import SCALE, span, widen
from brainbrr_core.signal.streaming import widen_past_caches

#: The label of a sample that is neither seizure nor background: the loss ignores it.
UNKNOWN_LABEL = -1.0
_SCALE = np.float32(SCALE)
#: Windows in a batch from which several threads fill it faster.
_THREADED = 4
#: Bytes of a batch from which its first windows have left the caches before it is complete.
_CACHED = 1 << 24
#: The most threads that read: more of them would wait for the same memory.
_READERS = 8
Kind = Literal["float32", "int16"]


@dataclass(frozen=True)
class Batch:
    """Windows as tensors.

    The tensors of a batch that a dataset fetched belong to a ring of buffers: they are overwritten
    when ``ring`` further batches have been fetched.

    Attributes
    ----------
    signals : Tensor, shape (B, channels, T)
        In standard deviations (float32), or as stored (int16, ``SCALE`` standard deviations per
        unit).
    labels : Tensor of float32, shape (B, T)
        1 where a seizure is annotated, 0 where background is, and ``UNKNOWN_LABEL`` (-1) where
        neither is.
    names : tuple of str, length B
        Recording and second of each window.
    weights : Tensor of float32, shape (B, T), optional
        How much each sample counts in the loss; None where all count the same.
    known : tuple of int, length B
        How many samples of each window have another label than ``UNKNOWN_LABEL``.
    """

    signals: Tensor
    labels: Tensor
    names: tuple[str, ...]
    weights: Tensor | None = None
    known: tuple[int, ...] = field(kw_only=True)


def known_samples(labels: Tensor) -> tuple[int, ...]:
    """How many samples of each row (B, T) are labeled seizure or background; for CPU tensors."""
    return tuple(map(_known, labels.numpy()))


def _known(labels: NDArray[np.float32]) -> int:
    return int(np.count_nonzero(labels != UNKNOWN_LABEL))


class WindowDataset(Dataset[Batch]):
    """Windows of a manifest with a label for each sample, read from the store.

    In a ``DataLoader``, ``collate_fn`` must be the identity, since batches are fetched as a whole,
    and ``num_workers`` should be 0, since worker processes make it slower.

    Parameters
    ----------
    manifest : Manifest
        The windows and their recordings.
    store : Store
        The store that has the shards of these recordings.
    rows : array of int64, optional
        Numbers of the windows in the manifest; by default all of them.
    kind : {"float32", "int16"}
        Signals in standard deviations, or as stored (``SCALE`` standard deviations per unit).
    ring : int
        Number of batches whose tensors are valid at the same time: the next one overwrites the
        oldest.
    threads : int, optional
        Threads that fill a batch; by default as many as there are processor cores, up to 8.
    open_shards : int, optional
        The most shards that are open at a time; by default half of what the system allows.
    seizure_weights : optional
        Weight of the samples of each seizure in the loss, for ``Batch.weights``; 1 elsewhere.
    device : torch.device
        Where batches will be sent: for a GPU their memory is page-locked.

    Raises
    ------
    WorkRemains
        Where a shard is missing or is not the one that the manifest names.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        rows: NDArray[np.int64] | None = None,
        *,
        kind: Kind = "float32",
        ring: int = 4,
        threads: int | None = None,
        open_shards: int | None = None,
        seizure_weights: SeizureWeights | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.manifest = manifest
        self._seizure_weights = seizure_weights
        self._kind = torch.float32 if kind == "float32" else torch.int16
        self._device = device
        #: Names of the channels of its windows.
        self.channels = channels_of(store.version)
        self.rows = np.arange(len(manifest)) if rows is None else rows
        self._shards = OpenShards(store, open_shards)
        self.threads = threads or min(usable_cores(), _READERS)
        self._pool = ThreadPoolExecutor(self.threads)
        self._ring = [self._new_buffers(0) for _ in range(ring)]
        self._release: list[Callable[[], None] | None] = [None] * ring
        self._next = 0
        check_shards(manifest, store)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Fetch the windows at ``positions`` of ``rows`` as one batch."""
        return self.fetch(self.rows[np.asarray(positions)])

    def fetch(self, rows: NDArray[np.int64]) -> Batch:
        """Fetch windows as one batch.

        Parameters
        ----------
        rows : array of int64, shape (B,)
            Numbers of the windows in the manifest.

        Returns
        -------
        Batch
            The windows in the order of ``rows``.

        Raises
        ------
        WorkRemains
            Where a shard is damaged, missing, or not the one that the manifest names.
        """
        count = len(rows)
        buffers = self._buffers(count)
        if count < _THREADED or self.threads == 1:
            filled = [self._fill(buffers, n, row) for n, row in enumerate(rows.tolist())]
        else:
            # The kernels release Python's lock, so that two cores fill a batch.
            filled = list(self._pool.map(partial(self._fill, buffers), range(count), rows.tolist()))
        return Batch(
            buffers.signals[:count],
            buffers.labels[:count],
            tuple(name for name, _ in filled),
            None if buffers.weights is None else buffers.weights[:count],
            known=tuple(known for _, known in filled),
        )

    def hold(self, batch: Batch, until: Callable[[], None]) -> None:
        """Call ``until`` before the memory of a fetched batch is overwritten, and wait for it."""
        memory = batch.signals.data_ptr()
        for slot, buffers in enumerate(self._ring):
            if buffers.signals.data_ptr() == memory:
                self._release[slot] = until
                return
        raise ValueError("the batch is not in the memory of this dataset")

    def _fill(self, buffers: _Buffers, n: int, row: int) -> tuple[str, int]:
        """Write window ``row`` and its labels to row ``n`` of the buffers.

        Returns its name and how many of its samples are known.
        """
        manifest = self.manifest
        recording = manifest.recordings[manifest.recording[row]]
        start = int(manifest.start[row])
        signal = buffers.signal_arrays[n]
        write = widen_past_caches if buffers.signals.nbytes > _CACHED else widen
        position = 0
        for blocks in self._shards.blocks(
            recording, start // BLOCK_SAMPLES, manifest.window_samples // BLOCK_SAMPLES
        ):
            if self._kind is torch.float32:
                write(blocks, _SCALE, cast("NDArray[np.float32]", signal), position)
            else:
                target = signal.reshape(len(signal), -1, BLOCK_SAMPLES)
                target[:, position : position + len(blocks)] = blocks.transpose(1, 0, 2)
            position += len(blocks)
        labels = buffers.label_arrays[n]
        _label(labels, recording, start)
        if self._seizure_weights is not None:
            weights = self._seizure_weights[manifest.recording[row]]
            _weigh(buffers.weight_arrays[n], recording, start, weights)
        known = _known(labels) if recording.unknown else len(labels)
        return f"{recording.partition_key} at {start / RATE:g} s", known

    def _buffers(self, count: int) -> _Buffers:
        slot, self._next = self._next, (self._next + 1) % len(self._ring)
        until, self._release[slot] = self._release[slot], None
        if until is not None:
            until()
        if len(self._ring[slot].signal_arrays) < count:
            self._ring[slot] = self._new_buffers(count)
        return self._ring[slot]

    def _new_buffers(self, count: int) -> _Buffers:
        weighted = self._seizure_weights is not None
        shape = (count, len(self.channels), self.manifest.window_samples)
        return _Buffers.of(shape, self._kind, weighted, self._device)


@dataclass(frozen=True)
class _Buffers:
    """The memory of a batch, as tensors and as one array per window, since slicing takes time."""

    signals: Tensor
    labels: Tensor
    signal_arrays: list[NDArray[np.float32] | NDArray[np.int16]]
    label_arrays: list[NDArray[np.float32]]
    #: None, and no arrays, where all samples have the same weight.
    weights: Tensor | None
    weight_arrays: list[NDArray[np.float32]]

    @classmethod
    def of(
        cls, shape: tuple[int, int, int], kind: torch.dtype, weighted: bool, device: torch.device
    ) -> _Buffers:
        count, _, samples = shape
        signals = host_memory(shape, kind, device)
        labels = host_memory((count, samples), torch.float32, device)
        weights = host_memory((count if weighted else 0, samples), torch.float32, device)
        return cls(
            signals,
            labels,
            [*signals.numpy()],
            [*labels.numpy()],
            weights if weighted else None,
            [*weights.numpy()],
        )


def _label(out: NDArray[np.float32], recording: ManifestRecording, start: int) -> None:
    out.fill(0.0)
    for begin, end in recording.unknown:
        _mark(out, round(begin * RATE) - start, round(end * RATE) - start, UNKNOWN_LABEL)
    for begin, end, _ in recording.seizures:
        _mark(out, round(begin * RATE) - start, round(end * RATE) - start, 1.0)


def _weigh(
    out: NDArray[np.float32], recording: ManifestRecording, start: int, weights: Sequence[float]
) -> None:
    out.fill(1.0)
    for (begin, end, _), weight in zip(recording.seizures, weights, strict=True):
        _mark(out, round(begin * RATE) - start, round(end * RATE) - start, weight)


def _mark(out: NDArray[np.float32], first: int, last: int, value: float) -> None:
    if last > 0 and first < len(out):
        out[max(first, 0) : last] = value


class RecordingReader:
    """Reads any interval of a recording in the store, for inference.

    Parameters
    ----------
    store : Store
        The store that has the recording's shard.
    recording : ManifestRecording
        The recording.

    Attributes
    ----------
    samples : int
        Length of the recording at 256 Hz.
    """

    def __init__(self, store: Store, recording: ManifestRecording) -> None:
        self.samples = recording.samples
        self._recording = recording
        self._shards = OpenShards(store)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read an interval as float32.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last, at 256 Hz.

        Returns
        -------
        array of float32, shape (channels, stop - start)
            The signal in standard deviations.

        Raises
        ------
        WorkRemains
            Where the shard is damaged, missing, or not the one that the manifest names.
        """
        first = start // BLOCK_SAMPLES
        parts = self._shards.blocks(self._recording, first, -(-stop // BLOCK_SAMPLES) - first)
        offset = first * BLOCK_SAMPLES
        return span(np.concatenate(list(parts)), start - offset, stop - offset)

    def copy(self, start: int, stop: int, out: NDArray[np.int16]) -> None:
        """Copy an interval as it is stored. Raises as :meth:`read` does.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last, at 256 Hz.
        out : array of int16, shape (channels, stop - start)
            Where to write; one unit is ``SCALE`` standard deviations.
        """
        first = start // BLOCK_SAMPLES
        position = first * BLOCK_SAMPLES - start
        for blocks in self._shards.blocks(
            self._recording, first, -(-stop // BLOCK_SAMPLES) - first
        ):
            for block in blocks:
                begin, end = max(position, 0), min(position + BLOCK_SAMPLES, stop - start)
                out[:, begin:end] = block[:, begin - position : end - position]
                position += BLOCK_SAMPLES
