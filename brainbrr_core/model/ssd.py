"""The selective state-space recurrence of Mamba-2, computed in chunks, in plain torch.

Source: T. Dao and A. Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms
Through Structured State Space Duality", ICML 2024, section 6. Written from its definition::

    h[t] = exp(dt[t] * A) * h[t - 1] + dt[t] * outer(x[t], B[t])
    y[t] = h[t] @ C[t] + D * x[t]

Inside a chunk the recurrence is a masked matrix product; between chunks only the state at the
chunk's end is carried on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Samples per chunk, on a CPU and elsewhere. Besides speed it sets the accuracy: the error in
#: float32 grows with it. On a CPU, 32 takes three quarters of the time of 64.
CPU_CHUNK, CHUNK = 32, 64


def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Run the recurrence from a zero state over a sequence of any length.

    Shapes: ``x`` (batch, length, heads, headdim); ``dt`` (batch, length, heads), positive;
    ``A`` (heads,), negative; ``B`` and ``C`` (batch, length, state), shared by all heads;
    ``D`` (heads,), the weight of the direct path, or None. Returns y in the shape and type of
    ``x``. It computes in float32 (float64 for float64 input), under autocast too: a sum of
    ``dt`` in bfloat16 is off by tenths, which the exponential turns into a factor.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    if chunk is None:
        chunk = CPU_CHUNK if x.device.type == "cpu" else CHUNK
    with torch.autocast(x.device.type, enabled=False):
        y = _chunked(x.to(wide), dt.to(wide), A.to(wide), B.to(wide), C.to(wide), chunk)
        if D is not None:
            y = y + x.to(wide) * D.to(wide)[:, None]
    return y.to(x.dtype)


def _chunked(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> Tensor:
    batch, length, heads, headdim = x.shape
    # With dt 0 the padded tail neither decays the state nor adds to it.
    tail = -length % chunk
    x = x * dt[..., None]
    if tail:
        x = functional.pad(x, (0, 0, 0, 0, 0, tail))
        dt, B, C = (functional.pad(tensor, (0, 0, 0, tail)) for tensor in (dt, B, C))
    chunks = (length + tail) // chunk
    # By head from here on: contiguous, or each product would copy.
    x = x.view(batch, chunks, chunk, heads, headdim).transpose(2, 3).contiguous()
    B = B.view(batch, chunks, chunk, -1)
    C = C.view(batch, chunks, chunk, -1)
    # The logarithm of the decay from the chunk's start up to and including each sample: <= 0.
    decay = _running_sum((dt * A).view(batch, chunks, chunk, heads).transpose(2, 3).contiguous())
    y = _within_chunks(x, decay, B, C)
    if chunks > 1:
        y = _from_earlier_chunks(y, x, decay, B, C)
    return y.transpose(2, 3).reshape(batch, chunks * chunk, heads, headdim)[:, :length]


def _running_sum(x: Tensor) -> Tensor:
    """The sum along the last axis up to and including each sample."""
    # torch has no ``cumsum`` on a GPU that is known to give the same bits each time.
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return running_sum_by_doubling(x)
    return x.cumsum(-1)


def running_sum_by_doubling(x: Tensor) -> Tensor:
    """The sum along the last axis up to and including each sample, by plain additions alone.

    Each addition doubles how many samples a sum is of.
    """
    width = 1
    while width < x.shape[-1]:
        x = x + functional.pad(x[..., :-width], (width, 0))
        width *= 2
    return x


class _Context(Protocol):
    """What is used of the context of an autograd function."""

    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _WithinChunks(torch.autograd.Function):
    """The part of each sample's output that comes from samples of the same chunk.

    It has its own backward pass, which computes the (chunk, chunk) weights of every head again:
    they are by far the largest tensors here, and storing them for autograd would dominate time
    and memory.
    """

    @staticmethod
    def forward(ctx: _Context, x: Tensor, decay: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """The output y, in the shape of ``x``.

        Shapes: ``x`` (batch, chunks, heads, chunk, headdim), ``decay`` the same less the last
        axis, ``B`` and ``C`` (batch, chunks, chunk, state).
        """
        ctx.save_for_backward(x, decay, B, C)
        weights = _decay_between(decay).mul_(_similarity(B, C))
        return weights @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, decay, B, C = ctx.saved_tensors
        similarity = _similarity(B, C)
        between = _decay_between(decay)
        by_weight = (grad @ x.transpose(-1, -2)).mul_(between)
        by_similarity = by_weight.sum(dim=2)
        # The derivative of exp(d[i] - d[j]) * s[i, j] is itself, for d[i], and its negative.
        by_span = by_weight.mul_(similarity)
        by_decay = by_span.sum(dim=-1) - by_span.sum(dim=-2)
        by_x = between.mul_(similarity).transpose(-1, -2) @ grad
        return by_x, by_decay, by_similarity.transpose(-1, -2) @ C, by_similarity @ B


_within_chunks: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = _WithinChunks.apply


def _similarity(B: Tensor, C: Tensor) -> Tensor:
    return (C @ B.transpose(-1, -2))[:, :, None]


def _decay_between(decay: Tensor) -> Tensor:
    """Decay from sample j to sample i of a chunk at [..., i, j]; zero where j is later."""
    chunk = decay.shape[-1]
    span = decay[..., :, None] - decay[..., None, :]
    later = torch.ones(chunk, chunk, dtype=torch.bool, device=decay.device).triu(1)
    # Cut before the exponential: above the diagonal it could overflow, and an infinity that is
    # cut afterwards still makes the gradient not a number. Nor may exp(-decay) be factored out.
    return span.masked_fill_(later, float("-inf")).exp_()


def _from_earlier_chunks(y: Tensor, x: Tensor, decay: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Add what the samples of a chunk receive from the state at the end of the chunk before."""
    to_end = (decay[..., -1:] - decay).exp()
    # B and C are scaled rather than x and y: they have fewer columns.
    added = (B.transpose(-1, -2)[:, :, None] * to_end[..., None, :]) @ x
    decay_over_chunk = decay[..., -1].exp()[..., None, None]
    # Carried on one chunk at a time: sums of decay over chunks would lose the small differences.
    # Taken apart at once: the gradient of each index would be a tensor as large as the whole.
    *added_each, last = added.unbind(1)
    state = torch.zeros_like(last)
    entering = [state]
    for added_here, kept_here in zip(added_each, decay_over_chunk.unbind(1), strict=False):
        state = torch.addcmul(added_here, kept_here, state)
        entering.append(state)
    received = C[:, :, None] * decay.exp()[..., None]
    return torch.baddbmm(
        y.flatten(0, 2), received.flatten(0, 2), torch.stack(entering, dim=1).flatten(0, 2)
    ).view(y.shape)
