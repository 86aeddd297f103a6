"""Logs of a training's figures: JSON lines, TensorBoard, and optionally W&B and MLflow."""

from __future__ import annotations

import importlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Protocol

from pydantic import JsonValue

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.runs.identity import OF_THE_USER
from brainbrr_core.training.distributed import ProcessGroup
from brainbrr_core.training.mlflow_log import MlflowLog
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.validation import Validation

STEPS = "steps.jsonl"
TENSORBOARD = "tensorboard"
_TRAINING = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "spread",
    "windows_per_s",
    "data_wait_share",
)
#: Sections of the configuration without machines, folders, addresses and patients.
_SHARED = (
    *("preprocessing", "labels", "windows", "sampling", "selection"),
    *("model", "training", "detection", "hardware"),
)
_VALIDATION = ("score", "sensitivity", "false_per_day", "f1", "auroc", "auprc")


class WandbRun(Protocol):
    """The methods of a Weights & Biases run that are used here."""

    def log(self, data: dict[str, float], step: int) -> None:
        """Log figures of a step."""

    def finish(self, exit_code: int) -> None:
        """End the run."""


class MetricsLog:
    """Logs the figures of a training in the run's folder, in the main process only.

    Parameters
    ----------
    directory : Path
        The run's folder.
    group : ProcessGroup
        The processes that train together.
    first_step : int
        The first step to be logged, counted from 1. Entries of an earlier process from this step on
        are removed.
    wandb_project : str, optional
        Project of Weights & Biases to which figures are also logged.
    mlflow_experiment : str, optional
        Experiment of MLflow to which figures are also logged.
    configuration : dict, optional
        The configuration as JSON. Both services get its :func:`shared_settings`.
    log : callable
        Called with a line if MLflow fails.

    Raises
    ------
    BrainbrrError
        If Weights & Biases or MLflow is requested and not installed, or MLflow cannot be reached.
    """

    def __init__(
        self,
        directory: Path,
        group: ProcessGroup,
        first_step: int,
        *,
        wandb_project: str | None = None,
        mlflow_experiment: str | None = None,
        configuration: dict[str, JsonValue] | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        self._active = group.is_main
        if not self._active:
            return
        shared = shared_settings(configuration or {})
        self._wandb = (
            None if wandb_project is None else _start_wandb_run(directory, wandb_project, shared)
        )
        self._mlflow = (
            None
            if mlflow_experiment is None
            else MlflowLog(directory, mlflow_experiment, first_step, shared, log)
        )
        # Imported here because that takes a second.
        from torch.utils.tensorboard import SummaryWriter

        # What a killed process logged after its last checkpoint is logged again.
        self._board = SummaryWriter(str(directory / TENSORBOARD), purge_step=first_step)
        _drop_steps(directory / STEPS, first_step)
        self._lines = (directory / STEPS).open("a", encoding="utf-8")

    def __enter__(self) -> MetricsLog:
        if self._active:
            # A full disk ends the thread in which TensorBoard writes. The next use raises the same
            # error, which becomes one line; the thread itself would print a traceback.
            self._hook, threading.excepthook = threading.excepthook, self._thread_failed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._active:
            return
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)
        if self._mlflow is not None:
            self._mlflow.finish(error)
        try:
            self._lines.close()
            self._board.close()
        except OSError as refusal:
            # If the training has failed, its own error matters more than the lost lines.
            if error is None:
                raise self._refused(refusal) from None
        finally:
            threading.excepthook = self._hook

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        of_board = type(failure.thread).__module__.startswith("tensorboard.")
        if not (of_board and isinstance(failure.exc_value, OSError)):
            self._hook(failure)

    def log_step(self, report: StepReport) -> None:
        """Log one optimizer step, with the windows of its batch if it was skipped."""
        if not self._active:
            return
        values = asdict(report)
        # JSON has no NaN or infinity, and a curve cannot show one.
        undefined = {name: None for name in _TRAINING if not math.isfinite(values[name])}
        defined = {name: values[name] for name in _TRAINING if name not in undefined}
        with self._errors_in_one_line():
            self._lines.write(json.dumps(values | undefined) + "\n")
            self._scalars("training", defined, report.step)

    def flush(self) -> None:
        """Wait until every line is on disk, before a checkpoint covers these steps."""
        if not self._active:
            return
        with self._errors_in_one_line():
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._board.flush()
        if self._mlflow is not None:
            self._mlflow.flush()

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> WorkRemains:
        return WorkRemains(
            f"{self._lines.name} could not be written ({error.strerror or error}): free some space "
            "or repair the disk, and run the same command: it resumes from the last checkpoint"
        )

    def log_validation(self, validation: Validation) -> None:
        """Log one validation, without undefined figures."""
        if not self._active:
            return
        values = {name: getattr(validation, name) for name in _VALIDATION}
        defined = {name: value for name, value in values.items() if not math.isnan(value)}
        with self._errors_in_one_line():
            self._scalars("validation", defined, validation.step)

    def _scalars(self, group: str, values: dict[str, float], step: int) -> None:
        named = {f"{group}/{name}": value for name, value in values.items()}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)
        if self._mlflow is not None:
            self._mlflow.log(named, step)


def shared_settings(configuration: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The settings that may leave this machine: those that shape a run, and no others.

    Folders, addresses (which may contain a password), lists of patients and names of projects are
    left out.
    """
    shared: dict[str, JsonValue] = {}
    for section in _SHARED:
        values = configuration.get(section)
        if isinstance(values, dict):
            shared[section] = {key: each for key, each in values.items() if key not in OF_THE_USER}
    return shared


def _drop_steps(path: Path, first_step: int) -> None:
    """Remove the lines from a step on, and a line that a killed process did not finish."""
    if not path.is_file():
        return
    earlier = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, TypeError, KeyError):
            continue
        if step >= first_step:
            break
        earlier.append(line + "\n")
    with replacing(path) as temporary:
        temporary.write_text("".join(earlier), encoding="utf-8")


def _start_wandb_run(
    directory: Path, project: str, configuration: dict[str, JsonValue]
) -> WandbRun:
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise BrainbrrError(
            "training.wandb is set and wandb is not installed: `pip install wandb`, or remove it"
        ) from None
    run: WandbRun = wandb.init(
        project=project,
        name=directory.name,
        id=directory.name,
        resume="allow",
        dir=str(directory),
        config=configuration,
    )
    return run
