"""One recording of the store: an Arrow IPC file, memory-mapped, one row per 10 s block.

A row is ``(channels, 2560)`` int16; one unit is ``SCALE`` standard deviations. The schema's
metadata records what shaped the bytes. Each record batch carries its number of clipped samples and
a checksum over everything that a reader gets from it: header, position, number and payload. So a
day-long recording is written in bounded memory, and each batch can be verified by itself. The
number of clipped samples in each block and channel is stored next to it with its own checksum;
shards of format version 1 do not have it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from blake3 import blake3
from numpy.typing import NDArray
from pydantic import ConfigDict, JsonValue, TypeAdapter, with_config

from brainbrr_core.constants import BLOCK_S, CHANNELS, RATE
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import WorkRemains
from brainbrr_core.files import arrow_values
from brainbrr_core.files.atomic import begin_flush
from brainbrr_core.files.canonical import Json, canonical_json

BLOCK_SAMPLES = BLOCK_S * RATE
#: Bytes of a block of the montage with most channels, for estimates of space.
BLOCK_BYTES = 2 * len(CHANNELS) * BLOCK_SAMPLES
#: Blocks in a record batch: six minutes, 3.5 MB.
BATCH_BLOCKS = 36
#: Arrow's errors for wrong bytes; it has others for what the operating system refuses.
_WRONG_BYTES = (
    pa.ArrowInvalid,
    pa.ArrowSerializationError,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowIndexError,
    pa.ArrowNotImplementedError,
)
_HEADER = b"brainbrr.shard"
_CHECKSUM = b"blake3"
_CLIPPED = b"clipped"
_CLIPPED_COUNTS = b"clipped_by_block_and_channel"
#: Blocks, (n, channels, 2560), with the number of clipped samples of each block and channel.
Chunk = tuple[NDArray[np.int16], NDArray[np.int32]]


def stored_samples(recording: Recording) -> int:
    """Length of a recording's shard in samples, without padding."""
    numerator, denominator = recording.rate.as_integer_ratio()
    return recording.samples * RATE * denominator // numerator if numerator else 0


class DamagedShard(Exception):
    """The bytes of a file are not those of the shard; the message says what differs."""


class UnreadableShard(WorkRemains):
    """A shard could not be read, for want of memory, open files or permission, or by a disk error.

    The shard may be whole. ``reason`` is the operating system's message.
    """

    def __init__(self, path: Path, error: BaseException | str) -> None:
        if isinstance(error, MemoryError):
            self.reason = "out of memory"
        elif isinstance(error, OSError):
            self.reason = error.strerror or " ".join(str(error).split())
        else:
            self.reason = str(error)
        super().__init__(
            f"{path} could not be read ({self.reason}), so it was left as it is: remedy that and "
            "run the same command again"
        )


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class ShardHeader:
    """What a shard records about its origin and its content.

    Attributes
    ----------
    format_version : int
        Version of the file format.
    partition_key : str
        Key of the recording.
    fingerprint : str
        Digest of everything that shaped the stored bytes.
    parameters : dict
        Settings and constants of the signal chain.
    source_hash : str
        Hash of the EDF.
    source_size : int
        Size of the EDF in bytes.
    channels : tuple of str
        The stored channels, in order.
    rate : int
        Sampling rate in Hz.
    samples : int
        Samples of each channel.
    mean, deviation : tuple of float
        Mean and standard deviation of each channel in µV, by which the samples were normalized.
    interpolated : tuple of str
        Electrodes that were interpolated from their neighbors.
    libraries : dict of str to str
        Versions of the libraries that computed the samples.
    """

    format_version: int
    partition_key: str
    fingerprint: str
    parameters: dict[str, JsonValue]
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
        """Number of rows; the last one may be padded."""
        return -(-self.samples // BLOCK_SAMPLES)


_HEADER_TYPE = TypeAdapter(ShardHeader)


#: Endings of the names of shards and of unfinished shards.
SUFFIX = ".arrow"


def write_shard(
    file: IO[bytes],
    header: ShardHeader,
    chunks: Iterable[Chunk],
) -> tuple[int, NDArray[np.int32]]:
    """Write blocks to a file of :func:`exclusive_partial`, which :func:`commit_shard` then renames.

    Returns the number of bytes, which are flushed to the disk, and the number of clipped samples
    of each block and channel, (blocks, channels).
    """
    channels = len(header.channels)
    values = channels * BLOCK_SAMPLES
    clipped_counts = [np.zeros((0, channels), np.int32)]
    text = canonical_json(_header_values(header)).encode()
    schema = pa.schema(
        [pa.field("block", pa.list_(pa.int16(), values), nullable=False)],
        metadata={_HEADER: text},
    )
    with ipc.new_file(pa.PythonFile(file, mode="w"), schema) as writer:
        for number, (batch, counts) in enumerate(_batches(chunks, channels)):
            flat = batch.reshape(-1)
            clipped_counts.append(counts.copy())
            clipped = int(counts.sum())
            column = pa.FixedSizeListArray.from_arrays(pa.array(flat), values)
            writer.write_batch(
                pa.record_batch([column], schema=schema),
                custom_metadata={
                    _CHECKSUM: batch_checksum(text, number, clipped, flat),
                    _CLIPPED: str(clipped).encode(),
                    _CLIPPED_COUNTS: _packed_counts(text, number, counts),
                },
            )
            begin_flush(file)
    file.flush()
    size = file.tell()
    os.fsync(file.fileno())
    return size, np.concatenate(clipped_counts)


def _packed_counts(header: bytes, number: int, counts: NDArray[np.int32]) -> bytes:
    """The counts above 0 as a checksum and JSON rows [block of the batch, channel, count]."""
    block, channel = np.nonzero(counts)
    rows = np.stack([block, channel, counts[block, channel]], axis=1).tolist()
    text = canonical_json(rows).encode()
    return _counts_checksum(header, number, text) + b" " + text


def _counts_checksum(header: bytes, number: int, text: bytes) -> bytes:
    return blake3(b"%s\n%d\n%s" % (header, number, text)).hexdigest().encode()


def _unpacked_counts(
    header: bytes, number: int, shape: tuple[int, int], packed: bytes | None
) -> NDArray[np.int32] | None:
    """The counts (blocks, channels) that :func:`_packed_counts` packed; None if there are none."""
    if packed is None:
        return None
    checksum, _, text = packed.partition(b" ")
    if checksum != _counts_checksum(header, number, text):
        raise DamagedShard(f"batch {number}: its counts of clipped samples were changed")
    counts = np.zeros(shape, np.int32)
    for block, channel, count in json.loads(text):
        counts[block, channel] = count
    return counts


def batch_checksum(header: bytes, number: int, clipped: int, values: NDArray[np.int16]) -> bytes:
    """BLAKE3 over a record batch: its shard's header, its position, its count and its payload."""
    hasher = blake3(header)
    hasher.update(f"\n{number} {clipped}\n".encode())
    hasher.update(values.view(np.uint8).data)
    return hasher.hexdigest().encode()


def verify_shard(path: Path, partition_key: str, fingerprint: str | None = None) -> Shard:
    """Check every byte of a shard, its partition key and, if one is given, its fingerprint.

    Raises ``FileNotFoundError``, :class:`DamagedShard` if the file is not that shard or not whole,
    and :class:`UnreadableShard` if it cannot be read.
    """
    shard = Shard(path)
    if shard.header.partition_key != partition_key:
        raise DamagedShard(f"shard of {shard.header.partition_key}")
    if fingerprint is not None and shard.header.fingerprint != fingerprint:
        raise DamagedShard("shard with another fingerprint")
    shard.verify()
    return shard


def _batches(chunks: Iterable[Chunk], channels: int) -> Iterator[Chunk]:
    """Combine chunks into batches of ``BATCH_BLOCKS`` blocks; the last one may be shorter.

    All batches share one buffer: a batch is valid until the next one is requested.
    """
    buffer = np.empty((BATCH_BLOCKS, channels, BLOCK_SAMPLES), np.int16)
    clipped = np.empty((BATCH_BLOCKS, channels), np.int32)
    filled = 0
    for chunk, chunk_clipped in chunks:
        rest, rest_clipped = chunk, chunk_clipped
        while filled + len(rest) >= BATCH_BLOCKS:
            taken = BATCH_BLOCKS - filled
            buffer[filled:], clipped[filled:] = rest[:taken], rest_clipped[:taken]
            rest, rest_clipped = rest[taken:], rest_clipped[taken:]
            yield buffer, clipped
            filled = 0
        stop = filled + len(rest)
        buffer[filled:stop], clipped[filled:stop] = rest, rest_clipped
        filled = stop
    if filled:
        yield buffer[:filled], clipped[:filled]


def _header_values(header: ShardHeader) -> dict[str, Json]:
    values: dict[str, Json] = {
        name: getattr(header, name) for name in ShardHeader.__dataclass_fields__
    }
    # repr keeps every bit of a float in any JSON reader.
    values["mean"] = [repr(value) for value in header.mean]
    values["deviation"] = [repr(value) for value in header.deviation]
    return values


class _File(io.RawIOBase):
    """A file for Arrow's reader, which may request more bytes than a damaged file has.

    The file is read, not mapped, so that a failing disk or server is an ``OSError`` instead of a
    signal that ends the process (SIGBUS). ``error`` is the last error of the operating system.
    """

    _descriptor = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._descriptor).st_size
        self._position = 0
        self.error: OSError | MemoryError | None = None

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size < 0 else min(size, left)
        try:
            content = os.pread(self._descriptor, wanted, self._position)
        except (OSError, MemoryError) as error:
            self.error = error
            raise
        self._position += len(content)
        return content

    def close(self) -> None:
        if not self.closed and self._descriptor >= 0:
            os.close(self._descriptor)
        super().close()


class Shard:
    """An open shard. The header is read at once, blocks are read on request.

    Parameters
    ----------
    path : Path
        The shard's file.
    mapped : pyarrow.Buffer, optional
        The content of the file, where the caller has mapped it into memory. By default the file
        is read.

    Raises
    ------
    FileNotFoundError
        If there is no such file. The methods raise the same errors.
    DamagedShard
        If the bytes are wrong.
    UnreadableShard
        If the bytes cannot be read, for example for want of memory or permission.
    """

    def __init__(self, path: Path, mapped: pa.Buffer | None = None) -> None:
        self.path = path
        self._file: _File | None = None
        with self._judged("no readable shard"):
            if mapped is None:
                self._file = _File(path)
            source = mapped if self._file is None else pa.PythonFile(self._file, mode="r")
            self._reader = ipc.open_file(source)
            self._text = (self._reader.schema.metadata or {})[_HEADER]
            self.header = _HEADER_TYPE.validate_json(self._text)
        self._channels = len(self.header.channels)
        batches = -(-self.header.blocks // BATCH_BLOCKS)
        if self._reader.num_record_batches != batches:
            raise DamagedShard(f"{self._reader.num_record_batches} of {batches} batches")

    @contextmanager
    def _judged(self, what: str) -> Iterator[None]:
        """Turn errors into DamagedShard (wrong bytes) or UnreadableShard (no bytes)."""
        try:
            yield
        except FileNotFoundError:
            raise
        except MemoryError as error:
            raise UnreadableShard(self.path, error) from None
        except OSError as error:
            # Arrow's own, about the content, have no number.
            if error.errno is not None:
                raise UnreadableShard(self.path, error) from None
            raise self._verdict(what, error) from None
        except (*_WRONG_BYTES, KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._verdict(what, error) from None
        except (pa.ArrowException, RuntimeError, ImportError) as error:
            # No memory for a buffer, a thread or a library: nothing is said about the bytes.
            raise UnreadableShard(self.path, " ".join(str(error).split())) from None

    def _verdict(self, what: str, error: Exception) -> DamagedShard | UnreadableShard:
        if self._file is not None and self._file.error is not None:
            return UnreadableShard(self.path, self._file.error)
        return DamagedShard(f"{what} ({type(error).__name__})")

    def batch(self, number: int) -> NDArray[np.int16]:
        """Blocks of a record batch, (blocks, channels, 2560), read-only; views of a mapped file."""
        with self._judged(f"batch {number}"):
            column = self._reader.get_batch(number).column(0)
            values = arrow_values.numbers(column.flatten())
        return values.reshape(-1, self._channels, BLOCK_SAMPLES)

    def blocks(self, first: int, count: int) -> Iterator[NDArray[np.int16]]:
        """Views (channels, 2560) of ``count`` blocks from ``first``."""
        for number in range(first, first + count):
            yield self.batch(number // BATCH_BLOCKS)[number % BATCH_BLOCKS]

    def verify_batch(self, number: int) -> tuple[int, int]:
        """Check every byte of one record batch; return its blocks and clipped samples.

        Raises :class:`DamagedShard` if the batch does not match its checksum.
        """
        batch, clipped = self.verified_batch(number)
        return len(batch), clipped

    def verified_batch(self, number: int) -> tuple[NDArray[np.int16], int]:
        """The checked blocks of one record batch (see :meth:`batch`), and its clipped samples."""
        with self._judged(f"batch {number}"):
            batch, metadata = self._reader.get_batch_with_custom_metadata(number)
            expected, clipped = metadata[_CHECKSUM], int(metadata[_CLIPPED])
            values = arrow_values.numbers(batch.column(0).flatten())
            checksum = batch_checksum(self._text, number, clipped, values)
            counts = self._counts(number, len(batch), metadata)
        if checksum != expected:
            raise DamagedShard(f"batch {number} does not match its checksum")
        if counts is not None and counts.sum() != clipped:
            raise DamagedShard(f"batch {number}: its counts of clipped samples do not add up")
        return values.reshape(-1, self._channels, BLOCK_SAMPLES), clipped

    def _counts(
        self, number: int, blocks: int, metadata: Mapping[bytes, bytes]
    ) -> NDArray[np.int32] | None:
        shape = (blocks, self._channels)
        return _unpacked_counts(self._text, number, shape, metadata.get(_CLIPPED_COUNTS))

    def clipped(self) -> NDArray[np.int32] | None:
        """Clipped samples of each block and channel, (blocks, channels); None if not recorded."""
        counts = []
        for number in range(self._reader.num_record_batches):
            with self._judged(f"batch {number}"):
                batch, metadata = self._reader.get_batch_with_custom_metadata(number)
                of_batch = self._counts(number, len(batch), metadata)
            if of_batch is None:
                return None
            counts.append(of_batch)
        return np.concatenate(counts) if counts else np.zeros((0, self._channels), np.int32)

    def verify(self) -> int:
        """Check every byte of the payload and return the number of clipped samples.

        Raises :class:`DamagedShard` with the first record batch that does not match.
        """
        checked = [self.verify_batch(n) for n in range(self._reader.num_record_batches)]
        blocks = sum(blocks for blocks, _ in checked)
        if blocks != self.header.blocks:
            raise DamagedShard(f"{blocks} of {self.header.blocks} blocks")
        return sum(clipped for _, clipped in checked)
