"""A torch Dataset made of a manifest: windows sliced from mapped shards into reused buffers."""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.shard import (
    BATCH_BLOCKS,
    BLOCK_SAMPLES,
    SUFFIX,
    DamagedShard,
    Shard,
    UnreadableShard,
)
from brainbrr_core.cache.store import Store
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.data.device_feed import CPU, host_memory
from brainbrr_core.data.weighting import SeizureWeights
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files.state import FileState, file_state
from brainbrr_core.machine.filesystem import file_system
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.signal.quantization import SCALE, span, widen

#: The label of a sample that is neither seizure nor background: it has no part in the loss.
UNKNOWN_LABEL = -1.0
_SCALE = np.float32(SCALE)
#: Windows from which on a batch is worth two threads.
_THREADED = 4
#: Threads that read, where there are as many processors: more wait for the same memory.
_READERS = 8
#: Where Linux says how many maps a process may have (65,530 by default), and half of that.
MAX_MAPS, _MAPS = Path("/proc/sys/vm/max_map_count"), 32_765
#: Batches of 3.5 MB that are kept of shards that are read, not mapped.
_READ_BATCHES = 64
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Kind = Literal["float32", "int16"]


@dataclass(frozen=True)
class Batch:
    """Windows as tensors.

    ``signals`` (B, 19, T) float32 in standard deviations, or int16 as stored (``SCALE`` standard
    deviations a unit); ``labels`` (B, T) float32, 1 where a seizure is annotated, 0 where
    background is, ``UNKNOWN_LABEL`` (-1) where nobody says which; ``names`` say which recording
    and second each row is; ``weights`` (B, T) float32 say how much each sample counts in the loss,
    None where all count the same; ``known`` says how many samples of each row have another label
    than ``UNKNOWN_LABEL``. The tensors of a batch that a dataset fetched belong to a ring of
    buffers: they hold until ``ring`` further batches have been fetched.
    """

    signals: Tensor
    labels: Tensor
    names: tuple[str, ...]
    weights: Tensor | None = None
    known: tuple[int, ...] = field(kw_only=True)


def known_samples(labels: Tensor) -> tuple[int, ...]:
    """How many samples of each row are labelled seizure or background, in this machine's memory."""
    return tuple(map(_known, labels.numpy()))


def _known(labels: NDArray[np.float32]) -> int:
    return int(np.count_nonzero(labels != UNKNOWN_LABEL))


class _Newest(Generic[Key, Value]):
    """Values by key, no more than ``limit``: the one that was not used for longest goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._limit:
                self._values.popitem(last=False)


@dataclass(frozen=True)
class _Opened:
    """An open shard, the state of its file, and its verified batches where they are mapped."""

    shard: Shard
    state: FileState
    batches: dict[int, NDArray[np.int16]]


def open_limit() -> int:
    """How many shards may be open at once: half of what the system lets a process map."""
    try:
        return max(1, int(MAX_MAPS.read_text(encoding="ascii")) // 2)
    except (OSError, ValueError):
        return _MAPS


def _descriptor_limit() -> int:
    """How many shards may be read at once: half of the files that this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAPS if soft == resource.RLIM_INFINITY else max(1, soft // 2)


class _Shards:
    """Shards opened on first touch; every record batch is verified when it is first used.

    On a disk of this machine they are mapped, no more than ``limit`` at once. On a file system
    that other machines write to, they are read: a mapped file that another machine removes or
    replaces would end the process (SIGBUS), where a failed read is a line. The batches read last
    stay in memory, 220 MB of them.
    """

    def __init__(self, store: Store, limit: int | None = None) -> None:
        self._store = store
        system = file_system(store.folder)
        self._mapped = system is None or not system.is_shared
        limit = limit or (open_limit() if self._mapped else min(open_limit(), _descriptor_limit()))
        self._shards: _Newest[str, _Opened] = _Newest(limit)
        self._read: _Newest[tuple[str, int], NDArray[np.int16]] = _Newest(_READ_BATCHES)
        #: In which state of the file a batch was verified: one opened again need not be.
        self._verified: dict[tuple[str, int], FileState] = {}

    def blocks(
        self, recording: ManifestRecording, first: int, count: int
    ) -> Iterator[NDArray[np.int16]]:
        """``count`` blocks from ``first``, as views (n, 19, 2560) of the file's batches."""
        while count:
            number, row = divmod(first, BATCH_BLOCKS)
            batch = self._batch(recording, number)
            taken = min(count, BATCH_BLOCKS - row)
            yield batch[row : row + taken]
            first, count = first + taken, count - taken

    def _batch(self, recording: ManifestRecording, number: int) -> NDArray[np.int16]:
        key = recording.partition_key
        opened = self._shards.get(key)
        if opened is None:
            opened = self._open(recording)
            self._shards.put(key, opened)
        batch = opened.batches.get(number) if self._mapped else self._read.get((key, number))
        if batch is None:
            batch = self._checked(key, opened, number)
            if self._mapped:
                opened.batches[number] = batch
            else:
                self._read.put((key, number), batch)
        return batch

    def _checked(self, key: str, opened: _Opened, number: int) -> NDArray[np.int16]:
        try:
            if self._verified.get((key, number)) == opened.state:
                return opened.shard.batch(number)
            batch, _ = opened.shard.verified_batch(number)
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        self._verified[(key, number)] = opened.state
        return batch

    def _open(self, recording: ManifestRecording) -> _Opened:
        key = recording.partition_key
        path = self._store.shard_path(key)
        try:
            state = file_state(path)
            shard = Shard(path, _mapped(path, state.size) if self._mapped else None)
        except FileNotFoundError:
            raise WorkRemains(f"no shard of {key}: run `brainbrr cache build`") from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        except OSError as error:
            raise UnreadableShard(path, error) from None
        if shard.header.partition_key != key or shard.header.fingerprint != recording.fingerprint:
            raise WorkRemains(
                f"the shard of {key} is not the manifest's: run `brainbrr cache build` and "
                "`brainbrr manifest`"
            )
        return _Opened(shard, state, {})


def _mapped(path: Path, size: int) -> pa.Buffer:
    """The content of a file, mapped."""
    if not size:
        raise DamagedShard("empty")
    try:
        # torch maps a file without holding a descriptor, of which a process may have no more
        # than 1,024.
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as error:
        # As in "unable to open file <...> in read-only mode: Too many open files (24)".
        raise UnreadableShard(path, str(error).rpartition(": ")[2]) from None
    return pa.py_buffer(content.numpy())


def _damaged(key: str, how: str) -> WorkRemains:
    return WorkRemains(
        f"the shard of {key} is damaged ({how}): run `brainbrr cache verify` and "
        "`brainbrr cache build`"
    )


class WindowDataset(Dataset[Batch]):
    """Windows of a manifest with a label for each sample, read from the store alone.

    For a ``DataLoader``: ``collate_fn`` is the identity, since a batch is fetched whole, and
    ``num_workers`` is 0, since worker processes make it slower.

    Parameters
    ----------
    manifest : Manifest
        The windows, and the recordings that they are of.
    store : Store
        Where the shards of these recordings lie.
    rows : array of int64, optional
        Numbers of the windows in the manifest; by default all of them.
    kind : {"float32", "int16"}
        Signals in standard deviations, or as they are stored (``SCALE`` of these a unit).
    ring : int
        Batches whose tensors hold at a time: the next one is written over the oldest.
    threads : int, optional
        Threads that fill a batch; by default as many as there are processors, up to 8.
    open_shards : int, optional
        Shards that are open at a time at most; by default half of what the system allows.
    seizure_weights : optional
        Weights of each seizure's samples in the loss, for ``Batch.weights``; 1 elsewhere.
    device : torch.device
        Where the batches are sent: their memory is page-locked for a GPU.

    Raises
    ------
    WorkRemains
        At once, where a shard is missing or is not the manifest's.
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
        self.rows = np.arange(len(manifest)) if rows is None else rows
        self._shards = _Shards(store, open_shards)
        self.threads = threads or min(usable_cores(), _READERS)
        self._pool = ThreadPoolExecutor(self.threads)
        self._ring = [self._made_buffers(0) for _ in range(ring)]
        self._held: list[Callable[[], None] | None] = [None] * ring
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
        """Overwrite the memory of a fetched batch only after ``until``, called then, returns."""
        memory = batch.signals.data_ptr()
        for slot, buffers in enumerate(self._ring):
            if buffers.signals.data_ptr() == memory:
                self._held[slot] = until
                return
        raise ValueError("the batch is not in the memory of this dataset")

    def _fill(self, buffers: _Buffers, n: int, row: int) -> tuple[str, int]:
        """Write window ``row`` and its labels to place ``n``; its name and its known samples."""
        manifest = self.manifest
        recording = manifest.recordings[manifest.recording[row]]
        start = int(manifest.start[row])
        signal = buffers.signal_arrays[n]
        place = 0
        for part in self._shards.blocks(
            recording, start // BLOCK_SAMPLES, manifest.window_samples // BLOCK_SAMPLES
        ):
            if self._kind is torch.float32:
                widen(part, _SCALE, cast("NDArray[np.float32]", signal), place)
            else:
                blocks = signal.reshape(len(CHANNELS), -1, BLOCK_SAMPLES)
                blocks[:, place : place + len(part)] = part.transpose(1, 0, 2)
            place += len(part)
        labels = buffers.label_arrays[n]
        _label(labels, recording, start)
        if self._seizure_weights is not None:
            weights = self._seizure_weights[manifest.recording[row]]
            _weigh(buffers.weight_arrays[n], recording, start, weights)
        known = _known(labels) if recording.unknown else len(labels)
        return f"{recording.partition_key} at {start / RATE:g} s", known

    def _buffers(self, count: int) -> _Buffers:
        slot, self._next = self._next, (self._next + 1) % len(self._ring)
        until, self._held[slot] = self._held[slot], None
        if until is not None:
            until()
        if len(self._ring[slot].signal_arrays) < count:
            self._ring[slot] = self._made_buffers(count)
        return self._ring[slot]

    def _made_buffers(self, count: int) -> _Buffers:
        weighted = self._seizure_weights is not None
        return _Buffers.of(count, self.manifest.window_samples, self._kind, weighted, self._device)


@dataclass(frozen=True)
class _Buffers:
    """One batch's memory, as tensors and, window by window, as arrays: slicing costs time."""

    signals: Tensor
    labels: Tensor
    signal_arrays: list[NDArray[np.float32] | NDArray[np.int16]]
    label_arrays: list[NDArray[np.float32]]
    #: None, and no arrays, where all samples count the same.
    weights: Tensor | None
    weight_arrays: list[NDArray[np.float32]]

    @classmethod
    def of(
        cls, count: int, samples: int, kind: torch.dtype, weighted: bool, device: torch.device
    ) -> _Buffers:
        signals = host_memory((count, len(CHANNELS), samples), kind, device)
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


def _check_shards(manifest: Manifest, store: Store) -> None:
    """Every shard is there and is the manifest's: from the records, or from its own header."""
    folder, records = store.folder, store.read_records()
    for recording in manifest.recordings:
        key = recording.partition_key
        path = f"{folder}/{key}{SUFFIX}"
        try:
            origin = records.origin(key, file_state(path))
            found = (origin or Shard(Path(path)).header).fingerprint
        except FileNotFoundError:
            raise WorkRemains(
                f"no shard of {key}: run `brainbrr cache build` (profile {manifest.profile})"
            ) from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        except OSError as error:
            raise UnreadableShard(Path(path), error) from None
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

    def copy(self, start: int, stop: int, out: NDArray[np.int16]) -> None:
        """Write samples ``start`` to ``stop`` as they are stored to ``out`` (19, stop - start).

        Raises as :meth:`read` does.
        """
        first = start // BLOCK_SAMPLES
        place = first * BLOCK_SAMPLES - start
        for part in self._shards.blocks(self._recording, first, -(-stop // BLOCK_SAMPLES) - first):
            for block in part:
                begin, end = max(place, 0), min(place + BLOCK_SAMPLES, stop - start)
                out[:, begin:end] = block[:, begin - place : end - place]
                place += BLOCK_SAMPLES
