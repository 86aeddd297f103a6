"""How much is measured: everything on a GPU, or a little of everything on any machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.settings import Compilation
from brainbrr_core.model.backend import Backend


@dataclass(frozen=True, slots=True)
class Combination:
    """A network, its backend and compilation, and the windows of a batch."""

    preset: str
    batch: int
    backend: Backend
    compile: Compilation = False


@dataclass(frozen=True, slots=True)
class Extent:
    """What is measured, and for how long."""

    presets: tuple[str, ...]
    #: The presets that are trained from the store.
    trained: tuple[str, ...]
    #: Steps of the sequences on which the layers are compared.
    lengths: tuple[int, ...]
    #: The combinations to time, in this order.
    combinations: tuple[Combination, ...]
    #: Windows of a step of trainings and of scoring, by preset.
    batches: dict[str, int]
    #: Seconds for each rate.
    seconds: float
    #: How many equal batches the losses of both backends are compared on, and their windows.
    equal_batches: int
    equal_batch: int
    #: Recordings and hours of the synthetic corpus.
    recordings: int
    hours: float
    #: Steps of the training on the CPU, and of the trainings that are timed on the GPU.
    cpu_steps: int
    gpu_steps: int
    #: Processes that compile at the same time.
    compiling: int


_BACKENDS: tuple[Backend, Backend] = ("mamba_ssm", "torch")

FULL = Extent(
    presets=("tiny", "small", "base"),
    trained=("tiny", "base"),
    lengths=(1, 127, 960, 3840),
    combinations=(
        *(Combination("base", batch, backend) for batch in (64, 32) for backend in _BACKENDS),
        *(Combination("tiny", batch, backend) for batch in (512, 64) for backend in _BACKENDS),
        *(Combination("small", 256, backend) for backend in _BACKENDS),
        Combination("base", 64, "torch", True),
        Combination("tiny", 512, "torch", True),
        Combination("tiny", 64, "torch", "cuda_graphs"),
        Combination("base", 64, "mamba_ssm", True),
        Combination("tiny", 512, "mamba_ssm", True),
        Combination("small", 256, "torch", True),
        Combination("small", 256, "mamba_ssm", True),
    ),
    batches={"tiny": 512, "small": 256, "base": 64},
    seconds=1.0,
    equal_batches=100,
    equal_batch=16,
    recordings=24,
    hours=8.0,
    cpu_steps=40,
    gpu_steps=200,
    compiling=8,
)

#: A little of everything, to try the measurement on any machine.
SMALL = Extent(
    presets=("tiny",),
    trained=("tiny",),
    lengths=(1, 127),
    combinations=(Combination("tiny", 2, "torch"), Combination("tiny", 2, "mamba_ssm")),
    batches={"tiny": 2},
    seconds=0.2,
    equal_batches=3,
    equal_batch=2,
    recordings=6,
    hours=0.6,
    cpu_steps=4,
    gpu_steps=4,
    compiling=1,
)


@dataclass(frozen=True)
class Task:
    """The input of a section: configuration with the hardware, folder, extent and backends."""

    configuration: Configuration
    folder: Path
    extent: Extent
    backends: tuple[Backend, ...] = ("torch",)
    #: Seconds after which the section is killed.
    limit_s: float = math.inf
