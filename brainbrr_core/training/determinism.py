"""Settings of torch and the kernels for deterministic results and true float32 arithmetic."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.arithmetic import float32_products
from brainbrr_core.model.backend import DETERMINISTIC_KERNELS

#: The variable that sets the size of cuBLAS's workspace, read at its first use, and the values that
#: make it deterministic.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_FIXED_WORKSPACES = (":4096:8", ":16:8")


def prepare_environment(hardware: Hardware) -> None:
    """Set the variables of the environment that ``hardware.deterministic`` needs on a GPU.

    They are read once, so this comes before the first use of CUDA and the import of
    ``mamba_ssm``. Raises :class:`BrainbrrError` where one is missing and it is too late to set it.
    """
    if hardware.device != "cuda" or not hardware.deterministic:
        return
    if os.environ.get(_CUBLAS) not in _FIXED_WORKSPACES:
        cuda_is_loaded: Callable[[], bool] = torch.cuda.is_initialized
        _set(_CUBLAS, _FIXED_WORKSPACES[0], "CUDA", cuda_is_loaded())
    if os.environ.get(DETERMINISTIC_KERNELS) != "1":
        _set(DETERMINISTIC_KERNELS, "1", "mamba_ssm", "mamba_ssm" in sys.modules)


def _set(name: str, value: str, reader: str, too_late: bool) -> None:
    if too_late:
        raise BrainbrrError(
            f"hardware.deterministic needs {name}={value} before {reader} is loaded, which has "
            f"happened in this process: run `export {name}={value}` and start it again"
        )
    os.environ[name] = value


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed the random numbers that a network draws itself in a step, such as those of dropout.

    Like augmentation they depend on the step alone, so that a resumed training draws the same
    numbers as an uninterrupted one. Each process draws its own.
    """
    mixed = np.random.SeedSequence([seed % 2**64, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]))


@contextmanager
def fixed_arithmetic(hardware: Hardware, device: torch.device) -> Iterator[None]:
    """Until the block ends, allow only operations whose results are the same in every run.

    On a CPU this always applies, since it costs nothing; on a GPU, if ``hardware.deterministic`` is
    set. On both, products of float32 are computed in float32 (:func:`float32_products`).

    Torch would also fill the memory of each new tensor, for operations that read memory before it
    is written. No operation here does, and on a GPU it would take one more kernel per tensor.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    # The setting is a property that torch's annotations lack.
    memory: Any = torch.utils.deterministic
    deterministic, benchmark = cudnn.deterministic, cudnn.benchmark
    filled = memory.fill_uninitialized_memory
    if device.type == "cpu" or hardware.deterministic:
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False
        cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with float32_products():
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        memory.fill_uninitialized_memory = filled
        cudnn.deterministic, cudnn.benchmark = deterministic, benchmark
