"""A convolutional U-Net like the backbone of EventNet.

Source: N. Seeuws, M. De Vos and A. Bertrand, "Avoiding Post-Processing With Event-Based Detection
in Biomedical Signals", IEEE Transactions on Biomedical Engineering 71 (2024). EventNet puts two
heads on a U-Net: how near the center of an event is, and how long the event is. Here, one head
gives a seizure logit for each step, and the same steps as for every network make events of them.
Its sizes are not those of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvolutionBlock(nn.Module):
    """A convolution, batch norm, ELU and dropout."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(channels_out)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels_in, length) to (batch, channels_out, length)."""
        out: Tensor = self.dropout(functional.elu(self.norm(self.conv(x))))
        return out


class UNet(nn.Module):
    """A U-Net over time: one logit for each step of ``stride`` samples.

    Each stage of the encoder lowers the rate by ``stride``, each of the decoder raises it again and
    joins the features of the encoder at its rate.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    stride : int
        Factor by which each stage lowers the rate.
    width : int
        Features of the first stage; each further one has twice as many.
    depth : int
        Stages.
    kernel : int
        Taps of each convolution, an odd number.
    dropout : float
        Probability with which a feature is left out in training.

    Raises
    ------
    ValueError
        Where the stages do not divide the window evenly, or the kernel is even.
    """

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        stride: int = 4,
        width: int = 16,
        depth: int = 4,
        kernel: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(stride, width, depth, kernel) < 1 or kernel % 2 == 0:
            raise ValueError("stride, width, depth and kernel must be at least 1, and kernel odd")
        if samples % stride**depth:
            raise ValueError(
                f"{depth} stages of stride {stride} do not divide a window of {samples / rate:g} s "
                "evenly"
            )
        self.stride = stride
        widths = [width * 2**stage for stage in range(depth)]
        self.down = nn.ModuleList(
            ConvolutionBlock(before, after, kernel, dropout)
            for before, after in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.bottom = ConvolutionBlock(widths[-1], widths[-1], kernel, dropout)
        self.up = nn.ModuleList(
            ConvolutionBlock(below + here, here, kernel, dropout)
            for below, here in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv1d(widths[0], 1, 1)

    @property
    def encoder(self) -> nn.Module:
        """What lowers the rate, which a training can leave as it is."""
        return self.down

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, samples / stride)."""
        skips: list[Tensor] = []
        for stage in self.down:
            x = functional.max_pool1d(stage(x), self.stride)
            skips.append(x)
        x = self.bottom(x)
        for stage, skip in zip(self.up, skips[-2::-1], strict=True):
            high = x[..., None].expand(*x.shape, self.stride).flatten(-2)
            x = stage(torch.cat([high, skip], dim=1))
        logits: Tensor = self.head(x)
        return logits[:, 0]
