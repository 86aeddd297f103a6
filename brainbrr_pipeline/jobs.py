"""The jobs, which the sensor, the schedule or a user launches."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import dagster as dg
from pydantic import Field

from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.corpus.index_file import index_corpora
from brainbrr_pipeline.cache_build import build_and_record, plan_list, plan_partitions
from brainbrr_pipeline.dagster_internals import UnresolvedAssetJobDefinition
from brainbrr_pipeline.records.code_version import CodeVersions, check_loaded, op_tags
from brainbrr_pipeline.records.data_versions import (
    CACHE_MANIFEST,
    FOLD_RECORDINGS,
    RAW_EDF_INDEX,
    WINDOWED_CACHE,
)
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures

#: Name of the only op of ``build_cache``, which its run configuration contains.
BUILD_OP = "build_recordings"


class BuildConfig(dg.Config):
    """Run configuration of ``build_cache``."""

    keys: list[str] = Field(
        default=[],
        description="Partition keys to build, in any order. If empty, everything that the profile "
        "needs is built.",
    )


def build_cache(code_version: str, tags: Mapping[str, str]) -> dg.JobDefinition:
    """The job that builds and records any list of partitions in one run."""

    @dg.op(
        name=BUILD_OP,
        tags=op_tags(code_version),
        out=dg.Out(dg.Nothing),
        description="Builds the shards of a list of recordings and records each as a "
        "materialization of windowed_cache. Shards that are fresh are not built again.",
    )
    def _build_recordings(
        context: dg.OpExecutionContext, config: BuildConfig, workspace: Workspace
    ) -> None:
        with user_errors_as_failures():
            configuration = workspace.load_for(context)
            current = CodeVersions.of(configuration).windowed_cache
            check_loaded(context, current)
            cache = ProfileCache.of(configuration)
            if config.keys:
                scan = partial(
                    index_corpora, configuration.corpus_sources, configuration.cache_root
                )
                plan = plan_list(cache, config.keys, scan)
            else:
                index_and_plan = partial(plan_corpus, configuration, context.log.info)
                plan = plan_partitions(context, cache, None, index_and_plan)
            build_and_record(context, plan, cache, current)

    @dg.job(
        name="build_cache",
        tags=tags,
        description="Builds any partitions of windowed_cache in one run, whether or not they are "
        f"adjacent: those listed in ops.{BUILD_OP}.config.keys, or everything that the profile "
        "needs.",
    )
    def _build_cache() -> None:
        _build_recordings()

    return _build_cache


@dataclass(frozen=True)
class CacheJobs:
    """The jobs of a machine that has the EDFs, in the order of the work."""

    update_index: UnresolvedAssetJobDefinition
    build_cache: dg.JobDefinition
    build_partitions: UnresolvedAssetJobDefinition
    update_manifest: UnresolvedAssetJobDefinition

    @classmethod
    def of(cls, versions: CodeVersions, tags: Mapping[str, str]) -> "CacheJobs":
        """The jobs for the loaded code versions, with tags for each of their runs."""
        return cls(
            dg.define_asset_job(
                "update_index",
                [RAW_EDF_INDEX],
                tags=tags,
                description="Indexes the corpus, adds and drops partitions, and records which EDFs "
                "changed.",
            ),
            build_cache(versions.windowed_cache, tags),
            dg.define_asset_job(
                "build_partitions",
                [WINDOWED_CACHE],
                tags=tags,
                description="Builds one partition of windowed_cache or an adjacent range of them, "
                "as a backfill does. For any other list use build_cache.",
            ),
            dg.define_asset_job(
                "update_manifest",
                dg.AssetSelection.assets(CACHE_MANIFEST)
                | dg.AssetSelection.checks_for_assets(WINDOWED_CACHE),
                tags=tags,
                description="Writes the manifest if it is not current, and runs the checks of "
                "windowed_cache and cache_manifest.",
            ),
        )


def train_and_evaluate_job(tags: Mapping[str, str]) -> UnresolvedAssetJobDefinition:
    """The job that trains and scores."""
    return dg.define_asset_job(
        "train_and_evaluate_job",
        ["trained_model", "eval_report"],
        tags=tags,
        description="Trains on the current manifest, then scores the model. A finished run of the "
        "same cache, configuration and seed is reused.",
    )


def populate_and_train_job(
    tags: Mapping[str, str], folds: dg.PartitionsDefinition[str] | None
) -> UnresolvedAssetJobDefinition:
    """The job of a machine that pulls its cache; of one fold, where there are ``folds``."""
    of_folds = [] if folds is None else [FOLD_RECORDINGS]
    return dg.define_asset_job(
        "populate_and_train",
        selection=dg.AssetSelection.assets(
            WINDOWED_CACHE, CACHE_MANIFEST, *of_folds, "trained_model"
        ),
        tags=tags,
        description="Pulls the cache from its remote copy, verifies it, writes the manifest and "
        "trains. Shards that are already stored are not downloaded again.",
    )
