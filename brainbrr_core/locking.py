"""Locks between processes and machines: ``flock``, or a lock file where ``flock`` is missing.

The system releases a ``flock`` when its holder dies for any reason. Some file systems do not
support it (Lustre mounted without it, old NFS, some FUSE). On those, the lock is a file
``.<name>.lock`` that only one process can create. It names its holder, which touches it every
``HEARTBEAT_S`` seconds. When the holder ran on this machine and is dead, or the file was not
touched for ``STALE_S`` seconds by the clock of the file server, another process may remove it and
take the lock. All machines that share a folder must mount it with the same options.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

#: Seconds between two touches by a live holder, and without a touch until it counts as dead.
HEARTBEAT_S, STALE_S = 20.0, 600.0
#: Seconds between two checks of whether a lock file is gone.
_PAUSE_S = 0.05
#: Errors of file systems without ``flock``.
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
#: Stands for the start time of a live process whose start time cannot be read.
_HIDDEN = "alive"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process of a machine, distinguishable from a later process with the same ID.

    ``kernel`` identifies the running kernel, ``pids`` the namespace of process IDs (containers on
    one kernel may have different ones). ``started`` is the start time in the kernel's ticks.
    """

    host: str
    kernel: str
    pids: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Whether this process has certainly ended; False where that cannot be determined."""
        here = this_process()
        if (self.kernel, self.pids) != (here.kernel, here.pids):
            return False
        started = _start_time(self.pid)
        return started not in (self.started, _HIDDEN)


def this_process() -> Process:
    """The process that calls this function."""
    return Process(*_machine(), os.getpid(), _start_time(os.getpid()))


@cache
def _machine() -> tuple[str, str, str]:
    host = platform.node()
    try:
        return host, _BOOT.read_text().strip(), str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return host, host, host


def _start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        # The process has ended or is another user's and hidden (hidepid), or there is no /proc.
        return _HIDDEN if _exists(pid) else ""
    # The program name, in parentheses, may contain spaces.
    fields = text.rpartition(")")[2].split()
    # A zombie (ended but not yet waited for) counts as ended.
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    """Whether a process with this ID exists, even if this user may not inspect it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def locked(descriptor: int, path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of the open file or folder at ``path`` while the block runs.

    Raises ``BlockingIOError`` when another process holds the lock and ``wait`` is False, and
    ``OSError`` where there is neither ``flock`` nor write permission for a lock file.
    """
    if try_flock(descriptor, wait=wait):
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        return
    with _lock_file(path.with_name(f".{path.name}.lock"), wait=wait):
        yield


def open_to_lock(path: Path) -> int:
    """Open an existing file only to lock it, and return its descriptor; links are not followed.

    The file is opened for writing where permitted, since NFS grants locks only then. Raises
    ``OSError`` when the file cannot be opened.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def try_flock(descriptor: int, *, wait: bool) -> bool:
    """Take the ``flock`` of an open file; False where the file system does not support it.

    Raises ``BlockingIOError`` when another process holds the lock and ``wait`` is False.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


@contextmanager
def heartbeat(descriptor: int) -> Iterator[None]:
    """Touch an open file every ``HEARTBEAT_S`` seconds, from a thread, while the block runs.

    Raises ``OSError`` when the thread cannot be started.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            # A file server that is briefly unavailable must not end the work.
            with suppress(OSError):
                os.utime(descriptor)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
    try:
        yield
    finally:
        ended.set()
        thread.join()


def server_time(folder: Path) -> float:
    """Seconds since the epoch, by the clock that sets the mtimes of new files in a folder.

    Raises ``OSError`` where the folder cannot be written to.
    """
    probe = folder / f".clock-{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


@contextmanager
def _lock_file(path: Path, *, wait: bool) -> Iterator[None]:
    descriptor = _created(path, wait=wait)
    try:
        with heartbeat(descriptor):
            yield
    finally:
        # After being suspended for longer than STALE_S, this process may have lost the lock: the
        # file at this path is then another process's.
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                path.unlink()
        os.close(descriptor)


def _created(path: Path, *, wait: bool) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if _removed_stale(path):
                continue
            if not wait:
                raise BlockingIOError(errno.EWOULDBLOCK, "already locked", str(path)) from None
            time.sleep(_PAUSE_S)
            continue
        os.write(descriptor, json.dumps(asdict(this_process())).encode())
        return descriptor


def _removed_stale(path: Path) -> bool:
    """Remove a lock file if its holder is dead; True if it was removed."""
    if not _is_stale(path):
        return False
    # Several processes may see the same stale lock. Only the one that creates the claim removes
    # it, after a second check, since a new lock may have replaced it in the meantime.
    claim = path.with_name(f"{path.name}.claim")
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        with suppress(FileNotFoundError):
            if server_time(path.parent) - claim.stat().st_mtime > STALE_S:
                claim.unlink()
        return False
    try:
        if _is_stale(path):
            path.unlink(missing_ok=True)
            return True
        return False
    finally:
        claim.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    try:
        age = server_time(path.parent) - path.stat().st_mtime
        holder = parse_process(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return age > STALE_S or (holder is not None and holder.is_dead())


def parse_process(text: str) -> Process | None:
    """The process that JSON text describes; None for incomplete text."""
    try:
        values = json.loads(text)
        return Process(**{name: values[name] for name in Process.__dataclass_fields__})
    except (ValueError, TypeError, KeyError):
        return None
