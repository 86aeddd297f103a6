"""Files, and lines of files, that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from brainbrr_core.locking import locked, open_to_lock, server_time, try_flock

#: The name of what :func:`replacing` writes to; earlier releases had the process id in it.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]+\.part")
#: Seconds after which a temporary file that no process holds is surely left by a dead one; where
#: locks are not seen across machines, nothing writes for so long without touching its file.
LEFTOVER_S = 3600.0
#: What file systems say that cannot flush a folder.
_NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to instead of ``path``, which it replaces when the block ends well.

    It lies in the same folder, which is made where it is missing, and is on the disk before it
    replaces anything. When the block fails, nothing is left of it and ``path`` is as it was.
    No other process, on this machine or another, has the same path; what a killed one leaves is
    known by :func:`is_leftover`. Raises ``OSError`` where the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        # Where there is no lock, its age tells that it was left.
        try_flock(descriptor, wait=True)
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def target_name(temporary: Path) -> str | None:
    """The name of the file that a temporary one of :func:`replacing` was to replace, or None."""
    match = _TEMPORARY.fullmatch(temporary.name)
    return match["name"] if match else None


def is_leftover(path: Path) -> bool:
    """Whether no process uses this temporary file or link any more: unlocked, and an hour old.

    The clock is that of the file server. A file that cannot be opened counts as in use.
    """
    try:
        status = path.lstat()
        if server_time(path.parent) - status.st_mtime < LEFTOVER_S:
            return False
        if not stat.S_ISREG(status.st_mode):
            return True
        descriptor = open_to_lock(path)
    except OSError:
        return False
    try:
        with locked(descriptor, path, wait=False):
            return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk.

    Some file systems cannot flush a folder: there, its names are as durable as these make them.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    finally:
        os.close(handle)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole even when several processes write, and start it on its own.

    A line before it that a crash cut short does not swallow it. ``line`` may hold several. The
    folder must exist; a file of another user that may not be written to is replaced by a copy
    where the folder allows it.
    """
    while True:
        try:
            file = path.open("a+b")
        except PermissionError:
            if not path.exists():
                raise
            _make_own(path)
            continue
        with file, locked(file.fileno(), path):
            if not is_same_file(path, file):
                continue
            content = line.encode() + b"\n"
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    content = b"\n" + content
            file.write(content)
            file.flush()
            return


def _make_own(path: Path) -> None:
    """Replace another user's file by a copy of this one's."""
    with path.open("rb") as file, locked(file.fileno(), path):
        if not is_same_file(path, file):
            return
        with replacing(path) as temporary, temporary.open("wb") as copy:
            shutil.copyfileobj(file, copy)


def is_same_file(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is the one that lies at ``path`` now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
