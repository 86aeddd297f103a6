"""What is to be done so that Dagster, the store and the corpus agree: worked out, never done.

The plan is the source of truth; Dagster's own conditions compare with a previous look only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType

from brainbrr_core.cache.manifest import settings_digest
from brainbrr_core.cache.plan import State, plan_selection
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.files.canonical import digest
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    SELECTED_RECORDINGS,
    WINDOWED_CACHE,
    materialized_versions,
    observed_version,
    recorded_versions,
    selection_version,
    unobserved,
)
from brainbrr_pipeline.records.partitions import out_of_step


@dataclass(frozen=True)
class IndexRun:
    """The index, or what Dagster knows of it, is to be brought up to date."""

    why: str
    #: The same for the same state of the corpus: a run that failed on it is not asked for again.
    identity: str


@dataclass(frozen=True)
class BuildRuns:
    """Partitions to build or to record; the same identity for the same work."""

    keys: tuple[str, ...]
    why: str
    identity: str


@dataclass(frozen=True)
class ManifestRun:
    """The manifest is not that of the cache as it is."""

    why: str
    identity: str


@dataclass(frozen=True)
class Nothing:
    """All agrees."""

    why: str


Work = IndexRun | BuildRuns | ManifestRun | Nothing


def work_to_do(instance: dg.DagsterInstance, configuration: Configuration) -> Work:
    """The next thing to do; each only when those before it are done.

    Reads no EDF and no payload, and asks the instance in bulk. Raises as :func:`read_index` and
    :func:`changes` do.
    """
    root = configuration.cache_root
    path = index_path(root)
    index = read_index(root) if path.is_file() else None
    if configuration.data_dir is not None:
        different = changes(configuration.data_dir, root, configuration.corpus, index)
        if different:
            of_index = path.stat().st_mtime_ns if index is not None else 0
            names = [different.added, different.changed, different.removed]
            states = [[state.size, state.mtime_ns, state.inode] for state in different.states]
            return IndexRun(f"corpus: {different}", digest([of_index, *names, states]))
    if index is None:
        index = read_index(root)
    found = _unknown_to_dagster(instance, index)
    if found is not None:
        return found
    return _cache_work(instance, configuration, index)


def _unknown_to_dagster(instance: dg.DagsterInstance, index: Index) -> IndexRun | None:
    new, gone = out_of_step(instance, index)
    if new or gone:
        return IndexRun(
            f"partitions: {len(new)} to add, {len(gone)} to drop", digest(["partitions", new, gone])
        )
    changed = unobserved(instance, index)
    if changed:
        return IndexRun(
            f"{len(changed)} EDFs whose content Dagster does not know",
            digest([[r.partition_key, r.source_version] for r in changed]),
        )
    return None


def _cache_work(instance: dg.DagsterInstance, configuration: Configuration, index: Index) -> Work:
    store = Store.of(configuration)
    plan = plan_selection(store, configuration.preprocessing, configuration.selection, index)
    recorded = recorded_versions(instance, WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION)
    wanted = [
        item
        for item in plan.items
        if item.needs_building
        or (
            item.state is State.FRESH
            and recorded.get(item.recording.partition_key) != item.fingerprint
        )
    ]
    if wanted:
        keys = tuple(item.recording.partition_key for item in wanted)
        to_build = len(plan.to_build)
        newest = instance.event_log_storage.get_latest_storage_id_by_partition(
            WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION
        )
        # With the newest records, so that a shard lost a second time is built a second time.
        identity = digest([[i.fingerprint, newest.get(i.recording.partition_key)] for i in wanted])
        return BuildRuns(keys, f"{to_build} to build, {len(keys) - to_build} to record", identity)
    version = selection_version(plan, configuration)
    made = (version, settings_digest(configuration)[:12])
    if materialized_versions(instance, CACHE_MANIFEST) != made:
        return ManifestRun("the manifest is not that of the cache", digest(["manifest", *made]))
    if observed_version(instance, SELECTED_RECORDINGS) != version:
        return ManifestRun("what is selected was last seen otherwise", digest(["seen", *made]))
    return Nothing(f"{plan.count(State.FRESH)} fresh, {plan.count(State.EXCLUDED)} excluded")


def in_parts(keys: Sequence[str], size: int | None) -> list[list[str]]:
    """A list in as many parts of at most ``size`` as it takes, of nearly equal length."""
    if size is None or len(keys) <= size:
        return [list(keys)]
    parts = -(-len(keys) // size)
    return [list(keys[number::parts]) for number in range(parts)]
