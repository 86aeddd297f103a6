"""The loss: how seizure and background weigh, and the focal loss."""

from __future__ import annotations

import math

import torch

from brainbrr_core.configuration import Training
from brainbrr_core.training.loss import balanced_loss, loss_of


def test_loss_weighs_both_classes_one_half() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.5]])
    labels = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    costs = [math.log1p(math.exp(-0.3))]
    costs += [math.log1p(math.exp(logit)) for logit in (-1.2, 2.0, 0.5)]
    expected = 0.5 * costs[0] + 0.5 * sum(costs[1:]) / 3
    assert math.isclose(float(balanced_loss(logits, labels, 0.25)), expected, rel_tol=1e-6)
    # Without evidence: ln 2, whatever the share of seizure.
    assert math.isclose(
        float(balanced_loss(torch.zeros(1, 4), labels, 0.25)), math.log(2), rel_tol=1e-6
    )
    assert balanced_loss(logits.bfloat16(), labels, 0.25).dtype is torch.float32


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.5]])
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    expected = 0.0
    for logit, label in zip([0.3, -1.2, 2.0, 0.5], [1, 0, 0, 1], strict=True):
        right = 1 / (1 + math.exp(-logit)) if label else 1 / (1 + math.exp(logit))
        weight = 1 / (2 * 0.2) if label else 1 / (2 * 0.8)
        expected += weight * (1 - right) ** 2 * -math.log(right) / 4
    assert math.isclose(float(balanced_loss(logits, labels, 0.2, 2.0)), expected, rel_tol=1e-5)
    assert torch.equal(
        balanced_loss(logits, labels, 0.2, 1e-12), balanced_loss(logits, labels, 0.2, 0.0)
    )
    settings = Training(loss="focal", focal_gamma=2.0)
    assert math.isclose(float(loss_of(settings, 0.2)(logits, labels)), expected, rel_tol=1e-5)
