"""How much of the measurement is done: all of it on a GPU, a little of everything elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.configuration import Configuration
from brainbrr_core.model.backend import Backend


@dataclass(frozen=True, slots=True)
class Extent:
    """What is measured, and for how long."""

    presets: tuple[str, ...]
    #: Steps of the sequences on which the layers are compared.
    lengths: tuple[int, ...]
    #: Windows of a step, by preset; the last one is also measured compiled.
    batches: dict[str, tuple[int, ...]]
    #: Seconds for each rate.
    seconds: float
    #: Equal batches on which the losses of both backends are compared, and windows in each.
    equal_batches: int
    equal_batch: int
    #: Recordings and hours of the synthetic corpus.
    recordings: int
    hours: float
    #: Steps of the training on the CPU, and of the one that is timed on the GPU.
    cpu_steps: int
    gpu_steps: int
    #: Processes that compile at the same time.
    compiling: int


FULL = Extent(
    presets=("tiny", "small", "base"),
    lengths=(1, 127, 960, 3840),
    batches={"tiny": (64, 512), "small": (64, 256), "base": (32, 64)},
    seconds=1.0,
    equal_batches=100,
    equal_batch=16,
    recordings=24,
    hours=8.0,
    cpu_steps=60,
    gpu_steps=200,
    compiling=16,
)

#: For a look at the script itself, on whatever machine.
SMALL = Extent(
    presets=("tiny",),
    lengths=(1, 127),
    batches={"tiny": (2,)},
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
    """What a section is given: settings with the hardware, a folder, extent and backends."""

    configuration: Configuration
    folder: Path
    extent: Extent
    backends: tuple[Backend, ...]
    #: Seconds after which the section is ended.
    limit_s: float = math.inf
