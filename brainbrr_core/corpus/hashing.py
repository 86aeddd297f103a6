"""Content hashes of files, and the cheap state that tells whether one must be hashed again."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from brainbrr_core.corpus.recording import FileState
from brainbrr_core.errors import WorkRemains


def file_state(path: Path) -> FileState:
    """Size, mtime and inode. Raises ``OSError`` when the file cannot be seen."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


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
