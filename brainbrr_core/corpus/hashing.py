"""Content hashes of files, and the cheap state that tells whether one must be hashed again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from brainbrr_core.corpus.recording import FileState
from brainbrr_core.errors import WorkRemains


def file_state(path: Path) -> FileState:
    """Size, mtime and inode. Raises ``OSError`` when the file cannot be seen."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


def content_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, as hex.

    Raises :class:`WorkRemains` when the file changes while it is being read.
    """
    before = file_state(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if file_state(path) != before:
        raise WorkRemains(f"{path} changed while it was read: run the same command again")
    return digest
