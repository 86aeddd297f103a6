"""The plan: the state of each recording's shard, compared with what the configuration needs.

It decides alone what must be built: the command line, Dagster's assets and sensors, and the check
before a training all use it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from brainbrr_core.cache.records import BuildRecord, Records
from brainbrr_core.cache.selection import select
from brainbrr_core.cache.shard import (
    SUFFIX,
    DamagedShard,
    Shard,
    ShardHeader,
    UnreadableShard,
    stored_samples,
)
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import (
    FORMAT_VERSION,
    imported_fingerprint,
    is_imported,
    montage_of,
    shard_fingerprints,
)
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_corpora, index_path, read_index
from brainbrr_core.corpus.recording import UNSEEN, Recording
from brainbrr_core.edf.formats import reader_of
from brainbrr_core.files.state import FileState, file_state
from brainbrr_core.machine.memory import no_collection

#: The reason of a recording that another version has a shard of, and that of one whose shard failed
#: verification and has not been built again.
VERSION_CHANGED, QUARANTINED = "version changed", "damaged and moved to quarantine"


class State(StrEnum):
    """State of a recording's shard in the store."""

    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    CORRUPT = "corrupt"
    #: The shard could not be read. It may be whole, so nothing replaces it.
    UNREADABLE = "unreadable"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Item:
    """A recording in a plan, with the state of its shard.

    Attributes
    ----------
    recording : Recording
        The recording, as the index lists it.
    state : State
        State of its shard.
    reason : str
        Why the shard is in this state; empty when it is fresh.
    fingerprint : str
        Fingerprint that its shard must have.
    samples : int
        Length of the shard in samples at 256 Hz, padding left out.
    bytes : int
        Size of the shard's file; 0 where there is none.
    """

    recording: Recording
    state: State
    reason: str
    fingerprint: str
    samples: int
    bytes: int = 0

    @property
    def needs_building(self) -> bool:
        """Whether a build makes this shard."""
        return self.state in (State.MISSING, State.STALE, State.CORRUPT)


@dataclass(frozen=True)
class Plan:
    """The state of each selected recording's shard.

    Attributes
    ----------
    store : Store
        The version of the cache that the plan is about.
    index : Index
        All recordings of the corpus.
    items : tuple of Item
        The selected recordings.
    sources_unseen : int
        How many of their EDFs are not on this machine, and so were not compared with the index.
    """

    store: Store
    index: Index
    items: tuple[Item, ...]
    sources_unseen: int

    @cached_property
    def montage_index(self) -> Index:
        """The index as the montage of the version sees it."""
        return self.index.in_montage(montage_of(self.store.version))

    @cached_property
    def orphans(self) -> tuple[str, ...]:
        """Partition keys of shards that no recording of the index accounts for.

        Found when first asked for, in a walk through every folder of the version. Raises
        :class:`UnreadableShard` where one cannot be listed.
        """
        expected = {r.partition_key for r in self.montage_index if r.signal_reason is None}
        return tuple(sorted(self.store.shard_keys() - expected))

    def count(self, state: State) -> int:
        """Recordings in a state."""
        return sum(item.state is state for item in self.items)

    @property
    def to_build(self) -> list[Item]:
        """Recordings whose shard a build makes, in order."""
        return [item for item in self.items if item.needs_building]

    @property
    def unreadable(self) -> list[Item]:
        """Recordings whose shard could not be read: a build does nothing about them."""
        return [item for item in self.items if item.state is State.UNREADABLE]

    @property
    def unfit(self) -> list[Item]:
        """Recordings that should have a fresh shard but do not."""
        return [item for item in self.items if item.state not in (State.FRESH, State.EXCLUDED)]

    def by_reason(self) -> dict[str, list[str]]:
        """Partition keys by ``state: reason``, those of fresh recordings left out."""
        keys: dict[str, list[str]] = {}
        for item in self.items:
            if item.state is not State.FRESH:
                reason = f"{item.state}: {item.reason}"
                keys.setdefault(reason, []).append(item.recording.partition_key)
        return dict(sorted(keys.items()))

    def reasons(self) -> dict[str, int]:
        """Number of recordings by ``state: reason``, fresh ones left out."""
        return {reason: len(keys) for reason, keys in self.by_reason().items()}


@no_collection()
def plan_profile(configuration: Configuration) -> Plan:
    """Plan the recordings of a profile from the index in the cache root, without listing EDFs.

    Parameters
    ----------
    configuration : Configuration
        Cache root, version, preprocessing and selection.

    Returns
    -------
    Plan
        The state of each selected recording.

    Raises
    ------
    BrainbrrError
        If there is no index, or the version does not exist.
    """
    store = Store.of(configuration)
    index = read_index(store.root)
    return plan_selection(store, configuration.preprocessing, configuration.selection, index)


def plan_selection(
    store: Store,
    preprocessing: Preprocessing,
    selection: Selection,
    index: Index,
    *,
    just_indexed: bool = False,
) -> Plan:
    """The plan for the recordings of ``index`` that a profile's ``selection`` chooses.

    ``just_indexed`` is that of :func:`make_plan`.
    """
    selected = select(index.in_montage(preprocessing.montage), selection)
    return make_plan(store, preprocessing, index, selected, just_indexed=just_indexed)


@no_collection()
def plan_corpus(configuration: Configuration, log: Callable[[str], None] = print) -> Plan:
    """Index the corpus, then plan; without a data directory, plan from the existing index.

    Parameters
    ----------
    configuration : Configuration
        Data directory, cache root, corpus, preprocessing and selection.
    log : callable
        Called with each line of progress.

    Returns
    -------
    Plan
        The state of each selected recording.

    Raises
    ------
    BrainbrrError
        If the corpus cannot be indexed.
    """
    root = configuration.cache_root
    sources = configuration.corpus_sources
    is_nowhere = all(source.data_dir is None for source in sources)
    if is_nowhere and index_path(root).is_file():
        log("no data directory is set: the index stands for the corpus")
    else:
        looked = index_corpora(sources, root, log=log)
        store = Store.of(configuration)
        index = replace(read_index(root), unsettled=looked.unsettled, absent=looked.absent)
        return plan_selection(
            store,
            configuration.preprocessing,
            configuration.selection,
            index,
            just_indexed=True,
        )
    return plan_profile(configuration)


def make_plan(
    store: Store,
    settings: Preprocessing,
    index: Index,
    selected: Iterable[Recording],
    *,
    just_indexed: bool = False,
) -> Plan:
    """The plan for ``selected`` recordings of ``index``; reads headers, no payload.

    Where the index was ``just_indexed`` from the corpus, EDFs that it saw are not looked at again.
    Shards that are as recorded but for their file's time or inode, as those of a copied root are,
    are recorded anew where that is possible, so that the next plan need not open them.
    """
    items, unseen = [], 0
    unsettled = frozenset(index.unsettled)
    with no_collection():
        known = None if is_imported(store.version) else _Known.of(store, settings)
        for chosen in selected:
            recording = chosen.in_montage(settings.montage)
            seen = recording.path not in unsettled and recording.corpus not in index.absent
            if just_indexed and seen and _was_seen(recording):
                changed: bool | None = False
            else:
                changed = _source_changed(recording)
                unseen += changed is None
            if known is None:
                items.append(_imported_item(store, recording))
            else:
                items.append(_item(known, recording, changed is True))
    if known is not None:
        _record_moved(store, known.moved)
    return Plan(store, index, tuple(items), unseen)


def _was_seen(recording: Recording) -> bool:
    """Whether the index has the state of the EDF from when it last looked at the corpus."""
    if recording.findings and recording.is_unreadable_now:
        return False
    return recording.state != UNSEEN


def _source_changed(recording: Recording) -> bool | None:
    """Whether the EDF differs from the indexed one; None where it cannot be seen.

    So does a recording in another format whose reader has another version than the index had.
    """
    if recording.is_remote:
        # The listing told, when the index was made.
        return False
    changed = False
    for path, before in recording.file_states:
        try:
            state = file_state(path)
        except OSError:
            if before == UNSEEN and path != recording.path:
                # A part that was not there when the corpus was indexed either.
                continue
            return None
        changed |= state != before and not before.is_of_same_file(state)
    return changed or (recording.reader != "" and recording.reader != reader_of(recording.path))


@dataclass(frozen=True)
class _Known:
    """What is known of a version before its shards are looked at.

    Looking at them adds to ``moved``: records that must be renewed.
    """

    store: Store
    folder: str
    others: list[Store]
    records: Records
    fingerprint: Callable[[str, Sequence[str], str], str]
    moved: list[BuildRecord]
    #: The folder of this version's damaged shards, None where there is none.
    quarantine: Path | None

    @classmethod
    def of(cls, store: Store, settings: Preprocessing) -> _Known:
        return cls(
            store,
            str(store.folder),
            store.other_versions(),
            store.read_records(),
            shard_fingerprints(settings),
            [],
            store.quarantine if store.quarantine.is_dir() else None,
        )


def _item(known: _Known, recording: Recording, changed: bool) -> Item:
    """The state of a recording; a shard whose record must be renewed is added to ``moved``."""
    expected = known.fingerprint(recording.content_hash, recording.missing, recording.reader)
    samples = stored_samples(recording)
    if recording.signal_reason is not None:
        return Item(recording, State.EXCLUDED, recording.signal_reason, expected, samples)
    key = recording.partition_key
    # A text: of a hundred thousand shards, each path as an object would take longer than its look.
    path = f"{known.folder}/{key}{SUFFIX}"
    try:
        file = file_state(path)
    except FileNotFoundError:
        if known.quarantine is not None and (known.quarantine / f"{key}{SUFFIX}").exists():
            return Item(recording, State.MISSING, QUARANTINED, expected, samples)
        if any(other.shard_path(key).exists() for other in known.others):
            return Item(recording, State.STALE, VERSION_CHANGED, expected, samples)
        return Item(recording, State.MISSING, "not built", expected, samples)
    except OSError as error:
        reason = UnreadableShard(Path(path), error).reason
        return Item(recording, State.UNREADABLE, reason, expected, samples)
    if not changed and known.records.is_recorded(key, file, expected, recording.content_hash):
        # Of a hundred thousand shards, nearly all.
        return Item(recording, State.FRESH, "", expected, samples, file.size)
    state, reason = _judged(known, recording, expected, file, changed=changed)
    return Item(recording, state, reason, expected, samples, file.size)


def _judged(
    known: _Known, recording: Recording, expected: str, file: FileState, *, changed: bool
) -> tuple[State, str]:
    """State and reason of a recording whose shard is there, its ``file`` in this state."""
    key = recording.partition_key
    origin = known.records.origin(key, file)
    if origin is not None:
        fingerprint, source = origin
    else:
        try:
            header = Shard(known.store.shard_path(key)).header
        except FileNotFoundError:
            return State.MISSING, "not built"
        except DamagedShard as error:
            return State.CORRUPT, str(error)
        except UnreadableShard as error:
            return State.UNREADABLE, error.reason
        if header.partition_key != key:
            return State.CORRUPT, "shard of another recording"
        if header.format_version != FORMAT_VERSION:
            return State.STALE, "format changed"
        fingerprint, source = header.fingerprint, header.source_hash
        known.moved.extend(_renewed(known.records, header, file))
    if changed or source != recording.content_hash:
        return State.STALE, "source changed"
    if fingerprint != expected:
        changeable = "bad channels or reader" if recording.reader else "bad channels"
        return State.STALE, f"{changeable} changed"
    return State.FRESH, ""


def _renewed(records: Records, header: ShardHeader, state: FileState) -> list[BuildRecord]:
    """The record of a shard, in the state in which its file is now; none if it has no record."""
    record = records.newest(header.partition_key)
    made_of = (header.fingerprint, header.source_hash)
    if record is None or (record.fingerprint, record.source_hash) != made_of:
        return []
    return [record._replace(state=state)]


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


def limited(plan: Plan, limit: int | None) -> Plan:
    """The plan with no more than ``limit`` recordings to build."""
    if limit is None:
        return plan
    wanted = {item.recording.partition_key for item in plan.to_build[:limit]}
    items = tuple(
        item
        for item in plan.items
        if not item.needs_building or item.recording.partition_key in wanted
    )
    return replace(plan, items=items)
