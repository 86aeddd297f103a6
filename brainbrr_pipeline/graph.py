"""``build_defs``: assets and resources put together; nothing is wired at import."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from brainbrr_core.configuration import Configuration, load
from brainbrr_pipeline import asset_checks, sensors
from brainbrr_pipeline.assets import cache, corpus, model, populate
from brainbrr_pipeline.resources import GpuResource, Workspace


def build_defs(
    configuration: Configuration | None = None,
    *,
    partitioned: bool = True,
    remote: str | None = None,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """The graph for a configuration, in its runs too (by default the environment's, each time).

    ``partitioned`` off gives ``windowed_cache`` without partitions: one run builds all that is
    needed. With ``remote`` it has none either, and is pulled from there. ``resources`` replace
    those of the same name.
    """
    workspace = Workspace.of(configuration) if configuration else Workspace()
    configuration = configuration or load()
    partitioned = partitioned and remote is None
    build_cache = cache.build_cache(configuration)
    update_index = dg.define_asset_job("update_index", ["raw_edf_index"])
    update_manifest = dg.define_asset_job(
        "update_manifest",
        dg.AssetSelection.assets("cache_manifest")
        | dg.AssetSelection.checks_for_assets("windowed_cache"),
    )
    training = dg.define_asset_job("train_and_evaluate_job", ["trained_model", "eval_report"])
    return dg.Definitions(
        assets=dg.with_source_code_references(
            [
                corpus.raw_edf(partitioned=partitioned),
                corpus.raw_edf_index,
                corpus.selected_recordings,
                cache.windowed_cache(configuration, partitioned=partitioned)
                if remote is None
                else populate.pulled_cache(configuration, remote),
                cache.cache_manifest(configuration),
                model.trained_model(configuration),
                model.eval_report(configuration),
            ]
        ),
        asset_checks=asset_checks.all_checks(),
        jobs=[update_index, build_cache, update_manifest, training]
        if remote is None
        else [populate.POPULATE_AND_TRAIN, training],
        # A machine that pulls its cache has no corpus to keep up with.
        sensors=[sensors.keep_up(configuration, update_index, build_cache, update_manifest)]
        if remote is None
        else [],
        schedules=[sensors.train_and_evaluate(configuration, training)],
        resources={
            "workspace": workspace,
            "gpu": GpuResource.of(configuration.hardware),
            "pipes_subprocess_client": dg.PipesSubprocessClient(),
            **(resources or {}),
        },
        # Training has a process of its own and the build has workers: more processes gain nothing.
        executor=dg.in_process_executor,
    )
