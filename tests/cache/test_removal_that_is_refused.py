"""What ``cache gc`` listed and must not, cannot or need not remove any more, and why it stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.cache import gc
from brainbrr_core.cache.gc import Garbage, Kind
from brainbrr_core.cache.plan import Plan, make_plan
from brainbrr_core.cache.store import MANIFESTS, MARKER, QUARANTINE, RECORDS, Store
from brainbrr_core.cache.unfinished import exclusive_partial, partial_path
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.atomic import LEFTOVER_S
from brainbrr_core.locking import locked, open_to_lock
from tests.support.privileges import modes_apply

VERSION = "v1_256hz_10-20_0123456789ab"
OLD = "v1_256hz_10-20_ba9876543210"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan of a corpus without recordings."""
    store = Store(tmp_path / "root", VERSION)
    store.create()
    write_index(Index((), "tusz"), store.root)
    return Plan(store, Index((), "tusz"), (), 0)


def write(path: Path, *, seconds_old: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"some bytes")
    touched = path.stat().st_mtime - seconds_old
    os.utime(path, (touched, touched))
    return path


def write_partial(store: Store, key: str) -> Path:
    return write(partial_path(store.shard_path(key)))


def found(plan: Plan) -> list[tuple[Path, Kind, int]]:
    return [(item.path, item.kind, item.bytes) for item in gc.find(plan, force=True)]


def reasons(garbage: list[Garbage]) -> list[str]:
    return [item.why for item in gc.remove(garbage)]


def orphan(plan: Plan, key: str) -> list[Garbage]:
    """A shard of no recording, as it is listed."""
    write(plan.store.shard_path(key))
    return gc.find(replace(plan), force=True)


def test_an_unfinished_shard_goes_with_the_end_of_its_builder(plan: Plan) -> None:
    store = plan.store
    partial = write_partial(store, "train/p/x")
    garbage = gc.find(plan)
    assert found(plan) == [(partial, Kind.PARTIAL, len(b"some bytes"))]
    with exclusive_partial(store.shard_path("train/p/x")):
        assert found(plan) == []
        assert reasons(garbage) == ["it is being built"]
        assert partial.exists()
    write_partial(store, "train/p/x")
    assert reasons(garbage) == []
    assert [path.name for path in store.folder.iterdir()] == [MARKER]


def test_an_unfinished_shard_of_the_topmost_folder_leaves_the_version(plan: Plan) -> None:
    partial = write_partial(plan.store, "x")
    assert reasons(gc.find(plan)) == []
    assert not partial.exists()
    assert plan.store.is_here()


def test_an_unfinished_shard_that_goes_meanwhile_is_no_error(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = write_partial(plan.store, "train/p/x")
    garbage = gc.find(plan)

    def gone(path: Path) -> int:
        path.unlink(missing_ok=True)
        return open_to_lock(path)

    monkeypatch.setattr(gc, "open_to_lock", gone)
    assert found(plan) == [(partial, Kind.PARTIAL, 0)]
    assert reasons(garbage) == []


def test_an_unfinished_shard_of_another_builder_is_not_removed(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = write_partial(plan.store, "train/p/x")
    garbage = gc.find(plan)

    @contextmanager
    def replaced(descriptor: int, path: Path, *, wait: bool = True) -> Iterator[None]:
        with locked(descriptor, path, wait=wait):
            path.rename(plan.store.shard_path("train/p/x"))
            path.write_bytes(b"of another builder")
            yield

    monkeypatch.setattr(gc, "locked", replaced)
    assert reasons(garbage) == []
    assert partial.read_bytes() == b"of another builder"


def test_an_unfinished_shard_that_may_not_be_opened_counts_as_in_work(plan: Plan) -> None:
    partial = write_partial(plan.store, "train/p/x")
    partial.chmod(0)
    with modes_apply():
        assert found(plan) == []


def test_what_may_not_be_removed_is_one_line(plan: Plan) -> None:
    partial = write_partial(plan.store, "train/p/x")
    garbage = gc.find(plan)
    partial.parent.chmod(0o555)
    root = plan.store.root
    with modes_apply(), pytest.raises(BrainbrrError) as error:
        gc.remove(garbage)
    assert str(error.value) == (
        f"{partial} is not writable (Permission denied): make {root} writable, or set "
        "BRAINBRR_CACHE_ROOT to a folder that is"
    )
    assert partial.exists()


def test_a_temporary_file_that_is_used_again_stays(plan: Plan) -> None:
    path = write(plan.store.root / ".index.parquet.0a1b.part", seconds_old=LEFTOVER_S + 60)
    garbage = gc.find(plan)
    assert found(plan) == [(path, Kind.LEFTOVER, len(b"some bytes"))]
    with path.open("rb") as file, locked(file.fileno(), path):
        assert reasons(garbage) == ["it is in use"]
        assert path.exists()
    assert reasons(garbage) == []
    assert not path.exists()


def test_a_version_that_was_removed_or_given_up_since_is_left(plan: Plan) -> None:
    old = Store(plan.store.root, OLD)
    old.create()
    garbage = gc.find(plan)
    assert [item.path for item in garbage] == [old.folder]
    # Somebody emptied it and has put a file of their own there.
    old.marker.unlink()
    write(old.folder / "mine.txt")
    assert reasons(garbage) == ["it is no version of the store"]
    assert (old.folder / "mine.txt").exists()
    shutil.rmtree(old.folder)
    assert reasons(garbage) == []
    assert not old.folder.exists()


def test_an_orphan_that_is_being_built_stays(plan: Plan) -> None:
    store = plan.store
    garbage = orphan(plan, "train/p/x")
    assert [item.path for item in garbage] == [store.shard_path("train/p/x")]
    with exclusive_partial(store.shard_path("train/p/x")):
        assert reasons(garbage) == ["it is being built"]
        assert store.shard_path("train/p/x").exists()
    assert reasons(garbage) == []
    # Folders that became empty went along, the version did not.
    assert [path.name for path in store.folder.iterdir()] == [MARKER]
    assert store.is_here()


def test_a_version_goes_with_the_locks_and_temporary_files_of_its_own_files(plan: Plan) -> None:
    old = Store(plan.store.root, OLD)
    old.create()
    for name in (
        RECORDS,
        f".{RECORDS}.lock",
        f".{RECORDS}.lock.claim",
        f".{RECORDS}.0a1b.part",
        f"{MANIFESTS}/.full-0123.parquet.0a1b.part",
        f"{MANIFESTS}/..full-0123.parquet.0a1b.part.lock",
        "train/p/..x.arrow.partial.lock",
    ):
        path = old.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert reasons(gc.find(plan)) == []
    assert not old.folder.exists()
    # The same names around a file that the store does not write are somebody's.
    old.create()
    for name in (".notes.txt.lock", ".notes.txt.0a1b.part"):
        (old.folder / name).touch()
    [why] = reasons(gc.find(plan))
    assert why.startswith("it has 2 files that the store did not write, such as ")
    assert {path.name for path in old.folder.iterdir()} == {
        ".notes.txt.lock",
        ".notes.txt.0a1b.part",
    }


def test_nothing_is_removed_behind_a_link(plan: Plan, tmp_path: Path) -> None:
    store = plan.store
    quarantined = write(tmp_path / "quarantine" / OLD / "x.arrow")
    (store.root / QUARANTINE).symlink_to(tmp_path / "quarantine")
    partial = write_partial(Store(tmp_path, VERSION), "train/p/x")
    shutil.rmtree(store.folder)
    store.folder.symlink_to(tmp_path / VERSION)
    assert found(plan) == []
    assert quarantined.exists()
    assert partial.exists()


def test_orphans_are_those_of_the_index_that_is_read_anew(built: Configuration) -> None:
    """A control of the plans above: with recordings, only what none of them names is listed."""
    store, index = Store.of(built), read_index(built.cache_root)
    path = write(store.shard_path("train/nobody/x"))
    plan = make_plan(store, built.preprocessing, index, index)
    assert [(item.path, item.why) for item in gc.find(plan, force=True)] == [
        (path, "orphan: no recording of the index")
    ]
