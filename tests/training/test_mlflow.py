"""The curves of a training in MLflow: complete, continued, and without what names anybody."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pytest
from pydantic import JsonValue

from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.load import apply_values
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.training.distributed import SINGLE_PROCESS
from brainbrr_core.training.metrics import MetricsLog, shared_settings
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.run import train

EXPERIMENT = "seizures"


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def report(step: int) -> StepReport:
    return StepReport(step, 9, 1 / step, 1e-3, 1.0, 0.1, 5.0, 0.0, 1.0)


def metrics_log(folder: Path, first_step: int = 1, lines: list[str] | None = None) -> MetricsLog:
    folder.mkdir(parents=True, exist_ok=True)
    logged: list[str] = [] if lines is None else lines
    return MetricsLog(
        folder,
        SINGLE_PROCESS,
        first_step,
        mlflow_experiment=EXPERIMENT,
        configuration={"training": {"steps": 9}},
        log=logged.append,
    )


def runs_in(address: str) -> Sequence[mlflow.entities.Run]:
    """The runs of the experiment, read by MLflow."""
    client = mlflow.MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def history(address: str, run: mlflow.entities.Run, key: str) -> list[tuple[int, float]]:
    client = mlflow.MlflowClient(tracking_uri=address)
    return [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, key)]


def test_a_training_is_a_run_with_its_settings_and_figures(
    prepared: Configuration, tmp_path: Path
) -> None:
    settings = prepared.model_copy(update={"runs_dir": tmp_path / "runs"})
    secret = "hunter2"
    asked = apply_values(
        settings,
        {
            "training.mlflow": EXPERIMENT,
            "orchestration.ui_url": f"https://user:{secret}@example.org",
        },
        "test",
    )
    run = train(asked, log=lambda _line: None)
    address = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    [logged] = runs_in(address)
    assert (logged.info.run_name, logged.info.status) == (run.name, "FINISHED")
    assert logged.data.params["training.learning_rate"] == str(asked.training.learning_rate)
    assert logged.data.params["model.preset"] == "tiny"
    steps = (run.directory / "steps.jsonl").read_text().splitlines()
    losses = [float(re.findall(r'"loss": ([-\d.e]+)', line)[0]) for line in steps]
    assert history(address, logged, "training/loss") == [
        (1, losses[0]),
        (2, losses[1]),
        (3, losses[2]),
    ]
    [(step, auroc)] = history(address, logged, "validation/auroc")
    assert (step, auroc) == (3, run.record.fit.validations[0].auroc)
    # It changes no weight, so it is the same run without it.
    assert train(settings, log=lambda _line: None).reused
    # Nothing in the database names a folder, an address or who trained.
    assert logged.info.user_id in (None, "", "unknown")
    assert set(logged.data.tags) <= {"brainbrr.run", "mlflow.runName"}
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as database:
        text = "\n".join(
            line for line in database.iterdump() if not line.startswith('INSERT INTO "experiments"')
        )
    for word in (secret, "example.org", str(prepared.data_dir)):
        assert word not in text.replace(f"{tmp_path}/runs/mlflow", "")
    database.close()


def test_only_what_shapes_a_run_is_shared() -> None:
    configuration: dict[str, JsonValue] = {
        "data_dir": "s3://key:secret@bucket",
        "runs_dir": "/home/kim",
        "corpus": {"split": {"dev": ["Miller"]}},
        "training": {"steps": 3, "wandb": "mine", "mlflow": "mine", "start_from": "/home/kim/run"},
        "orchestration": {"ui_url": "https://user:password@host"},
    }
    assert shared_settings(configuration) == {"training": {"steps": 3}}


def test_a_resumed_training_goes_on_in_its_run_and_repeats_no_step(tmp_path: Path) -> None:
    folder = tmp_path / "small-1"
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(KeyboardInterrupt), metrics_log(folder) as log:
        for step in (1, 2, 3, 4):
            log.log_step(report(step))
        raise KeyboardInterrupt
    assert [run.info.status for run in runs_in(address)] == ["KILLED"]
    # The last checkpoint was that of step 2.
    with metrics_log(folder, first_step=3) as log:
        for step in (3, 4, 5):
            log.log_step(report(step))
    [run] = runs_in(address)
    assert run.info.status == "FINISHED"
    expected = [(step, 1 / step) for step in (1, 2, 3, 4, 5)]
    assert history(address, run, "training/loss") == expected
    # Trained from the first step again, it is another run of MLflow.
    with metrics_log(folder) as log:
        log.log_step(report(1))
    assert len(runs_in(address)) == 2


def test_the_variable_says_where_to_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    with metrics_log(tmp_path / "runs" / "small-1") as log:
        for step in range(1, 251):
            log.log_step(report(step))
    [run] = runs_in(elsewhere)
    assert len(history(elsewhere, run, "training/loss")) == 250
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_a_failure_of_mlflow_is_a_line_and_the_training_goes_on(tmp_path: Path) -> None:
    lines: list[str] = []
    with metrics_log(tmp_path / "small-1", lines=lines) as log:
        log.log_step(report(1))
        log.flush()
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute("DROP TABLE metrics")
        database.close()
        for step in (2, 3):
            log.log_step(report(step))
            log.flush()
    [line] = lines
    assert "the training continues without it" in line
    assert len((tmp_path / "small-1" / "steps.jsonl").read_text().splitlines()) == 3


def test_an_address_that_cannot_be_used_is_one_line_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BrainbrrError, match="MLFLOW_TRACKING_URI") as refused:
        metrics_log(tmp_path / "small-1")
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_mlflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(BrainbrrError, match=r"brainbrr\[mlflow\]"):
        metrics_log(tmp_path / "small-1")
