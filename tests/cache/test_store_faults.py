"""Faults of a disk and of processes: what is read is what was written, or is refused."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.cache import build as build_module
from brainbrr_core.cache import gc
from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import read_manifest, update_manifest
from brainbrr_core.cache.plan import State, make_plan, plan_corpus, plan_profile
from brainbrr_core.cache.shard import DamagedShard, Shard
from brainbrr_core.cache.shard_build import Built, build_one
from brainbrr_core.cache.store import RECORDS, Store
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError, WorkRemains


def content(path: Path) -> tuple[object, list[np.ndarray]]:
    """All that a reader takes from a shard, every byte of it checked."""
    shard = Shard(path)
    shard.verify()
    return shard.header, [np.array(block) for block in shard.blocks(0, shard.header.blocks)]


def test_no_flipped_bit_of_a_shard_is_read_as_another_signal(
    settings: Configuration, tmp_path: Path
) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing, workers=1)
    smallest = min(plan.items, key=lambda item: item.recording.duration_s)
    good = plan.store.shard_path(smallest.recording.partition_key).read_bytes()
    header, blocks = content(plan.store.shard_path(smallest.recording.partition_key))
    path = tmp_path / "flipped.arrow"
    rng = random.Random(0)
    # The framing, where the header and the checksums lie, and some of the payload.
    places = [*range(0, 4000, 3), *range(len(good) - 2500, len(good), 3)]
    places += [rng.randrange(len(good)) for _ in range(100)]
    refused = 0
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            read = content(path)
        except DamagedShard:
            refused += 1
            continue
        # Padding and what no reader looks at.
        assert read[0] == header
        assert all(map(np.array_equal, read[1], blocks))
    assert refused > len(places) / 2


def test_no_flipped_bit_of_a_manifest_is_read_as_another_window(
    settings: Configuration,
) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    made = update_manifest(plan_profile(settings), settings.manifest_settings)
    good = made.path.read_bytes()
    rng = random.Random(1)
    refused = 0
    for place in [rng.randrange(len(good)) for _ in range(400)]:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        made.path.write_bytes(bad)
        try:
            read = read_manifest(made.path)
        except WorkRemains:
            refused += 1
            continue
        for field in dataclasses.fields(read):
            assert np.array_equal(getattr(read, field.name), getattr(made.manifest, field.name)), (
                field.name
            )
    assert refused > 100


def test_a_record_after_one_that_was_cut_short_is_kept(settings: Configuration) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing, workers=1)
    path = plan.store.folder / RECORDS
    records = plan.store.records()
    last = path.read_bytes().splitlines()[-1]
    path.write_bytes(path.read_bytes()[:-40])
    lost = next(key for key in records if key.encode() in last)
    assert plan.store.records().keys() == records.keys() - {lost}
    plan.store.append_record(records[lost])
    assert plan.store.records() == records


def killed_on_first_try(
    store: Store, settings: Preprocessing, recording: Recording, fingerprint: str
) -> Built:
    """Stands for a process that the system kills once, when two recordings fill its memory."""
    mark = store.root / "killed"
    if recording.partition_key == (store.root / "victim").read_text() and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return build_one(store, settings, recording, fingerprint)


def killed_always(
    store: Store, settings: Preprocessing, recording: Recording, fingerprint: str
) -> Built:
    """Stands for a recording that is too large for this machine."""
    if recording.partition_key == (store.root / "victim").read_text():
        os.kill(os.getpid(), signal.SIGKILL)
    return build_one(store, settings, recording, fingerprint)


@pytest.mark.parametrize("victim", [0, 5])
def test_a_killed_worker_costs_no_recording(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch, victim: int
) -> None:
    plan = plan_corpus(settings)
    (settings.cache_root / "victim").write_text(plan.items[victim].recording.partition_key)
    monkeypatch.setattr(build_module, "build_one", killed_on_first_try)
    summary = build(plan, settings.preprocessing, workers=2)
    assert (settings.cache_root / "killed").exists()
    assert summary.failed == []
    assert plan_profile(settings).count(State.FRESH) == len(plan.items)
    assert len(summary.results) == len(plan.items)


def test_a_recording_that_kills_its_worker_fails_alone(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_corpus(settings)
    key = plan.items[3].recording.partition_key
    (settings.cache_root / "victim").write_text(key)
    monkeypatch.setattr(build_module, "build_one", killed_always)
    summary = build(plan, settings.preprocessing, workers=2)
    assert [result.partition_key for result in summary.failed] == [key]
    assert "killed" in summary.failed[0].error
    assert plan_profile(settings).count(State.FRESH) == len(plan.items) - 1


def test_gc_takes_what_a_run_needs_only_by_name(settings: Configuration) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    old = Store.of(settings)
    imported = settings.cache_root / "v0-npz_256hz_10-20_000000000000"
    Store(settings.cache_root, imported.name).create()
    bumped = settings.model_copy(update={"preprocessing": Preprocessing(notch_hz=50)})
    build(plan_corpus(bumped), bumped.preprocessing, workers=1)
    plan = plan_corpus(bumped)
    everything = make_plan(
        Store.derived(bumped.cache_root, bumped.preprocessing),
        bumped.preprocessing,
        plan.index,
        plan.index,
    )
    assert gc.find(everything, [old.version]) == []
    assert gc.find(everything, [old.version], force=True) == []
    assert [g.path for g in gc.find(everything)] == [old.folder]
    named = gc.find(everything, [old.version], [old.version, imported.name])
    assert {g.path for g in named} == {imported, old.folder}
    with pytest.raises(BrainbrrError, match="is not another version"):
        gc.find(everything, drop=[plan.store.version])
