"""Which queue a run belongs to: those that train or evaluate need a GPU, all others do not."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG

CPU, GPU = "cpu", "gpu"
#: Assets that compute on the GPU.
_ON_GPU = frozenset({dg.AssetKey("trained_model"), dg.AssetKey("eval_report")})


def queue_of(assets: Iterable[dg.AssetKey]) -> str:
    """The queue of a run that makes ``assets``."""
    return CPU if _ON_GPU.isdisjoint(assets) else GPU


class QueueByAsset(QueuedRunCoordinator[dg.DagsterInstance]):
    """Dagster's queue, which gives each run the tag of its Celery queue unless it has one."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Tag and enqueue a run."""
        run = context.dagster_run
        if DAGSTER_CELERY_QUEUE_TAG not in run.tags:
            queue = queue_of(run.asset_selection or ())
            self._instance.add_run_tags(run.run_id, {DAGSTER_CELERY_QUEUE_TAG: queue})
        return super().submit_run(context)
