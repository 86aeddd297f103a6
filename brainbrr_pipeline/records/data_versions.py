"""What Dagster must be told to know, by itself, what is stale.

A shard's materialization names the content version of its EDF and the observation it was taken
from; a code version; and a data version of its own. With these, Dagster's staleness of each
partition is exact. ``selected_recordings`` tells it the same of ``cache_manifest``, which has too
many partitions upstream for Dagster to look at each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    NULL_EVENT_POINTER,
    extract_data_version_from_entry,
)

from brainbrr_core.cache.manifest import source_digest
from brainbrr_core.cache.plan import Plan
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import SCHEMA_VERSION
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.files.canonical import digest
from brainbrr_pipeline.records.event_writer import Context, EventWriter

RAW_EDF = dg.AssetKey("raw_edf")
RAW_EDF_INDEX = dg.AssetKey("raw_edf_index")
WINDOWED_CACHE = dg.AssetKey("windowed_cache")
SELECTED_RECORDINGS = dg.AssetKey("selected_recordings")
CACHE_MANIFEST = dg.AssetKey("cache_manifest")
#: The index's data version: a new index makes nothing stale; changed recordings do.
INDEX_DATA_VERSION = str(SCHEMA_VERSION)


def selection_version(plan: Plan, configuration: Configuration) -> str:
    """The data version of ``selected_recordings``: that of a manifest made now.

    Where the store does not hold what the plan says, it is one that no manifest can have.
    """
    made_of = source_digest(plan, configuration)
    unfinished = [[item.recording.partition_key, item.state.value] for item in plan.to_build]
    return digest([made_of, unfinished]) if unfinished else made_of


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
    """Recordings whose content Dagster does not know, or knows otherwise."""
    known = recorded_versions(instance, RAW_EDF, DagsterEventType.ASSET_OBSERVATION)
    return [r for r in recordings if known.get(r.partition_key) != r.source_version]


def observe(context: Context, recordings: Iterable[Recording]) -> int:
    """Record the content version of each EDF whose recorded one differs; how many did."""
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
        _take_up(context, RAW_EDF)
    return len(changed)


def observe_selection(context: Context, plan: Plan, configuration: Configuration) -> None:
    """Record what the profile's recordings are now, if it differs from what was recorded."""
    version = selection_version(plan, configuration)
    if observed_version(context.instance, SELECTED_RECORDINGS) == version:
        return
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
    _take_up(context, SELECTED_RECORDINGS)


def _take_up(context: Context, key: dg.AssetKey) -> None:
    """Have this step's own materialization name the observation it has just recorded.

    Dagster takes note of a step's inputs before it starts.
    """
    context.get_step_execution_context().wipe_input_asset_version_info(key)


class ShardRecorder:
    """Records shards as materializations of ``windowed_cache``; a context manager."""

    def __init__(self, context: Context, code_version: str) -> None:
        self._writer, self._code_version = EventWriter(context), code_version
        storage = context.instance.event_log_storage
        self._observed = storage.get_latest_storage_id_by_partition(
            RAW_EDF, DagsterEventType.ASSET_OBSERVATION
        )
        self._known = recorded_versions(
            context.instance, WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION
        )

    def __enter__(self) -> ShardRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.flush()

    def is_recorded(self, key: str, fingerprint: str) -> bool:
        """Whether Dagster's newest record of a partition is this very shard.

        A fingerprint covers the code version, so it alone tells.
        """
        return self._known.get(key) == fingerprint

    def record(self, recording: Recording, fingerprint: str, metadata: Mapping[str, Any]) -> None:
        """Record one shard with all that it was made of."""
        key, source_version = recording.partition_key, recording.source_version
        pointer = self._observed.get(key)
        self._writer.add(
            dg.AssetMaterialization(
                WINDOWED_CACHE,
                partition=key,
                metadata=dict(metadata),
                tags={
                    DATA_VERSION_TAG: fingerprint,
                    CODE_VERSION_TAG: self._code_version,
                    DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
                    f"{INPUT_DATA_VERSION_TAG_PREFIX}/{RAW_EDF.to_user_string()}": source_version,
                    f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{RAW_EDF.to_user_string()}": str(
                        NULL_EVENT_POINTER if pointer is None else pointer
                    ),
                    f"{INPUT_DATA_VERSION_TAG_PREFIX}/{RAW_EDF_INDEX.to_user_string()}": (
                        INDEX_DATA_VERSION
                    ),
                    f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{RAW_EDF_INDEX.to_user_string()}": (
                        NULL_EVENT_POINTER
                    ),
                },
            )
        )
