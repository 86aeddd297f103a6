"""The schedule that trains, stopped until it is turned on."""

import dagster as dg

from brainbrr_pipeline.dagster_internals import UnresolvedAssetJobDefinition


def train_and_evaluate(job: UnresolvedAssetJobDefinition, cron: str) -> dg.ScheduleDefinition:
    """The schedule of trainings, at the times of a cron expression."""
    return dg.ScheduleDefinition(
        name="train_and_evaluate",
        job=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Trains on the current manifest and scores the model. A finished run of the "
        "same cache, configuration and seed is reused.",
    )
