"""A training machine fills its cache before it trains, in Dagster and on Modal."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.errors import BrainbrrError
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.records.partitions import NAME
from tests.support.machines import content, sent
from tests.support.project import ROOT
from tests.support.small_run import small_settings

SCRIPT = ROOT / "configs" / "deploy" / "modal" / "brainbrr_modal.py"


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
    sent(built, str(share))
    names = ("windowed_cache", "cache_manifest")
    with dg.DagsterInstance.ephemeral() as instance:
        first = populate(place, share, instance, *names)
        assert first.success
        assert _steps(first) == list(names)
        settings = small_settings(place, place / "no-edfs-here")
        assert content(settings) == content(built)
        keys = [r.partition_key for r in read_index(settings.cache_root)]
        assert instance.get_dynamic_partitions(NAME) == keys
        moved = _metadata(first)
        assert (moved["shards moved"], moved["shards verified"]) == (12, 12)
        again = _metadata(populate(place, share, instance, *names))
        assert (again["shards moved"], again["shards here before"]) == (0, 12)


@pytest.mark.slow
def test_the_job_pulls_and_then_trains(built: Configuration, tmp_path: Path) -> None:
    share, place = tmp_path / "share", tmp_path / "gpu"
    place.mkdir()
    sent(built, str(share))
    with dg.DagsterInstance.ephemeral() as instance:
        result = populate(place, share, instance)
    assert _steps(result) == ["windowed_cache", "cache_manifest", "trained_model"]
    assert len(list((place / "runs").glob("*/model.safetensors"))) == 1


def _steps(result: dg.ExecuteInProcessResult) -> list[str]:
    """Steps that ended well, in order, those of checks left out."""
    ended = [e.step_key for e in result.all_events if e.event_type_value == "STEP_SUCCESS"]
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
    sent(built, str(share))
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
    with pytest.raises(BrainbrrError, match="set BRAINBRR_REMOTE"):
        module.remote_address()


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    pytest.importorskip("modal")
    spec = importlib.util.spec_from_file_location("brainbrr_modal", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["brainbrr_modal"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["brainbrr_modal"]


def test_modals_functions_have_their_volume_card_and_time(script: ModuleType) -> None:
    import modal

    assert isinstance(script.app, modal.App)
    assert script.app.name == "brainbrr"
    functions = {
        name: getattr(script, name) for name in ("populate_cache", "verify_cache", "train")
    }
    for name, function in functions.items():
        assert isinstance(function, modal.Function)
        # What the SDK will send: there is no public way to ask it.
        spec = function._spec_
        assert repr(spec.volumes) == f"{{'/results': {script.volume!r}}}"
        assert spec.cpu == 8
        assert spec.gpus == ("A100-40GB" if name == "train" else None)
        assert len(spec.secrets) == (1 if name == "populate_cache" else 0)
    assert script.FOLDERS["BRAINBRR_CACHE_ROOT"] == "/results/cache"
    assert SCRIPT.parents[3] == script.PROJECT
    assert set(script.ACTIONS) == {"populate-cache", "verify-cache", "train"}


@pytest.mark.filterwarnings("ignore:The .* function is executing locally")
def test_modals_functions_run_commands_that_exist(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    committed: list[int] = []

    def run(command: list[str], *, check: bool) -> None:
        assert check
        ran.append(command)
        if "train" in command:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(type(script.volume), "commit", lambda _self: committed.append(len(ran)))
    script.populate_cache.local("s3://bucket/brainbrr", "smoke")
    script.verify_cache.local("smoke")
    with pytest.raises(subprocess.CalledProcessError):
        script.train.local("smoke")
    assert committed == [2, 4, 6]
    assert ran[0] == ["brainbrr", "cache", "pull", "s3://bucket/brainbrr", "--profile", "smoke"]
    assert ran[-1] == ["brainbrr", "train", "--config", "smoke:a100"]
    monkeypatch.undo()
    program = shutil.which("brainbrr", path=str(Path(sys.executable).parent))
    for command in ran:
        words = [word for word in command[1:] if not word.startswith(("s3:", "-", "smoke"))]
        done = subprocess.run(
            [str(program), *words, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, command
        for option in (word for word in command if word.startswith("--")):
            assert option in done.stdout


def test_modals_entry_point_refuses_what_it_cannot_do(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="none of populate-cache, verify-cache, train"):
        script.main.info.raw_f("explode")
    with pytest.raises(SystemExit, match="needs --url"):
        script.main.info.raw_f("populate-cache")
