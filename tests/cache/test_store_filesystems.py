"""Shared roots and their file systems: locks, names, modes, inodes, maps, and other users."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brainbrr_core import locking
from brainbrr_core.cache import gc
from brainbrr_core.cache import plan as plan_module
from brainbrr_core.cache.lease import hold, holders
from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, make_plan, plan_profile
from brainbrr_core.cache.shard import Shard
from brainbrr_core.cache.store import RECORDS, Store
from brainbrr_core.cache.unfinished import exclusive_partial, partial_path
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.spool import Spool, sweep
from brainbrr_core.data import WindowDataset, open_shards
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files import atomic
from brainbrr_core.files import state as state_module
from brainbrr_core.files.atomic import LEFTOVER_S, append_line, is_leftover, replacing
from brainbrr_core.files.state import content_hash, file_state
from brainbrr_core.locking import STALE_S, Process, locked, this_process
from brainbrr_core.machine.filesystem import FileSystem, Kind
from tests.support.services import HANGS_S

VERSION = "v1_256hz_10-20_0123456789ab"


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run ``work`` at once in so many threads; what they raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except (OSError, ValueError, RuntimeError, BrainbrrError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return errors


def test_writers_of_one_process_id_tear_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers on one root are both process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "index.parquet"
    torn = []

    def write(number: int) -> None:
        for _ in range(50):
            with replacing(path) as temporary, temporary.open("wb") as file:
                for _ in range(8):
                    file.write(bytes([number]) * 4096)
                    file.flush()
            content = path.read_bytes()
            if len(content) != 8 * 4096 or len(set(content)) != 1:
                torn.append(len(content))

    assert in_threads(4, write) == []
    assert torn == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_root_is_writable_for_many_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path, VERSION)

    def check(_number: int) -> None:
        for _ in range(200):
            store.check_writable()

    errors = in_threads(8, check)
    assert errors == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def group_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("group_umask")
def test_files_have_the_modes_that_umask_gives(tmp_path: Path) -> None:
    store = Store(tmp_path, VERSION)
    store.create()
    with replacing(tmp_path / "index.parquet") as temporary:
        temporary.write_bytes(b"x")
    with exclusive_partial(store.shard_path("train/x")) as file:
        file.write(b"x")
        partial_path(store.shard_path("train/x")).rename(store.shard_path("train/x"))
    append_line(store.folder / RECORDS, "{}")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o664"}


def test_leftovers_are_recognized_and_removed_when_surely_dead(built: Configuration) -> None:
    store = Store.of(built)
    index = read_index(built.cache_root)

    def found() -> set[Path]:
        plan = make_plan(
            Store.derived(built.cache_root, built.preprocessing), built.preprocessing, index, index
        )
        return {item.path for item in gc.find(plan)}

    names = [
        built.cache_root / ".index.parquet.0123456789abcdef.part",
        built.cache_root / ".writable-0123456789abcdef",
        store.folder / "manifests" / ".full-0123456789ab.parquet.77.part",
    ]
    names[2].parent.mkdir(exist_ok=True)
    for path in names:
        path.write_bytes(b"half")
    link = built.cache_root / ".latest-0123456789abcdef"
    link.symlink_to(store.version)
    assert found() == set()
    old = names[0].stat().st_mtime - LEFTOVER_S - 60
    for path in [*names, link]:
        os.utime(path, (old, old), follow_symlinks=False)
    with names[0].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not is_leftover(names[0])
        assert found() == {*names[1:], link}
    plan = make_plan(
        Store.derived(built.cache_root, built.preprocessing), built.preprocessing, index, index
    )
    assert gc.remove(gc.find(plan)) == []
    assert not any(path.exists() for path in names)
    assert not link.is_symlink()
    assert store.folder.is_dir()
    assert (built.cache_root / "latest").is_symlink()


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock of a file."""
    try:
        with path.open("rb") as file, locked(file.fileno(), path, wait=False):
            return True
    except BlockingIOError:
        return False


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_flock_a_file_is_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(code, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locking, "_PAUSE_S", 0.001)
    path = tmp_path / "lines.jsonl"
    path.touch()
    inside: list[int] = []
    most = []

    def work(number: int) -> None:
        for _ in range(10):
            with path.open("rb") as file, locked(file.fileno(), path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)
            append_line(path, f"{number} {'x' * 100}")

    assert in_threads(4, work) == []
    assert set(most) == {1}
    assert sorted(path.read_text().splitlines()) == sorted(
        f"{number} {'x' * 100}" for number in range(4) for _ in range(10)
    )
    with path.open("rb") as file, locked(file.fileno(), path):
        assert not is_free(path)
    assert is_free(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize("who", ["dead here", "silent elsewhere", "cut short"])
def test_a_lock_file_of_a_dead_holder_is_taken_over(tmp_path: Path, who: str) -> None:
    path = tmp_path / "x"
    path.touch()
    lock = tmp_path / ".x.lock"
    holder = this_process()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    if who == "dead here":
        holder = replace(holder, pid=dead.pid)
    else:
        holder = replace(holder, host="far", kernel="another")
    lock.write_text("{" if who == "cut short" else json.dumps(asdict(holder)))
    if who != "dead here":
        assert not is_free(path)
        touched = lock.stat().st_mtime - STALE_S - 60
        os.utime(lock, (touched, touched))
    with path.open("rb") as file, locked(file.fileno(), path, wait=False):
        assert lock.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_number_used_again_is_another_process() -> None:
    here = this_process()
    assert not here.is_dead()
    assert replace(here, started="1").is_dead()
    # In another container or machine it cannot be seen.
    assert not Process("far", "another", here.pids, 2**22 + 1, "1").is_dead()


@pytest.mark.usefixtures("no_flock")
def test_without_flock_a_lease_holds_and_ends(tmp_path: Path) -> None:
    store = Store(tmp_path, VERSION)
    with hold(store, "train", create=True):
        assert [holder.what for holder in holders(store.folder)] == ["train"]
        [lease] = (store.folder / ".leases").glob("*.json")
        values = json.loads(lease.read_text())
        assert values["lock"] is False
        lease.write_text(json.dumps(values | {"started": "1"}))
        assert holders(store.folder) == []
    assert not list(tmp_path.rglob(".*"))


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "HEARTBEAT_S", 0.01)
    store = Store(tmp_path, VERSION)
    beats = threading.Event()
    real = os.utime

    def touched(*args: Any, **others: Any) -> None:
        real(*args, **others)
        if isinstance(args[0], int):
            beats.set()

    monkeypatch.setattr(os, "utime", touched)
    with hold(store, "train", create=True):
        [lease] = (store.folder / ".leases").glob("*.json")
        real(lease, (1, 1))
        beats.clear()
        assert beats.wait(120)
        assert lease.stat().st_mtime > 1e9


def test_a_folder_that_cannot_be_flushed_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    # A file that did not reach the disk, or a disk that fails, is no such case.
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"), replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"lost")
    assert (tmp_path / "x").read_bytes() == b"whole"
    with pytest.raises(OSError, match="Input/output"):
        atomic.flush(tmp_path)


def test_a_copied_root_opens_each_header_once(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def counted(path: Path) -> Shard:
        opened.append(path)
        return Shard(path)

    monkeypatch.setattr(plan_module, "Shard", counted)
    before = Store.of(built).records()
    first = plan_profile(built)
    assert (len(opened), first.count(State.FRESH)) == (12, 12)
    assert plan_profile(built).items == first.items
    assert len(opened) == 12
    after = Store.of(built).records()
    assert {key: after[key]._replace(state=before[key].state) for key in after} == before
    # Where that cannot be written, it is no error.
    monkeypatch.setattr(Store, "append_records", refuse_writing)
    again = built.cache_root.with_name("again")
    shutil.copytree(built.cache_root, again, symlinks=True)
    copy = built.model_copy(update={"cache_root": again})
    assert plan_profile(copy).count(State.FRESH) == 12


def refuse_writing(*_args: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_two_machines_that_see_other_states_do_not_write_records_for_ever(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Store.of(built).folder / RECORDS
    plan_profile(built)

    def shifted(shard: Path) -> object:
        state = file_state(shard)
        return state._replace(mtime_ns=state.mtime_ns // 100 * 100 + 1)

    sizes = []
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(plan_module, "file_state", shifted)
            plan_profile(built)
        plan_profile(built)
        sizes.append(path.stat().st_size)
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("name", ["fuse.sshfs", "vfat", "cifs", "changes at every look"])
def test_an_inode_that_says_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "x.edf"
    path.write_bytes(b"the bytes")
    monkeypatch.setattr(state_module, "_stable", {})
    assert file_state(path).inode == path.stat().st_ino
    monkeypatch.setattr(state_module, "_stable", {})
    if name.startswith("changes"):
        real, looks = Path.stat, iter(range(1, 1000))

        def changing(self: Path, **others: bool) -> os.stat_result:
            values = list(real(self, **others))
            values[1] = next(looks)
            return os.stat_result(values, {"st_mtime_ns": real(self, **others).st_mtime_ns})

        monkeypatch.setattr(Path, "stat", changing)
    else:
        system = FileSystem("/", name, Kind.NETWORK)
        monkeypatch.setattr(state_module, "file_system", lambda _path: system)
    first = file_state(path)
    assert first.inode == 0
    assert file_state(path) == first
    # Not taken for a file that changed while it was read.
    assert content_hash(path)


def shared(_path: Path) -> FileSystem:
    return FileSystem("/", "nfs4", Kind.NETWORK)


def manifest_of(settings: Configuration) -> tuple[Manifest, Store]:
    plan = plan_profile(settings)
    return update_manifest(plan, settings.manifest_settings).manifest, plan.store


def maps_of(store: Store) -> int:
    """Shards of a store that are mapped now."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return len({line.rpartition(" ")[2] for line in lines if f"{store.folder}/" in line})


def test_no_more_than_a_limit_of_shards_is_mapped(built: Configuration) -> None:
    manifest, store = manifest_of(built)
    rows = np.random.default_rng(3).permutation(len(manifest))[:60]
    free = WindowDataset(manifest, store, ring=1)
    bound = WindowDataset(manifest, store, ring=1, open_shards=2)
    for row in rows:
        expected = free.fetch(np.array([row]))
        batch = bound.fetch(np.array([row]))
        assert torch.equal(batch.signals, expected.signals)
        assert torch.equal(batch.labels, expected.labels)
    del free, expected
    assert 1 <= maps_of(store) <= 2
    # Threads that need more at once than may stay open.
    wide = rows[:16]
    assert torch.equal(
        WindowDataset(manifest, store, open_shards=1).fetch(wide).signals,
        WindowDataset(manifest, store).fetch(wide).signals,
    )


def test_the_limit_follows_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_map_count"
    limit.write_text("1000\n")
    monkeypatch.setattr(open_shards, "MAX_MAPS", limit)
    assert open_shards.open_limit() == 500
    limit.unlink()
    assert open_shards.open_limit() == 32_765


def test_on_a_network_shards_are_read_so_that_a_lost_one_is_a_line(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, store = manifest_of(built)
    rows = np.arange(0, len(manifest), 7)
    expected = WindowDataset(manifest, store).fetch(rows).signals
    monkeypatch.setattr(open_shards, "file_system", shared)
    monkeypatch.setattr(open_shards, "_READ_BATCHES", 2)
    dataset = WindowDataset(manifest, store)
    assert torch.equal(dataset.fetch(rows).signals, expected)
    assert maps_of(store) == 0
    # Mapped, the next window would end the process.
    for recording in manifest.recordings:
        os.truncate(store.shard_path(recording.partition_key), 4096)
    with pytest.raises(WorkRemains, match="damaged"):
        for row in range(len(manifest)):
            dataset.fetch(np.array([row]))


def test_a_sweep_removes_spools_of_the_dead_alone(tmp_path: Path) -> None:
    alive = Spool(tmp_path)
    dead = Spool(tmp_path)
    dead._lock.close()
    mine = tmp_path / ".spool-abcdefgh"
    mine.mkdir()
    (mine / "kept").touch()
    sweep(tmp_path)
    assert alive.folder.is_dir()
    assert not dead.folder.exists()
    assert (mine / "kept").exists()
    assert Store(tmp_path, VERSION).foreign() == [mine]
    alive.close()
    assert not alive.folder.exists()


AS_USER = """
import os, sys
from pathlib import Path
from brainbrr_core.files.atomic import append_line, replacing
from brainbrr_core.cache.lease import hold, holders
from brainbrr_core.cache.shard import Shard, UnreadableShard
from brainbrr_core.cache.unfinished import commit_shard, exclusive_partial
from brainbrr_core.cache.store import Store
from brainbrr_core.files.state import file_state
from brainbrr_core.locking import this_process
# The program itself need not be readable for them: all of it is loaded before.
this_process()
os.setgroups([]); os.setgid(54321); os.setuid(int(sys.argv[1])); os.umask(int(sys.argv[2], 8))
store = Store(Path(sys.argv[3]), sys.argv[4])
target = store.shard_path("train/x")
"""
FIRST = """
with hold(store, "cache build", create=True):
    append_line(store.folder / "records.jsonl", "first")
    with replacing(store.root / "index.parquet") as path:
        path.write_text("first")
    try:
        with exclusive_partial(target) as file:
            file.write(b"half")
            file.flush()
            print("building", flush=True)
            sys.stdin.readline()
            os._exit(9)
    finally:
        pass
"""
SECOND = """
try:
    with exclusive_partial(target, wait=False):
        raise SystemExit("not locked")
except BlockingIOError:
    print("waits", flush=True)
sys.stdin.readline()
with hold(store, "cache build", create=True):
    assert len(holders(store.folder)) == 1, holders(store.folder)
    with exclusive_partial(target) as file:
        file.write(b"whole")
        file.flush()
        commit_shard(target)
    append_line(store.folder / "records.jsonl", "second")
    with replacing(store.root / "index.parquet") as path:
        path.write_text("second")
secret = store.shard_path("train/secret")
try:
    Shard(secret)
except UnreadableShard as error:
    print(error.reason, flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes two other users, which needs root")
@pytest.mark.parametrize("umask", ["002", "022"])
def test_two_users_of_one_group_share_a_root(umask: str) -> None:
    # Not below the test's own folder, which only its user may enter.
    root = Path(tempfile.mkdtemp(prefix="shared-root-"))
    folder = root / VERSION / "train"
    folder.mkdir(parents=True)
    for place in (root, root / VERSION, folder):
        os.chown(place, 54321, 54321)
        place.chmod(0o2775)
    secret = folder / "secret.arrow"
    secret.write_bytes(b"x")
    secret.chmod(0)

    def start(user: int, program: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", AS_USER + program, str(user), umask, str(root), VERSION]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    try:
        first = start(54321, FIRST)
        assert first.stdout is not None
        assert first.stdout.readline() == "building\n"
        second = start(54322, SECOND)
        assert second.stdout is not None
        assert second.stdout.readline() == "waits\n"
        # The first one dies and leaves its partial file and its lease.
        first.communicate("\n", timeout=HANGS_S)
        out, _ = second.communicate("\n", timeout=HANGS_S)
        assert second.returncode == 0
        assert out == "Permission denied\n"
        assert (folder / "x.arrow").read_bytes() == b"whole"
        # What the group may write to is written to; else it is replaced.
        owner = 54321 if umask == "002" else 54322
        assert (folder / "x.arrow").stat().st_uid == owner
        assert (root / VERSION / RECORDS).read_text() == "first\nsecond\n"
        assert (root / "index.parquet").read_text() == "second"
        assert not [path for path in root.rglob(".*") if path.name != ".leases"]
    finally:
        shutil.rmtree(root)


READER = """
from brainbrr_core.cache.shard import Shard
with hold(store, "train"):
    print(len(Shard(target)._text) if target.stat().st_size > 100 else "read", flush=True)
    print(len(holders(store.folder)), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_who_may_only_read_uses_a_version_without_a_lease() -> None:
    root = Path(tempfile.mkdtemp(prefix="read-only-root-"))
    try:
        store = Store(root, VERSION)
        store.create()
        store.shard_path("train/x").parent.mkdir()
        store.shard_path("train/x").write_bytes(b"x")
        for path in (root, store.folder, store.folder / "train"):
            path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", AS_USER + READER, "54322", "022", str(root), VERSION],
            # Another user cannot write what a measurement of coverage would write.
            env={name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "read\n0\n"
        assert "(Permission denied): it is not protected" in done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        shutil.rmtree(root)
