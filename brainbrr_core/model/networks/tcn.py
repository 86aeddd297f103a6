"""A temporal convolutional network: residual blocks of dilated causal convolutions.

Source: S. Bai, J. Z. Kolter and V. Koltun, "An Empirical Evaluation of Generic Convolutional and
Recurrent Networks for Sequence Modeling", arXiv:1803.01271 (2018), section 3 and figure 1.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class TemporalBlock(nn.Module):
    """Two dilated convolutions with weight norm, ReLU and dropout, beside a residual connection.

    Parameters
    ----------
    channels_in, channels_out : int
        Features before and after.
    kernel : int
        Taps of each convolution.
    dilation : int
        Steps from one tap to the next.
    dropout : float
        Probability with which a feature is left out, at all steps of a window, in training.
    causal : bool
        Whether no step sees a later one; otherwise each sees as far ahead as back.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        dilation: int,
        dropout: float,
        *,
        causal: bool = True,
    ) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation
        self.padding = (reach, 0) if causal else (reach - reach // 2, reach // 2)
        self.first = weight_norm(nn.Conv1d(channels_in, channels_out, kernel, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(channels_out, channels_out, kernel, dilation=dilation))
        self.dropout = nn.Dropout1d(dropout)
        self.residual: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.residual = nn.Conv1d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels_in, steps) to (batch, channels_out, steps)."""
        branch = x
        for convolution in (self.first, self.second):
            branch = functional.relu(convolution(functional.pad(branch, self.padding)))
            branch = self.dropout(branch)
        return functional.relu(branch + self.residual(x))


class TCN(nn.Module):
    """A TCN over EEG: one logit for each step of ``stride`` samples.

    The paper's network runs at the rate of its input. At 256 Hz its reach would be short and its
    cost high, so a first convolution lowers the rate here.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    stride : int
        Samples of a step, which divide the window evenly; with 1 it is the paper's network.
    width : int
        Features of each block.
    kernel : int
        Taps of each convolution.
    levels : int
        Blocks; the dilation doubles from one to the next.
    dropout : float
        Probability with which a feature is left out in training.
    causal : bool
        Whether no step sees a later one, as in the paper.

    Raises
    ------
    ValueError
        Where steps do not divide the window, or a size is below 1.
    """

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        stride: int = 8,
        width: int = 32,
        kernel: int = 7,
        levels: int = 6,
        dropout: float = 0.2,
        causal: bool = True,
    ) -> None:
        super().__init__()
        if min(stride, width, kernel, levels) < 1:
            raise ValueError("stride, width, kernel and levels must be at least 1")
        if samples % stride:
            raise ValueError(
                f"steps of {stride} samples do not divide a window of {samples / rate:g} s evenly"
            )
        self.front = nn.Conv1d(channels, width, stride, stride)
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(width, width, kernel, 2**level, dropout, causal=causal)
                for level in range(levels)
            )
        )
        self.head = nn.Conv1d(width, 1, 1)

    @property
    def encoder(self) -> nn.Module:
        """All but the head, which a training can leave as it is."""
        return nn.ModuleList([self.front, self.blocks])

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, samples / stride)."""
        logits: Tensor = self.head(self.blocks(self.front(x)))
        return logits[:, 0]
