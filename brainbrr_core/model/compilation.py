"""How a network's operations are started: one by one, compiled, or as one CUDA graph.

What is compiled has the shapes of its first call: each other shape is compiled anew.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainbrr_core.configuration.settings import Compilation


def compiled(network: nn.Module, how: Compilation) -> Callable[[Tensor], Tensor]:
    """The network as a function of signals, to be called in their place of work many times.

    With ``cuda_graphs`` the gradients of parameters lie in memory that the next call writes to.
    Where they outlive it, they must be added to tensors that are there before
    (:func:`clear_gradients` with ``keep``): torch would take the graph's own memory as ``grad``.
    """
    if how is False:
        return network
    if how is True:
        return torch.compile(network, dynamic=False)
    graphs = torch.compile(network, dynamic=False, mode="reduce-overhead")

    def run(signals: Tensor) -> Tensor:
        # The graph's own output is written to by its next call.
        logits: Tensor = graphs(signals)
        return logits.clone()

    return run


def clear_gradients(network: nn.Module, *, keep: bool) -> None:
    """Set every gradient to zero: as no tensor, or, to ``keep`` their memory, as one of zeros."""
    network.zero_grad(set_to_none=not keep)
    if keep:
        for parameter in network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
