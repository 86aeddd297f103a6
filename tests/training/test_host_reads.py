"""No training step makes the host wait for the device."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.training.distributed import ProcessGroup
from tests.support.toy_training import (
    masked_batch,
    spoiled_batch,
    toy_batch,
    toy_settings,
    toy_trainer,
)

#: Operators that make the host wait for a GPU, and methods that do and run no operator on a CPU.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::item",
    "aten::nonzero",
    "aten::masked_select",
    "aten::repeat_interleave",
    "aten::_unique2",
}


READING = ("tolist", "cpu", "numpy")


#: Their CPU kernels read numbers that are in the host's memory anyway. Their CUDA kernels do not:
#: ``test_gpu.py`` has CUDA itself check that.
READING_KERNELS = {"aten::_fused_adamw_", "aten::std"}


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Names of the operations that read tensors on the host, all of them after the block."""
    reads: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        method = getattr(torch.Tensor, name)

        def read(tensor: Tensor, *arguments: object) -> object:
            reads.append(name)
            return method(tensor, *arguments)

        return read

    with pytest.MonkeyPatch.context() as patch:
        for name in READING:
            patch.setattr(torch.Tensor, name, noted(name))
        with torch.autograd.profiler.profile() as profile:
            yield reads
    events = profile.function_events or ()
    reads += [event.name for event in events if event.name in WAITING and not within_kernel(event)]


def within_kernel(event: Any) -> bool:
    """Whether an operator was called by a kernel for a CPU."""
    parent = event.cpu_parent
    return parent is not None and (parent.name in READING_KERNELS or within_kernel(parent))


def weighted(step: int) -> Batch:
    batch = masked_batch(step)
    return replace(batch, weights=torch.ones_like(batch.labels))


@pytest.mark.parametrize(
    ("settings", "hardware", "make"),
    [
        (toy_settings(50), Hardware(batch_size=4), toy_batch),
        (toy_settings(50), Hardware(batch_size=4, precision="bfloat16"), toy_batch),
        (toy_settings(50), Hardware(batch_size=4, accumulate=2), masked_batch),
        (toy_settings(50, loss="focal", label_smoothing=0.1), Hardware(batch_size=4), weighted),
        (toy_settings(50, skipped_steps_limit=3), Hardware(batch_size=4), spoiled_batch),
        pytest.param(
            toy_settings(50),
            Hardware(batch_size=4, compile=True),
            toy_batch,
            marks=[
                pytest.mark.slow,
                # torch's own compiler calls what torch has deprecated.
                pytest.mark.filterwarnings("ignore::DeprecationWarning"),
            ],
        ),
    ],
    ids=["float32", "bfloat16", "accumulated", "focal", "not finite", "compiled"],
)
def test_no_step_reads_the_device_and_all_are_fetched_at_once(
    settings: Training, hardware: Hardware, make: Callable[[int], Batch]
) -> None:
    state = toy_trainer(settings, hardware)
    batches = [make(step) for step in range(6)]
    # What happens once: states of the optimizer, and the compiler's work.
    state.train_step(0, batches[0])
    state.fetch_metrics()
    with host_reads() as reads:
        for step in range(1, 6):
            state.train_step(step, batches[step])
    assert reads == []
    assert state.pending_steps == 5
    with host_reads() as reads:
        steps = state.fetch_metrics()
    assert reads == ["tolist"]
    assert [step.step for step in steps] == [2, 3, 4, 5, 6]
    assert [step.names for step in steps] == [batch.names for batch in batches[1:]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_step_leaves_garbage_that_would_keep_arrays(precision: str) -> None:
    """Commands look for garbage rarely: what is in no cycle is freed without a search."""
    hardware = Hardware.model_validate({"batch_size": 4, "precision": precision})
    state = toy_trainer(toy_settings(50), hardware)
    state.train_step(0, toy_batch(0))
    state.fetch_metrics()
    gc.collect()
    gc.disable()
    try:
        for step in range(1, 6):
            state.train_step(step, toy_batch(step))
        state.fetch_metrics()
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:Grad strides do not match")
def test_no_step_of_several_processes_reads_the_device() -> None:
    """One process that believes to be one of two: what it sends is the same."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=HashStore())
    try:
        state = toy_trainer(hardware=Hardware(batch_size=8), group=ProcessGroup(0, 2, 0))
        batches = [toy_batch(step) for step in range(3)]
        state.train_step(0, batches[0])
        state.fetch_metrics()
        with host_reads() as reads:
            for step in (1, 2):
                state.train_step(step, batches[step])
    finally:
        dist.destroy_process_group()
    assert reads == []
    assert all(step.finite for step in state.fetch_metrics())


def test_reads_are_noticed() -> None:
    values = torch.arange(3.0)
    with host_reads() as reads:
        values.sum().item()
        bool((values > 1).any())
        float(values[0])
        values.tolist()
        values[values > 1]
        values.cpu()
    assert reads.count("aten::item") == 3
    assert {"tolist", "cpu", "aten::nonzero", "aten::is_nonzero"} <= set(reads)
