"""A detector with three parameters: the line length of the EEG.

Source: R. Esteller, J. Echauz, T. Tcheng, B. Litt and B. Pless, "Line length: an efficient feature
for seizure onset detection", Proceedings of the 23rd Annual International Conference of the IEEE
EMBS (2001). What a network finds beyond it, it has learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Initial weights of the mean and of the highest line length, and the logit of a line length of 1.
_WEIGHTS, _BIAS = (1.0, 1.0), 2.0
#: Added to a line length before its logarithm: a flat channel has none.
_SMALLEST = 1e-4


class LineLength(nn.Module):
    """One logit for each step, from the logarithm of the line length around it.

    The line length of a channel is the mean absolute difference from one sample to the next. The
    logit is a weighted sum of the mean over channels and of the highest channel.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    step_s : float
        Seconds of a step, which divide the window evenly.
    smooth_s : float
        Seconds around each step over which the line length is averaged.

    Raises
    ------
    ValueError
        Where steps do not divide the window, or it is shorter than ``smooth_s``.
    """

    def __init__(
        self, channels: int, samples: int, rate: int, step_s: float = 1.0, smooth_s: float = 5.0
    ) -> None:
        super().__init__()
        del channels
        self.step_samples = round(step_s * rate)
        if self.step_samples < 1 or samples % self.step_samples:
            raise ValueError(
                f"steps of {step_s:g} s do not divide a window of {samples / rate:g} s evenly"
            )
        # An odd number of steps, so that their middle is the step itself.
        self.half_steps = round(smooth_s / step_s) // 2
        if 2 * self.half_steps + 1 > samples // self.step_samples:
            raise ValueError(f"smooth_s {smooth_s:g} is longer than a window")
        self.weight = nn.Parameter(torch.tensor(_WEIGHTS))
        self.bias = nn.Parameter(torch.tensor(_BIAS))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, steps)."""
        # The first sample has none before it; its difference is that of the second.
        difference = functional.pad(x.diff(dim=-1).abs(), (1, 0), mode="replicate")
        length = functional.avg_pool1d(difference, self.step_samples)
        length = functional.avg_pool1d(
            length, 2 * self.half_steps + 1, 1, self.half_steps, count_include_pad=False
        )
        level = (length + _SMALLEST).log()
        features = torch.stack([level.mean(dim=1), level.amax(dim=1)], dim=-1)
        return (features * self.weight).sum(-1) + self.bias
