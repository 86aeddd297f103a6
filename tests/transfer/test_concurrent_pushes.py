"""Several pushes to one location at once, with and without conditional writes."""

from __future__ import annotations

import errno
import fcntl
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from brainbrr_core import locking
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.remote import connect as connect_module
from brainbrr_core.remote.any_fsspec import FsspecRemote
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.folder import FolderRemote
from brainbrr_core.remote.interface import Document
from brainbrr_core.remote.s3 import S3Remote
from brainbrr_core.transfer import push_lock
from brainbrr_core.transfer.push_lock import exclusive_push
from tests.support.machines import (
    URL,
    machine,
    pull_from,
    push_to,
    quiet,
    stored_shards,
)
from tests.support.object_store import FaultyProxy
from tests.support.services import HANGS_S, wait_until


def halves(small: Configuration, tmp_path: Path) -> list[Configuration]:
    """Two machines with the same index, each with half of the shards."""
    keys = sorted(stored_shards(small))
    made = []
    for number in range(2):
        half = machine(small, tmp_path / f"half{number}")
        shutil.copytree(small.cache_root, half.cache_root, symlinks=True)
        for key in keys[number::2]:
            Store.of(half).shard_path(key).unlink()
        made.append(half)
    return made


class Meeting:
    """Holds the first that replaces a document until the second wants to, or waits for the lock."""

    def __init__(self, waits: Callable[[], bool]) -> None:
        self._waits = waits
        self._lock = threading.Lock()
        self._arrived = 0

    def wait(self) -> None:
        with self._lock:
            self._arrived += 1
        wait_until(
            "the second comes",
            lambda: self._arrived >= 2 or self._waits(),
            seconds=HANGS_S,
            every=0.01,
        )


def pushed_at_once(
    machines: list[Configuration], remotes: list[Any], waiting: list[str]
) -> list[str]:
    """Push from all, each of which is held at its catalog until the other is there, too."""
    meeting = Meeting(lambda: bool(waiting))
    said: list[str] = []

    def log(line: str) -> None:
        said.append(line)
        if line.startswith("waiting for another push"):
            waiting.append(line)

    def held(remote: Any) -> Any:
        replace_document = remote.replace

        def replacing(name: str, data: bytes, known: Document | None) -> bool:
            if name.endswith("catalogue.json"):
                meeting.wait()
            return bool(replace_document(name, data, known))

        remote.replace = replacing
        return remote

    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(push_to, one, held(remote), log=log)
            for one, remote in zip(machines, remotes, strict=True)
        ]
        for one in both:
            one.result()
    return said


@pytest.mark.parametrize("how", ["ignored", "refused"])
def test_two_that_push_to_a_server_without_conditions_lose_nothing(
    small: Configuration,
    tmp_path: Path,
    s3: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    s3.unconditional = how
    said = pushed_at_once(halves(small, tmp_path), [S3Remote(URL), S3Remote(URL)], [])
    assert any("has no conditional writes" in line for line in said)
    other = machine(small, tmp_path / "other")
    assert pull_from(other).moved == 4
    assert stored_shards(other) == stored_shards(small)
    # The locks are gone.
    assert len(S3Remote(URL).states("")) == 4 + 2


def test_a_server_that_heeds_conditions_needs_no_lock(
    small: Configuration, s3: FaultyProxy
) -> None:
    said: list[str] = []
    push_to(small, open_remote(URL), log=said.append)
    assert not any("conditional" in line for line in said)
    assert not any(f"/{push_lock.FOLDER}/" in path for _, path in s3.requests)


def test_two_that_push_to_a_folder_or_by_fsspec_lose_nothing(
    small: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has locks, or not (Lustre, some CIFS and NFS); fsspec offers nothing."""
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    import fsspec

    fsspec.filesystem("memory").store.clear()
    lockless = SimpleNamespace(flock=refuse, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    cases: list[tuple[str, type[FolderRemote | FsspecRemote], Any]] = [
        (str(tmp_path / "share"), FolderRemote, fcntl),
        (str(tmp_path / "lockless"), FolderRemote, lockless),
        ("memory://place/brainbrr", FsspecRemote, fcntl),
    ]
    for number, (url, kind, locks) in enumerate(cases):
        monkeypatch.setattr(locking, "fcntl", locks)
        machines = halves(small, tmp_path / f"case{number}")
        pushed_at_once(machines, [kind(url), kind(url)], [])
        other = machine(small, tmp_path / f"case{number}" / "other")
        assert pull_from(other, url).moved == 4
        assert stored_shards(other) == stored_shards(small)


def test_the_lock_of_a_push_that_died_is_taken_over_and_said(
    small: Configuration, s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    monkeypatch.setattr(push_lock, "STALE_S", 0.1)
    s3.unconditional = "ignored"
    remote = S3Remote(URL)
    dead = f"{Store.of(small).version}/{push_lock.FOLDER}/0123"
    connect_module.put_bytes(remote, dead, b'{"host": "node7", "process": 4321}')
    said: list[str] = []
    assert push_to(small, remote, log=said.append).moved == 4
    (line,) = [line for line in said if "is presumed dead" in line]
    assert "process 4321 on 'node7'" in line
    assert dead not in remote.states("")
    # What is no lock of this program does not stand in the way for good, either.
    connect_module.put_bytes(remote, dead, b"\xff\x00")
    push_to(small, remote, log=said.append)
    assert any("by another program has not renewed its lock" in line for line in said)


def test_who_lives_keeps_the_lock_and_who_lost_it_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_lock, "PAUSE_S", 0.01)
    monkeypatch.setattr(push_lock, "PAUSE_LIMIT_S", 0.02)
    monkeypatch.setattr(push_lock, "RENEWAL_S", 0.02)
    monkeypatch.setattr(push_lock, "STALE_S", 1.0)
    remote = FolderRemote(str(tmp_path))
    put, beats, enough = remote.put, count(1), threading.Event()

    def counted(name: str, path: Path) -> None:
        put(name, path)
        # Far longer than the dead are waited for.
        if next(beats) >= 150:
            enough.set()

    monkeypatch.setattr(remote, "put", counted)
    waits, order = threading.Event(), []

    def second() -> None:
        def log(line: str) -> None:
            assert "dead" not in line
            waits.set()

        with exclusive_push(FolderRemote(str(tmp_path)), "v1", log):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with exclusive_push(remote, "v1", quiet) as still_alone:
            waiting = pool.submit(second)
            assert waits.wait(120)
            assert enough.wait(120)
            assert still_alone()
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    with exclusive_push(remote, "v1", quiet) as still_alone:
        for name in remote.states("v1"):
            remote.remove(name)
        assert not still_alone()
    assert remote.states("") == {}
