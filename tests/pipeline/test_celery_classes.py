"""The run coordinator and the run launcher for Celery; no server is started."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import dagster as dg
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import BaseWorkspaceRequestContext
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from brainbrr_pipeline.deployment import launcher
from brainbrr_pipeline.deployment.launcher import AttentiveCeleryRunLauncher
from brainbrr_pipeline.deployment.queues import QueueByAsset, queue_of
from tests.support.project import ROOT

DEPLOYMENT = ROOT / "configs" / "deploy" / "celery"
WORKER = "cpu@host"


def keys(*names: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(name) for name in names]


def test_dagster_accepts_the_configuration() -> None:
    values, _ = dagster_instance_config(str(DEPLOYMENT))
    limits = values["run_coordinator"]["config"]["tag_concurrency_limits"]
    assert {limit["value"] for limit in limits} == {queue_of([]), queue_of(keys("trained_model"))}


@pytest.mark.parametrize(
    ("assets", "queue"),
    [
        ([], "cpu"),
        (["raw_edf_index", "windowed_cache", "cache_manifest"], "cpu"),
        (["trained_model"], "gpu"),
        (["raw_edf_index", "eval_report"], "gpu"),
    ],
)
def test_only_what_needs_a_gpu_is_sent_to_one(assets: list[str], queue: str) -> None:
    assert queue_of(keys(*assets)) == queue


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    coordinator = {"module": QueueByAsset.__module__, "class": QueueByAsset.__name__}
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"run_coordinator": coordinator}
    ) as made:
        yield made


def submitted(instance: dg.DagsterInstance, **values: Any) -> dg.DagsterRun:
    """A run as the coordinator has enqueued it."""
    # The coordinator adds the run to the queue without looking at the workspace.
    workspace = create_autospec(BaseWorkspaceRequestContext, instance=True)
    server = GrpcServerCodeLocationOrigin("127.0.0.1", port=1)
    job = RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), "__ASSET_JOB")
    run = create_run_for_test(
        instance, status=dg.DagsterRunStatus.NOT_STARTED, remote_job_origin=job, **values
    )
    return instance.run_coordinator.submit_run(SubmitRunContext(run, workspace))


def test_a_run_is_enqueued_with_its_queue(instance: dg.DagsterInstance) -> None:
    training = submitted(instance, asset_selection=frozenset(keys("trained_model")))
    building = submitted(instance)
    chosen = submitted(instance, tags={DAGSTER_CELERY_QUEUE_TAG: "large"})
    assert [run.tags[DAGSTER_CELERY_QUEUE_TAG] for run in (training, building, chosen)] == [
        "gpu",
        "cpu",
        "large",
    ]
    assert building.status is dg.DagsterRunStatus.QUEUED


class Run:
    """A run, and the state of its task in Celery."""

    def __init__(self) -> None:
        self.launcher = AttentiveCeleryRunLauncher(
            "cpu", broker="memory://", backend="cache+memory://"
        )
        self._task = str(uuid.uuid4())
        self._run = dg.DagsterRun("build_cache", tags={DAGSTER_CELERY_TASK_ID_TAG: self._task})

    def celery_says(self, state: str, result: object) -> None:
        self.launcher.celery.backend.store_result(self._task, result, state)

    @property
    def health(self) -> WorkerStatus:
        return self.launcher.check_run_worker_health(self._run).status


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(launcher, "PING_TIMEOUT_S", 0.05)
    return Run()


def test_a_started_run_whose_worker_was_killed_is_noticed(run: Run) -> None:
    run.celery_says("STARTED", {"pid": 1, "hostname": WORKER})
    assert run.health is WorkerStatus.NOT_FOUND


def test_a_worker_may_miss_a_ping(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[], [], [{WORKER: {"ok": "pong"}}]])
    asked = []

    def ping(destination: list[str], timeout: float) -> list[dict[str, Any]]:
        asked.append((destination, timeout))
        return next(answers)

    monkeypatch.setattr(run.launcher.celery.control, "ping", ping)
    run.celery_says("STARTED", {"pid": 1, "hostname": WORKER})
    assert run.health is WorkerStatus.RUNNING
    assert asked == [([WORKER], 0.05)] * 3


@pytest.mark.parametrize(
    ("state", "result", "status"),
    [
        ("SUCCESS", 0, WorkerStatus.SUCCESS),
        ("FAILURE", RuntimeError("killed"), WorkerStatus.FAILED),
        ("PENDING", None, WorkerStatus.UNKNOWN),
    ],
)
def test_other_states_are_those_of_celery(
    run: Run, state: str, result: object, status: WorkerStatus
) -> None:
    run.celery_says(state, result)
    assert run.health is status
