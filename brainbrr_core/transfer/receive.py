"""A shard that arrives: it is in the store when every byte is what was promised, or not at all."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from blake3 import blake3

from brainbrr_core.cache.clipping import clipped_blocks
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.shard import (
    DamagedShard,
    Shard,
    commit_shard,
    exclusive_partial,
)
from brainbrr_core.cache.store import Store
from brainbrr_core.files.atomic import flush
from brainbrr_core.files.state import file_state
from brainbrr_core.transfer.catalog import ShardBlob


@dataclass
class Transfer:
    """What was done: objects and bytes moved, those not moved, and why.

    ``verified`` counts objects whose every byte was hashed on the way; ``skipped`` those that
    the other side has already; ``absent`` what one side lacks and the other cannot give, and
    ``failed`` what was refused, each with its reason, by partition key.
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

    def values(self) -> dict[str, Any]:
        """The figures as ``--json`` gives them."""
        return dict(vars(self))

    @property
    def rate(self) -> float:
        """Bytes moved per second."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


def hash_file(path: Path, piece: int = 1 << 20) -> tuple[str, int]:
    """BLAKE3 hash, as hex, and size of a file. Raises ``OSError``."""
    hasher, size = blake3(), 0
    with path.open("rb", buffering=0) as file:
        while content := file.read(piece):
            hasher.update(content)
            size += len(content)
    return hasher.hexdigest(), size


def receive(store: Store, key: str, blob: ShardBlob, pieces: Iterable[bytes]) -> bool:
    """Write an arriving shard; False when another process had made it meanwhile.

    ``pieces`` are read only when it is needed. Raises :class:`DamagedShard` when they are not
    the bytes that ``blob`` promises, or these are no shard of ``key``; then nothing changed.
    Raises ``OSError`` where the store cannot be written to.
    """
    target = store.shard_path(key)
    with exclusive_partial(target) as file:
        if store.has_whole_shard(key, blob.fingerprint):
            return False
        hasher, size = blake3(), 0
        for piece in pieces:
            size += len(piece)
            if size > blob.size:
                raise DamagedShard(f"more than the {blob.size} bytes promised")
            hasher.update(piece)
            file.write(piece)
        if size != blob.size:
            raise DamagedShard(f"{size} of {blob.size} bytes")
        if hasher.hexdigest() != blob.hash:
            raise DamagedShard("does not match its checksum")
        file.flush()
        shard = _opened(file, target)
        header, clipped = shard.header, clipped_blocks(shard.clipped())
        if header.partition_key != key:
            raise DamagedShard(f"a shard of {header.partition_key}")
        if header.fingerprint != blob.fingerprint:
            raise DamagedShard("not the fingerprint promised")
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


def flush_folders(store: Store, keys: Iterable[str]) -> None:
    """Wait until the names of received shards are on the disk, too."""
    for folder in sorted({store.shard_path(key).parent for key in keys}):
        flush(folder)


def _opened(file: IO[bytes], target: Path) -> Shard:
    if not os.fstat(file.fileno()).st_size:
        raise DamagedShard("empty")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Shard(target, mapped=pa.py_buffer(content))


@cache
def _program() -> str:
    return version("brainbrr")
