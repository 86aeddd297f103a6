"""Windows a second, share of the device's peak, and memory: presets, backends, compiled or not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.network_cost import cost
from brainbrr_core.benchmark.network_rates import PASSES, gemm_peak, make_step, settle
from brainbrr_core.benchmark.network_rates import Task as Step
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model.device import check_device

_BLOCK = 5
_LEAST_BLOCKS = 3
_COPIED_BYTES = 2**32
#: Seconds that the last rate may take, compilation included.
_LAST_S = 25.0


def machine(task: Task) -> dict[str, Any]:
    """The ceilings that rates are compared with: a matrix product and a copy on the device."""
    device = check_device(task.configuration.hardware)
    values: dict[str, Any] = {
        "bfloat16_tflop_per_s": round(gemm_peak(device, "bfloat16") / 1e12, 2),
        "float32_tflop_per_s": round(gemm_peak(device, "float32") / 1e12, 2),
    }
    if device.type == "cuda":
        source = torch.randint(0, 255, (_COPIED_BYTES,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        seconds = seconds_of(lambda: target.copy_(source), device, 0.3)
        values["copy_tb_per_s"] = round(2 * _COPIED_BYTES / seconds / 1e12, 2)
        host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
        seconds = seconds_of(lambda: target[: 2**28].copy_(host, non_blocking=True), device, 0.3)
        values["host_to_device_gb_per_s"] = round(2**28 / seconds / 1e9, 1)
    return values


def _steps(task: Task) -> list[Step]:
    hardware = task.configuration.hardware
    return [
        Step(
            one.preset,
            one.backend,
            kind,
            one.batch,
            task.configuration.windows.length_s,
            hardware.model_copy(update={"compile": one.compile, "ssm_backend": one.backend}),
            task.extent.seconds,
            torch.get_num_threads(),
        )
        for one in task.extent.combinations
        if one.backend in task.backends
        for kind in PASSES
    ]


def warm_up(task: Task) -> dict[str, Any]:
    """First steps of all that is compiled, in several processes at once.

    What was compiled is kept on disk: afterwards each process only loads it.
    """
    # Or each process would start as many compilers as there are cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "2")
    # Which variant of a kernel is the fastest is not to be judged while others use the GPU.
    os.environ["TRITON_CACHE_AUTOTUNING"] = "0"
    steps = [step for step in _steps(task) if step.hardware.compile or step.backend != "torch"]
    start = time.perf_counter()
    with process_pool(min(max(len(steps), 1), task.extent.compiling, usable_cores())) as pool:
        seconds = list(pool.map(_first, steps))
    rows = [
        {
            "preset": step.preset,
            "backend": step.backend,
            "compile": step.hardware.compile,
            "pass": step.kind,
            "seconds": spent,
        }
        for step, spent in zip(steps, seconds, strict=True)
    ]
    return {"seconds": round(time.perf_counter() - start, 1), "rows": rows}


def _first(step: Step) -> float | None:
    """Seconds of a first step; None where the processes together have too little memory."""
    start = time.perf_counter()
    device = check_device(step.hardware)
    try:
        make_step(step, device)()
        settle(device)
    except torch.OutOfMemoryError:
        return None
    return round(time.perf_counter() - start, 1)


def rates(task: Task) -> dict[str, Any]:
    """Rate and memory of each combination; one that does not fit has None for both."""
    hardware = task.configuration.hardware
    device = check_device(hardware)
    peak = gemm_peak(device, hardware.precision)
    costs = {
        preset: cost(preset, task.configuration.windows.length_s) for preset in task.extent.presets
    }
    rows, unmeasured = [], []
    begun = time.monotonic()
    for step in _steps(task):
        row: dict[str, Any] = {
            "preset": step.preset,
            "backend": step.backend,
            "compile": step.hardware.compile,
            "batch": step.batch,
            "pass": step.kind,
        }
        if time.monotonic() - begun > task.limit_s - _LAST_S:
            unmeasured.append(row)
            continue
        counted = costs[step.preset]
        operations = counted.forward if step.kind == "forward" else counted.training
        try:
            seconds, memory_mb, first_s = _measured(step, device)
        except torch.OutOfMemoryError:
            rows.append(row | {"windows_per_s": None, "memory_mb": None, "share_of_peak": None})
        else:
            rate = step.batch / seconds
            rows.append(
                row
                | {
                    "windows_per_s": round(rate, 1),
                    "step_ms": round(seconds * 1e3, 3),
                    "memory_mb": memory_mb,
                    "share_of_peak": round(rate * operations / peak, 4),
                    "first_step_s": first_s,
                }
            )
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch._dynamo.reset()
    return {"precision": hardware.precision, "rows": rows, "unmeasured": unmeasured}


def _measured(step: Step, device: torch.device) -> tuple[float, float | None, float]:
    """Seconds of a step, the peak memory in MB on a GPU, and seconds of the first one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    do = make_step(step, device)
    start = time.perf_counter()
    do()
    settle(device)
    first_s = round(time.perf_counter() - start, 2)
    seconds = seconds_of(do, device, step.budget_s)
    memory = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return seconds, None if memory is None else round(memory, 1), first_s


def seconds_of(do: Callable[[], object], device: torch.device, budget_s: float) -> float:
    """Seconds of one call, the median of blocks of calls after two that warm up."""
    for _ in range(2):
        do()
    settle(device)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < _LEAST_BLOCKS or time.perf_counter() - start < budget_s:
        begun = time.perf_counter()
        for _ in range(_BLOCK):
            do()
        settle(device)
        times.append((time.perf_counter() - begun) / _BLOCK)
    return median(times)
