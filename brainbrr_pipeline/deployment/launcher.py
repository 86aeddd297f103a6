"""Whether the worker of a run is alive.

dagster-celery takes a task that Celery calls started for healthy. Celery goes on calling it so
when its worker is killed, since nobody is left to say otherwise, and the run stays started for
ever. Here the worker itself is asked, and Dagster's run monitoring does the rest.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

#: Times a worker is asked, and seconds it has for each answer. Its answer does not wait for its
#: runs: these have processes of their own.
_TIMES, _SECONDS = 3, 5.0


class AttentiveCeleryRunLauncher(CeleryRunLauncher):
    """dagster-celery's launcher, for which a started run needs a worker that answers."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """The health of a run's worker, by Celery's state of its task and by asking it."""
        health = super().check_run_worker_health(run)
        if health.status is not WorkerStatus.RUNNING:
            return health
        started = self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG]).info
        # The task may have ended since it was looked at.
        worker = started.get("hostname") if isinstance(started, dict) else None
        if worker is None or self._answers(worker):
            return health
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"worker {worker} does not answer: it was killed or lost"
        )

    def _answers(self, worker: str) -> bool:
        return any(
            self.celery.control.ping(destination=[worker], timeout=_SECONDS) for _ in range(_TIMES)
        )
