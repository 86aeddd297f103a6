"""Which implementation of a Mamba-2 layer runs: ours in torch, or ``mamba_ssm``'s kernels."""

from __future__ import annotations

import importlib
import os
from typing import Literal

from torch import nn

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.mamba2 import Mamba2

Backend = Literal["torch", "mamba_ssm"]

#: Environment variable: with 1, ``mamba_ssm`` uses one variant of each kernel and a fixed order of
#: additions, so that results are the same each time.
DETERMINISTIC_KERNELS = "MAMBA_DETERMINISTIC"
#: What installs the kernels; mamba_ssm needs causal-conv1d first, and an nvcc matching torch's.
INSTALL_LINE = (
    "pip install --no-build-isolation causal-conv1d==1.7.0 && pip install --no-build-isolation "
    "mamba-ssm==2.3.2.post1"
)


def ssm_layer(backend: Backend, d_model: int, d_state: int, headdim: int) -> nn.Module:
    """A causal Mamba-2 layer (batch, length, d_model) -> the same, with its own parameters.

    Both backends have the same parameters, so a model trained with one loads into the other.
    Neither replaces the other silently: raises :class:`BrainbrrError` when ``mamba_ssm`` is asked
    for and cannot be imported.
    """
    if backend == "torch":
        return Mamba2(d_model, d_state=d_state, headdim=headdim)
    if backend != "mamba_ssm":
        raise BrainbrrError(f"ssm_backend {backend!r} is not known: use torch or mamba_ssm")
    if os.environ.get(DETERMINISTIC_KERNELS) != "1":
        # At first use the fastest of a hundred variants of each kernel is searched, which takes a
        # minute or two: with this, Triton keeps the result on disk for later processes.
        os.environ.setdefault("TRITON_CACHE_AUTOTUNING", "1")
    try:
        module = importlib.import_module("mamba_ssm.modules.mamba2")
    # Without a GPU its imports fail in other ways, too, not only as ImportError.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BrainbrrError(
            f"ssm_backend mamba_ssm cannot be imported ({type(error).__name__}: {reason}): "
            f"install it with `{INSTALL_LINE}`, or set hardware.ssm_backend: torch"
        ) from error
    layer: nn.Module = module.Mamba2(
        d_model=d_model, d_state=d_state, d_conv=4, expand=2, headdim=headdim
    )
    return layer
