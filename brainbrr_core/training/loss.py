"""The loss of a batch, weighted by the exact share of seizure in the training set."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from brainbrr_core.configuration import Training
from brainbrr_core.data import UNKNOWN_LABEL


class Loss(Protocol):
    """The loss of logits and labels of one shape: a mean over the samples whose label is known."""

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        *,
        all_known: bool | None = None,
    ) -> Tensor: ...


def is_known(labels: Tensor) -> Tensor:
    """Whether each sample is labeled seizure or background: not ``UNKNOWN_LABEL``."""
    return labels != UNKNOWN_LABEL


def balanced_loss(
    logits: Tensor,
    labels: Tensor,
    positive_fraction: float,
    gamma: float = 0.0,
    *,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
    all_known: bool | None = None,
) -> Tensor:
    """Binary cross-entropy in which seizure and background weigh one half each, in float32.

    ``positive_fraction`` is the share of seizure samples in the training set. The weights are
    its exact inverse, neither capped nor softened: then a probability of 0.5 means equal evidence
    for both, however the training set was balanced, and thresholds of trainings on different
    selections are comparable. A network without any evidence has a loss of ln 2.

    With a ``gamma`` above 0 each sample's cost is multiplied by ``(1 - p) ** gamma``, p the
    probability of its true class (focal loss; Lin et al., "Focal Loss for Dense Object Detection",
    2017): samples that are already classified correctly count less.

    With a ``smoothing`` above 0 the cost of a sample is the cross-entropy with its label moved
    that far toward one half: 1 becomes ``1 - smoothing / 2``, 0 becomes ``smoothing / 2`` (Szegedy
    et al., "Rethinking the Inception Architecture for Computer Vision", 2016). It is weighted by
    its true class, so that its cost is lowest at exactly that probability, whatever the share of
    seizure.

    ``weights``, of the shape of the labels, multiply the samples' costs. The mean is still that
    over the samples and not over the weights, so that a sample counts the same in every batch.

    A sample whose label is ``UNKNOWN_LABEL`` has no weight and no gradient: the loss is the
    mean over the others, and 0 where there are none. ``all_known`` says whether there is no such
    sample, where the caller knows it: looking for one would make the host wait for a GPU.
    """
    ratio = (1.0 - positive_fraction) / positive_fraction
    wide = logits.float()
    # Created on the device: copying a number to a GPU would make the host wait for it.
    weight = torch.full((), ratio, dtype=torch.float32, device=logits.device)
    has_label = is_known(labels)
    if all_known is None:
        all_known = bool(has_label.all())
    if not all_known:
        # Before anything is computed from them, so that they cannot reach the gradient.
        wide, labels = torch.where(has_label, wide, 0.0), torch.where(has_label, labels, 0.0)
    if gamma == 0.0 and smoothing == 0.0 and weights is None and all_known:
        weighted = functional.binary_cross_entropy_with_logits(wide, labels, pos_weight=weight)
    else:
        if smoothing == 0.0:
            cost = functional.binary_cross_entropy_with_logits(
                wide, labels, pos_weight=weight, reduction="none"
            )
        else:
            smoothed = labels * (1.0 - smoothing) + smoothing / 2.0
            cost = functional.binary_cross_entropy_with_logits(
                wide, smoothed, reduction="none"
            ) * torch.where(labels > 0.5, weight, 1.0)
        if weights is not None:
            cost = cost * weights
        if gamma != 0.0:
            wrong = torch.sigmoid(torch.where(labels > 0.5, -wide, wide))
            cost = cost * wrong**gamma
        weighted = (
            cost.mean() if all_known else (cost * has_label).sum() / has_label.sum().clamp(min=1)
        )
    return weighted / (2.0 * (1.0 - positive_fraction))


def loss_of(settings: Training, positive_fraction: float) -> Loss:
    """The loss of the settings, as :func:`balanced_loss` computes it."""
    gamma = settings.focal_gamma if settings.loss == "focal" else 0.0

    def loss(
        logits: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        *,
        all_known: bool | None = None,
    ) -> Tensor:
        return balanced_loss(
            logits,
            labels,
            positive_fraction,
            gamma,
            smoothing=settings.label_smoothing,
            weights=weights,
            all_known=all_known,
        )

    return loss
