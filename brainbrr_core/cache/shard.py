"""One recording of the store: an Arrow IPC file, memory-mapped, one row per 10 s block.

A row is ``(19, 2560)`` int16, worth ``SCALE`` standard deviations a unit. The schema's metadata
says what the shard was made of; each record batch carries its count of clipped samples and a
checksum over all that can be read from the file: header, place, count and payload. So a day-long
recording is written in bounded memory and any part can be verified alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from blake3 import blake3
from numpy.typing import NDArray

from brainbrr_core.atomic import flush
from brainbrr_core.cache.version import canonical_json
from brainbrr_core.configuration.model import BLOCK_S, RATE
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.signal.montage import CHANNELS

BLOCK_SAMPLES = BLOCK_S * RATE
BLOCK_VALUES = len(CHANNELS) * BLOCK_SAMPLES
BLOCK_BYTES = 2 * BLOCK_VALUES
#: Blocks in a record batch: six minutes, 3.5 MB.
BATCH_BLOCKS = 36
_HEADER = b"brainbrr.shard"
_CHECKSUM = b"blake3"
_CLIPPED = b"clipped"


def stored_samples(recording: Recording) -> int:
    """Length of a recording's shard in samples, padding left out."""
    if not recording.rate:
        return 0
    return recording.samples * RATE * recording.rate.denominator // recording.rate.numerator


class DamagedShard(Exception):
    """The file is not the shard it should be; the message says how."""


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says of itself; ``mean`` and ``deviation`` in µV per channel."""

    format_version: int
    partition_key: str
    fingerprint: str
    parameters: dict[str, Any]
    source_hash: str
    source_size: int
    channels: tuple[str, ...]
    rate: int
    samples: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    interpolated: tuple[str, ...]
    libraries: dict[str, str]

    @property
    def blocks(self) -> int:
        """Rows, the last of which may be padded."""
        return -(-self.samples // BLOCK_SAMPLES)


@contextmanager
def exclusive_partial(target: Path) -> Iterator[IO[bytes]]:
    """The file that becomes ``target``, locked for this process; waits while another has it.

    Its name follows from the target's, so what a killed builder left is taken over by the next
    one, and the lock ends with its holder. Look again whether ``target`` is still wanted: the
    one waited for may have made it.
    """
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Between open and lock the previous holder may have renamed this very file to the
            # finished shard: then it must not be touched.
            if not _is_still(partial, file):
                continue
            file.truncate(0)
            try:
                yield file
            finally:
                if _is_still(partial, file):
                    partial.unlink()
            return


def _is_still(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def write_shard(
    file: IO[bytes],
    header: ShardHeader,
    chunks: Iterable[tuple[NDArray[np.int16], int]],
) -> tuple[int, int]:
    """Write blocks to an ``exclusive_partial``; :func:`commit_shard` makes it the shard.

    ``chunks`` are arrays (blocks, 19, 2560), each with its number of clipped samples. Returns
    bytes written, which are on the disk then, and samples clipped.
    """
    clipped_total = 0
    text = canonical_json(_header_values(header)).encode()
    schema = pa.schema(
        [pa.field("block", pa.list_(pa.int16(), BLOCK_VALUES), nullable=False)],
        metadata={_HEADER: text},
    )
    with ipc.new_file(pa.PythonFile(file, mode="w"), schema) as writer:
        for number, (batch, clipped) in enumerate(_batches(chunks)):
            flat = batch.reshape(-1)
            clipped_total += clipped
            column = pa.FixedSizeListArray.from_arrays(pa.array(flat), BLOCK_VALUES)
            writer.write_batch(
                pa.record_batch([column], schema=schema),
                custom_metadata={
                    _CHECKSUM: _checksum(text, number, clipped, flat),
                    _CLIPPED: str(clipped).encode(),
                },
            )
    file.flush()
    size = file.tell()
    os.fsync(file.fileno())
    return size, clipped_total


def _checksum(header: bytes, number: int, clipped: int, values: NDArray[np.int16]) -> bytes:
    """BLAKE3 over all of a record batch: the header it belongs to, its place, count, payload."""
    hasher = blake3(header)
    hasher.update(f"\n{number} {clipped}\n".encode())
    hasher.update(values.view(np.uint8).data)
    return hasher.hexdigest().encode()


def commit_shard(target: Path) -> None:
    """Rename the written ``exclusive_partial`` of ``target``: it appears whole or not at all."""
    target.with_name(f".{target.name}.partial").rename(target)
    flush(target.parent)


def _batches(
    chunks: Iterable[tuple[NDArray[np.int16], int]],
) -> Iterator[tuple[NDArray[np.int16], int]]:
    """Chunks joined to batches of ``BATCH_BLOCKS`` blocks, the last one shorter.

    One buffer serves them all: a batch holds until the next is asked for. What was clipped in a
    chunk that two batches share is counted with the second.
    """
    buffer = np.empty((BATCH_BLOCKS, len(CHANNELS), BLOCK_SAMPLES), np.int16)
    filled = clipped = 0
    for chunk, chunk_clipped in chunks:
        rest = chunk
        while filled + len(rest) >= BATCH_BLOCKS:
            taken = BATCH_BLOCKS - filled
            buffer[filled:] = rest[:taken]
            rest = rest[taken:]
            if not len(rest):
                clipped, chunk_clipped = clipped + chunk_clipped, 0
            yield buffer, clipped
            filled = clipped = 0
        buffer[filled : filled + len(rest)] = rest
        filled, clipped = filled + len(rest), clipped + chunk_clipped
    if filled:
        yield buffer[:filled], clipped


def _header_values(header: ShardHeader) -> dict[str, Any]:
    values = {name: getattr(header, name) for name in ShardHeader.__dataclass_fields__}
    # repr keeps every bit of a float in any JSON reader.
    values["mean"] = [repr(value) for value in header.mean]
    values["deviation"] = [repr(value) for value in header.deviation]
    return values


class Shard:
    """An open shard. Mapped, not read: a block's bytes are touched when it is used.

    ``mapped`` is the file's content where the caller maps it by other means.
    """

    def __init__(self, path: Path, mapped: pa.Buffer | None = None) -> None:
        self.path = path
        try:
            source = pa.memory_map(str(path)) if mapped is None else mapped
            self._reader = ipc.open_file(source)
            self._text = (self._reader.schema.metadata or {})[_HEADER]
            self.header = _parse_header(json.loads(self._text))
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DamagedShard(f"no readable shard ({type(error).__name__})") from None
        batches = -(-self.header.blocks // BATCH_BLOCKS)
        if self._reader.num_record_batches != batches:
            raise DamagedShard(f"{self._reader.num_record_batches} of {batches} batches")

    def batch(self, number: int) -> NDArray[np.int16]:
        """Blocks of one record batch, (blocks, 19, 2560), a read-only view of the file."""
        try:
            column = self._reader.get_batch(number).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DamagedShard(f"batch {number} ({type(error).__name__})") from None
        return np.asarray(column.flatten()).reshape(-1, len(CHANNELS), BLOCK_SAMPLES)

    def blocks(self, first: int, count: int) -> Iterator[NDArray[np.int16]]:
        """Views (19, 2560) of ``count`` blocks from ``first``."""
        for number in range(first, first + count):
            yield self.batch(number // BATCH_BLOCKS)[number % BATCH_BLOCKS]

    def verify_batch(self, number: int) -> tuple[int, int]:
        """Check every byte of one record batch; returns its blocks and its clipped samples.

        Raises :class:`DamagedShard` when it does not match its checksum.
        """
        try:
            batch, metadata = self._reader.get_batch_with_custom_metadata(number)
            expected, clipped = metadata[_CHECKSUM], int(metadata[_CLIPPED])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DamagedShard(f"batch {number} ({type(error).__name__})") from None
        values = np.asarray(batch.column(0).flatten())
        if _checksum(self._text, number, clipped, values) != expected:
            raise DamagedShard(f"batch {number} does not match its checksum")
        return len(values) // BLOCK_VALUES, clipped

    def verify(self) -> int:
        """Check every byte of the payload and return the number of clipped samples.

        Raises :class:`DamagedShard` naming the first record batch that does not match.
        """
        checked = [self.verify_batch(n) for n in range(self._reader.num_record_batches)]
        blocks = sum(blocks for blocks, _ in checked)
        if blocks != self.header.blocks:
            raise DamagedShard(f"{blocks} of {self.header.blocks} blocks")
        return sum(clipped for _, clipped in checked)


def _parse_header(values: dict[str, Any]) -> ShardHeader:
    for name in ("channels", "interpolated"):
        values[name] = tuple(values[name])
    for name in ("mean", "deviation"):
        values[name] = tuple(float(text) for text in values[name])
    return ShardHeader(**values)
