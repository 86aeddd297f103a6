"""The curves of a training: lines of JSON and TensorBoard always, Weights & Biases when asked."""

from __future__ import annotations

import importlib
import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.training.distributed import World
from brainbrr_core.training.loop import StepReport
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
_VALIDATION = ("score", "sensitivity", "false_per_day", "f1", "auroc", "auprc")


class MetricsLog:
    """Writes below a run's folder, in the first process alone.

    ``first_step`` is the first one to be logged, counted from 1; what there is of it and later
    ones is dropped. Raises :class:`BrainbrrError` when Weights & Biases is asked for and is not
    installed.
    """

    def __init__(
        self, directory: Path, configuration: Configuration, world: World, first_step: int
    ) -> None:
        self._active = world.first
        if not self._active:
            return
        self._wandb = _wandb_run(directory, configuration)
        # Here, because its import takes a second.
        from torch.utils.tensorboard import SummaryWriter

        # What a killed process logged after its last checkpoint is logged again.
        self._board = SummaryWriter(str(directory / TENSORBOARD), purge_step=first_step)
        _cut(directory / STEPS, first_step)
        self._lines = (directory / STEPS).open("a", encoding="utf-8")

    def __enter__(self) -> MetricsLog:
        if self._active:
            # A full disk ends the thread in which TensorBoard writes. It says so again to whoever
            # uses it next, which is one line then; the thread's own words are a traceback.
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
        try:
            self._lines.close()
            self._board.close()
        except OSError as refusal:
            # What ended the training says more than that its last lines are lost with it.
            if error is None:
                raise self._refused(refusal) from None
        finally:
            threading.excepthook = self._hook

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        of_board = type(failure.thread).__module__.startswith("tensorboard.")
        if not (of_board and isinstance(failure.exc_value, OSError)):
            self._hook(failure)

    def step(self, report: StepReport) -> None:
        """Log one optimizer step; of one that was skipped also the windows of its batch."""
        if not self._active:
            return
        values = asdict(report)
        # JSON has no number that is not finite, and a curve no place for one.
        undefined = {name: None for name in _TRAINING if not math.isfinite(values[name])}
        defined = {name: values[name] for name in _TRAINING if name not in undefined}
        with self._one_line():
            self._lines.write(json.dumps(values | undefined) + "\n")
            self._scalars("training", defined, report.step)

    def settle(self) -> None:
        """Wait until every line is on the disk: a checkpoint is about to cover their steps."""
        if not self._active:
            return
        with self._one_line():
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._board.flush()

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> WorkRemains:
        return WorkRemains(
            f"{self._lines.name} could not be written ({error.strerror or error}): free some space "
            "or repair the disk, and run the same command: it goes on from the last checkpoint"
        )

    def validation(self, found: Validation) -> None:
        """Log one validation; figures that are undefined are left out."""
        if not self._active:
            return
        values = {name: getattr(found, name) for name in _VALIDATION}
        defined = {name: value for name, value in values.items() if not math.isnan(value)}
        with self._one_line():
            self._scalars("validation", defined, found.step)

    def _scalars(self, group: str, values: dict[str, float], step: int) -> None:
        named = {f"{group}/{name}": value for name, value in values.items()}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)


def _cut(path: Path, first_step: int) -> None:
    """Drop the lines from a step on, and one that a killed process left half written."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, TypeError, KeyError):
            continue
        if step >= first_step:
            break
        kept.append(line + "\n")
    with replacing(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _wandb_run(directory: Path, configuration: Configuration) -> Any:
    project = configuration.training.wandb
    if project is None:
        return None
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise BrainbrrError(
            "training.wandb is set and wandb is not installed: `pip install wandb`, or remove it"
        ) from None
    return wandb.init(
        project=project,
        name=directory.name,
        id=directory.name,
        resume="allow",
        dir=str(directory),
        config=configuration.model_dump(mode="json"),
    )
