"""``windowed_cache`` and ``cache_manifest``."""

from collections.abc import Iterator
from functools import partial

import dagster as dg

from brainbrr_core.cache.manifest_file import SCHEMA, update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.display.counts import count
from brainbrr_pipeline.asset_checks import log_cache_checks
from brainbrr_pipeline.assets.corpus import OWNERS
from brainbrr_pipeline.cache_build import build_and_record, plan_partitions
from brainbrr_pipeline.dagster_internals import BACKFILL_ID_TAG
from brainbrr_pipeline.records import columns, metadata
from brainbrr_pipeline.records.code_version import CodeVersions, check_loaded, op_tags
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    FOLD_RECORDINGS,
    RAW_EDF,
    RAW_EDF_INDEX,
    SELECTED_RECORDINGS,
    WINDOWED_CACHE,
    fold_record,
    observe_selection,
    record_all_folds,
)
from brainbrr_pipeline.records.partitions import recordings
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures

GROUP = "cache"


def windowed_cache(code_version: str, *, partitioned: bool) -> dg.AssetsDefinition:
    """The asset of shards. Without partitions, one run builds everything the profile needs."""

    @dg.asset(
        name=WINDOWED_CACHE.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        deps=[RAW_EDF, RAW_EDF_INDEX],
        partitions_def=recordings if partitioned else None,
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned else None,
        code_version=code_version,
        op_tags=op_tags(code_version),
        output_required=False,
        kinds={"arrow"},
    )
    def _windowed_cache(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> Iterator[dg.MaterializeResult[None]]:
        """The preprocessed EEG of each recording, stored once in blocks of 10 s (int16).

        The code version is the preprocessing version. A run builds only the missing, stale and
        corrupt shards among its partitions. If a recording fails, the others are still built, then
        the run fails.
        """
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            current = CodeVersions.of(configuration).windowed_cache
            check_loaded(context, current)
            cache = ProfileCache.of(configuration)
            plan = plan_partitions(
                context,
                cache,
                context.partition_keys if partitioned else None,
                partial(plan_corpus, configuration, context.log.info),
            )
            # In a backfill, a partition that the run does not record counts as failed.
            in_backfill = BACKFILL_ID_TAG in context.run.tags
            after, version = build_and_record(context, plan, cache, current, record_all=in_backfill)
            if partitioned:
                log_cache_checks(context, cache)
        if not partitioned:
            # Without an output, Dagster would skip the steps downstream of this one.
            yield dg.MaterializeResult(
                data_version=dg.DataVersion(version),
                metadata={
                    "built": len(plan.to_build),
                    **{f"{state} in the profile": after.count(state) for state in State},
                },
            )

    return _windowed_cache


def cache_manifest(code_version: str, code_version_of_folds: str) -> dg.AssetsDefinition:
    """The asset of the profile's windows; it also records what each fold trains on."""

    @dg.asset(
        name=CACHE_MANIFEST.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        deps=[WINDOWED_CACHE, SELECTED_RECORDINGS],
        code_version=code_version,
        op_tags=op_tags(code_version),
        kinds={"parquet"},
        metadata={"dagster/column_schema": columns.column_schema(SCHEMA, columns.MANIFEST)},
    )
    def _cache_manifest(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        """A table of the profile's windows and their seizure seconds, one row per window.

        It is derived from the index and the shards' headers; no signal is read. The data version
        is a hash of the shards' fingerprints, the annotations and the settings.
        """
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            check_loaded(context, CodeVersions.of(configuration).cache_manifest)
            plan = plan_profile(configuration)
            observe_selection(context, plan, configuration.manifest_settings)
            made = update_manifest(plan, configuration.manifest_settings)
            record_all_folds(context, ProfileCache.of(configuration), plan, code_version_of_folds)
        context.log.info(
            f"{count(len(made.manifest), 'window')}, "
            + ("written" if made.rewritten else "already current, nothing written")
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.manifest.source),
            metadata=metadata.of_manifest(made, plan),
        )

    return _cache_manifest


def fold_recordings(code_version: str, folds: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset of what each fold of a cross-validation trains on."""

    @dg.asset(
        name=FOLD_RECORDINGS.to_user_string(),
        group_name=GROUP,
        owners=OWNERS,
        deps=[CACHE_MANIFEST],
        partitions_def=folds,
        code_version=code_version,
        op_tags=op_tags(code_version),
    )
    def _fold_recordings(
        context: dg.AssetExecutionContext, workspace: Workspace
    ) -> dg.MaterializeResult[None]:
        """The recordings in train and dev of a fold.

        Nothing is written. The data version is a hash of these recordings' shards and annotations,
        so that trained_model is stale in the folds that a change concerns, and in no other.
        cache_manifest records it for every fold.
        """
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            check_loaded(context, CodeVersions.of(configuration).fold_recordings)
            cache = ProfileCache.of(configuration)
            version, splits = fold_record(cache.fold_digests(cache.plan()), context.partition_key)
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=splits)

    return _fold_recordings
