"""The curves of a training: lines of JSON and TensorBoard always, Weights & Biases when asked."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError
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

    Raises :class:`BrainbrrError` when Weights & Biases is asked for and is not installed.
    """

    def __init__(self, directory: Path, configuration: Configuration, world: World) -> None:
        self._active = world.first
        if not self._active:
            return
        self._wandb = _wandb_run(directory, configuration)
        self._lines = (directory / STEPS).open("a", encoding="utf-8")
        # Here, because its import takes a second.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(directory / TENSORBOARD))

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._active:
            return
        self._lines.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)

    def step(self, report: StepReport) -> None:
        """Log one optimizer step."""
        if not self._active:
            return
        values = asdict(report)
        self._lines.write(json.dumps(values) + "\n")
        self._scalars("training", {name: values[name] for name in _TRAINING}, report.step)

    def validation(self, found: Validation) -> None:
        """Log one validation; figures that are undefined are left out."""
        if not self._active:
            return
        values = {name: getattr(found, name) for name in _VALIDATION}
        defined = {name: value for name, value in values.items() if not math.isnan(value)}
        self._scalars("validation", defined, found.step)

    def _scalars(self, group: str, values: dict[str, float], step: int) -> None:
        named = {f"{group}/{name}": value for name, value in values.items()}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)


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
