"""The plan: for each recording, what the store should hold against what it holds.

The one source of truth on what must be built. The command line, Dagster's assets and sensors and
the pre-flight of a training all ask it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from brainbrr_core.cache.imported import imported_fingerprint
from brainbrr_core.cache.selection import select
from brainbrr_core.cache.shard import (
    DamagedShard,
    Shard,
    ShardHeader,
    UnreadableShard,
    stored_samples,
)
from brainbrr_core.cache.store import BuildRecord, Store
from brainbrr_core.cache.version import FORMAT_VERSION, is_imported, shard_fingerprint
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.corpus.hashing import file_state
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.recording import FileState, Recording
from brainbrr_core.machine.memory import no_collection


class State(StrEnum):
    """Of one recording in the store."""

    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    CORRUPT = "corrupt"
    #: The shard could not be read, so nothing is known of it and nothing may replace it.
    UNREADABLE = "unreadable"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Item:
    """One recording, its state, why, and the fingerprint its shard must carry."""

    recording: Recording
    state: State
    reason: str
    fingerprint: str
    #: Length of the shard at 256 Hz, padding left out.
    samples: int
    bytes: int = 0

    @property
    def needs_building(self) -> bool:
        """Whether a build has something to do here."""
        return self.state in (State.MISSING, State.STALE, State.CORRUPT)


@dataclass(frozen=True)
class Plan:
    """The states of a selection, and shards that no recording of the index accounts for."""

    store: Store
    index: Index
    items: tuple[Item, ...]
    orphans: tuple[str, ...]
    sources_unseen: int

    def count(self, state: State) -> int:
        """Recordings in a state."""
        return sum(item.state is state for item in self.items)

    @property
    def to_build(self) -> list[Item]:
        """What a build would do, in order."""
        return [item for item in self.items if item.needs_building]

    @property
    def unreadable(self) -> list[Item]:
        """Recordings whose shard could not be read: a build does nothing about them."""
        return [item for item in self.items if item.state is State.UNREADABLE]

    @property
    def unfit(self) -> list[Item]:
        """Recordings that should have a fresh shard and have none that can be read."""
        return [item for item in self.items if item.state not in (State.FRESH, State.EXCLUDED)]

    def reasons(self) -> dict[str, int]:
        """Recordings by ``state: reason``, fresh ones left out."""
        counts = Counter(
            f"{item.state}: {item.reason}" for item in self.items if item.state is not State.FRESH
        )
        return dict(sorted(counts.items()))


def plan_profile(configuration: Configuration) -> Plan:
    """The plan for the profile of a configuration, from the index of its cache root.

    Raises :class:`BrainbrrError` when there is no index.
    """
    store = Store.of(configuration)
    index = read_index(store.root)
    selected = select(index, configuration.selection)
    return make_plan(store, configuration.preprocessing, index, selected)


def plan_corpus(configuration: Configuration, log: Callable[[str], None] = print) -> Plan:
    """Look at the corpus, write its index, and plan; on a machine without EDFs, plan at once.

    Raises as :func:`update_index` does.
    """
    root = configuration.cache_root
    if configuration.data_dir is None and index_path(root).is_file():
        log("no data directory is set: the index stands for the corpus")
    else:
        index = update_index(configuration.data_dir, root, configuration.corpus, log=log)
        plan = plan_profile(configuration)
        return replace(plan, index=replace(plan.index, unsettled=index.unsettled))
    return plan_profile(configuration)


def make_plan(
    store: Store, settings: Preprocessing, index: Index, selected: Iterable[Recording]
) -> Plan:
    """The plan for ``selected`` recordings of ``index``; reads headers, no payload.

    Shards that are as recorded but for their file's time or inode, as those of a copied root are,
    are recorded anew where that is possible, so that the next plan need not open them.
    """
    moved: list[BuildRecord] = []
    others = store.other_versions()
    items, unseen = [], 0
    with no_collection():
        for recording in selected:
            seen = _source_changed(recording)
            unseen += seen is None
            if is_imported(store.version):
                items.append(_imported_item(store, recording))
            else:
                item = _item(store, settings, recording, others, moved, changed=seen is True)
                items.append(item)
    _record_moved(store, moved)
    expected = {r.partition_key for r in index if r.signal_reason is None}
    orphans = tuple(sorted(store.shard_keys() - expected))
    return Plan(store, index, tuple(items), orphans, unseen)


def _source_changed(recording: Recording) -> bool | None:
    """Whether the EDF differs from the indexed one; None where it cannot be seen."""
    if recording.is_remote:
        # The listing told, when the index was made.
        return False
    try:
        return file_state(Path(recording.path)) != recording.state
    except OSError:
        return None


def _item(
    store: Store,
    settings: Preprocessing,
    recording: Recording,
    others: list[Store],
    moved: list[BuildRecord],
    *,
    changed: bool,
) -> Item:
    """The state of a recording; a shard whose record must be renewed is added to ``moved``."""
    expected = shard_fingerprint(settings, recording.content_hash, recording.missing)
    item = Item(recording, State.FRESH, "", expected, stored_samples(recording))
    if recording.signal_reason is not None:
        return replace(item, state=State.EXCLUDED, reason=recording.signal_reason)
    key = recording.partition_key
    path = store.shard_path(key)
    try:
        state = file_state(path)
    except FileNotFoundError:
        if any(other.shard_path(key).exists() for other in others):
            return replace(item, state=State.STALE, reason="version changed")
        return replace(item, state=State.MISSING, reason="not built")
    except OSError as error:
        return replace(item, state=State.UNREADABLE, reason=UnreadableShard(path, error).reason)
    item = replace(item, bytes=state.size)
    record = store.recorded(key, state)
    if record is not None:
        found, source = record.fingerprint, record.source_hash
    else:
        try:
            header = Shard(path).header
        except FileNotFoundError:
            return replace(item, state=State.MISSING, reason="not built")
        except DamagedShard as error:
            return replace(item, state=State.CORRUPT, reason=str(error))
        except UnreadableShard as error:
            return replace(item, state=State.UNREADABLE, reason=error.reason)
        if header.partition_key != key:
            return replace(item, state=State.CORRUPT, reason="shard of another recording")
        if header.format_version != FORMAT_VERSION:
            return replace(item, state=State.STALE, reason="format changed")
        found, source = header.fingerprint, header.source_hash
        moved += _renewed(store, header, state)
    if changed or source != recording.content_hash:
        return replace(item, state=State.STALE, reason="source changed")
    if found != expected:
        return replace(item, state=State.STALE, reason="bad channels changed")
    return item


def _renewed(store: Store, header: ShardHeader, state: FileState) -> list[BuildRecord]:
    """The record of a shard, in the state in which its file is now; none if it has no record."""
    record = store.records().get(header.partition_key)
    made_of = (header.fingerprint, header.source_hash)
    if record is None or (record.fingerprint, record.source_hash) != made_of:
        return []
    return [replace(record, state=state)]


def _record_moved(store: Store, moved: list[BuildRecord]) -> None:
    # A memo: where it cannot be written, the shards are opened again.
    if moved and os.access(store.folder, os.W_OK):
        with suppress(OSError):
            store.append_records(moved)


def _imported_item(store: Store, recording: Recording) -> Item:
    """The state of a recording in an imported version, which nothing can build."""
    path = store.shard_path(recording.partition_key)
    item = Item(recording, State.EXCLUDED, "not imported", "", 0)
    if recording.signal_reason is not None:
        return replace(item, reason=recording.signal_reason)
    try:
        header = Shard(path).header
    except FileNotFoundError:
        return item
    except DamagedShard as error:
        return replace(item, state=State.CORRUPT, reason=str(error))
    except UnreadableShard as error:
        return replace(item, state=State.UNREADABLE, reason=error.reason)
    if header.partition_key != recording.partition_key:
        return replace(item, state=State.CORRUPT, reason="shard of another recording")
    if header.fingerprint != imported_fingerprint(header.source_hash):
        return replace(item, state=State.CORRUPT, reason="not of this version")
    size = path.stat().st_size
    return Item(recording, State.FRESH, "", header.fingerprint, header.samples, size)
