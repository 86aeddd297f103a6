"""The loss of a batch, weighted by the exact share of seizure in the training set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from brainbrr_core.configuration import Training

Loss = Callable[[Tensor, Tensor], Tensor]


def balanced_loss(
    logits: Tensor, labels: Tensor, positive_fraction: float, gamma: float = 0.0
) -> Tensor:
    """Binary cross-entropy in which seizure and background weigh one half each, in float32.

    ``positive_fraction`` is the share of seizure samples in the training set. The weights are
    its exact inverse, neither capped nor softened: then a probability of 0.5 means evidence
    equal for both, however the training set was balanced, and thresholds of trainings on
    different selections compare. A network without any evidence has a loss of ln 2.

    With a ``gamma`` above 0 each sample's cost is multiplied by ``(1 - p) ** gamma``, p the
    probability of what it is (focal loss; Lin et al., "Focal Loss for Dense Object Detection",
    2017): what is right already counts less.
    """
    ratio = (1.0 - positive_fraction) / positive_fraction
    wide = logits.float()
    weight = torch.tensor(ratio, device=logits.device)
    if gamma == 0.0:
        weighted = functional.binary_cross_entropy_with_logits(wide, labels, pos_weight=weight)
    else:
        cost = functional.binary_cross_entropy_with_logits(
            wide, labels, pos_weight=weight, reduction="none"
        )
        wrong = torch.sigmoid(torch.where(labels > 0.5, -wide, wide))
        weighted = (cost * wrong**gamma).mean()
    return weighted / (2.0 * (1.0 - positive_fraction))


def loss_of(settings: Training, positive_fraction: float) -> Loss:
    """The loss that the settings ask for, of logits and labels of one shape."""
    gamma = settings.focal_gamma if settings.loss == "focal" else 0.0

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return balanced_loss(logits, labels, positive_fraction, gamma)

    return loss
