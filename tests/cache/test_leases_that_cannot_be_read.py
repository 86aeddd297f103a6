"""A lease that cannot be taken, read or judged: the work goes on, and gc errs on its side."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from brainbrr_core.cache import lease as lease_module
from brainbrr_core.cache.lease import hold, holders
from brainbrr_core.cache.store import LEASES, Store
from brainbrr_core.locking import STALE_S, Process, open_to_lock, server_time, this_process
from tests.support.privileges import modes_apply

VERSION = "v1_256hz_10-20_0123456789ab"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "root", VERSION)
    store.create()
    return store


def write_lease(store: Store, process: Process, *, seconds_old: float = 0.0) -> Path:
    """A lease of a process that had its lock, touched so long ago."""
    folder = store.folder / LEASES
    folder.mkdir(exist_ok=True)
    path = folder / f"{process.pid:016x}.json"
    values = asdict(process) | {"what": "train", "since": "2026-01-01", "lock": True}
    path.write_text(json.dumps(values))
    touched = path.stat().st_mtime - seconds_old
    os.utime(path, (touched, touched))
    return path


def elsewhere(pid: int = 4711) -> Process:
    """A process of another machine."""
    return Process("far", "another kernel", "pid:[1]", pid, "1")


def what_holds(store: Store) -> list[str]:
    return [holder.what for holder in holders(store.folder)]


def test_a_version_that_is_not_there_is_not_made_by_its_use(tmp_path: Path) -> None:
    store = Store(tmp_path, VERSION)
    with hold(store, "cache verify"):
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_removed_under_its_holder_is_not_made_again(store: Store) -> None:
    with hold(store, "train"):
        shutil.rmtree(store.folder)
    assert not store.folder.exists()


def test_a_lease_that_cannot_be_written_is_one_line_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    opened = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "write", refuse)
    with hold(store, "train"):
        assert what_holds(store) == []
        assert list((store.folder / LEASES).iterdir()) == []
        assert len(list(Path("/proc/self/fd").iterdir())) == opened
    assert capsys.readouterr().err == (
        f"no lease on {store.folder} (No space left on device): it is not protected from "
        "`brainbrr cache gc` by another user or machine\n"
    )


def test_a_lease_that_may_not_be_read_counts(store: Store) -> None:
    write_lease(store, elsewhere(), seconds_old=STALE_S + 60).chmod(0)
    with modes_apply():
        [holder] = holders(store.folder)
    assert (holder.what, holder.process.host) == ("a lease that is not readable", "an unknown host")


def test_a_lease_that_ends_while_it_is_looked_at_does_not_count(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lease(store, elsewhere())
    assert what_holds(store) == ["train"]

    def open_when_gone(lease: Path) -> int:
        lease.unlink()
        return open_to_lock(lease)

    with monkeypatch.context() as patch:
        patch.setattr(lease_module, "open_to_lock", open_when_gone)
        assert what_holds(store) == []

    def time_when_gone(folder: Path) -> float:
        path.unlink()
        return server_time(folder)

    write_lease(store, elsewhere())
    monkeypatch.setattr(lease_module, "server_time", time_when_gone)
    assert what_holds(store) == []


def test_a_lease_that_was_cut_short_counts_until_it_is_old(store: Store) -> None:
    path = write_lease(store, elsewhere())
    path.write_text(path.read_text()[:20])
    assert what_holds(store) == ["a lease that was cut short"]
    old = path.stat().st_mtime - STALE_S - 60
    os.utime(path, (old, old))
    assert what_holds(store) == []


def test_without_locks_age_distinguishes_live_from_dead_processes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does to who may only read."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    write_lease(store, elsewhere(1), seconds_old=STALE_S - 60)
    write_lease(store, elsewhere(2), seconds_old=STALE_S + 60)
    # Of this machine and alive: it is no matter that its lock is not seen.
    write_lease(store, this_process())
    write_lease(store, replace(this_process(), pid=2**22 + 1))
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert sorted(holder.process.pid for holder in holders(store.folder)) == [1, os.getpid()]


def test_where_the_clock_of_the_server_cannot_be_asked_an_old_lease_counts(store: Store) -> None:
    folder = write_lease(store, elsewhere(), seconds_old=STALE_S + 60).parent
    assert what_holds(store) == []
    folder.chmod(0o555)
    with modes_apply():
        assert what_holds(store) == ["train"]
    assert len(list(folder.iterdir())) == 1
