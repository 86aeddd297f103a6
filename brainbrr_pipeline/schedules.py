"""The schedule that trains, stopped until it is turned on."""

from collections.abc import Iterator
from functools import partial

import dagster as dg

from brainbrr_core.configuration.settings import Orchestration
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.dagster_internals import UnresolvedAssetJobDefinition


def train_and_evaluate(
    job: UnresolvedAssetJobDefinition,
    settings: Orchestration,
    folds: dg.PartitionsDefinition[str] | None,
) -> dg.ScheduleDefinition:
    """The schedule of trainings, at the times of a cron expression in a time zone.

    With ``folds`` it requests a run for each of them.

    Raises :class:`BrainbrrError` if the cron expression is not valid.
    """
    cron, zone = settings.training_cron, settings.time_zone

    try:
        return dg.ScheduleDefinition(
            name="train_and_evaluate",
            job=job,
            cron_schedule=cron,
            execution_timezone=zone,
            execution_fn=None if folds is None else partial(_each_fold, folds),
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Trains on the current manifest and scores the model. A finished run of "
            "the same cache, configuration and seed is reused. Its times are those of "
            f"orchestration.training_cron ({cron}) in the time zone {zone}.",
        )
    except dg.DagsterInvalidDefinitionError:
        raise BrainbrrError(
            f"orchestration.training_cron is {cron!r}: write a cron expression of five fields, "
            "such as '0 20 * * 5' for Fridays at 20:00"
        ) from None


def _each_fold(
    folds: dg.PartitionsDefinition[str], context: dg.ScheduleEvaluationContext
) -> Iterator[dg.RunRequest]:
    """Request a run for each fold that exists now."""
    for key in folds.get_partition_keys(dynamic_partitions_store=context.instance):
        # Several requests need keys; this one is unique for each time of the schedule.
        yield dg.RunRequest(
            f"{context.scheduled_execution_time.isoformat()} {key}", partition_key=key
        )
