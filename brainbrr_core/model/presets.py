"""The networks that can be asked for by name."""

from __future__ import annotations

import contextlib

import torch

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.network import NetworkShape, SeizureNetwork

#: ``tiny`` trains on two CPU cores in minutes; ``base`` wants a GPU.
PRESETS: dict[str, NetworkShape] = {
    "tiny": NetworkShape(channels=(24, 32, 64, 96), strides=(4, 4, 2, 2), layers=3, headdim=32),
    "small": NetworkShape(channels=(32, 64, 128, 192), strides=(4, 4, 2, 2), layers=4, headdim=64),
    "base": NetworkShape(
        channels=(64, 128, 256, 512),
        strides=(2, 2, 2, 2),
        layers=6,
        headdim=64,
        blocks=3,
        kernels=(3, 5, 7),
    ),
}


def build(
    preset: str,
    ssm_backend: Backend = "torch",
    seed: int | None = None,
    *,
    recompute_activations: bool = False,
) -> SeizureNetwork:
    """The network of a preset, on the CPU, with fresh weights.

    With a seed the weights depend on nothing else, and torch's random state is left as it was.
    ``recompute_activations`` is for a training that is short of memory (:class:`SeizureNetwork`).
    Raises :class:`BrainbrrError` for an unknown preset or a backend that cannot be imported.
    """
    shape = PRESETS.get(preset)
    if shape is None:
        raise BrainbrrError(f"model.preset {preset!r} is not known: use one of {list(PRESETS)}")
    with torch.random.fork_rng(devices=[]) if seed is not None else contextlib.nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        return SeizureNetwork(shape, ssm_backend, recompute_activations=recompute_activations)
