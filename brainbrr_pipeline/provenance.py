"""What Dagster must be told to know, by itself, which partition is stale.

A shard's materialization names the content version of its EDF and the observation it was taken
from; a code version; and a data version of its own. With these, Dagster's staleness of each
partition is exact.
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
)

from brainbrr_core.corpus.index import SCHEMA_VERSION
from brainbrr_core.corpus.recording import Recording

RAW_EDF = dg.AssetKey("raw_edf")
RAW_EDF_INDEX = dg.AssetKey("raw_edf_index")
WINDOWED_CACHE = dg.AssetKey("windowed_cache")
#: The index's data version: a new index makes nothing stale; changed recordings do.
INDEX_DATA_VERSION = str(SCHEMA_VERSION)


def recorded_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: DagsterEventType
) -> dict[str, str]:
    """Data version of the newest event of each partition, in one query."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, kind, tag_keys=[DATA_VERSION_TAG]
    )
    return {partition: values[DATA_VERSION_TAG] for partition, values in tags.items()}


def observe(context: dg.AssetExecutionContext, recordings: Iterable[Recording]) -> int:
    """Record the content version of each EDF whose recorded one differs; how many did."""
    known = recorded_versions(context.instance, RAW_EDF, DagsterEventType.ASSET_OBSERVATION)
    changed = 0
    for recording in recordings:
        if known.get(recording.partition_key) != recording.source_version:
            changed += 1
            context.log_event(
                dg.AssetObservation(
                    RAW_EDF,
                    partition=recording.partition_key,
                    tags={DATA_VERSION_TAG: recording.source_version},
                )
            )
    return changed


class ShardRecorder:
    """Records shards as materializations of ``windowed_cache``, one for each recording."""

    def __init__(self, context: dg.AssetExecutionContext, code_version: str) -> None:
        self._context, self._code_version = context, code_version
        storage = context.instance.event_log_storage
        self._observed = storage.get_latest_storage_id_by_partition(
            RAW_EDF, DagsterEventType.ASSET_OBSERVATION
        )
        self._known = recorded_versions(
            context.instance, WINDOWED_CACHE, DagsterEventType.ASSET_MATERIALIZATION
        )

    def is_recorded(self, key: str, fingerprint: str) -> bool:
        """Whether Dagster's newest record of a partition is this very shard.

        A fingerprint covers the code version, so it alone tells.
        """
        return self._known.get(key) == fingerprint

    def record(
        self, key: str, fingerprint: str, source_version: str, metadata: Mapping[str, Any]
    ) -> None:
        """Record one shard with all that it was made of."""
        pointer = self._observed.get(key)
        self._context.log_event(
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
