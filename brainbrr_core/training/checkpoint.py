"""Weights and the state of a training on disk: safetensors, with JSON in the header.

A file appears whole or not at all. Nothing is pickled, so opening a file runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from brainbrr_core.atomic import replacing
from brainbrr_core.errors import BrainbrrError

CHECKPOINT_NAME = "checkpoint.safetensors"
#: One header entry holds everything: the order of several would differ from run to run.
HEADER_KEY = "brainbrr"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after ``step`` optimizer steps, with the settings that shaped it."""

    step: int
    settings: dict[str, Any]
    network: Tensors
    ema: Tensors
    optimizer: Tensors


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Replace the checkpoint of ``directory`` by this one; the path of the file."""
    path = directory / CHECKPOINT_NAME
    parts = {
        "network": checkpoint.network,
        "ema": checkpoint.ema,
        "optimizer": checkpoint.optimizer,
    }
    tensors = {
        f"{part}/{key}": value for part, held in parts.items() for key, value in held.items()
    }
    save_tensors(path, tensors, {"step": checkpoint.step, "settings": checkpoint.settings})
    return path


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """The checkpoint of ``directory`` on the CPU, None where there is none.

    Raises :class:`BrainbrrError` if the file is damaged or is no checkpoint.
    """
    path = directory / CHECKPOINT_NAME
    if not path.is_file():
        return None
    tensors, header = load_tensors(path)
    parts: dict[str, Tensors] = {"network": {}, "ema": {}, "optimizer": {}}
    try:
        for name, tensor in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = tensor
        return Checkpoint(int(header["step"]), dict(header["settings"]), **parts)
    except KeyError as error:
        raise BrainbrrError(
            f"{path} is no checkpoint of a training ({error} is unexpected): delete it"
        ) from None


def save_model(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's weights, with ``metadata`` in the header."""
    save_tensors(path, network.state_dict(), dict(metadata))


def load_model(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The weights, as :meth:`torch.nn.Module.load_state_dict` takes them, and the metadata.

    Raises :class:`BrainbrrError` if the file is missing or damaged.
    """
    tensors, header = load_tensors(path)
    return tensors, {key: str(value) for key, value in header.items()}


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header of JSON values, through a temporary file beside ``path``."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(held, temporary, {HEADER_KEY: json.dumps(header, sort_keys=True)})


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`save_tensors` wrote, on the CPU."""
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            header = json.loads((opened.metadata() or {})[HEADER_KEY])
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: train first, or give another path") from None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BrainbrrError(
            f"{path} is damaged or not written by this program ({reason}): delete it and train "
            "again, or copy it anew"
        ) from None
    return tensors, header


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
