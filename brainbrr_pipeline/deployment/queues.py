"""A run coordinator that sends runs which train or evaluate to GPUs, and all others to CPUs."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG

CPU, GPU = "cpu", "gpu"
#: Assets that compute on the GPU.
_ON_GPU = frozenset({dg.AssetKey("trained_model"), dg.AssetKey("eval_report")})


def queue_of(assets: Iterable[dg.AssetKey]) -> str:
    """The queue of a run that materializes ``assets``."""
    return CPU if _ON_GPU.isdisjoint(assets) else GPU


class QueueByAsset(dg.QueuedRunCoordinator[dg.DagsterInstance]):
    """Dagster's queued run coordinator, which also tags each run with its Celery queue.

    A run that already has such a tag keeps it.
    """

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Tag a run and add it to the queue."""
        run = context.dagster_run
        if DAGSTER_CELERY_QUEUE_TAG not in run.tags:
            queue = queue_of(run.asset_selection or ())
            self._instance.add_run_tags(run.run_id, {DAGSTER_CELERY_QUEUE_TAG: queue})
        return super().submit_run(context)
