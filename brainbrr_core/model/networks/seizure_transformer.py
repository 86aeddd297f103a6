"""SeizureTransformer: a U-Net whose bottom is a stack of residual blocks and a transformer.

Source: K. Wu, Z. Zhao and B. Yener, "SeizureTransformer: Scaling U-Net with Transformer for
Simultaneous Time-Step Level Seizure Detection from Long EEG Recordings", arXiv:2504.00336 (2025).
Its kernels are as long as those of EQTransformer (S. M. Mousavi et al., Nature Communications 11,
3952, 2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Taps of the encoder's convolutions, from the full rate downwards; those of the decoder follow in
#: the order of ``_DECODER_KERNELS``, from the bottom upwards.
_KERNELS = (11, 9, 7, 7, 5)
_DECODER_KERNELS = (3, 5, 5, 7, 7)
#: Taps of the two convolutions of each residual block.
_RESIDUAL_KERNELS = (3, 3, 3, 3, 2, 3, 2)


class ResidualBlock(nn.Module):
    """Twice batch norm, ReLU, dropout of whole features and a convolution, beside the input."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=1e-3) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv1d(width, width, kernel) for _ in range(2))
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, width, steps) to the same."""
        branch = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            branch = self.dropout(functional.relu(norm(branch)))
            branch = conv(functional.pad(branch, self.padding))
        return x + branch


class SeizureTransformer(nn.Module):
    """SeizureTransformer: a logit for each sample.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    width : int
        Features at the bottom, a multiple of 16; the encoder begins with a sixteenth of them.
    layers : int
        Layers of the transformer.
    heads : int
        Heads of each layer; they divide the width.
    feedforward : int
        Features within each layer.
    dropout : float
        Probability with which a feature is left out in training.

    Raises
    ------
    ValueError
        Where the window is not a multiple of 32 samples, or sizes do not divide each other.

    Notes
    -----
    With the default sizes and 19 channels it has 37.8 million parameters. The 41 million of the
    paper include its table of 6000 positions, which is computed here. The paper's network ends in
    probabilities, this one in their logits.
    """

    resolution = "sample"
    #: The code of each step at the bottom, (steps, width).
    position: Tensor

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        width: int = 512,
        layers: int = 8,
        heads: int = 4,
        feedforward: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width < 16 or width % 16 or heads < 1 or width % heads:
            raise ValueError(f"width {width} is not a multiple of 16 and of {heads} heads")
        steps, remainder = divmod(samples, 2 ** len(_KERNELS))
        if remainder:
            raise ValueError(f"a window of {samples / rate:g} s is not a multiple of 32 samples")
        widths = [width // 16, width // 8, width // 4, width // 2, width]
        self.down = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(
                [channels, *widths[:-1]], widths, _KERNELS, strict=True
            )
        )
        self.residual = nn.Sequential(
            *(ResidualBlock(width, kernel, dropout) for kernel in _RESIDUAL_KERNELS)
        )
        # It follows from the shape, so that no file has it.
        self.register_buffer("position", sinusoids(steps, width), persistent=False)
        self.position_dropout = nn.Dropout(dropout)
        self.transformer = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True)
                for _ in range(layers)
            )
        )
        self.up = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(
                [width, *widths[:0:-1]], widths[::-1], _DECODER_KERNELS, strict=True
            )
        )
        self.head = nn.Conv1d(widths[0], 1, 11, padding=5)

    @property
    def encoder(self) -> nn.Module:
        """What lowers the rate, which a training can leave as it is."""
        return self.down

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, samples)."""
        skips: list[Tensor] = []
        for conv in self.down:
            x = functional.elu(conv(x))
            skips.append(x)
            x = functional.max_pool1d(x, 2)
        x = self.residual(x)
        by_step = x.transpose(1, 2)
        by_step = self.transformer(self.position_dropout(by_step + self.position))
        x = x + by_step.transpose(1, 2)
        for conv, skip in zip(self.up, reversed(skips), strict=True):
            high = x[..., None].expand(*x.shape, 2).flatten(-2)
            x = functional.elu(conv(high)) + skip
        logits: Tensor = self.head(x)
        return logits[:, 0]


def sinusoids(steps: int, width: int) -> Tensor:
    """The sinusoidal code of each step, (steps, width): A. Vaswani et al. (2017), section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
