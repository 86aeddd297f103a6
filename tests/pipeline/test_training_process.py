"""A training that fails, and the device that it is bound to."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.run import run_directory
from brainbrr_core.training.checkpoint import CHECKPOINT_NAME
from brainbrr_pipeline.resources import GpuResource
from brainbrr_pipeline.training import launch
from tests.support.pipeline_graph import Graph, failure_of
from tests.support.project import ROOT
from tests.support.services import HANGS_S, wait_until


@pytest.mark.parametrize(
    ("crash", "words"),
    [
        ("mistake", "the manifest is stale: run `brainbrr manifest`"),
        ("memory", "CUDA out of memory. Tried to allocate 20 GiB: lower hardware.batch_size"),
        ("defect", "ZeroDivisionError: division by zero"),
        ("segfault", "Segmentation fault"),
        ("kill", "SIGKILL (is the machine out of memory?)"),
    ],
)
def test_a_failed_training_names_its_reason_and_the_checkpoint_to_resume_from(
    one_built: Configuration,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    crash: str,
    words: str,
) -> None:
    made = update_manifest(plan_profile(one_built), one_built.manifest_settings)
    settings = TrainingSettings.of(one_built)
    checkpoint = run_directory(one_built.runs_dir, settings, made.manifest) / CHECKPOINT_NAME
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.touch()
    monkeypatch.setattr(launch, "MODULE", "tests.support.pipeline_crashes")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("CRASH", crash)
    try:
        message = failure_of(Graph(one_built, instance).materialize("trained_model"))
    finally:
        checkpoint.unlink()
    assert words in message
    assert f"materialize trained_model again to resume from {checkpoint}" in message
    assert "\n" not in message


def test_another_gpu_than_that_of_the_profile_is_refused_before_training_starts(
    one_built: Configuration, instance: dg.DagsterInstance
) -> None:
    bound = GpuResource.of_profile("a100")
    graph = Graph(one_built.model_copy(update={"hardware": bound.hardware()}), instance)
    # This machine has no such GPU, so the message names the devices that torch finds.
    message = failure_of(graph.materialize("trained_model"))
    assert "hardware a100" in message
    assert "bound to" in message or "finds none" in message


def test_the_profiles_say_what_a_training_may_use() -> None:
    for name in ("rtx4090", "a100", "cpu"):
        hardware = GpuResource.of_profile(name).hardware()
        assert hardware.name == name
        assert hardware.batch_size > 0
        assert hardware.precision in ("float32", "bfloat16")
    assert GpuResource.of_profile("a100").hardware().compute_capability == (8, 0)


def test_two_trainings_never_share_the_gpu(tmp_path: Path) -> None:
    from brainbrr_core.cli.dagster import prepare_dagster_home
    from brainbrr_pipeline.definitions import defs

    prepare_dagster_home(tmp_path)
    pool = "gpu"
    assert defs.resolve_asset_graph().get(dg.AssetKey("trained_model")).pools == {pool}
    started: list[str] = []

    @dg.asset(pool=pool)
    def training() -> None:
        started.append("training")

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default(pool)
        assert storage.claim_concurrency_slot(pool, "another-run", "trained_model").is_claimed
        waiting = Thread(target=dg.materialize, args=([training],), kwargs={"instance": instance})
        waiting.start()
        wait_until(
            "the training waits for the pool",
            lambda: storage.get_concurrency_info(pool).pending_step_count,
            seconds=HANGS_S,
        )
        assert started == []
        storage.free_concurrency_slots_for_run("another-run")
        waiting.join(HANGS_S)
        assert not waiting.is_alive()
        assert started == ["training"]
