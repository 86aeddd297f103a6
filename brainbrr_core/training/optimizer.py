"""Which parameters decay, and the optimizer over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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


class SkippingAdamW(torch.optim.AdamW):
    """AdamW that can be told on the device to leave everything as it is.

    The kernel itself looks at ``found_inf``, so no host has to wait for a GPU to decide:
    :class:`torch.amp.GradScaler` uses the same attribute for the same purpose.
    """

    #: One float32 on the parameters' device. Where it is 1, a step changes no parameter, no
    #: moment and no count of steps; None is 0.
    found_inf: Tensor | None = None


def make_optimizer(network: nn.Module, settings: Training) -> SkippingAdamW:
    """AdamW with decay on weights only, one kernel for each group of parameters."""
    return SkippingAdamW(
        parameter_groups(network, settings.weight_decay),
        lr=settings.learning_rate,
        betas=BETAS,
        fused=True,
    )
