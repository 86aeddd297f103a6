"""Weights on disk: safetensors, with JSON in the header.

A file appears whole or not at all. Nothing is pickled, so opening a file runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from blake3 import blake3
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing

#: One header entry holds everything: the order of several would differ from run to run.
HEADER_KEY = "brainbrr"


Tensors = dict[str, Tensor]


class DamagedFile(BrainbrrError):
    """The bytes of a file are not those that were written, or not of this program."""


def save_model(path: Path, network: nn.Module, metadata: Mapping[str, JsonValue]) -> str:
    """Write a network's weights, with ``metadata`` in the header; their checksum."""
    return save_tensors(path, network.state_dict(), metadata)


def load_model(path: Path, checksum: str | None = None) -> tuple[Tensors, dict[str, JsonValue]]:
    """The weights, as :meth:`torch.nn.Module.load_state_dict` takes them, and the metadata.

    Raises :class:`BrainbrrError` if the file is missing or damaged, or is not the one of
    ``checksum``.
    """
    tensors, header = load_tensors(path)
    if checksum is not None and content_checksum(tensors) != checksum:
        raise BrainbrrError(
            f"{path} does not have the weights that its run recorded: copy it again, or remove "
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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, JsonValue]) -> str:
    """Write tensors and a header of JSON values, through a temporary file next to ``path``.

    The header also holds the tensors' checksum, which is returned. Raises :class:`WorkRemains`
    when the disk does not take it; then ``path`` is as it was.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # A weight that a network has by two names is written twice: the format shares no memory.
    written: set[int] = set()
    for name, tensor in stored.items():
        if tensor.data_ptr() in written:
            stored[name] = tensor.clone()
        written.add(tensor.data_ptr())
    checksum = content_checksum(stored)
    text = json.dumps({"blake3": checksum, "header": header}, sort_keys=True)
    # A file that safetensors itself writes can be read by its owner alone.
    content = save(stored, {HEADER_KEY: text})
    with writing(path) as temporary:
        temporary.write_bytes(content)
    return checksum


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """As :func:`replacing`; what the disk refuses is one line."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise WorkRemains(
            f"{path} could not be written ({_reason(error)}) and what was there before is whole: "
            "free some space or repair the disk, and run the same command again"
        ) from None


def load_tensors(path: Path) -> tuple[Tensors, dict[str, JsonValue]]:
    """What :func:`save_tensors` wrote, on the CPU, after a look at its checksum.

    Raises :class:`DamagedFile` for other bytes, and :class:`BrainbrrError` for a file that is
    missing or cannot be read.
    """
    try:
        # safetensors takes every failure to open a file for a missing one.
        path.open("rb").close()
        with safe_open(path, framework="pt", device="cpu") as opened:
            written = json.loads((opened.metadata() or {})[HEADER_KEY])
            header, checksum = dict(written["header"]), written["blake3"]
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: train first, or give another path") from None
    except IsADirectoryError:
        raise BrainbrrError(f"{path} is a folder: give the file of the weights in it") from None
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
    return DamagedFile(f"{path} is {how}: delete it and train again, or copy it again")
