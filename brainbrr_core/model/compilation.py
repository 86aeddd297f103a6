"""How a network's operations are started: one by one, compiled, or as one CUDA graph.

A compiled network is compiled again for each other shape of its input.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainbrr_core.configuration.settings import Compilation


def compiled(network: nn.Module, how: Compilation) -> Callable[[Tensor], Tensor]:
    """The network as a function of signals, for many calls on the network's device.

    With ``cuda_graphs`` the gradients of parameters are in memory that the next call overwrites. To
    outlive it, they must be added to tensors that exist before (:func:`clear_gradients` with
    ``keep``): otherwise torch takes the graph's own memory as ``grad``.
    """
    if how is False:
        return network
    if how is True:
        return torch.compile(network, dynamic=False)
    graphs = torch.compile(network, dynamic=False, mode="reduce-overhead")

    def run(signals: Tensor) -> Tensor:
        # The next call overwrites the graph's own output.
        logits: Tensor = graphs(signals)
        return logits.clone()

    return run


def clear_gradients(network: nn.Module, *, keep: bool) -> None:
    """Reset every gradient: to None, or with ``keep`` to zeros in the same memory."""
    network.zero_grad(set_to_none=not keep)
    if keep:
        for parameter in network.parameters():
            if parameter.grad is None and parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
