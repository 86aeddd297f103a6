"""The log of a training's figures in MLflow."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from brainbrr_core.errors import BrainbrrError

#: The variable from which MLflow itself reads the address of its server.
ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"
#: The database in the runs folder that is used if the variable is not set.
DATABASE = "mlflow.db"
#: The tag with the name of the run's folder.
_RUN_TAG = "brainbrr.run"
#: Number of figures per request, which is below the limit of MLflow.
_AT_ONCE = 600
#: The longest value of a parameter, in characters, that every MLflow server accepts.
_LONGEST = 500
#: User name and password in an address.
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


class _Named(Protocol):
    info: _Info
    experiment_id: str


class _Info(Protocol):
    run_id: str


class _Figure(Protocol):
    step: int


class Client(Protocol):
    """The methods of an MLflow client that are used here."""

    def get_experiment_by_name(self, name: str) -> _Named | None:
        """The experiment with a name."""

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        """Make an experiment and return its id."""

    def search_runs(self, experiment_ids: list[str], filter_string: str) -> Sequence[_Named]:
        """The runs that a filter keeps, the newest first."""

    def create_run(self, experiment_id: str, *, run_name: str, tags: dict[str, str]) -> _Named:
        """Begin a run."""

    def update_run(self, run_id: str, status: str) -> None:
        """Change the status of a run."""

    def get_metric_history(self, run_id: str, key: str) -> Sequence[_Figure]:
        """All values of a figure."""

    def log_batch(self, run_id: str, metrics: Sequence[object], params: Sequence[object]) -> None:
        """Log figures and parameters."""

    def set_terminated(self, run_id: str, status: str) -> None:
        """End a run."""


class MlflowLog:
    """Logs the figures of one training to MLflow, some hundreds at a time.

    A resumed training continues the same MLflow run, without logging a step twice. If MLflow fails
    during the training, one line is logged, and the training continues without it.

    Parameters
    ----------
    directory : Path
        The run's folder.
    experiment : str
        The experiment of MLflow, which is created if it does not exist.
    first_step : int
        The first step to be logged, counted from 1.
    settings : dict
        The settings to log as parameters, nested; see :func:`shared_settings`.
    log : callable
        Called with a line if MLflow fails.

    Raises
    ------
    BrainbrrError
        If MLflow is not installed or cannot be reached.
    """

    def __init__(
        self,
        directory: Path,
        experiment: str,
        first_step: int,
        settings: Mapping[str, JsonValue],
        log: Callable[[str], None],
    ) -> None:
        # MLflow would report its usage to its makers.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            mlflow = import_module("mlflow")
            entities = import_module("mlflow.entities")
        except ImportError:
            raise BrainbrrError(
                "training.mlflow is set and MLflow is not installed: run "
                "`pip install 'brainbrr[mlflow]'`, or remove it"
            ) from None
        own = f"sqlite:///{directory.parent.absolute() / DATABASE}"
        address = os.environ.get(ADDRESS_VARIABLE) or own
        self._shown = _CREDENTIALS.sub("", address)
        self._log, self._metric = log, entities.Metric
        self._waiting: list[object] = []
        #: The last step that MLflow already has, by group of figures.
        self._logged: dict[str, int] = {}
        self._errors: tuple[type[Exception], ...] = (
            mlflow.exceptions.MlflowException,
            OSError,
        )
        self._failed = False
        try:
            self._client: Client = mlflow.MlflowClient(tracking_uri=address)
            artifacts = directory.parent.absolute() / "mlflow" if address == own else None
            existing = self._client.get_experiment_by_name(experiment)
            experiment_id = (
                existing.experiment_id
                if existing is not None
                else self._client.create_experiment(
                    experiment, None if artifacts is None else artifacts.as_uri()
                )
            )
            self._run_id = self._resumed(experiment_id, directory.name, first_step)
            if not self._run_id:
                tags = {_RUN_TAG: directory.name}
                run = self._client.create_run(experiment_id, run_name=directory.name, tags=tags)
                self._run_id = run.info.run_id
                parameters = [entities.Param(key, text[:_LONGEST]) for key, text in _flat(settings)]
                self._client.log_batch(self._run_id, (), parameters)
        except self._errors as error:
            raise BrainbrrError(
                f"MLflow at {self._shown} could not be used ({self._reason(error)}): correct "
                f"{ADDRESS_VARIABLE}, or remove training.mlflow"
            ) from None

    def _resumed(self, experiment_id: str, name: str, first_step: int) -> str:
        """The id of the MLflow run to continue; empty if a new one is needed."""
        if first_step == 1:
            return ""
        runs = self._client.search_runs([experiment_id], f"tags.`{_RUN_TAG}` = '{name}'")
        if not runs:
            return ""
        run_id = runs[0].info.run_id
        for key in ("training/loss", "training/learning_rate", "validation/auprc"):
            steps = [figure.step for figure in self._client.get_metric_history(run_id, key)]
            group = key.partition("/")[0]
            self._logged[group] = max([*steps, self._logged.get(group, 0)])
        self._client.update_run(run_id, "RUNNING")
        return run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log figures of a step, named as in ``training/loss``."""
        now = int(time.time() * 1000)
        for name, value in values.items():
            if step > self._logged.get(name.partition("/")[0], 0):
                self._waiting.append(self._metric(name, value, now, step))
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send the figures that are waiting."""
        while self._waiting and not self._failed:
            batch = self._waiting[:_AT_ONCE]
            try:
                self._client.log_batch(self._run_id, batch, ())
            except self._errors as error:
                self._give_up(error)
            del self._waiting[: len(batch)]
        self._waiting.clear()

    def finish(self, error: BaseException | None) -> None:
        """Send the remaining figures and end the MLflow run; ``error`` ended the training."""
        self.flush()
        if self._failed:
            return
        try:
            interrupted = isinstance(error, KeyboardInterrupt)
            failed = "KILLED" if interrupted else "FAILED"
            self._client.set_terminated(self._run_id, "FINISHED" if error is None else failed)
        except self._errors as failure:
            self._give_up(failure)

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        self._log(
            f"MLflow at {self._shown} failed ({self._reason(error)}): the training continues "
            "without it; all figures are in the run's folder"
        )

    def _reason(self, error: Exception) -> str:
        """The first line of an error, without a password."""
        lines = _CREDENTIALS.sub("", str(error)).splitlines() or [type(error).__name__]
        return lines[0][:200]


def _flat(settings: Mapping[str, JsonValue], above: str = "") -> list[tuple[str, str]]:
    """Nested settings as text by their keys, such as ``training.steps``."""
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{above}{key}.")
        else:
            flat.append((f"{above}{key}", str(value)))
    return flat
