"""Content hashes of files, and the file state that shows whether one must be hashed again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from brainbrr_core.errors import WorkRemains
from brainbrr_core.machine.filesystem import file_system


def file_state(path: str | os.PathLike[str]) -> FileState:
    """Size, mtime and inode of a file. Raises ``OSError`` when the file is inaccessible.

    The inode is 0 on file systems whose inode numbers change (sshfs, FAT, some CIFS), so that
    only size and mtime are compared there. Content that is read is verified by its hash anyway.
    """
    status = os.stat(path)
    keeps_inodes = _stable.get(status.st_dev)
    if keeps_inodes is None:
        keeps_inodes = _stable[status.st_dev] = _keeps_inodes(Path(path), status)
    inode = status.st_ino if keeps_inodes else 0
    # As FileState(...) would make it, in half of the time: commands look at 100,000 files.
    return tuple.__new__(FileState, (status.st_size, status.st_mtime_ns, inode))


#: Whether inodes are stable, by device; cached since finding out means reading the mount list.
_stable: dict[int, bool] = {}


def _keeps_inodes(path: Path, status: os.stat_result) -> bool:
    """Whether files on the file system of ``path`` keep their inodes as long as they exist."""
    again = path.stat()
    # A file that was replaced between the two calls rightly has another inode.
    same = (again.st_size, again.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    changed = same and again.st_ino != status.st_ino
    system = file_system(path)
    return not changed and (system is None or system.keeps_inodes)


class Hashes(NamedTuple):
    """BLAKE3 hashes of an EDF, as hex: of the whole file, and of the data after its header.

    ``data`` is empty where it is not known, and for a file that is not an EDF.
    """

    content: str = ""
    data: str = ""


#: Length in bytes of the fixed part of an EDF header, and the field in it with the full length.
_FIXED_HEADER, _LENGTH = 256, slice(184, 192)
#: How a BDF begins, which is otherwise like an EDF.
_BDF = b"\xffBIOSEMI"


class EdfHasher:
    """Computes :class:`Hashes` of a file that arrives in pieces."""

    def __init__(self) -> None:
        self._content, self._data = blake3(), blake3()
        self._head = bytearray()
        self._header_bytes: int | None = None
        self._position = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Add the next bytes of the file."""
        self._content.update(piece)
        if self._header_bytes is None:
            self._head += piece
            if len(self._head) < _FIXED_HEADER:
                return
            piece = bytes(self._head)
            self._header_bytes = _header_bytes(piece)
        start = self._header_bytes - self._position
        self._position += len(piece)
        if self._header_bytes and start < len(piece):
            self._data.update(memoryview(piece)[max(start, 0) :])

    def hashes(self) -> Hashes:
        """The hashes of the bytes added so far."""
        is_edf = self._header_bytes is not None and 0 < self._header_bytes < self._position
        return Hashes(self._content.hexdigest(), self._data.hexdigest() if is_edf else "")


def _header_bytes(head: bytes) -> int:
    """The length in bytes that the header of an EDF or BDF gives for itself; 0 if it is neither."""
    length = head[_LENGTH].strip()
    begins_as_one = head[:8].strip() == b"0" or head[:8] == _BDF
    return int(length) if begins_as_one and length.isdigit() else 0


def combined_hash(hashes: Iterable[str]) -> str:
    """One hash of several files in an order, from their content hashes; of one file, its own."""
    first, *others = hashes
    return blake3("\n".join([first, *others]).encode()).hexdigest() if others else first


_PIECE = 1 << 20


def edf_hashes(path: Path) -> Hashes:
    """The hashes of a whole file and of its EDF data, computed in one read.

    Raises :class:`WorkRemains` when the file changes while it is being read.
    """
    hasher = EdfHasher()
    for piece in _pieces(path):
        hasher.update(piece)
    return hasher.hashes()


def content_hash(path: Path) -> str:
    """BLAKE3 of the file's bytes, as hex: as strong as SHA-256 and faster than most disks.

    Raises :class:`WorkRemains` when the file changes while it is being read.
    """
    hasher = blake3()
    for piece in _pieces(path):
        hasher.update(piece)
    return hasher.hexdigest()


def _pieces(path: Path) -> Iterator[memoryview]:
    """Yield the bytes of a file in order; each piece is overwritten by the next one."""
    before = file_state(path)
    piece = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            yield memoryview(piece)[:count]
    if file_state(path) != before:
        raise WorkRemains(f"{path} changed while it was read: run the same command again")


class FileState(NamedTuple):
    """Size in bytes, mtime in ns and inode of a file, by which a change is detected cheaply.

    The inode is 0 where it is unreliable: see :func:`brainbrr_core.files.state.file_state`.
    """

    size: int
    mtime_ns: int
    inode: int

    def is_of_same_file(self, other: FileState) -> bool:
        """Whether both can be states of one unchanged file; an inode of 0 matches any."""
        same = (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
        return same and (self.inode == other.inode or not self.inode or not other.inode)
