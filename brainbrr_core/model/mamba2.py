"""One Mamba-2 layer in plain torch, with the parameters of ``mamba_ssm``'s.

Source: T. Dao and A. Gu, "Transformers are SSMs", ICML 2024, section 7. Names, order, shapes
and initialization of the parameters are those of ``mamba_ssm.modules.mamba2.Mamba2`` with one
group, a gated norm and no projection bias, so that weights pass from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.model.ssd import ssd

#: Attribute of a parameter that weight decay leaves alone, as ``mamba_ssm`` calls it.
NO_WEIGHT_DECAY = "_no_weight_decay"

A_RANGE = (1.0, 16.0)
DT_RANGE = (0.001, 0.1)
#: Added to a mean square, so that the norm of zeros is defined.
_EPS = 1e-5


class GatedRMSNorm(nn.Module):
    """Root-mean-square norm over the last axis of ``y * silu(gate)``, computed in float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, y: Tensor, gate: Tensor | None = None) -> Tensor:
        """Shapes: ``y`` and ``gate`` (..., size); without a gate it is the plain norm."""
        wide = y.to(torch.promote_types(y.dtype, torch.float32))
        if gate is not None:
            wide = wide * functional.silu(gate.to(wide.dtype))
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + _EPS)
        return (wide * scale * self.weight).to(y.dtype)


class SplitProjection(nn.Module):
    """A linear map without bias whose outputs are several tensors, of the given widths."""

    def __init__(self, d_model: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.weight = nn.Linear(d_model, sum(widths), bias=False).weight

    def forward(self, u: Tensor) -> tuple[Tensor, ...]:
        """Shapes: (batch, length, d_model) to (batch, length, width) for each of the widths."""
        # A product for each part, not one that is split: each result is contiguous, and rows as
        # wide as all (806 in ``small``) lie across the cache lines, which cost a third more. Rows
        # of all windows at once: on a CPU, bfloat16 is slow in batches.
        rows = u.flatten(0, 1)
        return tuple(
            functional.linear(rows, weight).view(*u.shape[:2], -1)
            for weight in torch.split(self.weight, self.widths)
        )


class CausalConvolution(nn.Conv1d):
    """A convolution over time of each channel by itself, in which no sample sees a later one."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__(channels, channels, taps, groups=channels)

    def forward(self, input: Tensor) -> Tensor:
        """Shapes: (batch, length, channels) to the same."""
        early = self.kernel_size[0] - 1
        # As an image of height 1, whose channels torch may keep last: on a CPU, ``conv1d`` copies
        # into the other order, and every later step reads its result across.
        image = functional.pad(input, (0, 0, early, 0)).transpose(1, 2)[:, :, None]
        convolved = functional.conv2d(image, self.weight[:, :, None], self.bias, groups=self.groups)
        return convolved[:, :, 0].transpose(1, 2)


class Mamba2(nn.Module):
    """The layer: projection, causal convolution, state-space recurrence, gated norm, projection.

    ``expand * d_model`` must be a multiple of ``headdim``; ValueError otherwise.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
    ) -> None:
        super().__init__()
        self.d_inner = expand * d_model
        if self.d_inner % headdim:
            raise ValueError(f"headdim {headdim} does not divide the inner width {self.d_inner}")
        self.d_state = d_state
        self.d_conv = d_conv
        self.headdim = headdim
        self.heads = self.d_inner // headdim
        convolved = self.d_inner + 2 * d_state
        # The order of creation is mamba_ssm's: the same random state gives the same weights.
        self.in_proj = SplitProjection(d_model, [self.d_inner, convolved, self.heads])
        self.conv1d = CausalConvolution(convolved, d_conv)
        low, high = (math.log(bound) for bound in DT_RANGE)
        dt = torch.exp(torch.rand(self.heads) * (high - low) + low)
        # The inverse of softplus.
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(*A_RANGE).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        for parameter in (self.dt_bias, self.A_log, self.D):
            setattr(parameter, NO_WEIGHT_DECAY, True)
        self.norm = GatedRMSNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Shapes: (batch, length, d_model) to the same. A sample never sees a later one."""
        inner, state = self.d_inner, self.d_state
        gate, convolved, dt = self.in_proj(u)
        convolved = functional.silu(self.conv1d(convolved))
        x, B, C = torch.split(convolved, [inner, state, state], dim=-1)
        wide = torch.promote_types(dt.dtype, torch.float32)
        y = ssd(
            x.view(*x.shape[:-1], self.heads, self.headdim),
            functional.softplus(dt.to(wide) + self.dt_bias),
            -self.A_log.exp(),
            B,
            C,
            self.D,
        )
        out: Tensor = self.out_proj(self.norm(y.flatten(-2), gate))
        return out
