"""EEGNet: temporal filters, one spatial filter bank for each, and a separable convolution.

Source: V. J. Lawhern, A. J. Solon, N. R. Waytowich, S. M. Gordon, C. P. Hung and B. J. Lance,
"EEGNet: a compact convolutional neural network for EEG-based brain-computer interfaces", Journal
of Neural Engineering 15 (2018), table 2.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from brainbrr_core.model.networks.segments import cut, segment_samples

#: The rate in Hz after the first pooling, as in the paper.
_POOLED_HZ = 32


class MaxNorm(nn.Module):
    """Scales the rows of a weight down to a largest Euclidean norm."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, weight: Tensor) -> Tensor:
        """Shapes: (rows, ...) to the same."""
        norms = weight.flatten(1).norm(dim=1).clamp(min=1e-12)
        scale = (self.limit / norms).clamp(max=1.0)
        limited: Tensor = weight * scale.view(-1, *(1 for _ in weight.shape[1:]))
        return limited


def _same_length(kernel: int) -> nn.Module:
    """Padding with which a filter along time, of any length, gives as many samples as it gets."""
    return nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2, 0, 0))


class EEGNet(nn.Module):
    """EEGNet on segments of a window: one logit for each segment.

    The paper classifies short trials at 128 Hz. Here a window is cut into segments, each of which
    is classified by itself, and lengths of filters are those of the paper in seconds: the temporal
    filter is half a second long, and the first pooling leaves 32 Hz.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    segment_s : float
        Seconds of a segment, which must divide the window evenly.
    F1 : int
        Temporal filters.
    D : int
        Spatial filters for each temporal one.
    F2 : int, optional
        Pointwise filters of the separable convolution; by default ``F1 * D``.
    dropout : float
        Probability with which a feature is left out in training.

    Raises
    ------
    ValueError
        Where segments do not divide the window.
    """

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        segment_s: float = 5.0,
        F1: int = 8,
        D: int = 2,
        F2: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.segment = segment_samples(samples, rate, segment_s)
        depth, wide = F1 * D, F1 * D if F2 is None else F2
        first_pool = max(1, rate // _POOLED_HZ)
        steps = self.segment // first_pool // 8
        if steps < 1:
            raise ValueError(f"segments of {segment_s:g} s are too short: 0.25 s at least")
        self.temporal = nn.Sequential(
            _same_length(rate // 2), nn.Conv2d(1, F1, (1, rate // 2), bias=False)
        )
        self.temporal_norm = nn.BatchNorm2d(F1)
        self.spatial = nn.Conv2d(F1, depth, (channels, 1), groups=F1, bias=False)
        parametrize.register_parametrization(self.spatial, "weight", MaxNorm(1.0))
        self.spatial_norm = nn.BatchNorm2d(depth)
        self.first_pool = nn.AvgPool2d((1, first_pool))
        self.separable = nn.Sequential(
            _same_length(16),
            nn.Conv2d(depth, depth, (1, 16), groups=depth, bias=False),
            nn.Conv2d(depth, wide, 1, bias=False),
        )
        self.separable_norm = nn.BatchNorm2d(wide)
        self.second_pool = nn.AvgPool2d((1, 8))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(wide * steps, 1)
        parametrize.register_parametrization(self.head, "weight", MaxNorm(0.25))

    @property
    def encoder(self) -> nn.Module:
        """All but the head, which a training can leave as it is."""
        return nn.ModuleList(
            [
                self.temporal,
                self.temporal_norm,
                self.spatial,
                self.spatial_norm,
                self.separable,
                self.separable_norm,
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, segments)."""
        segments = cut(x, self.segment)[:, None]
        features = self.temporal_norm(self.temporal(segments))
        features = functional.elu(self.spatial_norm(self.spatial(features)))
        features = self.dropout(self.first_pool(features))
        features = functional.elu(self.separable_norm(self.separable(features)))
        features = self.dropout(self.second_pool(features))
        logits: Tensor = self.head(features.flatten(1))
        return logits.view(x.shape[0], -1)
