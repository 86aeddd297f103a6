"""What a network costs, counted and not timed: operations, and memory kept for the gradient.

Counted with torch's fake tensors, which compute shapes alone: half an hour of EEG in seconds, and
the same figures on every machine.
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

from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.detection import window_starts
from brainbrr_core.model import SeizureNetwork, build

MINUTES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Cost:
    """One window of ``seconds``: floating-point operations and bytes.

    Operations are those of matrix products and convolutions, a multiplication and an addition
    being two. ``kept_bytes`` is what the forward pass keeps for the backward one, each tensor
    once.
    """

    seconds: float
    forward: int
    training: int
    kept_bytes: int


def cost(
    preset: str,
    seconds: float,
    *,
    bfloat16: bool = False,
    recompute_activations: bool = False,
) -> Cost:
    """Cost of one window of a preset's network in torch, in float32 or with autocast."""
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        return _counted(build(preset, recompute_activations=recompute_activations).train(), seconds)


def peak_bytes(
    preset: str,
    seconds: float,
    *,
    bfloat16: bool = False,
    recompute_activations: bool = False,
) -> int:
    """Bytes that one more window adds to the most that a training step has at one time.

    That is more than what is kept: tensors that exist for a moment, and the parts of the network
    that are computed again, are among it. What a library takes for itself is not.
    """
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        network = build(preset, recompute_activations=recompute_activations).train()
        # Weights and their gradients are the same for both; with few windows they are most of it.
        fewer, more = (_peak(network, windows, seconds) for windows in (8, 16))
    return (more - fewer) // 8


def _peak(network: SeizureNetwork, windows: int, seconds: float) -> int:
    allocated = _Allocated()
    with allocated:
        signals = torch.empty(windows, len(CHANNELS), round(seconds * RATE))
        torch.autograd.backward(network(signals).sum())
    network.zero_grad(set_to_none=True)
    return allocated.peak


class _Allocated(TorchDispatchMode):
    """Bytes of the tensors that operations make: how many are in use, and were at most."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.peak = 0
        self._now = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do the operation and count the storages that are new."""
        out = func(*args, **(kwargs or {}))
        # A view has the storage of what it looks at.
        given = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            if id(storage) not in given:
                given.add(id(storage))
                self._now += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self._now)
        return out

    def _free(self, size: int) -> None:
        self._now -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)]


def _counted(network: SeizureNetwork, seconds: float) -> Cost:
    signals = torch.empty(1, len(CHANNELS), round(seconds * RATE))
    kept: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        # A view keeps the whole of what it looks at alive, and several keep it once.
        storage = tensor.untyped_storage()
        kept[storage._cdata] = (tensor, storage.nbytes())
        return tensor

    with _counter() as forward, torch.no_grad():
        network(signals)
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    with _counter() as both:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network(signals)
        torch.autograd.backward(logits.sum())
    return Cost(
        seconds,
        forward.get_total_flops(),
        both.get_total_flops(),
        sum(size for key, (_, size) in kept.items() if key not in own),
    )


def scoring_operations(preset: str, hours: float, window_s: int, stride_s: int) -> int:
    """Floating-point operations of a network's scores for one recording of so many hours.

    Those of a validation, an evaluation or a prediction. Many short recordings have a few windows
    more: each one's last window ends with it.
    """
    samples, window = round(hours * 3600 * RATE), window_s * RATE
    windows = len(window_starts(samples, window, min(stride_s, window_s) * RATE))
    return windows * cost(preset, window_s).forward


def _counter() -> FlopCounterMode:
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

    Torch's own count (2.13) takes the gradient of a depthwise kernel for that of a full one.
    """
    del out_shape
    wanted = sum(bool(flag) for flag in rest[-1][:2])
    return wanted * 2 * math.prod(grad) * math.prod(weight[1:])
