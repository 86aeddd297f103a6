"""``windowed_cache`` on a machine without EDFs: downloaded and verified instead of built."""

from collections.abc import Iterator

import dagster as dg

from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.display.counts import count
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.transfer.pull import pull
from brainbrr_core.transfer.receive import Transfer
from brainbrr_pipeline.assets.cache import GROUP
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.cache_build import shard_metadata
from brainbrr_pipeline.records import metadata
from brainbrr_pipeline.records.code_version import CodeVersions
from brainbrr_pipeline.records.data_versions import (
    RAW_EDF,
    RAW_EDF_INDEX,
    WINDOWED_CACHE,
    ShardRecorder,
    observe,
    observe_selection,
)
from brainbrr_pipeline.records.metadata import Metadata
from brainbrr_pipeline.records.partitions import synchronize_folds, synchronize_partitions
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures


def pulled_cache(code_version: str, remote: str) -> dg.AssetsDefinition:
    """The asset of shards, downloaded from the remote copy at the address ``remote``."""

    @dg.asset(
        name=WINDOWED_CACHE.to_user_string(),
        group_name=GROUP,
        deps=[RAW_EDF, RAW_EDF_INDEX],
        owners=OWNERS,
        code_version=code_version,
        output_required=False,
        kinds={"arrow", "s3"},
    )
    def _pulled_cache(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> Iterator[dg.MaterializeResult[None]]:
        """The preprocessed EEG of each recording, downloaded from a remote copy and verified.

        Shards that are already stored here are not downloaded again. Each is recorded as a
        partition, as on the machine that built it.
        """
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            cache = ProfileCache.of(configuration)
            outcome = pull(cache, open_remote(remote), log=context.log.info)
            plan = cache.plan()
            synchronize_folds(context.instance, cache, plan)
        shown = {
            item.recording.partition_key: shard_metadata(
                item, configuration.windows, configuration.labels.seizure
            )
            | {"bytes": item.bytes, "pulled from": outcome.where}
            if item.state is State.FRESH
            else metadata.of_excluded(item)
            for item in plan.items
            if item.state in (State.FRESH, State.EXCLUDED)
        }
        _record(context, plan, CodeVersions.of(configuration).windowed_cache, shown)
        observe_selection(context, plan, cache.settings)
        failures = {**outcome.failed, **outcome.absent}
        if failures:
            raise dg.Failure(
                f"not pulled: {len(failures)} of {count(len(plan.items), 'recording')}: "
                + "; ".join(f"{key}: {why}" for key, why in sorted(failures.items())[:10]),
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata=_metadata(outcome))

    return _pulled_cache


def _record(
    context: dg.AssetExecutionContext, plan: Plan, code_version: str, shown: dict[str, Metadata]
) -> None:
    """Record the partitions that Dagster has no current record of, with their metadata."""
    synchronize_partitions(context.instance, plan.index)
    observe(context, [item.recording for item in plan.items])
    with ShardRecorder(context, code_version) as recorder:
        for item in plan.items:
            version = recorder.unrecorded(item)
            if version is not None:
                recorder.record(item.recording, version, shown[item.recording.partition_key])


def _metadata(outcome: Transfer) -> Metadata:
    return {
        "remote": outcome.where,
        "shards moved": outcome.moved,
        "shards verified": outcome.verified,
        "shards already here": outcome.skipped,
        "bytes moved": outcome.bytes,
        "download seconds": round(outcome.seconds, 1),
    }
