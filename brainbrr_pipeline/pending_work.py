"""Finding the work that brings corpus, cache and Dagster into agreement, without doing it.

The plan is the source of truth. Dagster's own automation conditions would miss work, because they
only compare with the previous tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType

from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.changes import changes_of_corpora
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import index_path, read_index
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import digest
from brainbrr_core.machine.memory import no_collection
from brainbrr_pipeline.records.code_version import CodeVersions
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    SELECTED_RECORDINGS,
    WINDOWED_CACHE,
    materialized_versions,
    observed_version,
    recorded_as,
    recorded_versions,
    selection_version,
    unobserved,
    unrecorded_folds,
)
from brainbrr_pipeline.records.partitions import fold_changes, fold_keys, partition_changes


@dataclass(frozen=True)
class IndexRun:
    """The index, or Dagster's record of it, is out of date."""

    why: str
    #: Equal for the same state of the corpus, so that a failed run is not requested again for it.
    identity: str


@dataclass(frozen=True)
class BuildRuns:
    """Partitions have to be built or recorded; the same work has the same identity."""

    keys: tuple[str, ...]
    why: str
    identity: str


@dataclass(frozen=True)
class ManifestRun:
    """The manifest does not match the cache."""

    why: str
    identity: str


@dataclass(frozen=True)
class UpToDate:
    """Corpus, cache and Dagster agree: there is nothing to do."""

    why: str


Work = IndexRun | BuildRuns | ManifestRun | UpToDate


@no_collection()
def work_to_do(instance: dg.DagsterInstance, configuration: Configuration) -> Work:
    """Find the next step: first the index, then the cache, then the manifest.

    Reads no EDF and no samples of a shard, and queries the instance in bulk. Raises
    :class:`BrainbrrError` if the index cannot be read or the corpus cannot be listed.
    """
    root = configuration.cache_root
    path = index_path(root)
    index = read_index(root) if path.is_file() else None
    sources = configuration.corpus_sources
    if any(source.data_dir is not None for source in sources):
        changes = changes_of_corpora(sources, root, index)
        if changes:
            index_mtime = path.stat().st_mtime_ns if index is not None else 0
            names = [changes.added, changes.changed, changes.removed]
            states = [[state.size, state.mtime_ns, state.inode] for state in changes.states]
            return IndexRun(f"corpus: {changes}", digest([index_mtime, *names, states]))
    if index is None:
        index = read_index(root)
    return _index_work(instance, index) or _cache_work(
        instance,
        ProfileCache.of(configuration),
        CodeVersions.of(configuration),
        index,
    )


def _index_work(instance: dg.DagsterInstance, index: Index) -> IndexRun | None:
    new, gone = partition_changes(instance, index)
    if new or gone:
        return IndexRun(
            f"partitions: {len(new)} to add, {len(gone)} to drop", digest(["partitions", new, gone])
        )
    changed = unobserved(instance, index)
    if changed:
        return IndexRun(
            f"{len(changed)} EDFs whose current content is not recorded in Dagster",
            digest([[r.partition_key, r.source_version] for r in changed]),
        )
    return None


def _cache_work(
    instance: dg.DagsterInstance, cache: ProfileCache, current: CodeVersions, index: Index
) -> Work:
    """Find the next step after the index, with the current code versions of the assets."""
    plan = cache.plan(index)
    new, gone = fold_changes(instance, cache, plan)
    folds = _folds_of(cache, plan)
    if new or gone:
        return IndexRun(
            f"folds: {len(new)} to add, {len(gone)} to drop", digest(["folds", new, gone])
        )
    recorded = recorded_versions(instance, WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION)
    code_version = current.windowed_cache

    def is_unrecorded(item: Item) -> bool:
        version = recorded_as(item, code_version)
        return version is not None and recorded.get(item.recording.partition_key) != version

    wanted = [item for item in plan.items if item.needs_building or is_unrecorded(item)]
    if wanted:
        keys = tuple(item.recording.partition_key for item in wanted)
        to_build = len(plan.to_build)
        newest = instance.event_log_storage.get_latest_storage_id_by_partition(
            WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION
        )
        # The identity includes the newest records, so that a shard that is lost again is built
        # again.
        versions = [recorded_as(item, code_version) or item.fingerprint for item in wanted]
        records = [newest.get(item.recording.partition_key) for item in wanted]
        identity = digest([list(pair) for pair in zip(versions, records, strict=True)])
        return BuildRuns(keys, f"{to_build} to build, {len(keys) - to_build} to record", identity)
    version = selection_version(plan, cache.settings)
    made = (version, current.cache_manifest)
    if materialized_versions(instance, CACHE_MANIFEST) != made:
        return ManifestRun("the manifest does not match the cache", digest(["manifest", *made]))
    if observed_version(instance, SELECTED_RECORDINGS) != version:
        return ManifestRun(
            "the selection has changed since it was last observed", digest(["seen", *made])
        )
    unrecorded = unrecorded_folds(instance, folds, version, current.fold_recordings)
    if unrecorded:
        return ManifestRun(
            f"{count(len(unrecorded), 'fold')} of which Dagster does not know what they train on",
            digest(["folds", unrecorded, *made]),
        )
    return UpToDate(f"{plan.count(State.FRESH)} fresh, {plan.count(State.EXCLUDED)} excluded")


def _folds_of(cache: ProfileCache, plan: Plan) -> list[str]:
    """Keys of the folds; none where there are too few patients, which a check reports."""
    try:
        return fold_keys(cache, plan)
    except BrainbrrError:
        return []


def split_evenly(keys: Sequence[str], size: int | None) -> list[list[str]]:
    """Split a list into as few lists of at most ``size`` as possible, of nearly equal length."""
    if size is None or len(keys) <= size:
        return [list(keys)]
    lists = -(-len(keys) // size)
    return [list(keys[number::lists]) for number in range(lists)]
