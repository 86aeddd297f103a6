"""The optimizer, and the choice of parameters to which weight decay applies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainbrr_core.configuration import Training
from brainbrr_core.model.mamba2 import NO_WEIGHT_DECAY

BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class ParameterGroups:
    """The parameters of a network, by whether weight decay applies to them."""

    decaying: list[nn.Parameter]
    without_decay: list[nn.Parameter]

    def with_decay(self, weight_decay: float) -> list[dict[str, list[nn.Parameter] | float]]:
        """The two groups in the form that an optimizer takes."""
        return [
            {"params": self.decaying, "weight_decay": weight_decay},
            {"params": self.without_decay, "weight_decay": 0.0},
        ]


def parameter_groups(network: nn.Module) -> ParameterGroups:
    """Divide parameters by weight decay: it applies to matrices and convolution kernels.

    It does not apply to vectors and scalars, such as biases and norms, nor to parameters that
    Mamba-2 marks. Frozen parameters are in neither group.
    """
    groups = ParameterGroups([], [])
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim >= 2 and not getattr(parameter, NO_WEIGHT_DECAY, False)
        (groups.decaying if decays else groups.without_decay).append(parameter)
    return groups


class SkippingAdamW(torch.optim.AdamW):
    """AdamW with a step that the device itself can skip.

    The kernel reads ``found_inf``, so that the host need not wait for a GPU to decide:
    :class:`torch.amp.GradScaler` uses the same attribute for the same purpose.
    """

    #: A float32 scalar on the parameters' device. Where it is 1, a step changes no parameter, no
    #: moment and no count of steps; None means 0.
    found_inf: Tensor | None = None


def make_optimizer(network: nn.Module, settings: Training) -> SkippingAdamW:
    """Fused AdamW, with weight decay on matrices and convolution kernels only."""
    return SkippingAdamW(
        parameter_groups(network).with_decay(settings.weight_decay),
        lr=settings.learning_rate,
        betas=BETAS,
        fused=True,
    )
