"""Data versions, from which Dagster itself derives which partitions are stale.

The materialization of a shard records its data version, its code version, and the version of the
EDF it was built from with the observation of that version. With these, the status that Dagster
shows for each partition is exact. For ``cache_manifest``, which depends on more partitions than
Dagster compares, the observable asset ``selected_recordings`` represents all of them. The manifest
is one for all folds: between it and the trainings, ``fold_recordings`` records the train and dev of
each fold, so that only a change of these makes a fold stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster import DagsterEventType

from brainbrr_core.cache.fold_digests import FoldDigests
from brainbrr_core.cache.manifest import source_digest
from brainbrr_core.cache.plan import Item, Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.corpus.index import SCHEMA_VERSION
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import digest
from brainbrr_pipeline.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    NULL_EVENT_POINTER,
    extract_data_version_from_entry,
)
from brainbrr_pipeline.records.event_writer import Context, EventWriter
from brainbrr_pipeline.records.metadata import Metadata, of_fold
from brainbrr_pipeline.records.partitions import fold_keys

RAW_EDF = dg.AssetKey("raw_edf")
RAW_EDF_INDEX = dg.AssetKey("raw_edf_index")
WINDOWED_CACHE = dg.AssetKey("windowed_cache")
SELECTED_RECORDINGS = dg.AssetKey("selected_recordings")
CACHE_MANIFEST = dg.AssetKey("cache_manifest")
FOLD_RECORDINGS = dg.AssetKey("fold_recordings")
#: The data version of the index: a new index makes nothing stale, a changed recording does.
INDEX_DATA_VERSION = str(SCHEMA_VERSION)
#: Events that are read from Dagster's storage in one query.
_EVENTS_AT_ONCE = 500


def selection_version(plan: Plan, settings: ManifestSettings) -> str:
    """The data version of ``selected_recordings``: that of a manifest written now.

    As long as shards are missing, stale or corrupt, it is a version that no manifest can have.
    """
    source = source_digest(plan, settings)
    unfinished = [[item.recording.partition_key, item.state.value] for item in plan.to_build]
    return digest([source, unfinished]) if unfinished else source


def recorded_as(item: Item, code_version: str) -> str | None:
    """The data version to record for an item's partition; None if there is nothing to record.

    The data version of a shard is its fingerprint. An excluded recording never gets a shard, so
    that its partition would always be missing; it is recorded with the reason instead. An
    observation would not help: Dagster derives the status of a partition from materializations
    only.
    """
    match item.state:
        case State.FRESH:
            return item.fingerprint
        case State.EXCLUDED:
            return digest(["excluded", item.reason, item.recording.source_version, code_version])
        case _:
            return None


def observed_version(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Data version of the newest observation of an unpartitioned asset."""
    record = next(iter(instance.fetch_observations(key, limit=1).records), None)
    version = extract_data_version_from_entry(record.event_log_entry) if record else None
    return version.value if version else None


def materialized_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> tuple[str, str] | None:
    """Data version and code version of the newest materialization of an unpartitioned asset."""
    event = instance.get_latest_materialization_event(key)
    tags = (event.asset_materialization.tags if event and event.asset_materialization else {}) or {}
    if DATA_VERSION_TAG not in tags:
        return None
    return tags[DATA_VERSION_TAG], tags[CODE_VERSION_TAG]


def recorded_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: DagsterEventType
) -> dict[str, str]:
    """Data version of the newest event of each partition, in one query."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, kind, tag_keys=[DATA_VERSION_TAG]
    )
    return {partition: values[DATA_VERSION_TAG] for partition, values in tags.items()}


def unobserved(instance: dg.DagsterInstance, recordings: Iterable[Recording]) -> list[Recording]:
    """Recordings whose current content version is not recorded in Dagster."""
    observed = recorded_versions(instance, RAW_EDF, DagsterEventType.ASSET_OBSERVATION)
    return [r for r in recordings if observed.get(r.partition_key) != r.source_version]


def observe(context: Context, recordings: Iterable[Recording]) -> int:
    """Record the content version of each EDF that differs from the recorded one.

    Returns the number of these EDFs.
    """
    changed = unobserved(context.instance, recordings)
    with EventWriter(context) as writer:
        for recording in changed:
            writer.add(
                dg.AssetObservation(
                    RAW_EDF,
                    partition=recording.partition_key,
                    tags={DATA_VERSION_TAG: recording.source_version},
                )
            )
    if changed:
        _use_newest_event(context, RAW_EDF)
    return len(changed)


def observe_selection(context: Context, plan: Plan, settings: ManifestSettings) -> str:
    """Record :func:`selection_version` if it differs from the recorded one, and return it."""
    version = selection_version(plan, settings)
    if observed_version(context.instance, SELECTED_RECORDINGS) == version:
        return version
    with EventWriter(context) as writer:
        writer.add(
            dg.AssetObservation(
                SELECTED_RECORDINGS,
                metadata={
                    "recordings": len(plan.items),
                    "to build": len(plan.to_build),
                    "version": plan.store.version,
                },
                tags={DATA_VERSION_TAG: version},
            )
        )
    _use_newest_event(context, SELECTED_RECORDINGS)
    return version


def fold_record(digests: FoldDigests, fold: str) -> tuple[str, Metadata]:
    """The data version of a fold, and metadata of its splits.

    The version is of what its train and dev consist of, and of nothing else. Raises
    :class:`BrainbrrError` where there is no such fold.
    """
    return digests.digest(int(fold)), of_fold(digests.folds.totals(int(fold)))


def unrecorded_folds(
    instance: dg.DagsterInstance, folds: Sequence[str], manifest: str, code_version: str
) -> list[str]:
    """Those of the folds that are not recorded as of a manifest and under a code version."""
    input_tag = f"{INPUT_DATA_VERSION_TAG_PREFIX}/{CACHE_MANIFEST.to_user_string()}"
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        FOLD_RECORDINGS, DagsterEventType.ASSET_MATERIALIZATION
    )
    wanted = [newest[fold] for fold in folds if fold in newest]
    recorded = set()
    for start in range(0, len(wanted), _EVENTS_AT_ONCE):
        some = dg.AssetRecordsFilter(
            FOLD_RECORDINGS, storage_ids=wanted[start : start + _EVENTS_AT_ONCE]
        )
        for record in instance.fetch_materializations(some, limit=_EVENTS_AT_ONCE).records:
            event = record.asset_materialization
            tags = (event.tags if event is not None else None) or {}
            if (tags.get(CODE_VERSION_TAG), tags.get(input_tag)) == (code_version, manifest):
                recorded.add(record.partition_key)
    return [fold for fold in folds if fold not in recorded]


def record_all_folds(context: Context, cache: ProfileCache, plan: Plan, code_version: str) -> None:
    """Record what each fold trains on.

    Nothing is recorded where the plan has too few patients for folds: the check
    ``fit_for_training`` fails and says so.
    """
    try:
        folds = fold_keys(cache, plan)
    except BrainbrrError as error:
        context.log.warning(str(error))
        return
    record_folds(context, cache, plan, folds, code_version)


def record_folds(
    context: Context, cache: ProfileCache, plan: Plan, folds: Sequence[str], code_version: str
) -> None:
    """Record what the folds train on, where that is not recorded as of the current manifest.

    Raises :class:`BrainbrrError` where there is no such fold.
    """
    manifest = source_digest(plan, cache.settings)
    changed = unrecorded_folds(context.instance, folds, manifest, code_version)
    if not changed:
        return
    digests = cache.fold_digests(plan)
    with EventWriter(context) as writer:
        for fold in changed:
            version, metadata = fold_record(digests, fold)
            writer.add(
                dg.AssetMaterialization(
                    FOLD_RECORDINGS,
                    partition=fold,
                    metadata=metadata,
                    tags={
                        DATA_VERSION_TAG: version,
                        CODE_VERSION_TAG: code_version,
                        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
                        **_input_tags(CACHE_MANIFEST, manifest),
                    },
                )
            )
    _use_newest_event(context, FOLD_RECORDINGS)


def _input_tags(key: dg.AssetKey, version: str, pointer: int | None = None) -> dict[str, str]:
    """The version of an input, and the event that recorded it where the input has partitions."""
    name = key.to_user_string()
    return {
        f"{INPUT_DATA_VERSION_TAG_PREFIX}/{name}": version,
        f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{name}": str(
            NULL_EVENT_POINTER if pointer is None else pointer
        ),
    }


def _use_newest_event(context: Context, key: dg.AssetKey) -> None:
    """Make this step's own materialization refer to the event that was just recorded.

    Dagster reads the versions of a step's inputs before the step starts, and caches them.
    """
    context.get_step_execution_context().wipe_input_asset_version_info(key)


class ShardRecorder:
    """Context manager that records shards, and reasons of exclusion, as materializations."""

    def __init__(self, context: Context, code_version: str) -> None:
        self._writer, self._code_version = EventWriter(context), code_version
        storage = context.instance.event_log_storage
        self._observed = storage.get_latest_storage_id_by_partition(
            RAW_EDF, DagsterEventType.ASSET_OBSERVATION
        )
        self._recorded = recorded_versions(
            context.instance, WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION
        )

    def __enter__(self) -> ShardRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.flush()

    def unrecorded(self, item: Item) -> str | None:
        """The data version to record for an item; None if Dagster's newest record already has it.

        The code version need not be compared as well: the data version depends on it.
        """
        version = recorded_as(item, self._code_version)
        return None if self._recorded.get(item.recording.partition_key) == version else version

    def record(self, recording: Recording, version: str, metadata: Metadata) -> None:
        """Record one partition with its data version and the versions of its inputs."""
        key = recording.partition_key
        self._writer.add(
            dg.AssetMaterialization(
                WINDOWED_CACHE,
                partition=key,
                metadata=metadata,
                tags={
                    DATA_VERSION_TAG: version,
                    CODE_VERSION_TAG: self._code_version,
                    DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
                    **_input_tags(RAW_EDF, recording.source_version, self._observed.get(key)),
                    **_input_tags(RAW_EDF_INDEX, INDEX_DATA_VERSION),
                },
            )
        )
