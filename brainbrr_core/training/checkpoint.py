"""The state of a training on disk, as ``runs.weights`` writes tensors."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from brainbrr_core.runs.weights import DamagedFile, Tensors, load_tensors, save_tensors, writing

#: The last state of a training, and the averaged weights with the best validation.
CHECKPOINT_NAME = "checkpoint.safetensors"
BEST_NAME = "best.safetensors"
_PERIODIC = "checkpoint-step-{step:08d}.safetensors"
_PERIODIC_NAME = re.compile(r"checkpoint-step-(\d{8,})\.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after ``step`` optimizer steps.

    ``settings`` shaped it; ``progress`` is what the loop must remember beside tensors;
    ``provenance`` says where it comes from, for people. ``best`` are the averaged weights of the
    best validation: empty without one, and in files that an earlier version of the program wrote.
    """

    step: int
    settings: dict[str, Any]
    progress: dict[str, Any]
    provenance: dict[str, Any]
    network: Tensors
    ema: Tensors
    optimizer: Tensors
    best: Tensors


def save_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Replace the last checkpoint of ``directory`` by this one; the path of the file.

    The newest ``keep`` checkpoints stay under names of their own; those of later steps, which an
    older one was put before by hand, are left alone. Raises :class:`WorkRemains` when the disk
    does not take it; then the checkpoint before it is whole.
    """
    path = directory / CHECKPOINT_NAME
    parts = {
        "network": checkpoint.network,
        "ema": checkpoint.ema,
        "optimizer": checkpoint.optimizer,
        "best": checkpoint.best,
    }
    tensors = {
        f"{part}/{key}": value for part, held in parts.items() for key, value in held.items()
    }
    header = {
        "step": checkpoint.step,
        "settings": checkpoint.settings,
        "progress": checkpoint.progress,
        "provenance": checkpoint.provenance,
    }
    save_tensors(path, tensors, header)
    if keep:
        _give_second_name(path, directory / _PERIODIC.format(step=checkpoint.step))
    so_far = [older for step, older in periodic_checkpoints(directory) if step <= checkpoint.step]
    # Newest first.
    for old in so_far[keep:]:
        old.unlink()
    return path


def periodic_checkpoints(directory: Path) -> list[tuple[int, Path]]:
    """Step and path of the checkpoints that have names of their own, newest first."""
    names = ((_PERIODIC_NAME.fullmatch(path.name), path) for path in directory.glob("checkpoint-*"))
    return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)


def _give_second_name(path: Path, second: Path) -> None:
    """The same bytes under another name, too: the next checkpoint replaces the first name alone."""
    with writing(second) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(path, temporary)
        except OSError:
            # FAT, exFAT, some CIFS and FUSE file systems have no hard links. Whatever else is
            # wrong there, the copy fails of, too.
            shutil.copyfile(path, temporary)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU.

    Raises :class:`DamagedFile` if it is damaged or is no checkpoint, and :class:`BrainbrrError`
    if it is missing or cannot be read.
    """
    tensors, header = load_tensors(path)
    parts: dict[str, Tensors] = {"network": {}, "ema": {}, "optimizer": {}, "best": {}}
    try:
        for name, tensor in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = tensor
        return Checkpoint(
            int(header["step"]),
            dict(header["settings"]),
            dict(header["progress"]),
            dict(header["provenance"]),
            **parts,
        )
    except KeyError as error:
        raise DamagedFile(
            f"{path} is no checkpoint of a training ({error} is unexpected): remove it"
        ) from None


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state as flat tensors, named ``<parameter>/<what>``."""
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer of ``network``'s parameters the state :func:`optimizer_tensors` gave."""
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
