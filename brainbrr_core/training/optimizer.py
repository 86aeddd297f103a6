"""Which parameters decay, and the optimizer over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from brainbrr_core.configuration import Training
from brainbrr_core.model.mamba2 import NO_WEIGHT_DECAY

BETAS = (0.9, 0.98)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for the optimizer: matrices and kernels decay; vectors and scalars do not.

    Biases, norms and the parameters marked by Mamba-2 are among those that do not.
    """
    decaying: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in network.parameters():
        decays = parameter.ndim >= 2 and not getattr(parameter, NO_WEIGHT_DECAY, False)
        (decaying if decays else kept).append(parameter)
    return [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def make_optimizer(network: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW with decay on weights only."""
    return torch.optim.AdamW(
        parameter_groups(network, settings.weight_decay), lr=settings.learning_rate, betas=BETAS
    )
