"""A torch Dataset made of a manifest: windows sliced from mapped shards into reused buffers."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from brainbrr_core.cache.manifest import RATE, Manifest, ManifestRecording
from brainbrr_core.cache.shard import BATCH_BLOCKS, BLOCK_SAMPLES, DamagedShard, Shard
from brainbrr_core.cache.store import Store, shard_state
from brainbrr_core.errors import WorkRemains
from brainbrr_core.signal.chain import SCALE
from brainbrr_core.signal.montage import CHANNELS

#: Shards mapped at a time: each holds a descriptor, and a process may have no more than 1,024.
_OPEN_SHARDS = 512


@dataclass(frozen=True)
class Batch:
    """Windows as tensors.

    ``signals`` (B, 19, T) float32 in standard deviations, ``labels`` (B, T) float32, 1 where a
    seizure is annotated; ``names`` say which recording and second each row is. The tensors belong
    to a ring of buffers: they hold until ``ring`` further batches have been fetched.
    """

    signals: Tensor
    labels: Tensor
    names: tuple[str, ...]


class _OpenShards:
    """The most recently used shards, mapped; every record batch is verified when first used."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._verified: set[tuple[str, int]] = set()

    def block(self, recording: ManifestRecording, number: int) -> Tensor:
        """One block, (19, 2560) int16, a view of the file."""
        key = recording.partition_key
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = self._open(recording)
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        else:
            self._shards.move_to_end(key)
        batch, row = divmod(number, BATCH_BLOCKS)
        if (key, batch) not in self._verified:
            try:
                shard.verify_batch(batch)
            except DamagedShard as error:
                raise _damaged(key, str(error)) from None
            self._verified.add((key, batch))
        with warnings.catch_warnings():
            # The mapped file is read-only, and nothing here writes to it.
            warnings.simplefilter("ignore")
            return torch.from_numpy(shard.batch(batch)[row])

    def _open(self, recording: ManifestRecording) -> Shard:
        key = recording.partition_key
        try:
            shard = Shard(self._store.shard_path(key))
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
    Worker processes make it slower, not faster: use it with ``num_workers=0``.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: Store,
        rows: NDArray[np.int64] | None = None,
        *,
        ring: int = 4,
    ) -> None:
        self.manifest = manifest
        self.rows = np.arange(len(manifest)) if rows is None else rows
        self._shards = _OpenShards(store)
        self._ring = [(torch.empty(0), torch.empty(0)) for _ in range(ring)]
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
        signals, labels = self._buffers(len(rows))
        names = []
        for place, row in enumerate(rows):
            recording = self.manifest.recordings[self.manifest.recording[row]]
            start = int(self.manifest.start[row])
            self._fill(signals[place], recording, start)
            _label(labels[place], recording, start)
            names.append(f"{recording.partition_key} at {start / RATE:g} s")
        signals.mul_(SCALE)
        return Batch(signals, labels, tuple(names))

    def _fill(self, out: Tensor, recording: ManifestRecording, start: int) -> None:
        first = start // BLOCK_SAMPLES
        for number in range(self.manifest.window_samples // BLOCK_SAMPLES):
            place = slice(number * BLOCK_SAMPLES, (number + 1) * BLOCK_SAMPLES)
            out[:, place].copy_(self._shards.block(recording, first + number))

    def _buffers(self, count: int) -> tuple[Tensor, Tensor]:
        samples = self.manifest.window_samples
        slot, self._next = self._next, (self._next + 1) % len(self._ring)
        signals, labels = self._ring[slot]
        if len(signals) < count:
            signals = torch.empty((count, len(CHANNELS), samples), dtype=torch.float32)
            labels = torch.empty((count, samples), dtype=torch.float32)
            self._ring[slot] = (signals, labels)
        return signals[:count], labels[:count]


def _label(out: Tensor, recording: ManifestRecording, start: int) -> None:
    out.zero_()
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
                f"no shard of {key}: run `brainbrr cache build --profile {manifest.profile}`"
            ) from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        if found != recording.fingerprint:
            raise WorkRemains(
                f"the shard of {key} is not the manifest's: run `brainbrr cache build --profile "
                f"{manifest.profile}` and `brainbrr manifest`"
            )


class RecordingReader:
    """A whole recording of the store, read piece by piece for inference."""

    def __init__(self, store: Store, recording: ManifestRecording) -> None:
        self.samples = recording.samples
        self._recording = recording
        self._shards = _OpenShards(store)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, (19, stop - start) float32 in standard deviations."""
        first = start // BLOCK_SAMPLES
        blocks = list(self._blocks(first, -(-stop // BLOCK_SAMPLES)))
        joined = np.concatenate(blocks, axis=1)[
            :, start - first * BLOCK_SAMPLES : stop - first * BLOCK_SAMPLES
        ]
        return joined.astype(np.float32) * np.float32(SCALE)

    def _blocks(self, first: int, last: int) -> Iterator[NDArray[np.int16]]:
        for number in range(first, last):
            yield self._shards.block(self._recording, number).numpy()
