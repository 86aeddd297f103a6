"""What a deployment on several machines rests on; test_deployment runs the whole of it."""

from __future__ import annotations

import json
import multiprocessing
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

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
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration
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


def submitted(instance: dg.DagsterInstance, **of: Any) -> dg.DagsterRun:
    """A run as the coordinator has enqueued it."""
    server = GrpcServerCodeLocationOrigin("127.0.0.1", port=1)
    job = RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), "__ASSET_JOB")
    run = create_run_for_test(
        instance, status=dg.DagsterRunStatus.NOT_STARTED, remote_job_origin=job, **of
    )
    return instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))


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
    """A run that Celery calls started on a worker, or whatever else it says."""

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
    monkeypatch.setattr(launcher, "_SECONDS", 0.05)
    return Run()


def test_a_started_run_whose_worker_is_gone_is_found(run: Run) -> None:
    run.celery_says("STARTED", {"pid": 1, "hostname": WORKER})
    assert run.health is WorkerStatus.NOT_FOUND


def test_a_worker_may_miss_a_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_what_celery_knows_itself_is_believed(
    run: Run, state: str, result: object, status: WorkerStatus
) -> None:
    run.celery_says(state, result)
    assert run.health is status


def _build(settings: Configuration) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=2)


def test_a_slot_that_may_have_no_children_builds_by_itself(settings: Configuration) -> None:
    slot = multiprocessing.get_context("spawn").Process(target=_build, args=[settings], daemon=True)
    slot.start()
    slot.join()
    assert slot.exitcode == 0
    assert plan_profile(settings).count(State.FRESH) == 12


def test_a_shard_whose_builder_was_killed_too_early_is_recorded_and_not_built_again(
    settings: Configuration,
) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing)
    records = plan.store.folder / "records.jsonl"
    lines = records.read_text().splitlines()
    lost = json.loads(lines[5])
    records.write_text("".join(f"{line}\n" for line in lines if line != lines[5]))
    shard = plan.store.shard_path(lost["partition_key"])
    before = shard.stat()

    assert build(plan_profile(settings), settings.preprocessing).results == ()
    assert build(plan_profile(settings), settings.preprocessing).results == ()

    assert shard.stat().st_mtime_ns == before.st_mtime_ns
    again = [json.loads(line) for line in records.read_text().splitlines()]
    assert len(again) == len(lines) == len({record["partition_key"] for record in again})
    found = next(r for r in again if r["partition_key"] == lost["partition_key"])
    assert found | {"seconds": 0, "built_at": ""} == lost | {"seconds": 0, "built_at": ""}
    made = datetime.fromisoformat(found["built_at"]).timestamp()
    assert made == pytest.approx(before.st_mtime, abs=1)
