"""One training in several processes: the group that ``torchrun`` starts, and its reductions.

For a single process every operation does nothing, so that callers need not distinguish the two
cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from brainbrr_core.configuration import Hardware
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.training.ranks import Ranks

Value = TypeVar("Value")


class ProcessGroup(Ranks):
    """The processes that train one network together, seen from the process of rank ``rank``."""

    __slots__ = ()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes. A NaN or infinity in one is one in all of them.

        The result stays on the device, and the host does not wait for it.
        """
        if self.world_size > 1:
            dist.all_reduce(values)
            values = values / self.world_size
        return values

    def total(self, count: int, device: torch.device) -> Tensor:
        """Sum of an integer over all processes, as a float64 scalar on the device.

        The host does not wait for it.
        """
        values = torch.full((), count, dtype=torch.float64, device=device)
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, entries: dict[str, Value]) -> dict[str, Value]:
        """The entries of all processes in one dictionary, the same in each of them."""
        if self.world_size == 1:
            return entries
        gathered: list[dict[str, Value]] = [{} for _ in range(self.world_size)]
        dist.all_gather_object(gathered, entries)
        return {key: value for entries in gathered for key, value in entries.items()}

    def broadcast(self, value: Value | None) -> Value:
        """Send the main process's value to all processes; the others pass None."""
        values = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(values, src=0)
        [received] = values
        if received is None:
            raise ValueError("the main process has no value to broadcast")
        return received

    def barrier(self) -> None:
        """Wait until every process has come to this call."""
        if self.world_size > 1:
            dist.barrier()


#: A training in this process alone.
SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group(hardware: Hardware) -> Iterator[ProcessGroup]:
    """Join the other processes until the block ends, with NCCL on GPUs and gloo on CPUs.

    Raises :class:`BrainbrrError` when the batch cannot be divided evenly among the processes.
    """
    group = ProcessGroup.from_environment(os.environ)
    micro_batches = group.world_size * hardware.accumulate
    if hardware.batch_size % micro_batches:
        raise BrainbrrError(
            f"hardware.batch_size {hardware.batch_size} cannot be shared by {group.world_size} "
            f"processes with hardware.accumulate {hardware.accumulate}: make it a multiple of "
            f"{micro_batches}"
        )
    if group.world_size == 1:
        yield group
        return
    if hardware.compile == "cuda_graphs":
        raise BrainbrrError(
            "hardware.compile cuda_graphs is for one process: set hardware.compile: true for "
            f"{group.world_size} of them"
        )
    if hardware.device == "cuda":
        torch.cuda.set_device(group.local_rank)
    dist.init_process_group("nccl" if hardware.device == "cuda" else "gloo")
    try:
        yield group
    finally:
        dist.destroy_process_group()
