"""Shards that are open while their samples are read, each record batch verified once."""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.shard import BATCH_BLOCKS, SUFFIX, DamagedShard, Shard, UnreadableShard
from brainbrr_core.cache.store import Store
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files.state import FileState, file_state
from brainbrr_core.machine.filesystem import file_system

#: Where Linux says how many memory maps a process may have (65,530 by default), and half of that.
MAX_MAPS, _MAPS = Path("/proc/sys/vm/max_map_count"), 32_765
#: Record batches of 3.5 MB that stay in memory, of shards that are read and not mapped.
_READ_BATCHES = 64
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _LruCache(Generic[Key, Value]):
    """At most ``limit`` values by key: the least recently used one is dropped."""

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
class _OpenShard:
    """An open shard, the state of its file, and its verified record batches if it is mapped."""

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


class OpenShards:
    """Shards that are opened when first used, with record batches verified when first used.

    On a local disk they are memory-mapped, at most ``limit`` at once. On a file system that other
    machines write to, they are read: if another machine removed or replaced a mapped file, the
    process would end with SIGBUS, while a failed read is an error of one line. The last 220 MB of
    record batches that were read stay in memory.
    """

    def __init__(self, store: Store, limit: int | None = None) -> None:
        self._store = store
        system = file_system(store.folder)
        self._mapped = system is None or not system.is_shared
        limit = limit or (open_limit() if self._mapped else min(open_limit(), _descriptor_limit()))
        self._shards: _LruCache[str, _OpenShard] = _LruCache(limit)
        self._read: _LruCache[tuple[str, int], NDArray[np.int16]] = _LruCache(_READ_BATCHES)
        #: State of the file in which a batch was verified, which spares verifying it again.
        self._verified: dict[tuple[str, int], FileState] = {}

    def blocks(
        self, recording: ManifestRecording, first: int, count: int
    ) -> Iterator[NDArray[np.int16]]:
        """Yield ``count`` blocks from ``first`` on: views (n, channels, 2560) of record batches."""
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

    def _checked(self, key: str, opened: _OpenShard, number: int) -> NDArray[np.int16]:
        try:
            if self._verified.get((key, number)) == opened.state:
                return opened.shard.batch(number)
            batch, _ = opened.shard.verified_batch(number)
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        self._verified[(key, number)] = opened.state
        return batch

    def _open(self, recording: ManifestRecording) -> _OpenShard:
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
                f"the shard of {key} is not that of the manifest: run `brainbrr cache build` and "
                "`brainbrr manifest`"
            )
        return _OpenShard(shard, state, {})


def _mapped(path: Path, size: int) -> pa.Buffer:
    """The content of a file, memory-mapped."""
    if not size:
        raise DamagedShard("empty")
    try:
        # torch maps a file without holding a descriptor, of which a process may have no more
        # than 1,024.
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as error:
        # For example "unable to open file <...> in read-only mode: Too many open files (24)".
        raise UnreadableShard(path, str(error).rpartition(": ")[2]) from None
    return pa.py_buffer(content.numpy())


def _damaged(key: str, how: str) -> WorkRemains:
    return WorkRemains(
        f"the shard of {key} is damaged ({how}): run `brainbrr cache verify` and "
        "`brainbrr cache build`"
    )


def check_shards(manifest: Manifest, store: Store) -> None:
    """Check by records or headers that every shard is there and is the one of the manifest."""
    folder, records = store.folder, store.read_records()
    for recording in manifest.recordings:
        key = recording.partition_key
        path = f"{folder}/{key}{SUFFIX}"
        try:
            origin = records.origin(key, file_state(path))
            fingerprint = (origin or Shard(Path(path)).header).fingerprint
        except FileNotFoundError:
            raise WorkRemains(
                f"no shard of {key}: run `brainbrr cache build` (profile {manifest.profile})"
            ) from None
        except DamagedShard as error:
            raise _damaged(key, str(error)) from None
        except OSError as error:
            raise UnreadableShard(Path(path), error) from None
        if fingerprint != recording.fingerprint:
            raise WorkRemains(
                f"the shard of {key} is not that of the manifest: run `brainbrr cache build` "
                f"(profile {manifest.profile}) and `brainbrr manifest`"
            )
