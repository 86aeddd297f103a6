"""The index on its way: without what is true of one machine only, and taken in with care.

Paths, times and inodes stay behind: an index from two machines with the same corpus is the same
bytes, and no folder of the sender is known to the receiver.
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
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import FileState
from brainbrr_core.transfer.catalog import Blob, check_keys

#: What an index that arrives may have at most: recordings, bytes of all its columns when they are
#: unpacked, and for each recording bytes and values, on average. A corpus of 100,000 has 200 bytes
#: and 90 values for each; a small one has more bytes, so it may have as many as ``_AT_LEAST``.
_ROWS, _BYTES = 1_000_000, 10**9
_ROW_BYTES, _ROW_VALUES, _AT_LEAST = 2048, 1000, 10_000


@dataclass(frozen=True)
class PortableIndex:
    """The index as one object."""

    blob: Blob
    content: bytes


def make_portable(index: Index) -> PortableIndex:
    """``index`` as it is sent."""
    sent = replace(index, recordings=tuple(_placeless(recording) for recording in index))
    with tempfile.TemporaryDirectory() as folder:
        content = write_index(sent, Path(folder)).read_bytes()
    return PortableIndex(Blob(blake3(content).hexdigest(), len(content)), content)


def _placeless(recording: Recording) -> Recording:
    # A path that is nowhere, whatever folder a command is started in.
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
    """The index that stands now, and what became of the one that arrived."""

    index: Index
    what: str


def adopt_index(
    cache_root: Path,
    blob: Blob,
    fetch: Callable[[], bytes],
    where: str,
    *,
    force: bool = False,
) -> AdoptedIndex:
    """Take an arriving index in, unless this machine knows as much or sees the EDFs itself.

    ``fetch`` gives its bytes and is called only when they are needed. Raises
    :class:`BrainbrrError` when they are not ``blob``'s, are no index, or, unless ``force``, are
    of another corpus than the cache root's.
    """
    path = index_path(cache_root)
    own = _own_index(cache_root)
    if own is not None and blake3(path.read_bytes()).hexdigest() == blob.hash:
        return AdoptedIndex(own, "unchanged")
    content = fetch()
    if blake3(content).hexdigest() != blob.hash:
        raise BrainbrrError(
            f"the index of {where} does not match its checksum: push it again with --repair"
        )
    arrived = parse_index(content, where)
    check_keys((recording.partition_key for recording in arrived), f"the index of {where}")
    if own is not None:
        if [_placeless(r) for r in own] == [_placeless(r) for r in arrived]:
            return AdoptedIndex(own, "unchanged")
        if any(recording.is_remote or Path(recording.path).exists() for recording in own):
            return _completed_own(own, arrived, cache_root)
        check_same_corpus(own, arrived, where, cache_root, force=force)
    place_index(content, cache_root)
    return AdoptedIndex(arrived, f"received, {len(arrived)} recordings")


def fill_in_hashes(index: Index, known: Index) -> Index:
    """``index`` with the content hashes of EDFs that were never fetched, where ``known`` has them.

    The same recording with the same size is taken for the same file, as a listing would.
    """
    others = known.by_key()
    recordings = tuple(
        replace(recording, content_hash=other.content_hash, data_hash=other.data_hash)
        if recording.is_remote
        and not recording.content_hash
        and (other := others.get(recording.partition_key)) is not None
        and other.state.size == recording.state.size
        else recording
        for recording in index
    )
    return replace(index, recordings=recordings)


def _completed_own(own: Index, arrived: Index, cache_root: Path) -> AdoptedIndex:
    """The index of a machine that sees the EDFs: it stands, but for hashes it lacks."""
    what = "this machine sees the EDFs: its own index stands"
    whole = fill_in_hashes(own, arrived)
    learnt = sum(a.content_hash != b.content_hash for a, b in zip(own, whole, strict=True))
    if not learnt:
        return AdoptedIndex(own, what)
    write_index(whole, cache_root)
    return AdoptedIndex(whole, f"{what}; {learnt} content hashes received")


def parse_index(content: bytes, where: str) -> Index:
    """An index from its bytes, which may be anything.

    Raises :class:`BrainbrrError` for what is none, or would fill the memory.
    """
    try:
        about = pq.read_metadata(pa.BufferReader(content))
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        values = sum(
            group.column(number).num_values
            for group in groups
            for number in range(about.num_columns)
        )
        unpacked = sum(group.total_byte_size for group in groups)
    except (OSError, ValueError, pa.ArrowException):
        raise BrainbrrError(f"the index of {where} is none: push it again with --repair") from None
    allowed = max(about.num_rows, _AT_LEAST)
    too_large = unpacked > min(_BYTES, allowed * _ROW_BYTES) or values > allowed * _ROW_VALUES
    if about.num_rows > _ROWS or too_large:
        raise BrainbrrError(
            f"the index of {where} is refused: {about.num_rows:,} recordings that unpack to "
            f"{unpacked / 1e6:,.0f} MB and {values:,} values are not what a corpus has"
        )
    with tempfile.TemporaryDirectory() as folder:
        index_path(Path(folder)).write_bytes(content)
        try:
            return read_index(Path(folder))
        except BrainbrrError:
            raise BrainbrrError(
                f"the index of {where} cannot be read by this version of the program: push it anew"
            ) from None


def _own_index(cache_root: Path) -> Index | None:
    """The index of the cache root; None where there is none that can be used."""
    if not index_path(cache_root).is_file():
        return None
    try:
        return read_index(cache_root)
    except UnusableIndex:
        # The one that arrives takes its place.
        return None


def check_same_corpus(
    before: Index, after: Index, where: str, place: Path | str, *, force: bool
) -> None:
    """Raise :class:`BrainbrrError`, unless ``force``, when ``after`` is not ``before`` grown.

    The measure is that of :func:`brainbrr_core.corpus.index.scan`: more than 5 % of the
    recordings gone, or most of them with another content.
    """
    hashes = {recording.partition_key: recording.content_hash for recording in after}
    known = {recording.partition_key: recording.content_hash for recording in before}
    gone = len(known.keys() - hashes.keys())
    # The hash of an EDF that was never fetched is not known.
    common = {key for key in known.keys() & hashes.keys() if known[key] and hashes[key]}
    changed = sum(hashes[key] != known[key] for key in common)
    other = is_vanished(gone, len(known)) or is_replaced(changed, len(common))
    if other and not force:
        raise BrainbrrError(
            f"the index of {where} is of another corpus than that of {place} ({gone} of "
            f"{len(known)} recordings are not in it, {changed} have another content): use another "
            "place, or, if it is meant, add --force"
        )
