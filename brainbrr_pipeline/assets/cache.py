"""``windowed_cache`` and ``cache_manifest``: the store, as Dagster sees it.

``build_cache`` is a job that builds ``windowed_cache`` for a list of partitions in one run.
"""

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.tags import BACKFILL_ID_TAG
from pydantic import Field

from brainbrr_core.cache.manifest import settings_digest
from brainbrr_core.cache.manifest_file import SCHEMA, update_manifest
from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.cache_build import build_and_record, look_and_plan, plan_list
from brainbrr_pipeline.records import metadata
from brainbrr_pipeline.records.code_version import check_loaded, op_tags
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    RAW_EDF,
    RAW_EDF_INDEX,
    SELECTED_RECORDINGS,
    WINDOWED_CACHE,
    observe_selection,
    selection_version,
)
from brainbrr_pipeline.records.partitions import recordings
from brainbrr_pipeline.resources import Workspace, users_mistakes_as_failures

GROUP = "cache"
BUILD_JOB, BUILD_OP = "build_cache", "build_recordings"


class BuildConfig(dg.Config):
    """What one run of ``build_cache`` is to look after."""

    keys: list[str] = Field(
        default=[],
        description="Partition keys, in any order; empty, all that the profile needs.",
    )


def build_cache(configuration: Configuration) -> dg.JobDefinition:
    """One run that builds and records a list of partitions, contiguous or not.

    Of the list it builds what the plan says and nothing else.
    """
    loaded_version = preprocessing_version(configuration.preprocessing)

    @dg.op(
        name=BUILD_OP,
        tags=op_tags(loaded_version),
        out=dg.Out(dg.Nothing),
        description="Builds the shards of a list of recordings and records them as "
        "materializations of windowed_cache.",
    )
    def _build_recordings(
        context: dg.OpExecutionContext, config: BuildConfig, workspace: Workspace
    ) -> None:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            check_loaded(context, preprocessing_version(configuration.preprocessing))
            if config.keys:
                plan = plan_list(configuration, config.keys)
            else:
                plan = look_and_plan(context, configuration)
            build_and_record(context, plan, configuration)

    @dg.job(
        name=BUILD_JOB,
        description="Builds scattered partitions of windowed_cache in one run: those of "
        f"ops.{BUILD_OP}.config.keys, or whatever the profile needs.",
    )
    def _build_cache() -> None:
        _build_recordings()

    return _build_cache


def windowed_cache(configuration: Configuration, *, partitioned: bool) -> dg.AssetsDefinition:
    """Each recording once, preprocessed, in 10 s blocks of 16-bit samples.

    The code version is the preprocessing version. A run builds what the plan says for its
    partitions (without any, for the profile) and nothing else. A recording that fails fails its
    own partition, and the run when the others are done.
    """
    loaded_version = preprocessing_version(configuration.preprocessing)

    @dg.asset(
        name=WINDOWED_CACHE.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        deps=[RAW_EDF, RAW_EDF_INDEX],
        partitions_def=recordings if partitioned else None,
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned else None,
        code_version=loaded_version,
        op_tags=op_tags(loaded_version),
        output_required=False,
        kinds={"arrow"},
        description=windowed_cache.__doc__,
    )
    def _windowed_cache(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> Iterator[dg.MaterializeResult[None]]:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            check_loaded(context, preprocessing_version(configuration.preprocessing))
            plan = look_and_plan(
                context, configuration, context.partition_keys if partitioned else None
            )
            # A backfill takes a partition that its run did not record for failed.
            in_backfill = BACKFILL_ID_TAG in context.run.tags
            after = build_and_record(context, plan, configuration, record_all=in_backfill)
        if not partitioned:
            # Without an output, Dagster would skip the steps downstream of this one.
            yield dg.MaterializeResult(
                data_version=dg.DataVersion(selection_version(after, configuration)),
                metadata={
                    "built": len(plan.to_build),
                    **{f"{state} in the profile": after.count(state) for state in State},
                },
            )

    return _windowed_cache


def cache_manifest(configuration: Configuration) -> dg.AssetsDefinition:
    """One row per window of the profile, made without touching a signal.

    The data version is a digest of what it is made of.
    """
    loaded_version = settings_digest(configuration)[:12]

    @dg.asset(
        name=CACHE_MANIFEST.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        deps=[WINDOWED_CACHE, SELECTED_RECORDINGS],
        code_version=loaded_version,
        op_tags=op_tags(loaded_version),
        kinds={"parquet"},
        metadata={"dagster/column_schema": metadata.column_schema(SCHEMA)},
        description=cache_manifest.__doc__,
    )
    def _cache_manifest(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        with users_mistakes_as_failures():
            configuration = workspace.load()
            check_loaded(context, settings_digest(configuration)[:12])
            plan = plan_profile(configuration)
            observe_selection(context, plan, configuration)
            made = update_manifest(plan, configuration)
        context.log.info(
            f"{len(made.manifest)} windows, "
            + ("written" if made.rewritten else "current already, nothing written")
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.manifest.source),
            metadata=metadata.of_manifest(made, plan),
        )

    return _cache_manifest
