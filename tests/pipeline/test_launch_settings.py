"""A training launched with settings of its own: its identity, its checks and its scores."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.configuration import Configuration, Overrides, apply_values, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.run import run_directory
from brainbrr_pipeline.graph import build_defs
from brainbrr_pipeline.resources import Workspace
from brainbrr_pipeline.training.launch_settings import TrainingConfig, load_with
from tests.support.pipeline_graph import failure_of, latest
from tests.support.small_run import small_config

pytestmark = pytest.mark.usefixtures("one_worker")


@pytest.fixture
def ready(settings: Configuration, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache and manifests of a small profile and of smoke; the environment names the former."""
    config = small_config(settings.cache_root.parent)
    for profile in (None, "smoke"):
        chosen = load(Overrides(config=config, profile=profile), {})
        plan = plan_corpus(chosen)
        build(plan, chosen.preprocessing, workers=1)
        update_manifest(plan_corpus(chosen), chosen.manifest_settings)
    monkeypatch.setenv("BRAINBRR_CONFIG", config)
    return config


def launch(
    instance: dg.DagsterInstance, *names: str, **config: object
) -> dg.ExecuteInProcessResult:
    """Materialize assets with a run configuration of trained_model."""
    job = build_defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in names],
        run_config={"ops": {"trained_model": {"config": config}}} if config else {},
        raise_on_error=False,
    )


def directory(settings: Configuration) -> str:
    """The name of the run that a configuration leads to, as `brainbrr train` finds it."""
    manifest = check(ProfileCache.of(settings)).manifest
    return run_directory(settings.runs_dir, TrainingSettings.of(settings), manifest).name


def test_a_launched_setting_is_in_the_identity_and_its_model_is_checked_and_scored(
    ready: str, instance: dg.DagsterInstance
) -> None:
    result = launch(
        instance, "trained_model", "eval_report",
        steps=2, learning_rate=0.002, preset="tiny", seed=7,
    )  # fmt: skip
    assert result.success
    own = load(Overrides(config=ready), {})
    given = {"training.steps": 2, "training.learning_rate": 0.002, "training.seed": 7}
    expected = directory(apply_values(own, given | {"model.preset": "tiny"}, "test"))
    assert expected != directory(own)
    model, report = latest(instance, "trained_model"), latest(instance, "eval_report")
    assert (model.tags or {})["dagster/data_version"] == expected
    assert report.metadata["run"].value == expected
    [run] = instance.get_runs()
    assert {run.tags[f"brainbrr/{name}"] for name in ("steps", "learning_rate", "seed")} == {
        "2", "0.002", "7",
    }  # fmt: skip
    assert [e.check_name for e in result.get_asset_check_evaluations() if not e.passed] == []
    # Scored again by itself, the report is that of the model that was materialized last.
    again = launch(instance, "eval_report")
    assert again.success
    assert latest(instance, "eval_report").metadata["reused"].value is True
    assert latest(instance, "eval_report").metadata["run"].value == expected


def test_a_launched_profile_is_the_run_that_the_option_gives(
    ready: str, instance: dg.DagsterInstance
) -> None:
    assert launch(instance, "trained_model", profile="smoke", steps=1).success
    smoke = load(Overrides(config=ready, profile="smoke"), {})
    assert (latest(instance, "trained_model").tags or {})["dagster/data_version"] == directory(
        apply_values(smoke, {"training.steps": 1}, "test")
    )
    [run] = instance.get_runs()
    assert run.tags["brainbrr/profile"] == "smoke"


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 0}, "ops.trained_model.config: training.steps is 0: Input should be greater"),
        ({"learning_rate": -1.0}, "ops.trained_model.config: training.learning_rate is -1.0: "),
        ({"profile": "smokey"}, "no profile named 'smokey': the nearest is smoke"),
    ],
)
def test_a_wrong_value_is_one_line(
    instance: dg.DagsterInstance, config: dict[str, Any], message: str
) -> None:
    failure = failure_of(launch(instance, "trained_model", **config))
    assert message in failure and "\n" not in failure


@pytest.mark.usefixtures("ready")
def test_nothing_given_is_the_configuration() -> None:
    assert load_with(Workspace(), TrainingConfig().values()) == load()


def test_settings_that_are_fixed_have_one_profile(settings: Configuration) -> None:
    workspace = Workspace.of(settings)
    given = load_with(workspace, {"profile": settings.profile})
    assert given.model_dump() == settings.model_dump()
    with pytest.raises(BrainbrrError, match="the profile smoke cannot be chosen"):
        load_with(workspace, {"profile": "smoke"})


@pytest.mark.usefixtures("ready")
def test_the_launchpad_knows_the_settings_and_their_types() -> None:
    job = build_defs().resolve_implicit_global_asset_job_def()

    assert json.loads(TrainingConfig().model_dump_json()).keys() == {
        "steps", "learning_rate", "preset", "seed", "profile",
    }  # fmt: skip
    for key, wrong in (("steps", "many"), ("learning_rate", "x"), ("preset", "huge"), ("eed", 1)):
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, {"ops": {"trained_model": {"config": {key: wrong}}}})
