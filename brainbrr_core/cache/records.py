"""The build records of a version: which shard was built when, from what, and in how long.

``records.jsonl`` documents a version, and it saves time: if a shard's size, mtime and inode are
those of its record, its fingerprint is known without opening it. The file has precedence: a shard
that differs from its record, or has none, is read.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.json import ParseOptions, ReadOptions, read_json
from pydantic import BaseModel, ConfigDict, ValidationError

from brainbrr_core.files import arrow_values
from brainbrr_core.files.state import FileState
from brainbrr_core.machine.memory import no_collection, release_arrow_memory

#: Clipped samples as (block, count) for blocks that have some; None if not recorded.
ClippedBlocks = tuple[tuple[int, int], ...] | None


class BuildRecord(NamedTuple):
    """One line of ``records.jsonl``: what a shard was built from, when, and by which program.

    ``state`` is that of the shard's file, ``seconds`` the duration of the build, ``program`` the
    version of brainbrr that built it.
    """

    partition_key: str
    fingerprint: str
    source_hash: str
    state: FileState
    built_at: str
    seconds: float
    program: str
    clipped: ClippedBlocks = None

    def as_line(self) -> str:
        """The record as JSON, without a line break."""
        return json.dumps(self._asdict(), sort_keys=True)


class Origin(NamedTuple):
    """What a shard was made from: its fingerprint and the content hash of its EDF."""

    fingerprint: str
    source_hash: str


class Records:
    """The newest build record of each partition, and earlier ones by size and mtime of their file.

    A shard that two machines see in different states has a record for each. The records are stored
    by column, and a :class:`BuildRecord` is made when it is asked for: to plan a hundred thousand
    recordings, three values of each suffice.
    """

    def __init__(self, records: Iterable[BuildRecord] = ()) -> None:
        self._keys: list[str] = []
        self._fingerprints: list[str] = []
        self._source_hashes: list[str] = []
        self._sizes, self._mtimes, self._inodes = array("q"), array("q"), array("Q")
        self._seconds = array("d")
        self._built_at: list[str] = []
        self._programs: list[str] = []
        self._clipped: list[ClippedBlocks] = []
        #: The rows that follow those of these three lists, not unpacked yet.
        self._packed: list[_Columns] = []
        self._newest: dict[str, int] = {}
        self._earlier: dict[tuple[str, int, int], int] = {}
        self._add(_as_columns(list(records)))

    @classmethod
    def read(cls, path: Path) -> Records:
        """Read the records of a file; invalid lines, such as a truncated one, are left out."""
        records = cls()
        with no_collection(), path.open("rb") as file:
            for piece in _pieces(file):
                try:
                    records._add(_parse(piece))
                except ValueError:
                    records._add(_as_columns(list(_parse_lines(piece))))
        release_arrow_memory()
        return records

    def __len__(self) -> int:
        return len(self._newest)

    def __contains__(self, partition_key: str) -> bool:
        return partition_key in self._newest

    def newest(self, partition_key: str) -> BuildRecord | None:
        """The newest record of a partition; None if it has none."""
        row = self._newest.get(partition_key)
        return None if row is None else self._record(row)

    def clipped(self, partition_key: str, fingerprint: str) -> ClippedBlocks:
        """Clipped blocks in the newest record of a partition; None where they are not recorded.

        Those of a shard with another fingerprint do not count.
        """
        row = self._newest.get(partition_key)
        if row is None or self._fingerprints[row] != fingerprint:
            return None
        self._unpack(row)
        return self._clipped[row]

    def all_newest(self) -> dict[str, BuildRecord]:
        """The newest record of each partition, by partition key."""
        return {key: self._record(row) for key, row in self._newest.items()}

    def is_recorded(
        self, partition_key: str, state: FileState, fingerprint: str, source_hash: str
    ) -> bool:
        """Whether the newest record of a shard has this state of its file, and this origin.

        Where it has not, :meth:`origin` may still know the shard by an earlier record.
        """
        row = self._newest.get(partition_key, -1)
        return (
            row >= 0
            and self._fingerprints[row] == fingerprint
            and self._source_hashes[row] == source_hash
            and (self._sizes[row], self._mtimes[row], self._inodes[row]) == state
        )

    def origin(self, partition_key: str, state: FileState) -> Origin | None:
        """The recorded origin of a shard whose file is in this state; None without a record."""
        row = self._newest.get(partition_key)
        if row is None:
            return None
        size, mtime_ns, inode = state
        # A record of the same file but for its inode stands for it: then the newest one counts.
        if self._sizes[row] != size or self._mtimes[row] != mtime_ns:
            row = self._earlier.get((partition_key, size, mtime_ns))
            if row is None:
                return None
        recorded_inode = self._inodes[row]
        if inode and recorded_inode and inode != recorded_inode:
            return None
        return Origin(self._fingerprints[row], self._source_hashes[row])

    def _unpack(self, row: int) -> None:
        while row >= len(self._clipped):
            columns = self._packed.pop(0)
            self._built_at += _repeated_texts(columns.built_at)
            self._programs += _repeated_texts(columns.programs)
            self._clipped += _unpack_clipped(columns.clipped)

    def _record(self, row: int) -> BuildRecord:
        self._unpack(row)
        return BuildRecord(
            self._keys[row],
            self._fingerprints[row],
            self._source_hashes[row],
            FileState(self._sizes[row], self._mtimes[row], self._inodes[row]),
            self._built_at[row],
            self._seconds[row],
            self._programs[row],
            self._clipped[row],
        )

    def _add(self, columns: _Columns) -> None:
        """Add records that are newer than all others."""
        row = len(self._keys)
        self._keys += columns.keys
        self._fingerprints += columns.fingerprints
        self._source_hashes += columns.source_hashes
        self._sizes.frombytes(np.asarray(columns.sizes, np.int64).tobytes())
        self._mtimes.frombytes(np.asarray(columns.mtimes, np.int64).tobytes())
        self._inodes.frombytes(np.asarray(columns.inodes, np.uint64).tobytes())
        self._seconds.frombytes(np.asarray(columns.seconds, np.float64).tobytes())
        self._packed.append(columns)
        rows = dict(zip(columns.keys, range(row, len(self._keys)), strict=True))
        # Most partitions have one record.
        if len(rows) == len(columns.keys) and self._newest.keys().isdisjoint(rows):
            self._newest.update(rows)
            return
        for key in columns.keys:
            before = self._newest.get(key)
            if before is not None:
                self._earlier[(key, self._sizes[before], self._mtimes[before])] = before
            self._newest[key] = row
            row += 1


@dataclass(frozen=True)
class _Columns:
    """Records by column, in the order in which they were written."""

    keys: list[str]
    fingerprints: list[str]
    source_hashes: list[str]
    sizes: list[int] | NDArray[np.uint64]
    mtimes: list[int] | NDArray[np.uint64]
    inodes: list[int] | NDArray[np.uint64]
    built_at: list[str] | pa.StringArray
    seconds: list[float] | NDArray[np.float64]
    programs: list[str] | pa.StringArray
    clipped: list[ClippedBlocks] | pa.ListArray


def _as_columns(records: Sequence[BuildRecord]) -> _Columns:
    return _Columns(
        [record.partition_key for record in records],
        [record.fingerprint for record in records],
        [record.source_hash for record in records],
        [record.state.size for record in records],
        [record.state.mtime_ns for record in records],
        [record.state.inode for record in records],
        [record.built_at for record in records],
        [record.seconds for record in records],
        [record.program for record in records],
        [record.clipped for record in records],
    )


#: Bytes of a file of records that are parsed at once.
_PIECE_BYTES = 1 << 22


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file in pieces that end with a whole line."""
    while piece := file.read(_PIECE_BYTES):
        yield piece + file.readline()


_SCHEMA = pa.schema(
    [
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("source_hash", pa.string(), nullable=False),
        pa.field("state", pa.list_(pa.uint64()), nullable=False),
        pa.field("built_at", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("program", pa.string(), nullable=False),
        pa.field("clipped", pa.list_(pa.list_(pa.int64()))),
    ]
)


def _parse(piece: bytes) -> _Columns:
    """Parse lines that are all records in the form that this program writes.

    Raises ``ValueError`` if one is not.
    """
    table = read_json(
        pa.BufferReader(piece),
        ReadOptions(use_threads=False, block_size=len(piece) + 1),
        ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error"),
    )
    columns = {name: table[name].combine_chunks() for name in _SCHEMA.names}
    states, offsets = columns["state"].values, arrow_values.numbers(columns["state"].offsets)
    if (
        any(columns[field.name].null_count for field in _SCHEMA if not field.nullable)
        or (offsets != np.arange(0, 3 * len(table) + 1, 3)).any()
        or states.null_count
    ):
        raise ValueError("a line is no record")
    sizes, mtimes, inodes = arrow_values.numbers(states).reshape(-1, 3).T
    return _Columns(
        arrow_values.texts(columns["partition_key"]),
        arrow_values.texts(columns["fingerprint"]),
        arrow_values.texts(columns["source_hash"]),
        sizes,
        mtimes,
        inodes,
        columns["built_at"],
        arrow_values.numbers(columns["seconds"]),
        columns["program"],
        columns["clipped"],
    )


def _repeated_texts(column: list[str] | pa.StringArray) -> list[str]:
    """Texts with many repetitions; equal ones become one object."""
    if isinstance(column, list):
        return column
    # Arrow's own dictionary encoding would first import all of its functions.
    distinct: dict[str, str] = {}
    return [distinct.setdefault(text, text) for text in arrow_values.texts(column)]


def _unpack_clipped(packed: list[ClippedBlocks] | pa.ListArray) -> list[ClippedBlocks]:
    if isinstance(packed, list):
        return packed
    if packed.null_count == len(packed):
        return [None] * len(packed)
    return [
        None if blocks is None else tuple((block, count) for block, count in blocks)
        for blocks in packed.to_pylist()
    ]


class _Line(BaseModel):
    """The JSON of one line."""

    model_config = ConfigDict(extra="forbid", strict=True)

    partition_key: str
    fingerprint: str
    source_hash: str
    state: tuple[int, int, int]
    built_at: str
    seconds: float
    program: str
    clipped: tuple[tuple[int, int], ...] | None = None


def _parse_lines(piece: bytes) -> Iterator[BuildRecord]:
    """The records among lines that are not all valid records."""
    for text in piece.splitlines():
        with suppress(ValidationError):
            line = _Line.model_validate_json(text)
            yield BuildRecord(
                line.partition_key,
                line.fingerprint,
                line.source_hash,
                FileState(*line.state),
                line.built_at,
                line.seconds,
                line.program,
                line.clipped,
            )
