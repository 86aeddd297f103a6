"""The sensor that keeps index, cache and manifest up to date, stopped until it is turned on.

It never trains. Training is expensive, so it runs only when a user or the schedule asks for it.
"""

from collections.abc import Iterator

import dagster as dg

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_pipeline.dagster_internals import NOT_FINISHED_STATUSES
from brainbrr_pipeline.jobs import BUILD_OP, CacheJobs
from brainbrr_pipeline.pending_work import (
    BuildRuns,
    IndexRun,
    ManifestRun,
    UpToDate,
    split_evenly,
    work_to_do,
)
from brainbrr_pipeline.records.code_version import RELOAD, CodeVersions, SourceFiles
from brainbrr_pipeline.records.run_tags import run_tags
from brainbrr_pipeline.resources import Workspace, user_errors_as_failures

#: Tag of the runs that the sensor requested. It waits until all of them have finished.
ASKED_BY = "brainbrr/asked_by"
SENSOR = "keep_up"


def keep_up(jobs: CacheJobs, code_version: str) -> dg.SensorDefinition:
    """The sensor that keeps index, partitions, cache and manifest up to date with the corpus."""
    source_files = SourceFiles.now()

    @dg.sensor(
        name=SENSOR,
        # The UI lists a sensor on the page of each asset that one of its jobs materializes.
        # build_cache, which takes any list of partitions, is no job of an asset.
        jobs=[jobs.update_index, jobs.build_cache, jobs.build_partitions, jobs.update_manifest],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Watches the corpus. When an EDF or annotation file is added, changed or "
        "removed, it requests a new index, then the partitions that have to be built (each run "
        "gets its own list), then the manifest. It keeps up raw_edf_index, windowed_cache and "
        "cache_manifest, and never trains.",
    )
    def _keep_up(
        context: dg.SensorEvaluationContext, workspace: Workspace
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        # The UI shows a failed tick in red, with its message; a skipped one is easily overlooked.
        with user_errors_as_failures():
            configuration = workspace.load()
            if (
                CodeVersions.of(configuration).windowed_cache != code_version
                or SourceFiles.now() != source_files
            ):
                yield dg.SkipReason(f"the code or its configuration has changed: {RELOAD}")
                return
            if _has_unfinished_run(context.instance):
                yield dg.SkipReason("a run that was requested before is not finished")
                return
            work = work_to_do(context.instance, configuration)
            tags = {ASKED_BY: SENSOR} | run_tags(ProfileCache.of(configuration))
        context.log.info(work.why)
        match work:
            case IndexRun():
                yield dg.RunRequest(work.identity, job_name=jobs.update_index.name, tags=tags)
            case BuildRuns():
                lists = split_evenly(work.keys, configuration.orchestration.recordings_per_run)
                for number, keys in enumerate(lists):
                    yield dg.RunRequest(
                        f"{work.identity}-{number}",
                        job_name=jobs.build_cache.name,
                        run_config={"ops": {BUILD_OP: {"config": {"keys": keys}}}},
                        tags=tags,
                    )
            case ManifestRun():
                yield dg.RunRequest(work.identity, job_name=jobs.update_manifest.name, tags=tags)
            case UpToDate():
                yield dg.SkipReason(f"everything is up to date: {work.why}")

    return _keep_up


def _has_unfinished_run(instance: dg.DagsterInstance) -> bool:
    requested = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES), tags={ASKED_BY: SENSOR})
    return instance.get_runs_count(requested) > 0
