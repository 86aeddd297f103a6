"""Locks between processes and machines: ``flock``, or a file beside it where there is none.

``flock`` ends with its holder, whatever kills it. Some file systems have none (Lustre mounted
without it, old NFS, some FUSE). There, a file ``.<name>.lock`` is the lock: it appears for one
holder alone, says who that is, and is touched every ``HEARTBEAT_S`` seconds. When its holder is
dead on this machine, or it was not touched for ``STALE_S`` seconds by the clock of the file
server, the next one takes it over. All machines of a shared folder must mount it alike.
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

#: How often a holder shows that it lives, and after how long without that it counts as dead.
HEARTBEAT_S, STALE_S = 20.0, 600.0
#: How long to wait before looking again whether a lock file is gone.
_PAUSE_S = 0.05
#: What a file system says that has no ``flock``.
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
#: Stands for when a process started, where it lives and that is not told.
_HIDDEN = "alive"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """Who holds something: a process of a machine, told apart from a later one of its number.

    ``kernel`` is the same for processes that share a kernel, ``pids`` for those that also see the
    same process numbers (containers need not).
    """

    host: str
    kernel: str
    pids: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Whether this process is known to be gone; False where it cannot be seen from here."""
        here = this_process()
        if (self.kernel, self.pids) != (here.kernel, here.pids):
            return False
        started = _start_time(self.pid)
        return started not in (self.started, _HIDDEN)


def this_process() -> Process:
    """The process that asks."""
    return Process(*_machine(), os.getpid(), _start_time(os.getpid()))


@cache
def _machine() -> tuple[str, str, str]:
    host = platform.node()
    try:
        return host, _BOOT.read_text().strip(), str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return host, host, host


def _start_time(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        # Gone, another user's that is hidden (hidepid), or a system without /proc.
        return _HIDDEN if _exists(pid) else ""
    # The name of the program, in parentheses, may hold spaces.
    fields = text.rpartition(")")[2].split()
    # One that was killed and not yet waited for.
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    """Whether there is a process of this number, also one that may not be looked at."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def locked(descriptor: int, path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of an open file or folder, which lies at ``path``, while the block runs.

    Raises ``BlockingIOError`` when another holds it and ``wait`` is False, and ``OSError`` where
    there is neither ``flock`` nor a folder that can be written to.
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
    """A descriptor of a file that is there, for its lock alone; no link is followed.

    Writable where it may be: NFS gives no lock to one that is not. Raises ``OSError``.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)


def try_flock(descriptor: int, *, wait: bool) -> bool:
    """Take the ``flock`` of an open file; False where the file system has none.

    Raises ``BlockingIOError`` when another holds it and ``wait`` is False.
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

    Raises ``OSError`` where the system gives no thread.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            # A server that is away for a while must not end the work.
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
    """Seconds since the epoch, by the clock that stamps the files of a folder.

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
        # One that slept for longer than STALE_S may have lost it: then it is another's.
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
                raise BlockingIOError(errno.EWOULDBLOCK, "locked by another", str(path)) from None
            time.sleep(_PAUSE_S)
            continue
        os.write(descriptor, json.dumps(asdict(this_process())).encode())
        return descriptor


def _removed_stale(path: Path) -> bool:
    """Remove the lock file of a holder that is dead; whether it is gone."""
    if not _is_stale(path):
        return False
    # Of several that see it, one removes it, and looks again first: a fresh lock may have taken
    # its place.
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
    """The process that a file of JSON names; None for one that was cut short."""
    try:
        values = json.loads(text)
        return Process(**{name: values[name] for name in Process.__dataclass_fields__})
    except (ValueError, TypeError, KeyError):
        return None
