"""The networks that have a name."""

from __future__ import annotations

import contextlib

import torch

from brainbrr_core.constants import CHANNELS
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.network import NetworkShape, SeizureNetwork

#: Sizes by name: ``tiny`` trains on two CPU cores in minutes; ``base`` needs a GPU.
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
    channels: int = len(CHANNELS),
    recompute_activations: bool = False,
) -> SeizureNetwork:
    """Build the network of a preset on the CPU, with initial weights.

    Parameters
    ----------
    preset : str
        A name of ``PRESETS``: ``tiny``, ``small`` or ``base``.
    ssm_backend : {"torch", "mamba_ssm"}
        What computes the state-space layers. The parameters are the same.
    seed : int, optional
        With a seed, the weights depend on nothing else and torch's random state does not change.
    channels : int
        Channels of the montage.
    recompute_activations : bool
        For a training with little memory: see :class:`SeizureNetwork`.

    Returns
    -------
    SeizureNetwork
        The network, in training mode.

    Raises
    ------
    BrainbrrError
        For an unknown preset, or a backend that cannot be imported.
    """
    shape = PRESETS.get(preset)
    if shape is None:
        raise BrainbrrError(f"model.preset {preset!r} is not known: use one of {list(PRESETS)}")
    with torch.random.fork_rng(devices=[]) if seed is not None else contextlib.nullcontext():
        if seed is not None:
            torch.manual_seed(seed)
        return SeizureNetwork(
            shape, ssm_backend, channels=channels, recompute_activations=recompute_activations
        )
