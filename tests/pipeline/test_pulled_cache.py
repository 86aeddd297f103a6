"""A machine without EDFs pulls the cache in Dagster before it trains."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.records.partitions import NAME
from tests.support.machines import push_to, stored_shards
from tests.support.small_run import small_settings


def populate(
    place: Path, share: Path, instance: dg.DagsterInstance, *names: str
) -> dg.ExecuteInProcessResult:
    """Run the job, or only the assets named."""
    settings = small_settings(place, place / "no-edfs-here")
    defs = build_defs(settings, remote=str(share))
    job = defs.resolve_job_def("populate_and_train")
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in names] or None,
        raise_on_error=False,
    )


def test_a_training_machine_pulls_and_a_full_cache_costs_nothing(
    built: Configuration, tmp_path: Path
) -> None:
    share, place = tmp_path / "share", tmp_path / "gpu"
    place.mkdir()
    push_to(built, str(share))
    names = ("windowed_cache", "cache_manifest")
    with dg.DagsterInstance.ephemeral() as instance:
        first = populate(place, share, instance, *names)
        assert first.success
        assert _steps(first) == list(names)
        settings = small_settings(place, place / "no-edfs-here")
        assert stored_shards(settings) == stored_shards(built)
        keys = [r.partition_key for r in read_index(settings.cache_root)]
        assert instance.get_dynamic_partitions(NAME) == keys
        moved = _metadata(first)
        assert (moved["shards moved"], moved["shards verified"]) == (12, 12)
        again = _metadata(populate(place, share, instance, *names))
        assert (again["shards moved"], again["shards already here"]) == (0, 12)


@pytest.mark.slow
def test_the_job_pulls_and_then_trains(built: Configuration, tmp_path: Path) -> None:
    share, place = tmp_path / "share", tmp_path / "gpu"
    place.mkdir()
    push_to(built, str(share))
    with dg.DagsterInstance.ephemeral() as instance:
        result = populate(place, share, instance)
    assert _steps(result) == ["windowed_cache", "cache_manifest", "trained_model"]
    assert len(list((place / "runs").glob("*/model.safetensors"))) == 1


def _steps(result: dg.ExecuteInProcessResult) -> list[str]:
    """Steps that succeeded, in order, without those of checks."""
    ended = [str(e.step_key) for e in result.all_events if e.event_type_value == "STEP_SUCCESS"]
    return [step for step in ended if not step.endswith("_checks")]


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    events = [
        event.materialization
        for event in result.all_events
        if event.is_step_materialization and event.materialization.partition is None
    ]
    (pulled,) = [event for event in events if event.asset_key == dg.AssetKey("windowed_cache")]
    return {key: value.value for key, value in pulled.metadata.items()}


def test_a_copy_that_lacks_shards_stops_before_training(
    built: Configuration, tmp_path: Path
) -> None:
    share, place = tmp_path / "share", tmp_path / "gpu"
    place.mkdir()
    store = Store.of(built)
    victim = sorted(store.shard_keys())[4]
    store.shard_path(victim).unlink()
    push_to(built, str(share))
    with dg.DagsterInstance.ephemeral() as instance:
        result = populate(place, share, instance)
    assert not result.success
    assert _steps(result) == []
    (failed,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert f"{victim}: not pushed yet" in str(failed.event_specific_data)


def test_the_definitions_of_a_training_machine_name_the_variable_they_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BRAINBRR_CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setenv("BRAINBRR_REMOTE", "s3://bucket/brainbrr")
    module = importlib.import_module("brainbrr_pipeline.populate")
    assert module.defs.resolve_job_def("populate_and_train").name == "populate_and_train"
    monkeypatch.delenv("BRAINBRR_REMOTE")
    with pytest.raises(BrainbrrError, match="BRAINBRR_REMOTE is not set: set it"):
        module.remote_address()
