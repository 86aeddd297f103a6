"""Write files, and append lines to files, so that they appear complete or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from glob import escape as glob_escape
from pathlib import Path
from typing import IO

from brainbrr_core.errors import BrainbrrError, cannot_write, is_full
from brainbrr_core.locking import locked, open_to_lock, server_time, try_flock

#: Names of temporary files of :func:`replacing`; in earlier releases they had the process id.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]+\.part")
#: Age in seconds from which an unlocked temporary file counts as left behind by a dead process.
#: Where locks are not visible to other machines, no live process goes so long without writing.
LEFTOVER_S = 3600.0
#: Errors of file systems that cannot flush a folder.
_NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces ``path`` when the block succeeds.

    The temporary file is in the folder of ``path``, which is created if missing, and is flushed to
    disk before it replaces ``path``. When the block fails, the temporary file is removed and
    ``path`` is unchanged. No other process, on this machine or another, gets the same temporary
    path; :func:`is_leftover` recognizes the file that a killed process leaves. Raises ``OSError``
    where the folder cannot be written to, with the path where the disk is full, and
    :class:`BrainbrrError` where ``path`` is a pipe or a device such as ``/dev/null``.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise BrainbrrError(
            f"{path} is a pipe or a device, which a file would replace: name a file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        # Where the file system has no locks, the file's age alone tells that it was left behind.
        try_flock(descriptor, wait=True)
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        if is_full(error):
            # Writing to an open file fails without a name.
            error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_together(
    folder: Path, last: str = "", outdated: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a temporary folder for files that appear in ``folder`` when the block succeeds.

    A ``folder`` that does not exist appears whole. In one that does, the files of these names are
    removed and the new ones appear, ``last`` is the first to go and the last to come. Files named
    in ``outdated`` go with them where the block does not write them. All others stay. A process
    that is killed leaves old files or new ones, but never some of each. When the block fails,
    ``folder`` is unchanged. Raises :class:`BrainbrrError` where it cannot be written to, and
    :class:`WorkRemains` where the disk is full.
    """
    is_new = not os.path.lexists(folder)
    # A folder may be the root of a file system, to which no file can be moved from outside.
    parent = folder.parent if is_new else folder
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.name, parent)
        temporary = parent / f".{folder.name}.{secrets.token_hex(8)}.part"
        temporary.mkdir()
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        try:
            yield temporary
        except OSError as error:
            if is_full(error):
                raise cannot_write(folder, error) from None
            raise
        try:
            _move(temporary, folder, is_new=is_new, last=last, outdated=outdated)
        except OSError as error:
            raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(name: str, parent: Path) -> None:
    """Remove the temporary folders that killed processes left for a folder of this name."""
    for path in parent.glob(f".{glob_escape(name)}.*.part"):
        if path.is_dir() and is_leftover(path):
            shutil.rmtree(path, ignore_errors=True)


def _move(
    temporary: Path, folder: Path, *, is_new: bool, last: str, outdated: Collection[str]
) -> None:
    names = sorted(path.name for path in temporary.iterdir())
    for name in names:
        flush(temporary / name)
    flush(temporary)
    if is_new:
        temporary.rename(folder)
        flush(folder.parent)
        return
    names.sort(key=lambda name: name == last)
    for name in (*reversed(names), *outdated):
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (temporary / name).rename(folder / name)
    flush(folder)


def target_name(temporary: Path) -> str | None:
    """The name of the file that a temporary file of :func:`replacing` was to replace, or None."""
    match = _TEMPORARY.fullmatch(temporary.name)
    return match["name"] if match else None


def is_leftover(path: Path) -> bool:
    """Whether a temporary file or link is out of use: not locked, and at least an hour old.

    Its age is measured by the clock of the file server. A file that cannot be opened counts as in
    use.
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
    """Wait until the content of a file, or the list of names in a folder, is on the disk.

    File systems that cannot flush a folder are tolerated; they decide when its names are durable.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise
    finally:
        os.close(handle)


def begin_flush(file: IO[bytes]) -> None:
    """Let the system begin to write a file to the disk, and return at once.

    While more is computed for the same file, the disk works, and the flush at the end takes less
    time. It promises nothing, and does nothing where the operating system or the file system has no
    such call.
    """
    call = _sync_file_range()
    if call is not None:
        file.flush()
        call(file.fileno(), 0, 0, _WRITE)


#: The flag of Linux's ``sync_file_range`` to begin writing, without waiting (fs.h).
_WRITE = 2


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """The call of Linux; None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, intact even when several processes write to it at once.

    If the last line of the file has no line break (a crash cut it short), one is added first.
    ``line`` may hold several lines. The folder must exist. A file that this user may not write to
    is replaced by a writable copy where the folder permits it.

    Raises ``OSError`` where neither the file nor the folder can be written to.
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
    """Replace another user's file with a copy that belongs to this user."""
    with path.open("rb") as file, locked(file.fileno(), path):
        if not is_same_file(path, file):
            return
        with replacing(path) as temporary, temporary.open("wb") as copy:
            shutil.copyfileobj(file, copy)


def is_same_file(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is the one that is at ``path`` now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
