"""``build_defs``: assets and resources put together; nothing is wired at import."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from brainbrr_core.configuration import Configuration, load
from brainbrr_pipeline.assets import cache, corpus, model, populate
from brainbrr_pipeline.resources import GpuResource, Workspace


def build_defs(
    configuration: Configuration | None = None,
    *,
    partitioned: bool = True,
    remote: str | None = None,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """The graph for a configuration (by default the environment's).

    ``partitioned`` off gives ``windowed_cache`` without partitions: one run builds all that is
    needed. With ``remote`` it has none either, and is pulled from there. ``resources`` replace
    those of the same name.
    """
    configuration = configuration or load()
    partitioned = partitioned and remote is None
    return dg.Definitions(
        assets=[
            corpus.raw_edf(partitioned=partitioned),
            corpus.raw_edf_index,
            cache.windowed_cache(configuration, partitioned=partitioned)
            if remote is None
            else populate.pulled_cache(configuration, remote),
            cache.cache_manifest(configuration),
            model.trained_model(configuration),
            model.eval_report(configuration),
        ],
        jobs=[] if remote is None else [populate.POPULATE_AND_TRAIN],
        resources={
            "workspace": Workspace(),
            "gpu": GpuResource(profile=configuration.hardware.name),
            "pipes_subprocess_client": dg.PipesSubprocessClient(),
            **(resources or {}),
        },
        # Training has a process of its own and the build has workers: more processes gain nothing.
        executor=dg.in_process_executor,
    )
