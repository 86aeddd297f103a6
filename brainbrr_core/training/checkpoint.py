"""Weights and the state of a training on disk: safetensors, with JSON in the header.

A file appears whole or not at all. Nothing is pickled, so opening a file runs no code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from brainbrr_core.atomic import replacing
from brainbrr_core.errors import BrainbrrError

#: The last state of a training, and the averaged weights with the best validation.
CHECKPOINT_NAME = "checkpoint.safetensors"
BEST_NAME = "best.safetensors"
_PERIODIC = "checkpoint-step-{step:08d}.safetensors"
#: One header entry holds everything: the order of several would differ from run to run.
HEADER_KEY = "brainbrr"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after ``step`` optimizer steps.

    ``settings`` shaped it; ``progress`` is what the loop must remember beside tensors;
    ``provenance`` says where it comes from, for people.
    """

    step: int
    settings: dict[str, Any]
    progress: dict[str, Any]
    provenance: dict[str, Any]
    network: Tensors
    ema: Tensors
    optimizer: Tensors


def save_checkpoint(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Replace the last checkpoint of ``directory`` by this one; the path of the file.

    The newest ``keep`` checkpoints stay under names of their own.
    """
    path = directory / CHECKPOINT_NAME
    parts = {
        "network": checkpoint.network,
        "ema": checkpoint.ema,
        "optimizer": checkpoint.optimizer,
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
    # A second name of the same bytes: the next checkpoint replaces the first name alone.
    periodic = directory / _PERIODIC.format(step=checkpoint.step)
    periodic.unlink(missing_ok=True)
    os.link(path, periodic)
    known = sorted(directory.glob(_PERIODIC.format(step=0).replace("0" * 8, "*")))
    for old in known[: len(known) - keep]:
        old.unlink()
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
        return Checkpoint(
            int(header["step"]),
            dict(header["settings"]),
            dict(header["progress"]),
            dict(header["provenance"]),
            **parts,
        )
    except KeyError as error:
        raise BrainbrrError(
            f"{path} is no checkpoint of a training ({error} is unexpected): delete it"
        ) from None


def save_model(path: Path, network: nn.Module, metadata: Mapping[str, Any]) -> str:
    """Write a network's weights, with ``metadata`` in the header; their checksum."""
    return save_tensors(path, network.state_dict(), metadata)


def load_model(path: Path, checksum: str | None = None) -> tuple[Tensors, dict[str, Any]]:
    """The weights, as :meth:`torch.nn.Module.load_state_dict` takes them, and the metadata.

    Raises :class:`BrainbrrError` if the file is missing or damaged, or is not the one of
    ``checksum``.
    """
    tensors, header = load_tensors(path)
    if checksum is not None and content_checksum(tensors) != checksum:
        raise BrainbrrError(
            f"{path} does not hold the weights that its run recorded: copy it anew, or remove "
            "the run and train again"
        )
    return tensors, header


def content_checksum(tensors: Mapping[str, Tensor]) -> str:
    """BLAKE3 over names, types, shapes and values, as hex."""
    hasher = blake3()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Write tensors and a header of JSON values, through a temporary file beside ``path``.

    The header also holds the tensors' checksum, which is returned.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = content_checksum(held)
    text = json.dumps({"blake3": checksum, "header": header}, sort_keys=True)
    with replacing(path) as temporary:
        save_file(held, temporary, {HEADER_KEY: text})
    return checksum


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`save_tensors` wrote, on the CPU, after a look at its checksum."""
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            held = json.loads((opened.metadata() or {})[HEADER_KEY])
            header, checksum = dict(held["header"]), held["blake3"]
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: train first, or give another path") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise _damaged(path, f"damaged or not written by this program ({reason})") from None
    if content_checksum(tensors) != checksum:
        raise _damaged(path, "damaged (its checksum is another)")
    return tensors, header


def _damaged(path: Path, how: str) -> BrainbrrError:
    return BrainbrrError(f"{path} is {how}: delete it and train again, or copy it anew")


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
