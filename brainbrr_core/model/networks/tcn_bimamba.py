"""The earlier design: a TCN lowers the rate, and bidirectional Mamba-2 layers see the whole window.

Sources: S. Bai, J. Z. Kolter and V. Koltun, arXiv:1803.01271 (2018), for the TCN; T. Dao and A. Gu,
"Transformers are SSMs", ICML 2024, for Mamba-2. What the default network has beyond it are the
U-Net's skips from the encoder to the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brainbrr_core.model.backend import Backend
from brainbrr_core.model.mamba2 import GatedRMSNorm
from brainbrr_core.model.network import BidirectionalMamba
from brainbrr_core.model.networks.tcn import TemporalBlock

#: Stages of the front end, each of which halves the rate.
_STAGES = 4


class TcnBiMamba(nn.Module):
    """A TCN front end and bidirectional Mamba-2 layers: one logit for each step of 16 samples.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    width : int
        Features of the Mamba layers, a multiple of 8; the front end begins with an eighth of them.
    layers : int
        Bidirectional Mamba-2 layers.
    headdim : int
        Width of a head, which divides twice the width.
    d_state : int
        Size of the state of the recurrence.
    kernel : int
        Taps of the convolutions of the front end.
    dropout : float
        Probability with which a feature of the front end is left out in training.
    ssm_backend : {"torch", "mamba_ssm"}
        What computes the state-space layers: ``hardware.ssm_backend``, no option.

    Raises
    ------
    ValueError
        Where the window is not a multiple of 16 samples, or sizes do not divide each other.
    BrainbrrError
        For a backend that cannot be imported.
    """

    resolution = "step"

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        width: int = 512,
        layers: int = 6,
        headdim: int = 64,
        d_state: int = 16,
        kernel: int = 7,
        dropout: float = 0.15,
        ssm_backend: Backend = "torch",
    ) -> None:
        super().__init__()
        if width < 8 or width % 8:
            raise ValueError(f"width {width} is not a multiple of 8")
        if samples % 2**_STAGES:
            raise ValueError(f"a window of {samples / rate:g} s is not a multiple of 16 samples")
        widths = [width // 8, width // 4, width // 2, width]
        self.front = nn.Sequential()
        for before, after in zip([channels, *widths[:-1]], widths, strict=True):
            self.front.append(nn.Conv1d(before, after, 2, 2))
            for dilation in (1, 2):
                block = TemporalBlock(after, after, kernel, dilation, dropout, causal=False)
                self.front.append(block)
        self.layers = nn.ModuleList(
            BidirectionalMamba(width, d_state, headdim, ssm_backend) for _ in range(layers)
        )
        self.norm = GatedRMSNorm(width)
        self.head = nn.Linear(width, 1)

    @property
    def encoder(self) -> nn.Module:
        """What lowers the rate, which a training can leave as it is."""
        return self.front

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, samples / 16)."""
        x = self.front(x).transpose(1, 2)
        # The residual stream stays in float32 under autocast: it sums every layer's output.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits[..., 0]
