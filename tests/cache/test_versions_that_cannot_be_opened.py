"""A version whose folder, marker or lists cannot be written or read, or go while they are used."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from brainbrr_core.cache import gc
from brainbrr_core.cache import store as store_module
from brainbrr_core.cache.lease import hold, holders
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.shard import UnreadableShard
from brainbrr_core.cache.store import MARKER, RUNS, Store
from brainbrr_core.corpus.index import Index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import append_line
from brainbrr_core.locking import locked
from tests.support.privileges import modes_apply

VERSION = "v1_256hz_10-20_0123456789ab"
OLD = "v1_256hz_10-20_ba9876543210"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A version without shards."""
    store = Store(tmp_path / "root", VERSION)
    store.create()
    return store


def test_a_version_that_cannot_be_made_is_one_line(store: Store) -> None:
    new = Store(store.root, OLD)
    store.root.chmod(0o555)
    with modes_apply(), pytest.raises(BrainbrrError) as error:
        new.create()
    assert str(error.value) == (
        f"the version {new.folder} is not writable (Permission denied): make {store.root} "
        "writable, or set BRAINBRR_CACHE_ROOT to a folder that is"
    )


def test_a_marker_that_may_only_be_read_is_a_lock_as_well(store: Store) -> None:
    before = store.marker.read_bytes()
    store.marker.chmod(0o444)
    with modes_apply(), hold(store, "train"):
        assert [holder.what for holder in holders(store.folder)] == ["train"]
        with (
            store.exclusive(),
            store.marker.open("rb") as file,
            pytest.raises(BlockingIOError),
            locked(file.fileno(), store.marker, wait=False),
        ):
            raise AssertionError("locked twice")
    assert store.marker.read_bytes() == before


def test_a_version_that_is_removed_while_it_is_locked_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store._open_marker
    removals = 0

    def removed_once(store: Store) -> None:
        nonlocal removals
        if not removals:
            shutil.rmtree(store.folder)
            removals += 1

    def opened_late(one: Store) -> IO[bytes]:
        removed_once(one)
        return real(one)

    @contextmanager
    def locked_late(descriptor: int, path: Path) -> Iterator[None]:
        removed_once(store)
        with locked(descriptor, path):
            yield

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_open_marker", opened_late)
        with store.exclusive():
            assert json.loads(store.marker.read_bytes())["version"] == VERSION
    assert removals == 1
    removals = 0
    monkeypatch.setattr(store_module, "locked", locked_late)
    with store.exclusive():
        assert json.loads(store.marker.read_bytes())["version"] == VERSION
        # The lock is that of the file which is there now.
        with (
            store.marker.open("rb") as file,
            pytest.raises(BlockingIOError),
            locked(file.fileno(), store.marker, wait=False),
        ):
            raise AssertionError("locked twice")
    assert removals == 1


def test_a_version_with_a_truncated_marker_is_recognized_by_its_content(store: Store) -> None:
    store.marker.write_bytes(b'{"version"')
    assert not store.is_here()
    # Of another version, it says as little.
    store.marker.write_text(json.dumps({"version": OLD}))
    assert not store.is_here()
    store.create()
    assert store.is_here()


def test_a_version_whose_marker_may_not_be_read_is_not_taken_for_the_stores(store: Store) -> None:
    old = Store(store.root, OLD)
    old.create()
    assert store.other_versions() == [old]
    old.marker.chmod(0)
    with modes_apply():
        assert store.other_versions() == []
        assert store.foreign() == [old.folder]
        assert gc.find(Plan(store, Index((), "tusz"), (), 0)) == []


def test_a_folder_that_fails_while_it_is_read_is_not_empty(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system does not say in its lists what is a folder, each entry is asked."""

    class Entry:
        name = path = "x.arrow"

        def is_dir(self, **_others: bool) -> bool:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store_module, "_listed", lambda _folder: [Entry()])
    with pytest.raises(UnreadableShard) as error:
        store.shard_keys()
    assert error.value.reason == "Input/output error"
    assert str(error.value).startswith(f"{store.folder} could not be read (Input/output error)")


def test_the_last_use_is_that_of_the_best_witness_that_is_left(store: Store) -> None:
    os.utime(store.marker, (300, 300))
    assert store.last_use() == 300
    records = store.folder / "records.jsonl"
    records.touch()
    os.utime(records, (200, 200))
    store.marker.unlink()
    assert store.last_use() == 200
    records.unlink()
    os.utime(store.folder, (100, 100))
    assert store.last_use() == 100
    store.folder.rmdir()
    assert store.last_use() == 0


def test_a_root_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none", VERSION)
    assert store.other_versions() == []
    assert store.foreign() == []
    assert store.shard_keys() == set()
    assert dict(store.records()) == {}


def test_lock_files_of_the_stores_own_files_are_its_own(store: Store) -> None:
    for name in (".index.parquet.lock", ".index.parquet.lock.claim", ".notes.txt.lock"):
        (store.root / name).touch()
    assert store.foreign() == [store.root / ".notes.txt.lock"]


def test_a_run_of_another_machine_keeps_its_version(store: Store, tmp_path: Path) -> None:
    old = Store(store.root, OLD)
    old.create()
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.mkdir()
    lines = [
        {"run": "/runs/7", "host": "far"},
        {"run": str(here), "host": platform.node()},
        # It lay on this machine and was removed.
        {"run": str(gone), "host": platform.node()},
    ]
    for line in lines:
        append_line(old.folder / RUNS, json.dumps(line))
    assert old.noted_runs() == ["/runs/7 on far", str(here)]
    plan = Plan(store, Index((), "tusz"), (), 0)
    [kept] = gc.kept(plan)
    assert kept.why.startswith(f"run /runs/7 on far, {here} was or is trained on it (last used ")
    assert gc.find(plan) == []
    assert (old.folder / MARKER).is_file()
