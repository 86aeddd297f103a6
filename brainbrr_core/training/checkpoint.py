"""Weights and the state of a training on disk: safetensors, with JSON in the header.

A file appears whole or not at all. Nothing is pickled, so opening a file runs no code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing

#: The last state of a training, and the averaged weights with the best validation.
CHECKPOINT_NAME = "checkpoint.safetensors"
BEST_NAME = "best.safetensors"
_PERIODIC = "checkpoint-step-{step:08d}.safetensors"
_PERIODIC_NAME = re.compile(r"checkpoint-step-(\d{8,})\.safetensors")
#: One header entry holds everything: the order of several would differ from run to run.
HEADER_KEY = "brainbrr"

Tensors = dict[str, Tensor]


class DamagedFile(BrainbrrError):
    """The bytes of a file are not those that were written, or not of this program."""


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
    with _writing(second) as temporary:
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

    The header also holds the tensors' checksum, which is returned. Raises :class:`WorkRemains`
    when the disk does not take it; then ``path`` is as it was.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = content_checksum(held)
    text = json.dumps({"blake3": checksum, "header": header}, sort_keys=True)
    with _writing(path) as temporary:
        save_file(held, temporary, {HEADER_KEY: text})
    return checksum


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """As :func:`replacing`; what the disk refuses is one line."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except (OSError, SafetensorError) as error:
        # safetensors has an error of its own for a disk that is full.
        raise WorkRemains(
            f"{path} could not be written ({_reason(error)}) and what was there before is whole: "
            "free some space or repair the disk, and run the same command again"
        ) from None


def load_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """What :func:`save_tensors` wrote, on the CPU, after a look at its checksum.

    Raises :class:`DamagedFile` for other bytes, and :class:`BrainbrrError` for a file that is
    missing or cannot be read.
    """
    try:
        # safetensors takes every failure to open a file for a missing one.
        path.open("rb").close()
        with safe_open(path, framework="pt", device="cpu") as opened:
            held = json.loads((opened.metadata() or {})[HEADER_KEY])
            header, checksum = dict(held["header"]), held["blake3"]
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: train first, or give another path") from None
    except OSError as error:
        raise BrainbrrError(
            f"{path} could not be read ({_reason(error)}), which says nothing of its content: "
            "fix that and run the same command again"
        ) from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"damaged or not written by this program ({_reason(error)})") from None
    if content_checksum(tensors) != checksum:
        raise _damaged(path, "damaged (its checksum is another)")
    return tensors, header


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def _damaged(path: Path, how: str) -> DamagedFile:
    return DamagedFile(f"{path} is {how}: delete it and train again, or copy it anew")


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
