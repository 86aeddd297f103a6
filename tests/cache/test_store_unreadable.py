"""A shard that cannot be read is no damaged shard: nothing moves, nothing is built over it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from brainbrr_core.cache import manifest_file
from brainbrr_core.cache import verify as verify_module
from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import make_manifest
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.shard import DamagedShard, Shard, UnreadableShard
from brainbrr_core.cache.shard_build import build_one
from brainbrr_core.cache.store import QUARANTINE, RECORDS, Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration
from brainbrr_core.data import WindowDataset, open_shards
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.transfer.push import shard_blob
from tests.support.services import HANGS_S

#: What a system may say of a file that is whole.
REASONS = [
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    MemoryError(),
]


def shards(store: Store) -> dict[str, bytes]:
    return {key: store.shard_path(key).read_bytes() for key in sorted(store.shard_keys())}


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, BaseException], None]:
    """Make one file fail when it is opened or, at ``late``, when its bytes are asked for."""

    def fail(path: Path, error: BaseException, late: bool = False) -> None:
        real_open, real_pread = os.open, os.pread
        descriptors: set[int] = set()

        def opened(name: Any, *args: int, **others: int) -> int:
            if name == path and not late:
                raise error
            descriptor = real_open(name, *args, **others)
            descriptors.discard(descriptor)
            if name == path:
                descriptors.add(descriptor)
            return descriptor

        def read(descriptor: int, size: int, offset: int) -> bytes:
            # The header can be read, the payload cannot.
            if late and descriptor in descriptors and size > 100_000:
                raise error
            return real_pread(descriptor, size, offset)

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "pread", read)

    return fail


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", REASONS, ids=lambda e: getattr(e, "strerror", None) or "memory")
def test_verify_moves_nothing_that_it_could_not_read(
    built: Configuration,
    unreadable: Callable[..., None],
    error: BaseException,
    late: bool,
) -> None:
    store = Store.of(built)
    before = shards(store)
    victim = sorted(before)[3]
    unreadable(store.shard_path(victim), error, late)
    done = CliRunner().invoke(
        app, ["cache", "verify", "--json", "--cache-root", str(built.cache_root)]
    )
    said = json.loads(done.stdout)
    reason = getattr(error, "strerror", None) or "out of memory"
    assert done.exit_code == 1
    assert (said["damaged"], said["unreadable"]) == ({}, {victim: reason})
    assert said["checked"] == 12
    assert not (built.cache_root / QUARANTINE).exists()


def test_little_memory_damages_nothing(built: Configuration) -> None:
    store = Store.of(built)
    before = shards(store)
    done = subprocess.run(
        [
            *("bash", "-c", f'ulimit -v 900000; exec "{sys.executable}" -c "$0" "$@"', MAIN),
            *("cache", "verify", "--cache-root", str(built.cache_root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "moved to quarantine" not in done.stdout
    assert shards(store) == before
    assert not (built.cache_root / QUARANTINE).exists()


MAIN = "from brainbrr_core.cli.app import main; main()"


def test_nothing_is_built_pulled_listed_or_trained_over_it(
    built: Configuration, unreadable: Callable[..., None]
) -> None:
    store = Store.of(built)
    made = update_manifest(plan_profile(built), built.manifest_settings)
    before = shards(store)
    fresh = {item.recording.partition_key: item for item in plan_profile(built).items}
    victim = sorted(before)[0]
    (store.folder / RECORDS).unlink()
    unreadable(store.shard_path(victim), REASONS[0])
    plan = plan_profile(built)
    assert [item.recording.partition_key for item in plan.unreadable] == [victim]
    assert plan.reasons() == {"unreadable: Too many open files": 1}
    assert plan.to_build == []
    assert build(plan, built.preprocessing, workers=1).built == []
    item = fresh[victim]
    outcome = build_one(store, built.preprocessing, item.recording, item.fingerprint)
    assert "Too many open files" in outcome.error
    done = CliRunner().invoke(app, ["cache", "build", "--cache-root", str(built.cache_root)])
    assert done.exit_code == 1
    assert f"failed: {victim}: its shard could not be read and was left" in done.stdout
    for attempt in (
        lambda: make_manifest(plan, built.manifest_settings),
        lambda: check(ProfileCache.of(built)),
        lambda: shard_blob(store, item),
        lambda: store.has_whole_shard(victim, item.fingerprint),
        lambda: WindowDataset(made.manifest, store),
    ):
        with pytest.raises(UnreadableShard, match="Too many open files"):
            attempt()
    assert {key: store.shard_path(key).stat().st_size for key in before} == {
        key: len(content) for key, content in before.items()
    }


def test_a_window_whose_shard_cannot_be_mapped_is_one_line(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = update_manifest(plan_profile(built), built.manifest_settings)
    dataset = WindowDataset(made.manifest, Store.of(built))

    def refuse(*_args: object, **_others: object) -> None:
        raise RuntimeError("unable to open file <x> in read-only mode: Too many open files (24)")

    monkeypatch.setattr("torch.from_file", refuse)
    with pytest.raises(UnreadableShard, match=r"could not be read \(Too many open files"):
        dataset.fetch(np.array([0]))


def test_a_damaged_shard_may_promise_any_number_of_bytes(tmp_path: Path) -> None:
    """What asks for more memory than there is is damage, where the file is not that long."""
    path = tmp_path / "x.arrow"
    # The footer's length, in front of the last six bytes, is said to be 2 GB.
    path.write_bytes(b"ARROW1\0\0" + b"\0" * 1000 + b"\xff\xff\xff\x7fARROW1")
    with pytest.raises(DamagedShard):
        Shard(path)
    path.write_bytes(b"")
    with pytest.raises(DamagedShard):
        Shard(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_shard_that_was_replaced_since_it_was_found_damaged_stays(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    key = sorted(store.shard_keys())[2]
    good = store.shard_path(key).read_bytes()
    flip(store.shard_path(key))
    real = verify_module.quarantine

    def replaced_meanwhile(of: Store, damaged: str) -> bool:
        store.shard_path(damaged).write_bytes(good)
        return real(of, damaged)

    monkeypatch.setattr(verify_module, "quarantine", replaced_meanwhile)
    assert verify(store).damaged == {}
    assert store.shard_path(key).read_bytes() == good
    assert not (built.cache_root / QUARANTINE).exists()


def test_a_shard_that_another_verify_moved_is_no_error(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    first, second = sorted(store.shard_keys())[:2]
    flip(store.shard_path(first))
    real = verify_module.quarantine

    def moved_meanwhile(of: Store, damaged: str) -> bool:
        assert real(of, damaged)
        return real(of, damaged)

    monkeypatch.setattr(verify_module, "quarantine", moved_meanwhile)
    keys = store.shard_keys() | {"train/gone"}
    monkeypatch.setattr(Store, "shard_keys", lambda _store: keys)
    result = verify(store)
    assert set(result.damaged) == {first}
    # One was listed and gone when it was looked at.
    assert result.checked == 12
    assert store.shard_path(second).is_file()


def test_verifies_at_once_all_end_well(built: Configuration) -> None:
    store = Store.of(built)
    victims = sorted(store.shard_keys())[:6]
    for key in victims:
        flip(store.shard_path(key))
    words = [sys.executable, "-c", MAIN, "cache", "verify", "--cache-root", str(built.cache_root)]
    both = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=HANGS_S)
        assert "Traceback" not in err
        assert "Errno" not in err + out
        assert process.returncode in (0, 1)
    assert len(store.shard_keys()) == 6
    moved = (built.cache_root / QUARANTINE / store.version).rglob("*.arrow")
    assert len(list(moved)) == 6


READ_ONLY = OSError(errno.EROFS, "Read-only file system")


def test_a_root_that_cannot_be_written_to_is_one_line(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)

    def refuse(*_args: object, **_others: object) -> None:
        raise READ_ONLY

    with monkeypatch.context() as patch:
        patch.setattr(manifest_file, "replacing", refuse)
        with pytest.raises(BrainbrrError, match=r"manifest .* is not writable \(Read-only file"):
            update_manifest(plan_profile(built), built.manifest_settings)
    key = sorted(store.shard_keys())[0]
    flip(store.shard_path(key))
    with monkeypatch.context() as patch:
        patch.setattr(verify_module, "exclusive_partial", refuse)
        result = verify(store)
    assert (set(result.damaged), result.not_moved) == ({key}, {key: "Read-only file system"})
    assert store.shard_path(key).is_file()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", refuse)
        with pytest.raises(BrainbrrError, match="BRAINBRR_CACHE_ROOT"):
            store.check_writable()


def test_a_manifest_that_cannot_be_read_is_not_called_damaged(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = update_manifest(plan_profile(built), built.manifest_settings)

    def refuse(_path: Path) -> bytes:
        raise REASONS[0]

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(WorkRemains, match=r"could not be read \(Too many open files\)"):
        manifest_file.read_manifest(made.path)


def test_a_shard_is_read_not_mapped_unless_the_caller_maps_it(built: Configuration) -> None:
    store = Store.of(built)
    key = sorted(store.shard_keys())[0]
    path = store.shard_path(key)
    shard = Shard(path)
    whole = shard.batch(0).copy()
    assert str(path) not in Path("/proc/self/maps").read_text()
    # Cut short under its reader, a mapped file would end the process.
    os.truncate(path, 5000)
    with pytest.raises(DamagedShard):
        shard.batch(0)
    assert whole.any()
    assert open_shards.open_limit() > 0


def test_a_folder_that_cannot_be_listed_is_not_empty(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    victim = store.folder / "train"
    real = os.scandir

    def refuse(path: Any) -> object:
        if str(path) == str(victim):
            raise OSError(errno.EMFILE, "Too many open files", str(victim))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UnreadableShard, match="Too many open files"):
        verify(store)
    done = CliRunner().invoke(app, ["cache", "verify", "--cache-root", str(built.cache_root)])
    assert isinstance(done.exception, UnreadableShard)
    assert done.exception.exit_status == 1


def test_where_no_thread_can_be_started_verify_is_one_line(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = shards(Store.of(built))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(WorkRemains, match="can't start new thread"):
        verify(Store.of(built))
    assert shards(Store.of(built)) == before
    assert not (Store.of(built).folder / ".leases").exists()


@pytest.mark.parametrize(
    "error", [pa.ArrowException("Unknown error: std::bad_alloc"), ImportError("no memory")]
)
def test_what_the_reader_lacks_is_no_damage(
    built: Configuration, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Under little memory, the reader itself fails, with errors of no kind."""
    before = shards(Store.of(built))

    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr("pyarrow.ipc.open_file", fail)
    result = verify(Store.of(built))
    assert (result.damaged, set(result.unreadable)) == ({}, set(before))
    assert shards(Store.of(built)) == before
