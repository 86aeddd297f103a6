"""``build_defs``: the definitions for a configuration. Nothing is defined at import."""

from collections.abc import Mapping

import dagster as dg

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration, load
from brainbrr_pipeline import asset_checks, jobs, schedules, sensors
from brainbrr_pipeline.assets import cache, corpus, model
from brainbrr_pipeline.assets.pulled_cache import pulled_cache
from brainbrr_pipeline.dagster_internals import UnresolvedAssetJobDefinition
from brainbrr_pipeline.failure_notices import notify_of_failures
from brainbrr_pipeline.records.code_version import CodeVersions
from brainbrr_pipeline.records.partitions import fold_partitions
from brainbrr_pipeline.records.run_tags import run_tags, training_tags
from brainbrr_pipeline.resources import GpuResource, Workspace


def build_defs(
    configuration: Configuration | None = None,
    *,
    partitioned: bool = True,
    remote: str | None = None,
    resources: Mapping[str, object] | None = None,
) -> dg.Definitions:
    """Build the Dagster definitions of the whole graph.

    Parameters
    ----------
    configuration : Configuration, optional
        Used to define the graph and by each run. By default the configuration is loaded from the
        environment: once for the definitions, and again in each run.
    partitioned : bool
        Whether ``windowed_cache`` has one partition per recording. Without partitions, one run
        builds everything that the profile needs.
    remote : str, optional
        Address of a remote copy of the cache, such as ``s3://bucket/brainbrr``. If given,
        ``windowed_cache`` is pulled from there instead of built, and has no partitions.
    resources : mapping, optional
        Resources that replace those of the same name.

    Raises
    ------
    BrainbrrError
        If the configuration cannot be loaded.
    """
    workspace = Workspace.of(configuration) if configuration else Workspace()
    configuration = configuration or load()
    versions = CodeVersions.of(configuration)
    tags = run_tags(ProfileCache.of(configuration))
    trains = tags | training_tags(configuration.model, configuration.training)
    folds = fold_partitions(configuration.corpus.split)
    training = jobs.train_and_evaluate_job(trains)
    schedule = schedules.train_and_evaluate(training, configuration.orchestration, folds)
    job_defs: list[dg.JobDefinition | UnresolvedAssetJobDefinition]
    sensor_defs = [notify_of_failures(configuration.orchestration)]
    if remote is None:
        shards = cache.windowed_cache(versions.windowed_cache, partitioned=partitioned)
        cache_jobs = jobs.CacheJobs.of(versions, tags)
        job_defs = [
            cache_jobs.update_index,
            cache_jobs.build_cache,
            cache_jobs.build_partitions,
            cache_jobs.update_manifest,
            training,
        ]
        sensor_defs.append(sensors.keep_up(cache_jobs, versions.windowed_cache))
    else:
        # A machine that pulls its cache has no corpus to watch, so it needs no sensor.
        partitioned = False
        shards = pulled_cache(versions.windowed_cache, remote)
        job_defs = [jobs.populate_and_train_job(trains, folds), training]
    return dg.Definitions(
        assets=dg.with_source_code_references(
            [
                corpus.raw_edf(partitioned=partitioned),
                corpus.raw_edf_index,
                corpus.selected_recordings,
                shards,
                cache.cache_manifest(versions.cache_manifest, versions.fold_recordings),
                *(
                    []
                    if folds is None
                    else [cache.fold_recordings(versions.fold_recordings, folds)]
                ),
                model.trained_model(versions.trained_model, folds),
                model.eval_report(versions.eval_report, folds),
            ]
        ),
        asset_checks=asset_checks.all_checks(),
        jobs=job_defs,
        sensors=sensor_defs,
        schedules=[schedule],
        resources={
            "workspace": workspace,
            "gpu": GpuResource.of(configuration.hardware),
            "pipes_subprocess_client": dg.PipesSubprocessClient(),
            **(resources or {}),
        },
        # Training and building start their own processes, so steps need none.
        executor=dg.in_process_executor,
    )
