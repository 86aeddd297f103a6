"""A plan of many recordings says of each what a look at its EDF and its shard alone would say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainbrr_core.cache import plan as plan_module
from brainbrr_core.cache.plan import Item, Plan, State, make_plan
from brainbrr_core.cache.shard import (
    BLOCK_SAMPLES,
    DamagedShard,
    Shard,
    ShardHeader,
    UnreadableShard,
    write_shard,
)
from brainbrr_core.cache.store import RECORDS, Store
from brainbrr_core.cache.version import chain_fingerprint, imported_fingerprint, imported_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.files.canonical import digest

OTHER_VERSION = "v1_256hz_10-20_0123456789ab"


@dataclass(frozen=True)
class Corpus:
    """A corpus in every condition, and what was done to each recording: its state and reason."""

    store: Store
    index: Index
    done: dict[str, tuple[State, str]]
    orphans: tuple[str, ...]


def rewritten(path: Path, change: Callable[[ShardHeader], ShardHeader]) -> None:
    """Write a shard anew, of zeros, with another header."""
    header = change(Shard(path).header)
    zeros = np.zeros((1, len(CHANNELS), BLOCK_SAMPLES), np.int16)
    unclipped = np.zeros((1, len(CHANNELS)), np.int32)
    path.unlink()
    with path.open("w+b") as file:
        write_shard(file, header, ((zeros, unclipped) for _ in range(header.blocks)))


@pytest.fixture
def varied(built: Configuration) -> Corpus:
    store = Store.of(built)
    recordings = list(read_index(built.cache_root))
    done = {r.partition_key: (State.FRESH, "") for r in recordings}

    def becomes(number: int, state: State, reason: str) -> Path:
        key = recordings[number].partition_key
        done[key] = (state, reason)
        return store.shard_path(key)

    def changed(number: int, **values: Any) -> None:
        recordings[number] = replace(recordings[number], **values)

    becomes(1, State.MISSING, "not built").unlink()
    path = becomes(2, State.STALE, "version changed")
    earlier = Store(store.root, OTHER_VERSION)
    earlier.create()
    target = earlier.shard_path(recordings[2].partition_key)
    target.parent.mkdir(parents=True)
    path.rename(target)
    becomes(3, State.STALE, "source changed")
    changed(3, state=recordings[3].state._replace(mtime_ns=1))
    becomes(4, State.STALE, "source changed")
    changed(4, content_hash="0" * 64)
    becomes(5, State.STALE, "bad channels changed")
    changed(5, missing=("Fz",))
    os.truncate(becomes(6, State.CORRUPT, "no readable shard"), 5000)
    path = becomes(7, State.CORRUPT, "shard of another recording")
    shutil.copy(store.shard_path(recordings[0].partition_key), path)
    path = becomes(8, State.UNREADABLE, "Too many levels of symbolic links")
    path.unlink()
    path.symlink_to(path.name)
    becomes(9, State.EXCLUDED, "too_short")
    changed(9, signal_reason="too_short")
    changed(10, path="s3://bucket/a.edf")
    changed(11, path="/nowhere/a.edf")
    path = becomes(0, State.STALE, "format changed")
    rewritten(path, lambda header: replace(header, format_version=header.format_version - 1))
    folder = store.folder / "train" / "gone"
    folder.mkdir()
    for name in ("a.arrow", ".hidden.arrow", "a.txt"):
        (folder / name).write_bytes(b"")
    (folder / "folder.arrow").mkdir()
    (store.folder / "train" / "link.arrow").symlink_to(folder)
    orphans = tuple(sorted(["train/gone/a", recordings[9].partition_key]))
    return Corpus(store, Index(tuple(recordings), "tusz"), done, orphans)


def alone(store: Store, settings: Configuration, recording: Recording) -> Item:
    """One recording, by its shard's own header and never by what is recorded of it."""
    chain = chain_fingerprint(settings.preprocessing)
    source, interpolated = recording.content_hash, list(recording.missing)
    expected = digest({"chain": chain, "source": source, "interpolated": interpolated})
    samples = int(Fraction(recording.samples) / recording.rate * 256)
    path = Path(f"{store.folder / recording.partition_key}.arrow")

    def item(state: State, reason: str) -> Item:
        size = path.stat().st_size if state != State.UNREADABLE and path.exists() else 0
        if state is State.EXCLUDED:
            size = 0
        return Item(recording, state, reason, expected, samples, size)

    if recording.signal_reason is not None:
        return item(State.EXCLUDED, recording.signal_reason)
    try:
        header = Shard(path).header
    except FileNotFoundError:
        earlier = (store.root / OTHER_VERSION / f"{recording.partition_key}.arrow").exists()
        return item(*(State.STALE, "version changed") if earlier else (State.MISSING, "not built"))
    except DamagedShard as error:
        return item(State.CORRUPT, str(error))
    except UnreadableShard as error:
        return item(State.UNREADABLE, error.reason)
    if header.partition_key != recording.partition_key:
        return item(State.CORRUPT, "shard of another recording")
    if header.format_version != 2:
        return item(State.STALE, "format changed")
    edf = Path(recording.path)
    if header.source_hash != source or (
        edf.exists() and edf.stat().st_mtime_ns != recording.state.mtime_ns
    ):
        return item(State.STALE, "source changed")
    fresh = header.fingerprint == expected
    return item(*(State.FRESH, "") if fresh else (State.STALE, "bad channels changed"))


def planned(corpus: Corpus, settings: Configuration) -> Plan:
    return make_plan(corpus.store, settings.preprocessing, corpus.index, corpus.index)


def test_the_plan_judges_many_recordings_as_it_judges_one(
    varied: Corpus, built: Configuration
) -> None:
    # Of the copied root: by the headers of all shards; then by what that recorded; then with no
    # record at all.
    for _ in range(2):
        by_records = planned(varied, built)
        expected = [alone(varied.store, built, recording) for recording in varied.index]
        assert list(by_records.items) == expected
    (varied.store.folder / RECORDS).unlink()
    plan = planned(varied, built)
    assert plan == by_records
    assert {item.recording.partition_key: (item.state, item.reason) for item in plan.items} == {
        key: (state, item.reason if reason == "no readable shard" else reason)
        for (key, (state, reason)), item in zip(varied.done.items(), plan.items, strict=True)
    }
    assert plan.orphans == varied.orphans
    assert plan.sources_unseen == 1


def test_a_recorded_shard_is_not_read_again(
    varied: Corpus, built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(varied, built)
    opened = []

    def noted(path: Path) -> Shard:
        opened.append(path.stem)
        return Shard(path)

    monkeypatch.setattr(plan_module, "Shard", noted)
    planned(varied, built)
    unrecorded = [varied.index.recordings[number].partition_key for number in (0, 6, 7)]
    assert opened == [key.rsplit("/", 1)[1] for key in unrecorded]


def test_an_imported_version_is_judged_by_its_shards_alone(
    varied: Corpus, built: Configuration
) -> None:
    imported = Store(varied.store.root, imported_version())
    shutil.copytree(varied.store.folder, imported.folder, symlinks=True)
    recordings = varied.index.recordings
    rewritten(
        imported.shard_path(recordings[10].partition_key),
        lambda header: replace(header, fingerprint=imported_fingerprint(header.source_hash)),
    )
    plan = make_plan(imported, built.preprocessing, varied.index, recordings)
    found = [(item.state, item.reason) for item in plan.items]
    other, absent = (State.CORRUPT, "not of this version"), (State.EXCLUDED, "not imported")
    damaged = (State.CORRUPT, plan.items[6].reason)
    assert found == [
        *(other, absent, absent, other, other, other, damaged),
        (State.CORRUPT, "shard of another recording"),
        (State.UNREADABLE, "Too many levels of symbolic links"),
        (State.EXCLUDED, "too_short"),
        *((State.FRESH, ""), other),
    ]
    item = plan.items[10]
    assert item.fingerprint == imported_fingerprint(recordings[10].content_hash)
    assert item.bytes == imported.shard_path(recordings[10].partition_key).stat().st_size
