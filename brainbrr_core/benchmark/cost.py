"""What a network costs, counted and not timed: operations, and memory kept for the gradient.

Counted with torch's fake tensors, which compute shapes alone: half an hour of EEG in seconds, and
the same figures on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from brainbrr_core.configuration.model import RATE
from brainbrr_core.detection import window_starts
from brainbrr_core.model import build
from brainbrr_core.model.network import INPUT_CHANNELS

MINUTES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Cost:
    """One window of ``seconds``: floating-point operations and bytes.

    Operations are those of matrix products and convolutions, a multiplication and an addition
    being two. ``kept_bytes`` is what the forward pass keeps for the backward one, each tensor
    once, in float32.
    """

    seconds: float
    forward: int
    training: int
    kept_bytes: int


def cost(preset: str, seconds: float) -> Cost:
    """Cost of one window of a preset's network in torch."""
    with FakeTensorMode():
        return _counted(preset, seconds)


def _counted(preset: str, seconds: float) -> Cost:
    network = build(preset)
    signals = torch.empty(1, INPUT_CHANNELS, round(seconds * RATE))
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
