"""The store: what was built is what the plan expects, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.cache import gc
from brainbrr_core.cache import plan as plan_module
from brainbrr_core.cache.build import BuildSummary, build
from brainbrr_core.cache.manifest import make_manifest
from brainbrr_core.cache.manifest_file import manifest_path, update_manifest
from brainbrr_core.cache.plan import Plan, State, plan_corpus
from brainbrr_core.cache.records import BuildRecord
from brainbrr_core.cache.selection import select
from brainbrr_core.cache.shard import BLOCK_BYTES, Shard
from brainbrr_core.cache.status import status
from brainbrr_core.cache.store import RECORDS, Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration, Labels, Preprocessing, Windows
from brainbrr_core.configuration.settings import ChannelRules, Selection
from brainbrr_core.constants import MontageName
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, update_index, write_index
from brainbrr_core.edf.channels import Aliases
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files import room
from brainbrr_core.files.state import FileState
from brainbrr_core.signal.quantization import SCALE
from tests.support.edf_files import write_edf
from tests.support.services import HANGS_S
from tests.support.signal_reference import chain, filtered, settled
from tests.support.small_run import small_config


def made(settings: Configuration) -> Plan:
    """Build everything and give the plan of the built store."""
    plan = plan_corpus(settings)
    summary = build(plan, settings.preprocessing, workers=1)
    assert summary.failed == []
    return plan_corpus(settings)


def rebuilt(settings: Configuration) -> list[str]:
    """Partition keys that a build now makes."""
    summary = build(plan_corpus(settings), settings.preprocessing, workers=1)
    assert summary.failed == []
    return sorted(result.partition_key for result in summary.built)


def shard_bytes(store: Store) -> dict[str, bytes]:
    return {key: store.shard_path(key).read_bytes() for key in sorted(store.shard_keys())}


def states(plan: Plan) -> dict[State, int]:
    return {state: plan.count(state) for state in State if plan.count(state)}


def test_the_version_is_the_one_that_was_published() -> None:
    """A change of this name means that every cache in the world is stale: bump on purpose."""
    assert preprocessing_version(Preprocessing()) == "v2_256hz_10-20_89f91765f0ac"
    others = (Preprocessing(notch_hz=50), Preprocessing(scale="robust"))
    names = {preprocessing_version(settings) for settings in (Preprocessing(), *others)}
    assert len(names) == 3


def test_a_shard_holds_what_the_reference_chain_gives(settings: Configuration) -> None:
    plan = made(settings)
    for item in plan.items[:3]:
        shard = Shard(plan.store.shard_path(item.recording.partition_key))
        source = open_edf(Path(item.recording.path))
        assert source.missing == shard.header.interpolated
        if source.missing:
            continue
        data = source.read(0, source.samples).astype(np.float64)
        expected = chain(data, source.rate)
        before = settled(filtered(data, source.rate))
        assert shard.header.mean == pytest.approx(before.mean(axis=1), abs=1e-4)
        assert shard.header.deviation == pytest.approx(before.std(axis=1), rel=1e-5)
        stored = np.concatenate(list(shard.blocks(0, shard.header.blocks)), axis=1) * SCALE
        assert shard.header.samples == expected.shape[1]
        assert np.abs(stored[:, : shard.header.samples] - expected).max() < 0.001
        assert not stored[:, shard.header.samples :].any()
        assert len(stored[0]) * 19 * 2 == shard.header.blocks * BLOCK_BYTES


def test_the_same_input_gives_the_same_bytes(settings: Configuration, tmp_path: Path) -> None:
    first = shard_bytes(made(settings).store)
    other = settings.model_copy(update={"cache_root": tmp_path / "second"})
    plan = plan_corpus(other)
    build(plan, other.preprocessing, workers=2)
    assert shard_bytes(plan.store) == first
    assert len(first) == 12


def test_nothing_is_rebuilt_that_need_not_be(settings: Configuration) -> None:
    assert states(made(settings)) == {State.FRESH: 12}
    assert rebuilt(settings) == []
    # The records are a memo: without them the shards tell for themselves.
    (Store.of(settings).folder / RECORDS).unlink()
    assert states(plan_corpus(settings)) == {State.FRESH: 12}


def test_one_changed_edf_makes_one_recording_stale(settings: Configuration) -> None:
    plan = made(settings)
    victim = plan.items[4].recording
    path = Path(victim.path)
    content = bytearray(path.read_bytes())
    content[-5000] ^= 0x55
    path.write_bytes(bytes(content))
    changed = plan_corpus(settings)
    assert states(changed) == {State.FRESH: 11, State.STALE: 1}
    assert changed.reasons() == {"stale: source changed": 1}
    before = shard_bytes(plan.store)
    assert rebuilt(settings) == [victim.partition_key]
    after = shard_bytes(plan.store)
    assert [key for key in after if after[key] != before[key]] == [victim.partition_key]
    assert states(plan_corpus(settings)) == {State.FRESH: 12}


def test_a_plan_sees_a_changed_edf_before_the_index_does(settings: Configuration) -> None:
    victim = made(settings).items[4].recording
    Path(victim.path).touch()
    plan = plan_module.plan_profile(settings)
    assert plan.reasons() == {"stale: source changed": 1}
    # The index finds that the bytes are the same.
    assert states(plan_corpus(settings)) == {State.FRESH: 12}


def test_a_damaged_shard_that_nobody_moved_away_is_built_anew(settings: Configuration) -> None:
    store = made(settings).store
    good = shard_bytes(store)
    victim = sorted(good)[6]
    store.shard_path(victim).write_bytes(good[victim][:-4000])
    assert rebuilt(settings) == [victim]
    assert shard_bytes(store) == good


def test_an_added_recording_is_missing_and_a_removed_one_is_an_orphan(
    settings: Configuration, corpus: Path
) -> None:
    plan = made(settings)
    removed = plan.items[0].recording
    Path(removed.path).unlink()
    new = Path(plan.items[1].recording.path).with_name("added_s001_t000.edf")
    write_edf(new, seconds=70)
    # One of twelve is more than the 5 % that may vanish unasked.
    update_index(str(corpus), settings.cache_root, force=True)
    after = plan_module.plan_profile(settings)
    assert states(after) == {State.FRESH: 11, State.MISSING: 1}
    assert after.orphans == (removed.partition_key,)
    assert len(rebuilt(settings)) == 1
    assert after.store.shard_path(removed.partition_key).exists()


def test_damage_of_every_kind_is_found_and_repaired(settings: Configuration) -> None:
    plan = made(settings)
    store = plan.store
    good = shard_bytes(store)
    flipped, truncated, swapped, deleted = sorted(good)[:4]
    content = bytearray(good[flipped])
    content[len(content) // 2] ^= 1
    store.shard_path(flipped).write_bytes(bytes(content))
    store.shard_path(truncated).write_bytes(good[truncated][:-2000])
    shutil.copy(store.shard_path(sorted(good)[5]), store.shard_path(swapped))
    store.shard_path(deleted).unlink()
    found = {item.recording.partition_key: item.state for item in plan_corpus(settings).items}
    assert found[truncated] == State.CORRUPT
    assert found[swapped] == State.CORRUPT
    assert found[deleted] == State.MISSING
    result = verify(store)
    assert set(result.damaged) == {flipped, truncated, swapped}
    assert rebuilt(settings) == sorted([flipped, truncated, swapped, deleted])
    assert shard_bytes(store) == good
    assert verify(store).damaged == {}


def test_a_changed_parameter_makes_everything_stale_and_keeps_the_old_version(
    settings: Configuration,
) -> None:
    old = made(settings).store
    before = shard_bytes(old)
    bumped = settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    plan = plan_corpus(bumped)
    assert states(plan) == {State.STALE: 12}
    assert plan.reasons() == {"stale: version changed": 12}
    assert len(rebuilt(bumped)) == 12
    assert shard_bytes(old) == before
    assert states(plan_corpus(settings)) == {State.FRESH: 12}
    assert old.version in status(plan_corpus(bumped), bumped.manifest_settings).other_versions


@pytest.mark.parametrize(
    "change",
    [
        {"windows": Windows(length_s=30)},
        {"windows": Windows(stride_s=20)},
        {"labels": Labels(seizure=("seiz", "gnsz", "fnsz"))},
    ],
)
def test_a_change_of_windows_or_labels_rebuilds_no_signal(
    settings: Configuration, change: dict[str, object]
) -> None:
    plan = made(settings)
    first = update_manifest(plan, settings.manifest_settings)
    other = settings.model_copy(update=change)
    assert rebuilt(other) == []
    assert manifest_path(plan.store, other.manifest_settings) != first.path
    second = update_manifest(plan_corpus(other), other.manifest_settings)
    assert second.rewritten
    assert not update_manifest(plan_corpus(settings), settings.manifest_settings).rewritten


def test_a_smaller_profile_is_a_head_start_on_a_larger_one(settings: Configuration) -> None:
    small = settings.model_copy(update={"selection": Selection(recordings=5)})
    first = set(rebuilt(small))
    assert len(first) == 5
    second = set(rebuilt(settings))
    assert len(second) == 7
    assert not first & second
    assert states(plan_corpus(small)) == {State.FRESH: 5}


def test_profiles_grow_without_dropping_and_have_seizures_in_each_split(
    settings: Configuration,
) -> None:
    plan_corpus(settings)
    recordings = list(read_index(settings.cache_root))
    previous: set[str] = set()
    for count in range(1, 13):
        chosen = select(recordings, Selection(recordings=count))
        keys = {r.partition_key for r in chosen}
        assert len(keys) == count
        assert previous <= keys
        previous = keys
        if count >= 5:
            assert {r.split for r in chosen if r.events} == {"train", "dev", "eval"}


def test_a_recording_that_fails_fails_alone(settings: Configuration) -> None:
    plan = plan_corpus(settings)
    victim = Path(plan.items[3].recording.path)
    victim.write_bytes(victim.read_bytes()[:-10_000])
    summary = build(plan, settings.preprocessing, workers=1)
    assert [r.partition_key for r in summary.failed] == [plan.items[3].recording.partition_key]
    assert "brainbrr index" in summary.failed[0].error
    assert len(summary.built) == 11


def test_an_edf_replaced_while_it_is_read_leaves_no_shard(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_corpus(settings)
    victim = plan.items[0].recording
    real_open = open_edf

    def replaced(
        path: Path,
        bad: tuple[str, ...],
        rules: ChannelRules,
        montage: MontageName,
        aliases: Aliases,
    ) -> object:
        source = real_open(path, bad, rules, montage, aliases)
        os.utime(path, ns=(1, 1))
        return source

    monkeypatch.setattr("brainbrr_core.cache.shard_build.open_edf", replaced)
    one = [item for item in plan.items if item.recording is victim]
    summary = build(Plan(plan.store, plan.index, tuple(one), 0), settings.preprocessing, workers=1)
    assert len(summary.failed) == 1
    assert not plan.store.shard_path(victim.partition_key).exists()


BUILDER = """
import sys
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.configuration import Overrides, load
settings = load(Overrides(config=sys.argv[1]), {})
summary = build(
    plan_profile(settings),
    settings.preprocessing,
    workers=1,
    on_result=lambda result: print("done", flush=True),
)
print(len(summary.built), len(summary.failed))
"""


def start_builder(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            BUILDER,
            small_config(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_a_killed_builder_leaves_nothing_that_is_trusted(
    settings: Configuration, tmp_path: Path, kills: int
) -> None:
    clean = settings.model_copy(update={"cache_root": tmp_path / "clean"})
    expected = shard_bytes(made(clean).store)
    plan_corpus(settings)
    store = Store.of(settings)
    chance = random.Random(1)
    for _ in range(kills):
        for key in store.shard_keys():
            store.shard_path(key).unlink()
        with start_builder(tmp_path) as builder:
            assert builder.stdout is not None
            done = chance.randrange(1, 6)
            assert [builder.stdout.readline() for _ in range(done)] == ["done\n"] * done
            # At any moment of the next shard, some 100 ms.
            time.sleep(chance.uniform(0.0, 0.1))
            builder.send_signal(signal.SIGKILL)
        assert builder.returncode == -signal.SIGKILL
        assert verify(store).damaged == {}
        assert len(store.shard_keys()) >= done
    rebuilt(settings)
    assert shard_bytes(store) == expected
    assert list(store.folder.rglob("*.partial")) == []


def test_two_builders_at_once_build_each_recording_once(
    settings: Configuration, tmp_path: Path
) -> None:
    plan_corpus(settings)
    builders = [start_builder(tmp_path) for _ in range(2)]
    counts = []
    for builder in builders:
        output, _ = builder.communicate(timeout=HANGS_S)
        assert builder.returncode == 0
        counts.append([int(word) for word in output.splitlines()[-1].split()])
    assert sum(built for built, _ in counts) == 12
    assert sum(failed for _, failed in counts) == 0
    assert states(plan_corpus(settings)) == {State.FRESH: 12}
    assert verify(Store.of(settings)).damaged == {}


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
"""


def test_a_disk_that_refuses_a_write_leaves_nothing_half_written(
    settings: Configuration, tmp_path: Path
) -> None:
    clean = settings.model_copy(update={"cache_root": tmp_path / "clean"})
    expected = shard_bytes(made(clean).store)
    plan_corpus(settings)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK + BUILDER, small_config(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    built, failed = (int(word) for word in done.stdout.splitlines()[-1].split())
    too_large = sum(len(content) > 1_500_000 for content in expected.values())
    assert (built, failed) == (12 - too_large, too_large)
    assert too_large > 0
    store = Store.of(settings)
    assert verify(store).damaged == {}
    assert list(store.folder.rglob(".*")) == []
    rebuilt(settings)
    assert shard_bytes(store) == expected


def test_latest_points_at_a_version_that_is_complete(settings: Configuration) -> None:
    latest = settings.cache_root / "latest"
    small = settings.model_copy(update={"selection": Selection(recordings=5)})
    rebuilt(small)
    assert not latest.exists()
    rebuilt(settings)
    assert latest.readlink() == Path(Store.of(settings).version)
    bumped = settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    rebuilt(bumped.model_copy(update={"selection": Selection(recordings=5)}))
    assert latest.readlink() == Path(Store.of(settings).version)
    rebuilt(bumped)
    assert latest.readlink() == Path(Store.of(bumped).version)


def everything(settings: Configuration) -> Plan:
    return plan_module.plan_profile(settings.model_copy(update={"selection": Selection()}))


def test_gc_removes_what_nothing_selects_and_nothing_else(settings: Configuration) -> None:
    old = settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    made(old)
    plan = made(settings)
    before = shard_bytes(plan.store)
    orphan = plan.store.shard_path("train/gone/s001/01_tcp_ar/gone_s001_t000")
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x" * 100)
    left = orphan.with_name(".gone.arrow.partial")
    left.write_bytes(b"half")
    with pytest.raises(BrainbrrError, match="nothing was removed"):
        gc.find(everything(settings))
    garbage = gc.find(everything(settings), force=True)
    assert {item.path for item in garbage} == {Store.of(old).folder, orphan, left}
    kept = gc.find(everything(settings), {Store.of(old).version}, force=True)
    assert {item.path for item in kept} == {orphan, left}
    gc.remove(garbage)
    assert shard_bytes(plan.store) == before
    assert not Store.of(old).folder.exists()
    assert not orphan.parent.exists()
    assert gc.find(everything(settings)) == []


def test_a_source_that_changed_behind_its_time_is_found_by_a_deep_check(
    settings: Configuration,
) -> None:
    plan = made(settings)
    path = Path(plan.items[2].recording.path)
    status_before = path.stat()
    content = bytearray(path.read_bytes())
    content[-4000] ^= 0x11
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status_before.st_atime_ns, status_before.st_mtime_ns))
    assert states(plan_corpus(settings)) == {State.FRESH: 12}
    assert verify(plan.store).changed_sources == ()
    deep = verify(plan.store, plan.index)
    assert deep.changed_sources == (plan.items[2].recording.partition_key,)
    assert (deep.sources, deep.damaged) == (12, {})


def test_a_machine_without_edfs_plans_from_the_index(settings: Configuration, corpus: Path) -> None:
    made(settings)
    corpus.rename(corpus.with_name("elsewhere"))
    plan = plan_module.plan_profile(settings)
    assert states(plan) == {State.FRESH: 12}
    assert plan.sources_unseen == 12
    without = settings.model_copy(update={"data_dir": None})
    assert states(plan_corpus(without)) == {State.FRESH: 12}


def test_a_root_that_is_not_writable_is_refused_before_anything_is_built(
    settings: Configuration, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    blocked = settings.model_copy(update={"cache_root": tmp_path / "file" / "cache"})
    with pytest.raises(BrainbrrError, match="not writable"):
        plan_corpus(blocked)


def test_a_root_on_another_file_system_or_behind_a_link_works(
    settings: Configuration, tmp_path: Path
) -> None:
    expected = shard_bytes(made(settings).store)
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK):
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir=shared_memory) as place:
        link = tmp_path / "link"
        link.symlink_to(place)
        assert Path(place).stat().st_dev != tmp_path.stat().st_dev
        elsewhere = settings.model_copy(update={"cache_root": link / "cache"})
        assert shard_bytes(made(elsewhere).store) == expected
        assert verify(Store.of(elsewhere)).damaged == {}


def test_too_small_a_disk_is_refused(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_corpus(settings)
    monkeypatch.setattr(room, "free_bytes", lambda _path: 1000)
    with pytest.raises(BrainbrrError, match="GB free"):
        build(plan, settings.preprocessing, workers=1)


def test_the_audit_says_what_was_built_when_from_what(settings: Configuration) -> None:
    store = made(settings).store
    lines = [json.loads(line) for line in (store.folder / RECORDS).read_text().splitlines()]
    assert {line["partition_key"] for line in lines} == store.shard_keys()
    index = read_index(settings.cache_root).by_key()
    for line in lines:
        assert line["source_hash"] == index[line["partition_key"]].content_hash
        assert line["seconds"] > 0
        assert line["built_at"].endswith("+00:00")


def test_status_counts_what_is_there(settings: Configuration) -> None:
    small = settings.model_copy(update={"selection": Selection(recordings=5)})
    made(small)
    counted = status(plan_corpus(settings), settings.manifest_settings)
    assert (counted.selected, counted.states[State.FRESH], counted.states[State.MISSING]) == (
        12,
        5,
        7,
    )
    assert counted.bytes == sum(len(b) for b in shard_bytes(Store.of(settings)).values())
    assert counted.selected == sum(counted.states.values())
    assert counted.windows == sum(split.windows for split in counted.splits.values())


def test_status_says_whether_the_manifest_is_that_of_the_index(settings: Configuration) -> None:
    """A changed annotation makes no shard stale, so the states of the shards do not show it."""
    plan = made(settings)
    assert status(plan, settings.manifest_settings).manifest == "missing"
    path = update_manifest(plan, settings.manifest_settings).path
    assert status(plan_corpus(settings), settings.manifest_settings).manifest == "current"
    row = next(
        item.recording for item in plan.items if item.recording.seizures(settings.labels.seizure)
    )
    for suffix in (".csv", ".csv_bi"):
        annotation = Path(row.path).with_suffix(suffix)
        # The seizures begin later; what is before is unknown then.
        later = re.sub(
            r"^(.*?,)([\d.]+)(,[\d.]+,(?!bckg))",
            lambda found: f"{found[1]}{float(found[2]) + 0.5:.4f}{found[3]}",
            annotation.read_text(),
            flags=re.MULTILINE,
        )
        annotation.write_text(later)
    changed = plan_corpus(settings)
    assert not changed.to_build
    assert status(changed, settings.manifest_settings).manifest == "stale"
    path.write_bytes(path.read_bytes()[:-1])
    assert status(changed, settings.manifest_settings).manifest == "missing"


def test_a_manifest_is_refused_while_the_cache_is_not_fresh(settings: Configuration) -> None:
    with pytest.raises(WorkRemains, match="brainbrr cache build"):
        make_manifest(plan_corpus(settings), settings.manifest_settings)


def test_an_empty_build_does_nothing() -> None:
    assert BuildSummary((), 0.0).built == []


def test_what_another_process_changed_is_read_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, "v1_256hz_10-20_000000000000")
    store.folder.mkdir()
    record = BuildRecord("train/a", "f" * 8, "s" * 8, FileState(1, 2, 3), "", 0.0, "")
    store.append_record(record)
    assert set(store.records()) == {"train/a"}
    store.append_record(record._replace(partition_key="train/b"))
    assert set(store.records()) == {"train/a", "train/b"}
    # As many bytes as before, in a file of its own, as a collection of garbage leaves it.
    path = store.folder / RECORDS
    other = path.with_name("other")
    other.write_text(path.read_text().replace("train/b", "train/c"))
    other.replace(path)
    assert set(store.records()) == {"train/a", "train/c"}
    path.unlink()
    assert store.records() == {}
    for layout in ("tusz", "bids"):
        write_index(Index((), layout), tmp_path)
        assert read_index(tmp_path).layout == layout
