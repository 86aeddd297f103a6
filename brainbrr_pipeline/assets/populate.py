"""``windowed_cache`` on a machine without EDFs: pulled and verified, where others build it."""

from collections.abc import Iterator

import dagster as dg

from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.transfer.pull import pull
from brainbrr_core.transfer.receive import Transfer
from brainbrr_pipeline.assets.cache import GROUP
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.cache_build import facts
from brainbrr_pipeline.records.data_versions import (
    RAW_EDF,
    RAW_EDF_INDEX,
    WINDOWED_CACHE,
    ShardRecorder,
    observe,
    observe_selection,
)
from brainbrr_pipeline.records.partitions import keep_in_step
from brainbrr_pipeline.resources import Workspace, users_mistakes_as_failures

#: Pull, verify, manifest, train: in this order, each only where it is needed.
POPULATE_AND_TRAIN = dg.define_asset_job(
    "populate_and_train",
    selection=dg.AssetSelection.assets(WINDOWED_CACHE, "cache_manifest", "trained_model"),
    description="Fill the local cache from its remote copy, verified, then train.",
)


def pulled_cache(configuration: Configuration, remote: str) -> dg.AssetsDefinition:
    """The store, filled from the remote copy at ``remote``. A full one costs seconds.

    Shards are recorded as those that are built here are, one for each recording.
    """

    @dg.asset(
        name=WINDOWED_CACHE.to_user_string(),
        group_name=GROUP,
        deps=[RAW_EDF, RAW_EDF_INDEX],
        owners=OWNERS,
        code_version=preprocessing_version(configuration.preprocessing),
        output_required=False,
        kinds={"arrow", "s3"},
        description="Each recording once, preprocessed elsewhere, pulled to this machine and "
        "verified to the last byte.",
    )
    def _pulled_cache(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> Iterator[dg.MaterializeResult[None]]:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            outcome = pull(configuration, open_remote(remote), log=context.log.info)
            plan = plan_profile(configuration)
        _record(context, plan, configuration, outcome.where)
        trouble = {**outcome.failed, **outcome.absent}
        if trouble:
            raise dg.Failure(
                f"{len(trouble)} of {len(plan.items)} recordings were not pulled: "
                + "; ".join(f"{key}: {why}" for key, why in sorted(trouble.items())[:10]),
                allow_retries=False,
            )
        yield dg.MaterializeResult(metadata=_metadata(outcome))

    return _pulled_cache


def _record(
    context: dg.AssetExecutionContext, plan: Plan, configuration: Configuration, where: str
) -> None:
    """Record what is fresh here and unknown to Dagster."""
    keep_in_step(context.instance, plan.index)
    observe(context, [item.recording for item in plan.items])
    with ShardRecorder(context, preprocessing_version(configuration.preprocessing)) as recorder:
        for item in plan.items:
            key = item.recording.partition_key
            if item.state is State.FRESH and not recorder.is_recorded(key, item.fingerprint):
                recorder.record(
                    item.recording,
                    item.fingerprint,
                    facts(item, configuration) | {"bytes": item.bytes, "pulled from": where},
                )
    observe_selection(context, plan, configuration)


def _metadata(outcome: Transfer) -> dict[str, str | int | float]:
    return {
        "remote": outcome.where,
        "shards moved": outcome.moved,
        "shards verified": outcome.verified,
        "shards here before": outcome.skipped,
        "bytes moved": outcome.bytes,
        "seconds": round(outcome.seconds, 1),
    }
