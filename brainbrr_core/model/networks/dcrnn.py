"""DCRNN: a recurrent network on the graph of the electrodes, whose products are diffusions.

Sources: S. Tang, J. A. Dunnmon, K. Saab, X. Zhang, Q. Huang, F. Dubost, D. L. Rubin and C.
Lee-Messer, "Self-supervised graph neural networks for improved electroencephalographic seizure
analysis", ICLR 2022, with the graph of distances; Y. Li, R. Yu, C. Shahabi and Y. Liu, "Diffusion
convolutional recurrent neural network: data-driven traffic forecasting", ICLR 2018, equations 2
and 3.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.model.networks.electrode_graph import distance_graph
from brainbrr_core.model.networks.segments import segment_samples

#: Added to a power before its logarithm, relative to that of white noise: a flat channel has none.
_SMALLEST = 1e-6


class LogSpectrum(nn.Module):
    """The logarithm of the amplitude at each frequency, from 0 Hz to below half of the rate.

    Amplitudes are relative to those of white noise with a standard deviation of 1.
    """

    #: Cosines and sines of each frequency, (length, 2 * frequencies).
    waves: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.frequencies = length // 2
        turns = torch.arange(length)[:, None] * torch.arange(self.frequencies) % length / length
        angles = 2 * math.pi * turns.double()
        waves = torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(length)
        # It follows from the length, so that no file has it.
        self.register_buffer("waves", waves.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (..., length) to (..., length / 2)."""
        # In float32 under autocast, too: bfloat16 would drown the weak frequencies in the strong.
        with torch.autocast(x.device.type, enabled=False):
            parts = torch.matmul(x.to(self.waves.dtype), self.waves)
            cosines, sines = parts.chunk(2, dim=-1)
            return 0.5 * torch.log(cosines.square() + sines.square() + _SMALLEST)


class DiffusionConvolution(nn.Module):
    """Features of each node, from those of the nodes that a random walk reaches from it.

    The output is the sum over k of ``(D^-1 W)^k X`` times a weight of its own, where ``D`` has the
    sums of the rows of ``W``. On a graph without directions, the walk backwards, which has other
    weights in the papers, is the same one.

    Parameters
    ----------
    graph : Tensor, shape (nodes, nodes)
        The weights ``W`` between nodes.
    steps : int
        The longest walk, in steps.
    features_in, features_out : int
        Features of a node before and after.
    bias : bool
        Whether a bias is added.
    """

    #: Where walks of 0 to ``steps`` steps end, (walks, nodes, nodes).
    walks: Tensor

    def __init__(
        self, graph: Tensor, steps: int, features_in: int, features_out: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        step = graph.double() / graph.double().sum(dim=1, keepdim=True)
        walks = [torch.linalg.matrix_power(step, count) for count in range(steps + 1)]
        # They follow from the montage, so that no file has them.
        self.register_buffer("walks", torch.stack(walks).float(), persistent=False)
        self.mix = nn.Linear((steps + 1) * features_in, features_out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (..., nodes, features_in) to (..., nodes, features_out)."""
        reached = torch.matmul(self.walks, x.unsqueeze(-3))
        out: Tensor = self.mix(reached.transpose(-3, -2).flatten(-2))
        return out


class GraphGRU(nn.Module):
    """A GRU over time whose products are diffusion convolutions; all nodes have its weights."""

    def __init__(self, graph: Tensor, steps: int, features_in: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        # What the input gives for reset gate, update gate and candidate, at all times at once.
        self.of_input = DiffusionConvolution(graph, steps, features_in, 3 * hidden)
        self.gates = DiffusionConvolution(graph, steps, hidden, 2 * hidden, bias=False)
        self.candidate = DiffusionConvolution(graph, steps, hidden, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, times, nodes, features_in) to (batch, times, nodes, hidden)."""
        of_input = self.of_input(x)
        state = of_input.new_zeros(x.shape[0], x.shape[2], self.hidden)
        states = []
        for given in of_input.unbind(1):
            for_gates, for_candidate = given.split([2 * self.hidden, self.hidden], dim=-1)
            reset, update = torch.sigmoid(for_gates + self.gates(state)).chunk(2, dim=-1)
            candidate = torch.tanh(for_candidate + self.candidate(reset * state))
            state = update * state + (1 - update) * candidate
            states.append(state)
        return torch.stack(states, dim=1)


class DCRNN(nn.Module):
    """DCRNN on the graph of distances between electrodes: one logit for each step.

    The paper gives one logit for a clip of 12 or 60 s, from the last state; here each step has one,
    from the state after it. Its inputs are standardized by the training set, these are relative to
    white noise.

    Parameters
    ----------
    channels, samples, rate : int
        Channels and samples of a window, and samples per second. Channels are those of the montage
        ``10-20`` (19) or ``double-banana`` (18).
    step_s : float
        Seconds of a step, which divide the window evenly.
    hidden : int
        Features of each node in the state.
    layers : int
        Recurrent layers.
    diffusion : int
        Steps of the longest walk on the graph.
    reach : float
        The longest distance of two channels that are connected, in radii of the head.
    dropout : float
        Probability with which a feature is left out before the head in training.

    Raises
    ------
    ValueError
        Where steps do not divide the window, a size is too small, or the montage is another one.
    """

    resolution = "step"

    def __init__(
        self,
        channels: int,
        samples: int,
        rate: int,
        step_s: float = 1.0,
        hidden: int = 64,
        layers: int = 2,
        diffusion: int = 2,
        reach: float = 0.9,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if min(hidden, layers) < 1 or diffusion < 0:
            raise ValueError("hidden and layers must be at least 1, and diffusion at least 0")
        self.step_samples = segment_samples(samples, rate, step_s)
        if not 1 < self.step_samples < samples:
            raise ValueError(f"steps of {step_s:g} s must be shorter than a window, of 2 samples")
        graph = distance_graph(channels, reach)
        self.spectrum = LogSpectrum(self.step_samples)
        widths = [self.step_samples // 2, *[hidden] * layers]
        self.encoder = nn.Sequential(
            *(
                GraphGRU(graph, diffusion, before, after)
                for before, after in itertools.pairwise(widths)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, steps)."""
        by_step = x.reshape(*x.shape[:-1], -1, self.step_samples).transpose(1, 2)
        states = self.encoder(self.spectrum(by_step))
        by_node = self.head(functional.relu(self.dropout(states)))
        # The node that is surest of a seizure decides.
        logits: Tensor = by_node[..., 0].amax(dim=-1)
        return logits
