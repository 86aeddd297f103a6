"""Checkpoint files: the tensors of a training, and the rest of its state in a JSON header.

``resumption`` chooses the checkpoint to resume from, and ``checkpoint_manager`` saves and restores.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor, nn

from brainbrr_core.runs.weights import DamagedFile, Tensors, load_tensors, save_tensors, writing
from brainbrr_core.training.early_stopping import EarlyStopping

#: The newest checkpoint of a training, and the averaged weights of its best validation.
CHECKPOINT_NAME = "checkpoint.safetensors"
BEST_NAME = "best.safetensors"
_PERIODIC = "checkpoint-step-{step:08d}.safetensors"
_PERIODIC_NAME = re.compile(r"checkpoint-step-(\d{8,})\.safetensors")


class TrainingProgress(BaseModel):
    """The state that a training needs, beside its tensors, to resume exactly."""

    model_config = ConfigDict(populate_by_name=True)

    early_stopping: EarlyStopping = Field(
        default_factory=EarlyStopping, validation_alias="course", serialization_alias="course"
    )
    #: Consecutive steps, up to the last one, in which all outputs of the network were alike.
    flat_steps: int = 0
    #: Steps, counted from 1, that were skipped since their loss or gradient was not finite.
    skipped_steps: list[int] = []

    def record(self) -> dict[str, JsonValue]:
        """The values for the header of a checkpoint."""
        unused = set()
        if not self.early_stopping.validations:
            unused.add("early_stopping")
        if not self.skipped_steps:
            unused.add("skipped_steps")
        record: dict[str, JsonValue] = self.model_dump(mode="json", by_alias=True, exclude=unused)
        return record


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training after some optimizer steps.

    Attributes
    ----------
    step : int
        Number of steps.
    settings : dict
        The settings that a training must share in order to resume from the checkpoint.
    progress : TrainingProgress
        Validations, skipped steps, and the like.
    provenance : dict
        Data, code, settings and hardware of the training, for people: no program reads it.
    network, ema, optimizer : dict of Tensor
        Weights, their running averages, and the state of the optimizer.
    best : dict of Tensor
        Averaged weights of the best validation; empty without validations, and in files of earlier
        versions of the program.
    """

    step: int
    settings: dict[str, JsonValue]
    progress: TrainingProgress
    provenance: dict[str, JsonValue]
    network: Tensors
    ema: Tensors
    optimizer: Tensors
    best: Tensors


class _Header(BaseModel):
    step: int
    settings: dict[str, JsonValue]
    progress: TrainingProgress
    provenance: dict[str, JsonValue]


def save_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Replace the newest checkpoint of ``directory`` with this one; return the file's path.

    The newest ``keep`` checkpoints are also kept under a name with their step. Files of later
    steps, which exist if a user has resumed from an older one, are not removed. Raises
    :class:`WorkRemains` if the file cannot be written; the previous checkpoint is then intact.
    """
    path = directory / CHECKPOINT_NAME
    groups = {
        "network": checkpoint.network,
        "ema": checkpoint.ema,
        "optimizer": checkpoint.optimizer,
        "best": checkpoint.best,
    }
    tensors = {
        f"{group}/{key}": value for group, state in groups.items() for key, value in state.items()
    }
    header: dict[str, JsonValue] = {
        "step": checkpoint.step,
        "settings": checkpoint.settings,
        "progress": checkpoint.progress.record(),
        "provenance": checkpoint.provenance,
    }
    save_tensors(path, tensors, header)
    if keep:
        _link_or_copy(path, directory / _PERIODIC.format(step=checkpoint.step))
    newest_first = [
        file for step, file in periodic_checkpoints(directory) if step <= checkpoint.step
    ]
    for old in newest_first[keep:]:
        old.unlink()
    return path


def periodic_checkpoints(directory: Path) -> list[tuple[int, Path]]:
    """Step and path of the checkpoints that are named after their step, newest first."""
    names = ((_PERIODIC_NAME.fullmatch(path.name), path) for path in directory.glob("checkpoint-*"))
    return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)


def _link_or_copy(path: Path, second: Path) -> None:
    """Give the same content a second name: the next checkpoint replaces only the first one."""
    with writing(second) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except OSError:
            # FAT, exFAT, and some CIFS and FUSE file systems have no hard links. If the cause is
            # another one, the copy fails, too.
            shutil.copyfile(path, temporary)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file; its tensors are on the CPU.

    Raises :class:`DamagedFile` if it is damaged or not a checkpoint, and :class:`BrainbrrError`
    if it is missing or cannot be read.
    """
    tensors, values = load_tensors(path)
    groups: dict[str, Tensors] = {"network": {}, "ema": {}, "optimizer": {}, "best": {}}
    try:
        for name, tensor in tensors.items():
            group, _, key = name.partition("/")
            groups[group][key] = tensor
        header = _Header.model_validate(values)
    except KeyError as error:
        raise _not_a_checkpoint(path, f"the tensors of {error} are unexpected") from None
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise _not_a_checkpoint(path, f"its header lacks or has unexpected {names}") from None
    return Checkpoint(header.step, header.settings, header.progress, header.provenance, **groups)


def _not_a_checkpoint(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(f"{path} is not a checkpoint of a training ({reason}): remove it")


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state as one flat dictionary, with names ``<parameter>/<entry>``."""
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Load the state that :func:`optimizer_tensors` returned into ``network``'s optimizer."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    states: dict[str, Tensors] = {}
    for flat, tensor in tensors.items():
        name, _, key = flat.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    ordered = [
        names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]
    ]
    state = {index: states[name] for index, name in enumerate(ordered) if name in states}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
