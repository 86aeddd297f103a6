"""The index in a transfer: sent without what is true of one machine only, and checked on arrival.

Paths, times and inodes are removed: two machines with the same corpus send the same bytes, and the
receiver learns nothing of the sender's folders.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import (
    UnusableIndex,
    index_path,
    place_index,
    read_index,
    write_index,
)
from brainbrr_core.corpus.recording import Companion, Recording
from brainbrr_core.corpus.row_reading import without_unreadable_mark
from brainbrr_core.corpus.same_corpus import is_replaced, is_vanished
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import FileState
from brainbrr_core.transfer.catalog import Blob, check_keys

#: Limits for a received index: recordings, and bytes of all columns when unpacked.
_ROWS, _BYTES = 1_000_000, 10**9
#: Limits for each recording on average: bytes and values. A corpus of 100,000 recordings has 200
#: bytes and 90 values for each. A small corpus has more; it may have what ``_AT_LEAST`` may have.
_ROW_BYTES, _ROW_VALUES, _AT_LEAST = 2048, 1000, 10_000


@dataclass(frozen=True)
class PortableIndex:
    """An index that can be sent: its object, and the bytes of that."""

    blob: Blob
    content: bytes


def make_portable(index: Index) -> PortableIndex:
    """The bytes of an index without what is true of this machine only."""
    portable = replace(index, recordings=tuple(map(_without_location, index)))
    with tempfile.TemporaryDirectory() as folder:
        content = write_index(portable, Path(folder)).read_bytes()
    return PortableIndex(Blob(blake3(content).hexdigest(), len(content)), content)


def _without_location(recording: Recording) -> Recording:
    # A path that exists nowhere, whichever folder a command is started in.
    nowhere = PurePosixPath("elsewhere:", recording.partition_key)
    return replace(
        without_unreadable_mark(recording),
        path=str(nowhere.with_name(PurePosixPath(recording.path).name)),
        state=FileState(recording.state.size, 0, 0),
        companions=tuple(
            Companion(c.name, FileState(c.state.size, 0, 0)) for c in recording.companions
        ),
    )


@dataclass(frozen=True)
class AdoptedIndex:
    """The index of this machine after one was received, and in words what became of that."""

    index: Index
    outcome: str


def adopt_index(
    cache_root: Path,
    blob: Blob,
    fetch: Callable[[], bytes],
    where: str,
    *,
    force: bool = False,
) -> AdoptedIndex:
    """Make a received index that of a cache root, unless its machine has the EDFs themselves.

    ``fetch`` gives the bytes of the index and is called only if they are needed. ``where`` names
    their origin in messages. Raises :class:`BrainbrrError` if the bytes are not those of ``blob``,
    are not an index or, unless ``force``, are the index of another corpus.
    """
    path = index_path(cache_root)
    own = _own_index(cache_root)
    if own is not None and blake3(path.read_bytes()).hexdigest() == blob.hash:
        return AdoptedIndex(own, "unchanged")
    content = fetch()
    if blake3(content).hexdigest() != blob.hash:
        raise BrainbrrError(
            f"the index at {where} does not match its checksum: run `brainbrr cache push --repair` "
            "on a machine with the complete cache"
        )
    received = parse_index(content, where)
    check_keys((recording.partition_key for recording in received), f"the index at {where}")
    if own is not None:
        if [*map(_without_location, own)] == [*map(_without_location, received)]:
            return AdoptedIndex(own, "unchanged")
        if any(recording.is_remote or Path(recording.path).exists() for recording in own):
            return _complete_own(own, received, cache_root)
        check_same_corpus(own, received, where, cache_root, force=force)
    place_index(content, cache_root)
    return AdoptedIndex(received, f"received, {count(len(received), 'recording')}")


def fill_in_hashes(index: Index, other: Index) -> Index:
    """``index`` with content hashes from ``other`` for EDFs that were never fetched here.

    A recording of the same key and the same size is taken to be the same file, as in a listing.
    """
    others = other.by_key()
    recordings = tuple(
        replace(recording, content_hash=same.content_hash, data_hash=same.data_hash)
        if recording.is_remote
        and not recording.content_hash
        and (same := others.get(recording.partition_key)) is not None
        and same.state.size == recording.state.size
        else recording
        for recording in index
    )
    return replace(index, recordings=recordings)


def _complete_own(own: Index, received: Index, cache_root: Path) -> AdoptedIndex:
    """Keep the index of a machine that has the EDFs, but take over content hashes it lacks."""
    outcome = "kept the index of this machine, which has the EDFs"
    completed = fill_in_hashes(own, received)
    added = sum(a.content_hash != b.content_hash for a, b in zip(own, completed, strict=True))
    if not added:
        return AdoptedIndex(own, outcome)
    write_index(completed, cache_root)
    return AdoptedIndex(completed, f"{outcome}; {added} content hashes received")


def parse_index(content: bytes, where: str) -> Index:
    """Parse the bytes of an index from elsewhere, which may be anything.

    Raises :class:`BrainbrrError` if they are not an index, or would fill the memory.
    """
    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        values = sum(
            group.column(number).num_values
            for group in groups
            for number in range(metadata.num_columns)
        )
        unpacked = sum(group.total_byte_size for group in groups)
    except (OSError, ValueError, pa.ArrowException):
        raise BrainbrrError(
            f"the index at {where} is not readable: run `brainbrr cache push --repair` on a "
            "machine with the complete cache"
        ) from None
    rows = metadata.num_rows
    allowed = max(rows, _AT_LEAST)
    too_large = unpacked > min(_BYTES, allowed * _ROW_BYTES) or values > allowed * _ROW_VALUES
    if rows > _ROWS or too_large:
        raise BrainbrrError(
            f"the index at {where} is refused: {rows:,} recordings that unpack to "
            f"{unpacked / 1e6:,.0f} MB and {values:,} values are more than a corpus has"
        )
    with tempfile.TemporaryDirectory() as folder:
        index_path(Path(folder)).write_bytes(content)
        try:
            return read_index(Path(folder))
        except BrainbrrError:
            raise BrainbrrError(
                f"the index at {where} is damaged or from another version of brainbrr: push again "
                "with the version installed here"
            ) from None


def _own_index(cache_root: Path) -> Index | None:
    """The index of the cache root; None if there is no usable one."""
    if not index_path(cache_root).is_file():
        return None
    try:
        return read_index(cache_root)
    except UnusableIndex:
        # The received index replaces it.
        return None


def check_same_corpus(
    before: Index, after: Index, where: str, target: Path | str, *, force: bool
) -> None:
    """Raise :class:`BrainbrrError`, unless ``force``, if two indexes are of different corpora.

    Corpora are different by the limits of :func:`brainbrr_core.corpus.index.scan`: if more than
    5 % of the recordings of ``before`` are missing from ``after``, or most have different content.
    In the message, ``where`` names the remote index and ``target`` the one of this machine.
    """
    hashes = {recording.partition_key: recording.content_hash for recording in after}
    hashes_before = {recording.partition_key: recording.content_hash for recording in before}
    missing = len(hashes_before.keys() - hashes.keys())
    # The hash of an EDF that was never fetched is not known.
    common = {
        key for key in hashes_before.keys() & hashes.keys() if hashes_before[key] and hashes[key]
    }
    changed = sum(hashes[key] != hashes_before[key] for key in common)
    is_other = is_vanished(missing, len(hashes_before)) or is_replaced(changed, len(common))
    if is_other and not force:
        raise BrainbrrError(
            f"the index of {where} is of another corpus than that of {target}: of "
            f"{len(hashes_before)} recordings, {missing} are missing and {changed} have different "
            "content: use another location, or add --force to replace it"
        )
