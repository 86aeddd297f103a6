"""Leases: which processes use a version, so that ``cache gc`` removes nothing that is in use.

A lease is a small file in a hidden folder of the version. It records which process on which machine
does what, and since when. It ends with its process. On the same machine, the operating system then
releases the lease's lock. Another machine of a shared root need not see that lock; there the lease
ends by its age: a living process touches it every 20 s, and after 10 minutes without that, by the
clock of the file server, the process is presumed dead.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from brainbrr_core.cache.store import LEASES, Store
from brainbrr_core.locking import (
    STALE_S,
    Process,
    heartbeat,
    open_to_lock,
    parse_process,
    server_time,
    this_process,
    try_flock,
)


@dataclass(frozen=True)
class Holder:
    """A process that uses a version, what it does, and since when."""

    process: Process
    what: str
    since: str

    def __str__(self) -> str:
        return f"{self.what} (process {self.process.pid} on {self.process.host}) since {self.since}"


@contextmanager
def hold(store: Store, what: str, *, create: bool = False) -> Iterator[None]:
    """Hold a lease on a version while the block runs; ``what`` names the work for others.

    Without ``create``, a version that does not exist is not created, and a version that is not
    writable is used without a lease, which is logged. Raises :class:`BrainbrrError` if the version
    cannot be created.
    """
    if create:
        store.create()
    elif not store.folder.is_dir():
        yield
        return
    with ExitStack() as lease:
        try:
            path, descriptor = _take(store, what)
            lease.callback(os.close, descriptor)
            lease.callback(_release, store, path)
            lease.enter_context(heartbeat(descriptor))
        except OSError as error:
            print(
                f"no lease on {store.folder} ({error.strerror}): it is not protected from "
                "`brainbrr cache gc` by another user or machine",
                file=sys.stderr,
            )
        yield


def holders(folder: Path) -> list[Holder]:
    """Processes that use the version in this folder. A lease that cannot be read counts as one."""
    alive = []
    for path in _lease_files(folder):
        holder = _living(path)
        if holder is not None:
            alive.append(holder)
    return sorted(alive, key=lambda holder: holder.since)


def _take(store: Store, what: str) -> tuple[Path, int]:
    """Write a lease; return its path and the open file whose lock shows that the process lives."""
    with store.exclusive():
        folder = store.folder / LEASES
        if not folder.is_dir():
            folder.mkdir()
            # Whoever may write to the version may say so, whatever this user's umask is.
            with suppress(OSError):  # FAT and CIFS have no modes.
                folder.chmod(stat.S_IMODE(store.folder.stat().st_mode))
        _remove_dead(store)
        path = folder / f"{secrets.token_hex(8)}.json"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            # Who looks at leases has the lock for a moment.
            has_lock = try_flock(descriptor, wait=True)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            text = asdict(this_process()) | {"what": what, "since": since, "lock": has_lock}
            os.write(descriptor, json.dumps(text).encode())
            _note_use(store)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
    return path, descriptor


def _release(store: Store, path: Path) -> None:
    # What cannot be removed now ends with this process.
    with suppress(OSError):
        if not path.exists():
            return
        with store.exclusive():
            path.unlink(missing_ok=True)
            _remove_dead(store)
            _note_use(store)
            with suppress(OSError):
                path.parent.rmdir()  # unless others hold leases


def _note_use(store: Store) -> None:
    with suppress(PermissionError):
        os.utime(store.marker)


def _remove_dead(store: Store) -> None:
    for path in _lease_files(store.folder):
        if _living(path) is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _lease_files(folder: Path) -> list[Path]:
    try:
        paths = sorted((folder / LEASES).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in paths if path.suffix == ".json"]


def _living(path: Path) -> Holder | None:
    """The process that holds a lease; None if it is dead."""
    try:
        descriptor = open_to_lock(path)
    except FileNotFoundError:
        return None
    except OSError:
        return Holder(Process("an unknown host", "", "", 0, ""), "a lease that is not readable", "")
    try:
        text = os.pread(descriptor, 1 << 16, 0).decode(errors="replace")
        process = parse_process(text)
        holder = _holder(process, text)
        try:
            lock_seen = try_flock(descriptor, wait=False)
        except BlockingIOError:
            return holder
        except OSError:
            # NFS gives no lock to who may only read: the age tells.
            lock_seen = False
        dead = process is not None and (
            process.is_dead()
            # The same kernel: had it the lock, it would be seen.
            or (lock_seen and _has_lock(text) and process.kernel == this_process().kernel)
        )
        return None if dead or _is_old(path) else holder
    finally:
        os.close(descriptor)


def _holder(process: Process | None, text: str) -> Holder:
    if process is None:
        return Holder(Process("an unknown host", "", "", 0, ""), "a lease that was cut short", "")
    values = json.loads(text)
    return Holder(process, str(values.get("what", "")), str(values.get("since", "")))


def _has_lock(text: str) -> bool:
    return bool(json.loads(text).get("lock"))


def _is_old(path: Path) -> bool:
    try:
        return server_time(path.parent) - path.stat().st_mtime > STALE_S
    except FileNotFoundError:
        return True
    except OSError:
        # Not writable: the time of the server is not known.
        return False
