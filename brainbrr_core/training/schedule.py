"""The learning rate and the decay of the weight average over a training."""

from __future__ import annotations

import math

#: Decay of the weight average that a long training approaches.
EMA_DECAY_LIMIT = 0.999


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """Linear warm-up to ``peak``, then half a cosine that ends at zero after ``steps``.

    ``step`` counts from 0. Source of the cosine: Loshchilov and Hutter, "SGDR", 2017.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def ema_decay(step: int) -> float:
    """Decay of the weight average at optimizer step ``step``, counted from 0.

    It is low at first, so that the initial weights have vanished from the average after a few
    hundred steps: the average covers about the last ninth of the steps so far.
    """
    return min(EMA_DECAY_LIMIT, (1 + step) / (10 + step))
