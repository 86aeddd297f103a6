"""Nothing of anybody's is lost: what ``cache gc`` removes, what it leaves, and who holds what."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from brainbrr_core.cache import gc, lease, npz_import
from brainbrr_core.cache.build import build
from brainbrr_core.cache.lease import hold, holders
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import Plan, make_plan, plan_corpus, plan_profile
from brainbrr_core.cache.status import status
from brainbrr_core.cache.store import LEASES, MARKER, QUARANTINE, RECORDS, Store
from brainbrr_core.cli.app import app
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.locking import STALE_S, Process
from brainbrr_core.runs.used_versions import STARTED, used_versions
from brainbrr_core.training.run import train
from brainbrr_core.transfer import archive, push
from tests.support.machines import export_to, import_from, pull_from, push_to

OLD = "v1_256hz_10-20_0123456789ab"


def command(settings: Configuration, *words: str) -> Result:
    """One command on a cache root and a runs folder."""
    folders = ["--cache-root", str(settings.cache_root)]
    if "gc" in words:
        folders += ["--runs-dir", str(settings.runs_dir)]
    return CliRunner().invoke(app, [*words, *folders])


def everything(settings: Configuration) -> Plan:
    index = read_index(settings.cache_root)
    return make_plan(
        Store.derived(settings.cache_root, settings.preprocessing),
        settings.preprocessing,
        index,
        index,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def two(built: Configuration, tmp_path: Path) -> tuple[Configuration, Store]:
    """A cache with another version beside the one that is built."""
    old = Store(built.cache_root, OLD)
    shutil.copytree(Store.of(built).folder, old.folder)
    (old.folder / MARKER).unlink()
    old.create()
    return built.model_copy(update={"runs_dir": tmp_path / "runs"}), old


Two = tuple[Configuration, Store]


def test_what_the_store_did_not_write_is_named_and_never_touched(two: Two, tmp_path: Path) -> None:
    settings, old = two
    root = settings.cache_root
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.arrow").write_bytes(b"mine")
    for name in ("venv", "validation", "videos", "v2_256hz_10-20_ffffffffffff", ".spool-mine1234"):
        (root / name).mkdir()
        (root / name / "kept.arrow").write_bytes(b"mine")
    (root / "v1_256hz_10-20_aaaaaaaaaaaa").symlink_to(outside)
    (root / "vfile").write_text("mine")
    (root / ".mine.0a1b2c3d.part").write_text("mine")
    os.utime(root / ".mine.0a1b2c3d.part", (0, 0))
    names = {
        "venv",
        "validation",
        "videos",
        "v2_256hz_10-20_ffffffffffff",
        "v1_256hz_10-20_aaaaaaaaaaaa",
        "vfile",
        ".spool-mine1234",
        ".mine.0a1b2c3d.part",
    }
    before = {name: contents(root / name) for name in names}
    done = command(settings, "cache", "gc", "--yes", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [item["path"] for item in said["items"]] == [str(old.folder)]
    assert {Path(path).name for path in said["foreign"]} == names
    build(plan_profile(settings), settings.preprocessing, workers=1)
    assert {name: contents(root / name) for name in names} == before
    assert (root / "vfile").read_text() == (root / ".mine.0a1b2c3d.part").read_text() == "mine"
    assert contents(outside) == {"kept.arrow": b"mine"}
    values = status(plan_profile(settings), settings.manifest_settings)
    assert {Path(path).name for path in values.foreign} == names
    assert values.other_versions == {}
    assert "not written by brainbrr, never touched: " in command(settings, "cache", "status").stdout


def test_a_version_without_a_marker_is_recognized_and_gets_one(two: Two) -> None:
    settings, old = two
    for name in (MARKER, RECORDS):
        (old.folder / name).unlink()
        # By a record, then by a shard alone.
        assert [store.version for store in everything(settings).store.other_versions()] == [OLD]
    for path in old.folder.rglob("*.arrow"):
        path.write_bytes(b"no shard")
    assert everything(settings).store.other_versions() == []
    derived = Store.of(settings)
    (derived.folder / MARKER).unlink(missing_ok=True)
    update_manifest(plan_profile(settings), settings.manifest_settings)
    assert json.loads((derived.folder / MARKER).read_text())["version"] == derived.version


def test_every_way_into_the_store_leaves_a_marker(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    version = Store.of(built).version
    (Store.of(built).folder / MARKER).unlink()
    copy = f"file://{tmp_path / 'copy'}"
    push_to(built, copy)
    archive_file = tmp_path / "small.tar.zst"
    export_to(built, archive_file)
    pull_from(other, copy)
    third = other.model_copy(update={"cache_root": tmp_path / "third"})
    import_from(third, archive_file)
    # A push opens the version here, and so adopts it.
    for settings in (built, other, third):
        store = Store.of(settings)
        assert json.loads((store.folder / MARKER).read_text())["version"] == version
        assert Store(settings.cache_root, OLD).other_versions() == [store]
        assert holders(store.folder) == []


def test_an_import_of_archives_leaves_a_marker(built: Configuration, tmp_path: Path) -> None:
    folder = tmp_path / "another program"
    folder.mkdir()
    (folder / f"nobody{npz_import.SUFFIX}").write_bytes(b"no archive")
    summary = npz_import.import_archives(folder, built.cache_root, read_index(built.cache_root), ())
    assert list(summary.refused) == [str(folder / f"nobody{npz_import.SUFFIX}")]
    store = Store(built.cache_root, summary.version)
    assert store.is_here()
    # It cannot be built again, so it stays unless it is named.
    assert [item.path for item in gc.kept(everything(built))] == [store.folder]


def test_gc_follows_no_link_and_leaves_files_of_others_where_they_are(
    two: Two, tmp_path: Path
) -> None:
    settings, old = two
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.arrow").write_bytes(b"mine")
    (old.folder / "train" / "elsewhere").symlink_to(outside)
    (old.folder / "notes.txt").write_text("mine")
    quarantine = settings.cache_root / QUARANTINE
    damaged = quarantine / OLD / "train" / "x.arrow"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"damaged")
    (quarantine / "mine.arrow").write_bytes(b"mine")
    done = command(settings, "cache", "gc", "--yes")
    assert done.exit_code == 1
    assert "notes.txt" in done.stdout
    assert contents(outside) == {"kept.arrow": b"mine"}
    assert (old.folder / "notes.txt").read_text() == "mine"
    assert not list(old.folder.rglob("*.arrow"))
    assert contents(quarantine) == {"mine.arrow": b"mine"}
    # What is left is somebody's folder, with the name of a version.
    assert old.folder in everything(settings).store.foreign()


HOLDER = """
import sys
from pathlib import Path
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.store import Store
with hold(Store(Path(sys.argv[1]), sys.argv[2]), "train, profile full"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(store: Store) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root), store.version],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_gc_names_who_holds_a_version_and_waits_for_its_end_or_death(two: Two) -> None:
    settings, old = two
    before = contents(old.folder)
    with held_by_another_process(old) as process:
        done = command(settings, "cache", "gc", "--yes")
        assert done.exit_code == 0, done.output
        assert f"held by train, profile full (process {process.pid} on " in done.stdout
        assert "last used 20" in done.stdout
        assert f"in use: {OLD}: train, profile full" in (
            command(settings, "cache", "status").stdout
        )
        # Naming it does not help either.
        dropped = command(settings, "cache", "gc", "--yes", "--drop", OLD)
        assert "held by" in dropped.stdout
        after = contents(old.folder)
        assert {name: after[name] for name in before} == before
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = command(settings, "cache", "gc", "--yes")
    assert done.exit_code == 0, done.output
    assert not old.folder.exists()
    assert not list(settings.cache_root.glob(".removed-*"))


def test_a_lease_taken_after_the_listing_is_respected(two: Two) -> None:
    settings, old = two
    garbage = gc.find(everything(settings))
    assert [item.path for item in garbage] == [old.folder]
    before = contents(old.folder)
    with hold(old, "evaluate"):
        assert [item.why for item in gc.remove(garbage)] == [f"held by {holders(old.folder)[0]}"]
    # It was used since: whoever does not hold it any more may have begun something.
    os.utime(old.marker, (1, 1))
    assert [item.why for item in gc.remove(garbage)] == ["it was used since it was listed"]
    assert contents(old.folder) == before
    assert gc.remove(gc.find(everything(settings))) == []
    assert not old.folder.exists()


def test_a_lease_that_only_the_moved_folder_shows_brings_it_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where machines do not see each other's locks, a lease may come at the last moment."""
    settings, old = two
    garbage = gc.find(everything(settings))
    before = contents(old.folder)
    real = lease.holders
    with hold(old, "train"):
        monkeypatch.setattr(
            gc, "holders", lambda folder: real(folder) if folder != old.folder else []
        )
        monkeypatch.setattr(Store, "last_use", lambda _store: garbage[0].last_use)
        assert "held by train" in gc.remove(garbage)[0].why
    assert contents(old.folder) == before


def foreign_lease(store: Store, seconds_old: float) -> None:
    """A lease of a process on another machine, touched so long ago."""
    folder = store.folder / LEASES
    folder.mkdir(exist_ok=True)
    path = folder / "0123456789abcdef.json"
    process = Process("far", "another kernel", "pid:[1]", os.getpid(), "1")
    path.write_text(json.dumps(asdict(process) | {"what": "train", "since": "", "lock": True}))
    touched = path.stat().st_mtime - seconds_old
    os.utime(path, (touched, touched))


def test_a_lease_of_another_machine_ends_with_its_heartbeat(two: Two) -> None:
    settings, old = two
    foreign_lease(old, STALE_S - 60)
    assert [holder.process.host for holder in holders(old.folder)] == ["far"]
    assert gc.find(everything(settings)) == []
    foreign_lease(old, STALE_S + 60)
    assert holders(old.folder) == []
    assert [item.path for item in gc.find(everything(settings))] == [old.folder]


def test_latest_does_not_dangle(two: Two) -> None:
    settings, old = two
    latest = settings.cache_root / "latest"
    latest.unlink()
    latest.symlink_to(OLD)
    assert gc.remove(gc.find(everything(settings))) == []
    assert not old.folder.exists()
    assert not latest.is_symlink()


def test_orphans_of_a_version_in_use_or_needed_again_stay(built: Configuration) -> None:
    index = read_index(built.cache_root)
    fewer = replace(index, recordings=index.recordings[1:])
    key = index.recordings[0].partition_key
    store = Store.of(built)
    write_index(fewer, built.cache_root)
    with hold(store, "train"):
        assert gc.find(everything(built), force=True) == []
        assert "1 orphan held by train" in gc.kept(everything(built))[0].why
    garbage = gc.find(everything(built), force=True)
    assert [item.path for item in garbage] == [store.shard_path(key)]
    with hold(store, "train"):
        assert "held by train" in gc.remove(garbage)[0].why
    write_index(index, built.cache_root)
    assert [item.why for item in gc.remove(garbage)] == ["the index has this recording again"]
    assert store.shard_path(key).exists()
    write_index(fewer, built.cache_root)
    assert gc.remove(garbage) == []
    assert not store.shard_path(key).exists()


def test_the_shard_of_a_recording_whose_signal_is_not_used_any_more_is_removed(
    built: Configuration,
) -> None:
    index, store = read_index(built.cache_root), Store.of(built)
    first = replace(index.recordings[0], signal_reason="flat")
    write_index(replace(index, recordings=(first, *index.recordings[1:])), built.cache_root)
    shard = store.shard_path(first.partition_key)
    garbage = gc.find(everything(built), force=True)
    assert [item.path for item in garbage] == [shard]
    assert gc.remove(garbage) == []
    assert not shard.exists()


def test_builders_and_exports_hold_their_version(
    settings: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_corpus(settings)
    seen: list[str] = []

    def look(_result: object) -> None:
        seen.extend(holder.what for holder in holders(plan.store.folder))

    build(plan, settings.preprocessing, workers=1, on_result=look)
    assert seen == ["cache build"] * 12
    real = push.shard_blob

    def blob(*args: Any) -> Any:
        look(None)
        return real(*args)

    monkeypatch.setattr(archive, "shard_blob", blob)
    export_to(settings, tmp_path / "small.tar.zst")
    assert seen[12:] == ["cache export, profile small"] * 12
    # Nothing of a lease is left.
    assert holders(plan.store.folder) == []
    assert not list(plan.store.folder.rglob(".*"))


def test_a_training_that_runs_holds_its_version_and_a_started_one_uses_it(
    built: Configuration, tmp_path: Path
) -> None:
    settings = built.model_copy(update={"runs_dir": tmp_path / "runs"})
    update_manifest(plan_profile(settings), settings.manifest_settings)
    store = Store.of(settings)

    def stop(_step: object) -> None:
        assert [holder.what for holder in holders(store.folder)] == ["train, profile small"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, on_step=stop, log=lambda _line: None)
    assert holders(store.folder) == []
    [run] = settings.runs_dir.iterdir()
    assert not (run / "run.json").exists()
    assert used_versions(settings.runs_dir) == {store.version: [run.name]}
    # Known to the version itself too: a collection may be told of another runs folder.
    assert store.noted_runs() == [str(run)]
    other = Store(settings.cache_root, OLD)
    plan = replace(everything(settings), store=other)
    elsewhere = gc.kept(plan)
    assert [item.path for item in elsewhere] == [store.folder]
    assert f"run {run} was or is trained on it" in elsewhere[0].why
    assert gc.find(plan) == []
    shutil.rmtree(run)
    assert [item.path for item in gc.find(plan)] == [store.folder]


def test_runs_are_asked_for_their_version_without_loading_torch(tmp_path: Path) -> None:
    for name in ("started", "finished", "older", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "started" / STARTED).write_text('{"preprocessing_version": "a"}')
    (tmp_path / "finished" / "run.json").write_text('{"identity": {"preprocessing_version": "b"}}')
    header = json.dumps({"header": {"provenance": {"preprocessing_version": "c"}}})
    text = json.dumps({"__metadata__": {"brainbrr": header}}).encode()
    checkpoint = tmp_path / "older" / "checkpoint.safetensors"
    checkpoint.write_bytes(len(text).to_bytes(8, "little") + text)
    program = (
        "import sys; from pathlib import Path; "
        "from brainbrr_core.runs.used_versions import used_versions; "
        "print(used_versions(Path(sys.argv[1]))); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'b': ['finished'], 'c': ['older'], 'a': ['started']}\n"
    checkpoint.write_bytes(b"\x10")
    with pytest.raises(BrainbrrError, match=r"checkpoint\.safetensors is damaged"):
        used_versions(tmp_path)


def test_gc_ends_what_a_killed_gc_began(two: Two) -> None:
    settings, old = two
    aside = settings.cache_root / f".removed-{OLD}-0123456789abcdef"
    old.folder.rename(aside)
    garbage = gc.find(everything(settings))
    assert [(item.path, item.why) for item in garbage] == [(aside, "left by a killed gc")]
    # It was killed before it saw that it had to give the folder back.
    with hold(Store(aside.parent, aside.name), "train"):
        assert "held by train" in gc.remove(garbage)[0].why
        assert len(list(aside.rglob("*.arrow"))) == 12
    assert gc.remove(garbage) == []
    assert not aside.exists()


def test_an_empty_root_has_nothing_to_remove(built: Configuration, tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_index(Index((), "tusz"), root)
    plan = make_plan(Store(root, OLD), built.preprocessing, Index((), "tusz"), [])
    assert gc.find(plan) == []
    assert plan.store.foreign() == []
