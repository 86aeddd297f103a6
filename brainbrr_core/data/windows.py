"""A torch Dataset made of a manifest: windows sliced from mapped shards into reused buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.shard import BATCH_BLOCKS, BLOCK_SAMPLES, DamagedShard, Shard
from brainbrr_core.cache.store import Store, shard_state
from brainbrr_core.configuration.model import RATE
from brainbrr_core.errors import WorkRemains
from brainbrr_core.signal.montage import CHANNELS
from brainbrr_core.signal.quantization import SCALE, span, widen

_SCALE = np.float32(SCALE)
#: Windows from which on a batch is worth two threads.
_THREADED = 4
Kind = Literal["float32", "int16"]


@dataclass(frozen=True)
class Batch:
    """Windows as tensors.

    ``signals`` (B, 19, T) float32 in standard deviations, or int16 as stored (``SCALE`` standard
    deviations a unit); ``labels`` (B, T) float32, 1 where a seizure is annotated; ``names`` say
    which recording and second each row is. The tensors belong to a ring of buffers: they hold
    until ``ring`` further batches have been fetched.
    """

    signals: Tensor
    labels: Tensor
    names: tuple[str, ...]


class _Shards:
    """Shards mapped on first touch; every record batch is verified when it is first used."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shards: dict[str, Shard] = {}
        self._batches: dict[tuple[str, int], NDArray[np.int16]] = {}

    def blocks(
        self, recording: ManifestRecording, first: int, count: int
    ) -> Iterator[NDArray[np.int16]]:
        """``count`` blocks from ``first``, as views (n, 19, 2560) of the mapped file."""
        while count:
            number, row = divmod(first, BATCH_BLOCKS)
            batch = self._batches.get((recording.partition_key, number))
            if batch is None:
                batch = self._verified(recording, number)
            taken = min(count, BATCH_BLOCKS - row)
            yield batch[row : row + taken]
            first, count = first + taken, count - taken

    def _verified(self, recording: ManifestRecording, number: int) -> NDArray[np.int16]:
        key = recording.partition_key
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = self._open(recording)
        try:
            shard.verify_batch(number)
            batch = self._batches[(key, number)] = shard.batch(number)
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        return batch

    def _open(self, recording: ManifestRecording) -> Shard:
        key = recording.partition_key
        path = self._store.shard_path(key)
        try:
            # torch maps a file without holding a descriptor, of which a process may have no more
            # than 1,024.
            size = path.stat().st_size
            mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
            shard = Shard(path, pa.py_buffer(mapped.numpy()))
        except FileNotFoundError:
            raise WorkRemains(f"no shard of {key}: run `brainbrr cache build`") from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        if shard.header.partition_key != key or shard.header.fingerprint != recording.fingerprint:
            raise WorkRemains(
                f"the shard of {key} is not the manifest's: run `brainbrr cache build` and "
                "`brainbrr manifest`"
            )
        return shard


def _damaged(key: str, how: str) -> WorkRemains:
    return WorkRemains(
        f"the shard of {key} is damaged ({how}): run `brainbrr cache verify` and "
        "`brainbrr cache build`"
    )


class WindowDataset(Dataset[Batch]):
    """Windows ``rows`` of a manifest (all by default), read from the store alone.

    Raises :class:`WorkRemains` at once when a shard is missing or is not the manifest's.
    For a ``DataLoader``: ``collate_fn`` is the identity, since a batch is fetched whole, and
    ``num_workers`` is 0, since worker processes make it slower.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        rows: NDArray[np.int64] | None = None,
        *,
        kind: Kind = "float32",
        ring: int = 4,
        threads: int = 2,
    ) -> None:
        self.manifest = manifest
        self._kind = np.float32 if kind == "float32" else np.int16
        self.rows = np.arange(len(manifest)) if rows is None else rows
        self._shards = _Shards(store)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        self._ring = [_Buffers.of(0, manifest.window_samples, self._kind) for _ in range(ring)]
        self._next = 0
        _check_shards(manifest, store)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Windows at ``positions`` of ``rows``, as one batch."""
        return self.fetch(self.rows[np.asarray(positions)])

    def fetch(self, rows: NDArray[np.int64]) -> Batch:
        """Windows ``rows`` of the manifest, as one batch."""
        count = len(rows)
        buffers = self._buffers(count)
        if count < _THREADED or self._threads == 1:
            names = [self._fill(buffers, n, row) for n, row in enumerate(rows.tolist())]
        else:
            # The kernels release Python's lock, so that two cores fill a batch.
            names = list(self._pool.map(partial(self._fill, buffers), range(count), rows.tolist()))
        return Batch(buffers.signals[:count], buffers.labels[:count], tuple(names))

    def _fill(self, buffers: _Buffers, n: int, row: int) -> str:
        """Write window ``row`` and its labels to place ``n``; the window's name."""
        manifest = self.manifest
        recording = manifest.recordings[manifest.recording[row]]
        start = int(manifest.start[row])
        signal = buffers.signal_arrays[n]
        place = 0
        for part in self._shards.blocks(
            recording, start // BLOCK_SAMPLES, manifest.window_samples // BLOCK_SAMPLES
        ):
            if self._kind is np.float32:
                widen(part, _SCALE, signal, place)
            else:
                blocks = signal.reshape(len(CHANNELS), -1, BLOCK_SAMPLES)
                blocks[:, place : place + len(part)] = part.transpose(1, 0, 2)
            place += len(part)
        _label(buffers.label_arrays[n], recording, start)
        return f"{recording.partition_key} at {start / RATE:g} s"

    def _buffers(self, count: int) -> _Buffers:
        slot, self._next = self._next, (self._next + 1) % len(self._ring)
        if len(self._ring[slot].signal_arrays) < count:
            self._ring[slot] = _Buffers.of(count, self.manifest.window_samples, self._kind)
        return self._ring[slot]


@dataclass(frozen=True)
class _Buffers:
    """One batch's memory, as tensors and, window by window, as arrays: slicing costs time."""

    signals: Tensor
    labels: Tensor
    signal_arrays: list[NDArray[np.float32] | NDArray[np.int16]]
    label_arrays: list[NDArray[np.float32]]

    @classmethod
    def of(cls, count: int, samples: int, kind: type[np.float32] | type[np.int16]) -> _Buffers:
        signals = np.empty((count, len(CHANNELS), samples), kind)
        labels = np.empty((count, samples), np.float32)
        return cls(torch.from_numpy(signals), torch.from_numpy(labels), [*signals], [*labels])


def _label(out: NDArray[np.float32], recording: ManifestRecording, start: int) -> None:
    out.fill(0.0)
    for begin, end, _ in recording.seizures:
        first, last = round(begin * RATE) - start, round(end * RATE) - start
        if last > 0 and first < len(out):
            out[max(first, 0) : last] = 1.0


def _check_shards(manifest: Manifest, store: Store) -> None:
    """Every shard is there and is the manifest's: from the records, or from its own header."""
    records = store.records()
    for recording in manifest.recordings:
        key = recording.partition_key
        path = store.shard_path(key)
        try:
            state = shard_state(path)
            record = records.get(key)
            if record is not None and record.state == state:
                found = record.fingerprint
            else:
                found = Shard(path).header.fingerprint
        except FileNotFoundError:
            raise WorkRemains(
                f"no shard of {key}: run `brainbrr cache build` (profile {manifest.profile})"
            ) from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        if found != recording.fingerprint:
            raise WorkRemains(
                f"the shard of {key} is not the manifest's: run `brainbrr cache build` (profile "
                f"{manifest.profile}) and `brainbrr manifest`"
            )


class RecordingReader:
    """A whole recording of the store, read piece by piece for inference."""

    def __init__(self, store: Store, recording: ManifestRecording) -> None:
        self.samples = recording.samples
        self._recording = recording
        self._shards = _Shards(store)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, (19, stop - start) float32 in standard deviations."""
        first = start // BLOCK_SAMPLES
        parts = self._shards.blocks(self._recording, first, -(-stop // BLOCK_SAMPLES) - first)
        offset = first * BLOCK_SAMPLES
        return span(np.concatenate(list(parts)), start - offset, stop - offset)
