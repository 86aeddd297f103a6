"""A run launcher that notices when the worker of a run was killed.

dagster-celery considers a run healthy while Celery reports its task as started. Celery still does
so after the worker was killed, and the run would stay started forever. This launcher pings the
worker itself. Dagster's run monitoring then fails the run and retries it.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from brainbrr_pipeline.dagster_internals import CheckRunHealthResult, WorkerStatus

#: Number of pings to a worker, and the timeout of each in seconds. A busy worker answers too, since
#: its runs have their own processes.
PINGS, PING_TIMEOUT_S = 3, 5.0


class AttentiveCeleryRunLauncher(CeleryRunLauncher):
    """The launcher of dagster-celery, which also pings the worker of a started run."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """The health of a run's worker, from the state of its Celery task and from pings."""
        health = super().check_run_worker_health(run)
        if health.status is not WorkerStatus.RUNNING:
            return health
        started = self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG]).info
        # Without a host name the task has ended in the meantime.
        worker = started.get("hostname") if isinstance(started, dict) else None
        if worker is None or self._answers(worker):
            return health
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"worker {worker} does not answer: it was killed or lost"
        )

    def _answers(self, worker: str) -> bool:
        return any(
            self.celery.control.ping(destination=[worker], timeout=PING_TIMEOUT_S)
            for _ in range(PINGS)
        )
