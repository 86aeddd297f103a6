"""The detector: a U-Net over time with bidirectional Mamba-2 layers at its bottom.

The encoder lowers the rate step by step, the layers at the bottom see the whole window in both
directions, and the decoder brings their features back to higher rates. No stage runs at the full
rate: the head gives the logits of several samples at each of its steps.

Sources: O. Ronneberger, P. Fischer and T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; T. Dao and A. Gu, "Transformers are SSMs", ICML 2024 (Mamba-2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from brainbrr_core.constants import CHANNELS
from brainbrr_core.model.backend import Backend, ssm_layer
from brainbrr_core.model.mamba2 import GatedRMSNorm

#: Probability that the untrained network gives. The training loss weighs both classes equally, so
#: that this means no evidence; starting at 0.05 learned more slowly (sample AUROC of .75 instead of
#: .87 after 120 steps on a toy corpus).
INITIAL_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The sizes of a network.

    Parameters
    ----------
    channels : tuple of int
        Features of each stage of the encoder, from the full rate downwards; the last is the width
        of the Mamba layers.
    strides : tuple of int
        Factor by which each of these stages lowers the rate.
    layers : int
        Bidirectional Mamba-2 layers.
    headdim : int
        Width of a head; it divides twice the width of the layers.
    d_state : int
        Size of the state of the recurrence.
    blocks : int
        Residual blocks before the Mamba layers.
    kernels : tuple of int
        Lengths of the parallel convolutions in each of these blocks, in steps.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    layers: int
    headdim: int
    d_state: int = 16
    blocks: int = 2
    kernels: tuple[int, ...] = (3, 5, 7, 9)

    @property
    def total_stride(self) -> int:
        """Samples per step of the Mamba layers."""
        return math.prod(self.strides)


class EightChannelNorm(nn.GroupNorm):
    """The norm of the convolutional parts, over eight channels at a time.

    It has no running statistics, so it is the same in training and in use.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(max(1, channels // 8), channels)

    def forward(self, input: Tensor) -> Tensor:
        """Shapes: (batch, channels, 1, length) to the same."""
        # With channels last, torch 2.13 crashes in the backward pass of a norm whose input needs
        # no gradient, as after a part that is frozen.
        if self.weight.requires_grad and torch.is_grad_enabled() and not input.requires_grad:
            input = input.contiguous()
        return super().forward(input)


class Convolution(nn.Conv1d):
    """A convolution over time of features that are laid out as an image of height 1.

    On a CPU such an image may have its channels last in memory, which halves the time of a
    convolution of few channels. The parameters are those of ``Conv1d``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Shapes: (batch, in_channels, 1, length) to (batch, out_channels, 1, new length)."""
        (stride,), padding = self.stride, int(self.padding[0])
        image_kernel = self.weight[:, :, None]
        return functional.conv2d(input, image_kernel, self.bias, (1, stride), (0, padding))


class ResidualBlock(nn.Module):
    """``x + conv(silu(norm(x)))``: the amplitude of ``x`` bypasses the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = EightChannelNorm(channels)
        self.conv = Convolution(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, 1, length) to the same."""
        branch: Tensor = self.conv(functional.silu(self.norm(x)))
        return x + branch


class MultiKernelBlock(nn.Module):
    """Residual block of parallel convolutions with kernels of several lengths."""

    def __init__(self, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.norm = EightChannelNorm(channels)
        self.convs = nn.ModuleList(
            Convolution(channels, channels // len(kernels), kernel, padding=kernel // 2)
            for kernel in kernels
        )
        self.mix = Convolution(channels // len(kernels) * len(kernels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, 1, length) to the same."""
        normed = functional.silu(self.norm(x))
        features = torch.cat([conv(normed) for conv in self.convs], dim=1)
        branch: Tensor = self.mix(functional.silu(features))
        return x + branch


class BidirectionalMamba(nn.Module):
    """Pre-norm residual layer of two Mamba-2 layers: one forwards in time, the other backwards."""

    def __init__(self, d_model: int, d_state: int, headdim: int, backend: Backend) -> None:
        super().__init__()
        self.norm = GatedRMSNorm(d_model)
        self.forwards = ssm_layer(backend, d_model, d_state, headdim)
        self.backwards = ssm_layer(backend, d_model, d_state, headdim)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, length, d_model) to the same."""
        normed = self.norm(x)
        past: Tensor = self.forwards(normed)
        future: Tensor = self.backwards(normed.flip(1)).flip(1)
        return x + past + future


class Upsample(nn.Module):
    """Bring features to a higher rate and add those of the encoder at that rate (skip)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.project = Convolution(channels_in, channels_out, 1)
        self.block = ResidualBlock(channels_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Shapes: (batch, channels_in, 1, length), (batch, channels_out, 1, length * stride)."""
        # Projected before it is repeated, where that is cheaper.
        low: Tensor = self.project(x)
        high = functional.interpolate(low, scale_factor=(1.0, float(self.stride)))
        out: Tensor = self.block(high + skip)
        return out


class SeizureNetwork(nn.Module):
    """Maps windows of a montage at 256 Hz to a seizure logit for each sample.

    Parameters
    ----------
    shape : NetworkShape
        The sizes.
    ssm_backend : {"torch", "mamba_ssm"}
        What computes the state-space layers. The parameters and their names are the same.
    channels : int
        Channels of the montage: 19 electrodes, or 18 derivations.
    recompute_activations : bool
        Whether a training keeps only the tensors that pass from one part of the network to the
        next and computes the others again in the backward pass: the same loss and gradients, in
        less memory and more time.

    Raises
    ------
    BrainbrrError
        For a backend that cannot be imported.
    """

    def __init__(
        self,
        shape: NetworkShape,
        ssm_backend: Backend = "torch",
        *,
        channels: int = len(CHANNELS),
        recompute_activations: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.channels = channels
        self.recompute_activations = recompute_activations
        widths, strides = shape.channels, shape.strides
        self.down = nn.ModuleList(
            nn.Sequential(
                # Kernels overlap by half; the padding keeps every step centered on its samples.
                Convolution(before, after, 2 * stride, stride, padding=stride // 2),
                ResidualBlock(after),
            )
            for before, after, stride in zip((channels, *widths[:-1]), widths, strides, strict=True)
        )
        d_model = widths[-1]
        self.blocks = nn.Sequential(
            *(MultiKernelBlock(d_model, shape.kernels) for _ in range(shape.blocks))
        )
        self.layers = nn.ModuleList(
            BidirectionalMamba(d_model, shape.d_state, shape.headdim, ssm_backend)
            for _ in range(shape.layers)
        )
        self.norm = GatedRMSNorm(d_model)
        self.up = nn.ModuleList(
            Upsample(widths[stage], widths[stage - 1], strides[stage])
            for stage in range(len(widths) - 1, 0, -1)
        )
        self.head_norm = EightChannelNorm(widths[0])
        self.head = Convolution(widths[0], strides[0], 3, padding=1)
        self._scale_initial_weights()

    def _scale_initial_weights(self) -> None:
        # Each layer adds two branches to the stream. Their last projections start smaller, so
        # that the stream's variance does not grow with depth (GPT-2, Radford et al. 2019).
        with torch.no_grad():
            for name, parameter in self.layers.named_parameters():
                if name.endswith("out_proj.weight"):
                    parameter.div_(math.sqrt(2 * self.shape.layers))
            bias = self.head.bias
            if bias is not None:
                bias.fill_(math.log(INITIAL_PROBABILITY / (1 - INITIAL_PROBABILITY)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of windows.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, samples)
            Signals in standard deviations, channels in the order of the montage; ``samples`` is a
            multiple of ``shape.total_stride``.

        Returns
        -------
        Tensor of float32, shape (batch, samples)
            Logit of seizure for each sample.

        Raises
        ------
        ValueError
            For any other shape.
        """
        if x.dim() != 3 or x.shape[1] != self.channels or x.shape[2] % self.shape.total_stride:
            raise ValueError(
                f"expected (batch, {self.channels}, a multiple of {self.shape.total_stride}), "
                f"got {tuple(x.shape)}"
            )
        # On a GPU, which memory format is faster was not measured.
        channels_last = x.device.type == "cpu"
        x = x[:, :, None].contiguous(
            memory_format=torch.channels_last if channels_last else torch.contiguous_format
        )
        skips: list[Tensor] = []
        for stage in self.down:
            x = self._through(stage, x)
            skips.append(x)
        for block in self.blocks:
            x = self._through(block, x)
        x = x[:, :, 0].transpose(1, 2)
        # The residual stream stays in float32 under autocast: it sums every layer's output.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        for layer in self.layers:
            x = self._through(layer, x)
        x = self.norm(x).transpose(1, 2)[:, :, None]
        for stage, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = self._through(stage, x, skip)
        # In float32 too: bfloat16 has steps of 1/64 at a logit of 3.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            logits: Tensor = self.head(functional.silu(self.head_norm(x)))
        return logits[:, :, 0].transpose(1, 2).flatten(1)

    def _through(self, part: nn.Module, *inputs: Tensor) -> Tensor:
        """The output of a part; with ``recompute_activations`` only its inputs are kept."""
        if self.recompute_activations and self.training and torch.is_grad_enabled():
            # No part is random, so the random state need not be kept either.
            out: Tensor = checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
        else:
            out = part(*inputs)
        return out
