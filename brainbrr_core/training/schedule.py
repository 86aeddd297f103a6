"""How the learning rate and the averaging of weights change over a training."""

from __future__ import annotations

import math

#: Decay of the average of weights in a long training.
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
    """How much of the averaged weights remains at optimizer step ``step``, counted from 0.

    Small at first, so that the average at the end of a training of a few hundred steps does not
    contain the initial weights; it covers about the last ninth of the steps so far.
    """
    return min(EMA_DECAY_LIMIT, (1 + step) / (10 + step))
