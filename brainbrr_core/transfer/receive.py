"""Receiving a shard: it enters the store once every byte is verified, or not at all."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO

import pyarrow as pa
from blake3 import blake3

from brainbrr_core.cache.clipping import clipped_blocks
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.shard import DamagedShard, Shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.unfinished import commit_shard, exclusive_partial
from brainbrr_core.files.atomic import flush
from brainbrr_core.files.room import check_room
from brainbrr_core.files.state import file_state
from brainbrr_core.transfer.catalog import ShardBlob


@dataclass
class Transfer:
    """What a transfer did: objects and bytes that were moved, and those that were not, and why.

    ``verified`` counts the objects of which every byte was hashed on the way, and ``skipped`` those
    that the receiving side had already. ``absent`` are the shards that one side lacks and the
    other cannot give, and ``failed`` those that were refused, by partition key with the reason.
    """

    where: str
    version: str
    moved: int = 0
    bytes: int = 0
    skipped: int = 0
    verified: int = 0
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    index: str = "unchanged"
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes moved per second."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    def count(self, size: int, *, moved: bool) -> None:
        """Count an object of ``size`` bytes as moved and verified, or as skipped."""
        if moved:
            self.moved += 1
            self.verified += 1
            self.bytes += size
        else:
            self.skipped += 1


def receive_shard(store: Store, key: str, blob: ShardBlob, pieces: Iterable[bytes]) -> bool:
    """Write a shard to the store; False if another process has written it in the meantime.

    ``pieces`` are read only if they are needed. Raises :class:`DamagedShard` if they are not the
    bytes that ``blob`` promises, or are not a shard of ``key``; the store is then unchanged.
    Raises ``OSError`` if the store cannot be written to.
    """
    target = store.shard_path(key)
    with exclusive_partial(target) as file:
        if store.has_whole_shard(key, blob.fingerprint):
            return False
        hasher, size = blake3(), 0
        for piece in pieces:
            size += len(piece)
            if size > blob.size:
                raise DamagedShard(f"more than the {blob.size} bytes in the catalog")
            hasher.update(piece)
            file.write(piece)
        if size != blob.size:
            raise DamagedShard(f"only {size} of {blob.size} bytes")
        if hasher.hexdigest() != blob.hash:
            raise DamagedShard("it does not match its checksum")
        file.flush()
        shard = _map(file, target)
        header, clipped = shard.header, clipped_blocks(shard.clipped())
        if header.partition_key != key:
            raise DamagedShard(f"it is the shard of {header.partition_key}")
        if header.fingerprint != blob.fingerprint:
            raise DamagedShard("its fingerprint is not the one in the catalog")
        os.fsync(file.fileno())
        # flush_folders() flushes the folder once, at the end: a journal commit for every shard
        # would wait for the bytes of all shards being received. A shard whose name a power cut
        # loses counts as missing and is fetched again.
        commit_shard(target, flush_folder=False)
        store.append_record(
            BuildRecord(
                partition_key=key,
                fingerprint=blob.fingerprint,
                source_hash=header.source_hash,
                state=file_state(target),
                built_at=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=0.0,
                program=f"{_program()} (received)",
                clipped=clipped,
            )
        )
    return True


def check_room_for(store: Store, needed: int) -> None:
    """Raise :class:`BrainbrrError` unless ``needed`` bytes are free in the root of a store."""
    check_room(
        store.root,
        needed,
        "the transfer needs",
        "make room, choose another BRAINBRR_CACHE_ROOT or a smaller --profile",
    )


def flush_folders(store: Store, keys: Iterable[str]) -> None:
    """Wait until the names of received shards, and not only their bytes, are on the disk."""
    for folder in sorted({store.shard_path(key).parent for key in keys}):
        flush(folder)


def _map(file: IO[bytes], target: Path) -> Shard:
    if not os.fstat(file.fileno()).st_size:
        raise DamagedShard("it is empty")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Shard(target, mapped=pa.py_buffer(content))


@cache
def _program() -> str:
    return version("brainbrr")
