"""Several processes, one training: who this process is among those that ``torchrun`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class World:
    """This process among ``size``; ``local_rank`` is the GPU it uses on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes; what is not finite in one stays so in all.

        The result stays on the device, which is not waited for.
        """
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def total(self, count: int, device: torch.device) -> Tensor:
        """Sum of a whole number over all processes, as one float64 on the device.

        The device is not waited for.
        """
        values = torch.full((), count, dtype=torch.float64, device=device)
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: dict[str, Any]) -> dict[str, Any]:
        """The entries of every process together."""
        if self.size == 1:
            return value
        parts: list[dict[str, Any]] = [{} for _ in range(self.size)]
        dist.all_gather_object(parts, value)
        return {key: item for part in parts for key, item in part.items()}

    def of_first(self, value: Value | None) -> Value:
        """What the first process gives; the others give None."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        [found] = values
        if found is None:
            raise ValueError("the first process gave nothing")
        return found

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()


def world_of(environment: Mapping[str, str]) -> World:
    """Who this process is, from the variables that ``torchrun`` sets; alone without them."""
    return World(
        int(environment.get("RANK", "0")),
        int(environment.get("WORLD_SIZE", "1")),
        int(environment.get("LOCAL_RANK", "0")),
    )


@contextmanager
def joined(hardware: Hardware) -> Iterator[World]:
    """Join the other processes, by NCCL on GPUs and by gloo on CPUs, until the block ends.

    Raises :class:`BrainbrrError` when the batch cannot be shared evenly.
    """
    world = world_of(os.environ)
    parts = world.size * hardware.accumulate
    if hardware.batch_size % parts:
        raise BrainbrrError(
            f"hardware.batch_size {hardware.batch_size} cannot be shared by {world.size} "
            f"processes of hardware.accumulate {hardware.accumulate}: make it a multiple of {parts}"
        )
    if world.size == 1:
        yield world
        return
    if hardware.compile == "cuda_graphs":
        raise BrainbrrError(
            "hardware.compile cuda_graphs is for one process: set hardware.compile: true for "
            f"{world.size} of them"
        )
    if hardware.device == "cuda":
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("nccl" if hardware.device == "cuda" else "gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()
