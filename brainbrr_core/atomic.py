"""Files, and lines of files, that appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to instead of ``path``, which it replaces when the block ends well.

    It lies in the same folder, which is made where it is missing, and is on the disk before it
    replaces anything. When the block fails, nothing is left of it and ``path`` is as it was.
    Raises ``OSError`` where the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole even when several processes write, and start it on its own.

    A line before it that a crash cut short does not swallow it. The folder must exist.
    """
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = line.encode() + b"\n"
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                content = b"\n" + content
        file.write(content)
