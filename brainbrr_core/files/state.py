"""Content hashes of files, and the cheap state that tells whether one must be hashed again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from brainbrr_core.errors import WorkRemains
from brainbrr_core.machine.filesystem import file_system


def file_state(path: str | os.PathLike[str]) -> FileState:
    """Size, mtime and inode. Raises ``OSError`` when the file cannot be seen.

    The inode is 0 on a file system that makes up another one now and then (sshfs, FAT, some
    CIFS): there, size and mtime tell alone. What is read is checked by its bytes all the same.
    """
    status = os.stat(path)
    keeps_inodes = _stable.get(status.st_dev)
    if keeps_inodes is None:
        keeps_inodes = _stable[status.st_dev] = _keeps_inodes(Path(path), status)
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino if keeps_inodes else 0)


#: By device, since looking costs a read of the list of mounts.
_stable: dict[int, bool] = {}


def _keeps_inodes(path: Path, status: os.stat_result) -> bool:
    """Whether a file keeps its inode as long as it is there, on the file system of ``path``."""
    again = path.stat()
    # The name of a file that was replaced in between would be another's.
    same = (again.st_size, again.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    changed = same and again.st_ino != status.st_ino
    system = file_system(path)
    return not changed and (system is None or system.keeps_inodes)


class Hashes(NamedTuple):
    """BLAKE3 hashes of an EDF, as hex: of the whole file, and of what follows its header.

    The second is empty where it is not known, and for a file that is no EDF.
    """

    content: str = ""
    data: str = ""


#: Bytes of an EDF header before those of its signals, and where its length stands in them.
_FIXED_HEADER, _LENGTH = 256, slice(184, 192)


class EdfHasher:
    """Both hashes of an EDF that comes in pieces."""

    def __init__(self) -> None:
        self._content, self._data = blake3(), blake3()
        self._head = bytearray()
        self._header_bytes: int | None = None
        self._position = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes in."""
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
        """What came so far."""
        is_edf = self._header_bytes is not None and 0 < self._header_bytes < self._position
        return Hashes(self._content.hexdigest(), self._data.hexdigest() if is_edf else "")


def _header_bytes(head: bytes) -> int:
    """The length that an EDF header states; 0 where it is none."""
    length = head[_LENGTH].strip()
    return int(length) if head[:8].strip() == b"0" and length.isdigit() else 0


_PIECE = 1 << 20


def edf_hashes(path: Path) -> Hashes:
    """Both hashes of a file, which is read once.

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
    """The bytes of a file, in order; each piece is valid until the next one."""
    before = file_state(path)
    piece = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            yield memoryview(piece)[:count]
    if file_state(path) != before:
        raise WorkRemains(f"{path} changed while it was read: run the same command again")


class FileState(NamedTuple):
    """What tells cheaply whether a file changed: size in bytes, mtime in ns, inode.

    The inode is 0 where it says nothing: see :func:`brainbrr_core.files.state.file_state`.
    """

    size: int
    mtime_ns: int
    inode: int

    def is_of_same_file(self, other: FileState) -> bool:
        """Whether both can be states of one unchanged file: an inode of 0 says nothing."""
        same = (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
        return same and (self.inode == other.inode or not self.inode or not other.inode)
