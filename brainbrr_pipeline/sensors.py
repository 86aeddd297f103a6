"""Keeping the graph up to date by itself: a sensor and a schedule, both off until turned on.

The sensor looks after index, cache and manifest. A training is expensive: it runs when a person
or the schedule asks for it, never because something upstream changed.
"""

from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.assets.cache import BUILD_OP
from brainbrr_pipeline.pending_work import (
    BuildRuns,
    IndexRun,
    ManifestRun,
    Nothing,
    in_parts,
    work_to_do,
)
from brainbrr_pipeline.records.code_version import RELOAD, SourceFiles
from brainbrr_pipeline.resources import Workspace

#: Tag of runs that the sensor asked for, so that it waits for them.
ASKED_BY = "brainbrr/asked_by"
SENSOR, SCHEDULE = "keep_up", "train_and_evaluate"


def keep_up(
    configuration: Configuration,
    update_index: UnresolvedAssetJobDefinition,
    build_cache: dg.JobDefinition,
    update_manifest: UnresolvedAssetJobDefinition,
) -> dg.SensorDefinition:
    """The sensor that keeps index, partitions, cache and manifest in step with the corpus."""
    loaded_version = preprocessing_version(configuration.preprocessing)
    source_files = SourceFiles.now()

    @dg.sensor(
        name=SENSOR,
        jobs=[update_index, build_cache, update_manifest],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Watches the corpus. Asks for a new index when an EDF or annotation came, "
        "changed or went, then for the partitions that the plan says, each run with its own list, "
        "then for the manifest. Trains nothing.",
    )
    def _keep_up(
        context: dg.SensorEvaluationContext, workspace: Workspace
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        try:
            settings = workspace.load()
            if (
                preprocessing_version(settings.preprocessing) != loaded_version
                or SourceFiles.now() != source_files
            ):
                yield dg.SkipReason(f"the program or its settings changed since: {RELOAD}")
                return
            if _under_way(context.instance):
                yield dg.SkipReason("what was asked for before is under way")
                return
            work = work_to_do(context.instance, settings)
        except BrainbrrError as error:
            yield dg.SkipReason(str(error))
            return
        context.log.info(work.why)
        tags = {ASKED_BY: SENSOR}
        match work:
            case IndexRun():
                yield dg.RunRequest(work.identity, job_name=update_index.name, tags=tags)
            case BuildRuns():
                parts = in_parts(work.keys, settings.orchestration.recordings_per_run)
                for number, keys in enumerate(parts):
                    yield dg.RunRequest(
                        f"{work.identity}-{number}",
                        job_name=build_cache.name,
                        run_config={"ops": {BUILD_OP: {"config": {"keys": keys}}}},
                        tags=tags,
                    )
            case ManifestRun():
                yield dg.RunRequest(work.identity, job_name=update_manifest.name, tags=tags)
            case Nothing():
                yield dg.SkipReason(f"all is up to date: {work.why}")

    return _keep_up


def _under_way(instance: dg.DagsterInstance) -> bool:
    asked = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES), tags={ASKED_BY: SENSOR})
    return instance.get_runs_count(asked) > 0


def train_and_evaluate(
    configuration: Configuration, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """The schedule of trainings."""
    return dg.ScheduleDefinition(
        name=SCHEDULE,
        job=job,
        cron_schedule=configuration.orchestration.training_cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Trains on the current manifest and scores the model; a run that is finished "
        "already is used again.",
    )
