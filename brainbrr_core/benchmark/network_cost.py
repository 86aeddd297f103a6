"""What a network costs, counted rather than timed: operations, and memory kept for the gradient.

Counting uses torch's fake tensors, which compute shapes only: it takes seconds for half an hour of
EEG and gives the same figures on every machine.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from brainbrr_core.configuration import Model
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.model import AnyNetwork, build_network

MINUTES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one window of ``seconds``.

    ``forward`` and ``training`` are the floating-point operations of matrix products and
    convolutions, where a multiplication and an addition count as two. ``kept_bytes`` is what the
    forward pass keeps for the backward pass, each tensor counted once.
    """

    seconds: float
    forward: int
    training: int
    kept_bytes: int


def cost(
    model: Model,
    seconds: float,
    *,
    recompute_activations: bool = False,
) -> Cost:
    """Cost of one window of a network in torch, in float32.

    Raises as :func:`brainbrr_core.model.build_network`.
    """
    with FakeTensorMode():
        network = build_network(
            model, round(seconds * RATE), recompute_activations=recompute_activations
        )
        return _counted(network.train(), seconds)


def peak_bytes(
    model: Model,
    seconds: float,
    *,
    bfloat16: bool = False,
    recompute_activations: bool = False,
) -> int:
    """Bytes that one more window adds to the peak memory of a training step.

    That is more than what is kept for the gradient: it includes short-lived tensors and parts of
    the network that are computed again. Workspaces of libraries are not included.
    """
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        network = build_network(
            model, round(seconds * RATE), recompute_activations=recompute_activations
        )
        # The difference cancels weights and their gradients, most of the memory of few windows.
        fewer, more = (_peak(network, windows, seconds) for windows in (8, 16))
    return (more - fewer) // 8


def _peak(network: AnyNetwork, windows: int, seconds: float) -> int:
    allocated = AllocatedBytes()
    with allocated:
        signals = torch.empty(windows, len(CHANNELS), round(seconds * RATE))
        torch.autograd.backward(network(signals).sum())
    network.zero_grad(set_to_none=True)
    return allocated.peak


class AllocatedBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations create, and their peak."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.peak = 0
        self._now = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Do the operation and count the storages that it creates."""
        out = func(*args, **(kwargs or {}))
        # A view shares the storage of its base.
        inputs = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            if id(storage) not in inputs:
                inputs.add(id(storage))
                self._now += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self._now)
        return out

    def _free(self, size: int) -> None:
        self._now -= size


def _storages(values: object) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)]


def _counted(network: AnyNetwork, seconds: float) -> Cost:
    signals = torch.empty(1, len(CHANNELS), round(seconds * RATE))
    saved: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        # A view keeps the whole storage of its base alive; several views keep it once.
        storage = tensor.untyped_storage()
        saved[storage._cdata] = (tensor, storage.nbytes())
        return tensor

    with operation_counter() as forward, torch.no_grad():
        network(signals)
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    with operation_counter() as both:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network(signals)
        torch.autograd.backward(logits.sum())
    return Cost(
        seconds,
        forward.get_total_flops(),
        both.get_total_flops(),
        sum(size for key, (_, size) in saved.items() if key not in own),
    )


def operation_counter() -> FlopCounterMode:
    """Counts floating-point operations, those of depthwise convolutions right."""
    mapping = {torch.ops.aten.convolution_backward: convolution_backward_operations}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def convolution_backward_operations(
    grad: Sequence[int],
    _signals: Sequence[int],
    weight: Sequence[int],
    *rest: Any,
    out_shape: Any = None,
) -> int:
    """Operations of the gradients of a plain convolution, from shapes.

    Torch 2.13 counts the gradient of a depthwise kernel as that of a full one.
    """
    del out_shape
    wanted = sum(bool(flag) for flag in rest[-1][:2])
    return wanted * 2 * math.prod(grad) * math.prod(weight[1:])
