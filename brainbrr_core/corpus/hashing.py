"""Content hashes of files, and the cheap state that tells whether one must be hashed again."""

from __future__ import annotations

import os
from pathlib import Path

from blake3 import blake3

from brainbrr_core.corpus.recording import FileState
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


_PIECE = 1 << 20


def content_hash(path: Path) -> str:
    """BLAKE3 of the file's bytes, as hex: as strong as SHA-256 and faster than most disks.

    Raises :class:`WorkRemains` when the file changes while it is being read.
    """
    before = file_state(path)
    hasher = blake3()
    piece = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            hasher.update(memoryview(piece)[:count])
    if file_state(path) != before:
        raise WorkRemains(f"{path} changed while it was read: run the same command again")
    return hasher.hexdigest()
