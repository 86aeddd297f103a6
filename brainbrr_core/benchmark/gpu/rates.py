"""Windows per second, share of the device's peak speed, and memory of each combination."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

import torch
from pydantic import Field

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.network_cost import cost
from brainbrr_core.benchmark.network_passes import PASSES, Pass, gemm_peak, make_step, settle
from brainbrr_core.benchmark.network_passes import Task as Step
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.configuration import Model
from brainbrr_core.configuration.settings import Compilation
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device

_BLOCK = 5
_LEAST_BLOCKS = 3
_COPIED_BYTES = 2**32
#: Seconds that the last rate may take, compilation included.
_LAST_S = 25.0


class Ceilings(Figures):
    """The highest speeds of a device."""

    bfloat16_tflop_per_s: float
    float32_tflop_per_s: float
    #: On a GPU only.
    copy_tb_per_s: float | None = None
    host_to_device_gb_per_s: float | None = None

    def table(self) -> Table:
        """One row for each speed that was measured."""
        speeds = {
            "matrix product in bfloat16, TFLOP/s": self.bfloat16_tflop_per_s,
            "matrix product in float32, TFLOP/s": self.float32_tflop_per_s,
            "copy on the device, read and written, TB/s": self.copy_tb_per_s,
            "copy to the device, GB/s": self.host_to_device_gb_per_s,
        }
        rows = [[name, f"{speed:,}"] for name, speed in speeds.items() if speed is not None]
        return Table("Ceilings of the device", ["", "figure"], rows)


class _Network(Figures):
    """What one row is about."""

    preset: str
    backend: Backend
    compile: Compilation
    kind: Pass = Field(validation_alias="pass", serialization_alias="pass")

    @property
    def name(self) -> str:
        """The network's name in a table."""
        how = {False: "", True: ", compiled", "cuda_graphs": ", CUDA graphs"}[self.compile]
        return f"{self.preset}, {self.backend}{how}"


class FirstStep(_Network):
    """Seconds to the end of a first step; None where memory ran out."""

    seconds: float | None


class WarmUp(Figures):
    """First steps, in several processes at once, and the seconds of them all."""

    seconds: float
    rows: tuple[FirstStep, ...]

    def table(self) -> Table:
        """One row for each step."""
        rows = [
            [
                row.name,
                row.kind,
                "out of memory" if row.seconds is None else f"{row.seconds:.0f}",
            ]
            for row in self.rows
        ]
        rows.append(["all, side by side", "", f"{self.seconds:.0f}"])
        return Table("Seconds to a first step", ["network", "pass", "s"], rows)


class UnmeasuredRate(_Network):
    """A combination for which no time was left."""

    batch: int


class Rate(UnmeasuredRate):
    """Speed and memory of a combination; None where it does not fit the GPU's memory."""

    windows_per_s: float | None
    step_ms: float | None = None
    #: On a GPU only.
    memory_mb: float | None
    share_of_peak: float | None
    first_step_s: float | None = None

    def cells(self) -> list[str]:
        """A row of the table."""
        memory = "" if self.memory_mb is None else f"{self.memory_mb:,.0f}"
        figures = (
            ["out of memory", "", ""]
            if self.windows_per_s is None
            else [f"{self.windows_per_s:,.0f}", f"{self.share_of_peak:.1%}", memory]
        )
        return [self.name, str(self.batch), self.kind, *figures]


class Rates(Figures):
    """All combinations, in one precision."""

    precision: str
    rows: tuple[Rate, ...]
    unmeasured: tuple[UnmeasuredRate, ...]

    def table(self) -> Table:
        """One row for each combination that was measured."""
        columns = ["network", "batch", "pass", "windows/s", "of peak", "MB"]
        return Table(f"Steps in {self.precision}", columns, [row.cells() for row in self.rows])


def machine(task: Task) -> Ceilings:
    """The ceilings that rates are compared with: matrix products, and copies on and to a GPU."""
    device = check_device(task.configuration.hardware)
    products = Ceilings(
        bfloat16_tflop_per_s=round(gemm_peak(device, "bfloat16") / 1e12, 2),
        float32_tflop_per_s=round(gemm_peak(device, "float32") / 1e12, 2),
    )
    if device.type == "cuda":
        source = torch.randint(0, 255, (_COPIED_BYTES,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        seconds = seconds_of(lambda: target.copy_(source), device, 0.3)
        copied = round(2 * _COPIED_BYTES / seconds / 1e12, 2)
        host = torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
        seconds = seconds_of(lambda: target[: 2**28].copy_(host, non_blocking=True), device, 0.3)
        sent = round(2**28 / seconds / 1e9, 1)
        return products.model_copy(
            update={"copy_tb_per_s": copied, "host_to_device_gb_per_s": sent}
        )
    return products


def _steps(task: Task) -> list[Step]:
    hardware = task.configuration.hardware
    return [
        Step(
            Model.model_validate({"preset": one.preset}),
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


def warm_up(task: Task) -> WarmUp:
    """Do the first step of everything that is compiled, in several processes at once.

    Compiled code is stored on disk, so that later processes only load it.
    """
    # Otherwise each process would start as many compilers as there are cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "2")
    # The fastest variant of a kernel cannot be chosen while other processes use the GPU.
    os.environ["TRITON_CACHE_AUTOTUNING"] = "0"
    steps = [step for step in _steps(task) if step.hardware.compile or step.backend != "torch"]
    start = time.perf_counter()
    with process_pool(min(max(len(steps), 1), task.extent.compiling, usable_cores())) as pool:
        seconds = list(pool.map(_first, steps))
    rows = tuple(
        FirstStep(
            preset=step.model.preset,
            backend=step.backend,
            compile=step.hardware.compile,
            kind=step.kind,
            seconds=spent,
        )
        for step, spent in zip(steps, seconds, strict=True)
    )
    return WarmUp(seconds=round(time.perf_counter() - start, 1), rows=rows)


def _first(step: Step) -> float | None:
    """Seconds of a first step; None where the memory is too small for all processes together."""
    start = time.perf_counter()
    device = check_device(step.hardware)
    try:
        make_step(step, device)()
        settle(device)
    except torch.OutOfMemoryError:
        return None
    return round(time.perf_counter() - start, 1)


def rates(task: Task) -> Rates:
    """Rate and memory of each combination, as far as the time allows."""
    hardware = task.configuration.hardware
    device = check_device(hardware)
    peak = gemm_peak(device, hardware.precision)
    costs = {
        preset: cost(Model.model_validate({"preset": preset}), task.configuration.windows.length_s)
        for preset in task.extent.presets
    }
    rows, unmeasured = [], []
    begun = time.monotonic()
    for step in _steps(task):
        row = UnmeasuredRate(
            preset=step.model.preset,
            backend=step.backend,
            compile=step.hardware.compile,
            batch=step.batch,
            kind=step.kind,
        )
        if time.monotonic() - begun > task.limit_s - _LAST_S:
            unmeasured.append(row)
            continue
        counted = costs[step.model.preset]
        operations = counted.forward if step.kind == "forward" else counted.training
        try:
            seconds, memory_mb, first_s = _measure(step, device)
        except torch.OutOfMemoryError:
            rows.append(Rate(**dict(row), windows_per_s=None, memory_mb=None, share_of_peak=None))
        else:
            rate = step.batch / seconds
            rows.append(
                Rate(
                    **dict(row),
                    windows_per_s=round(rate, 1),
                    step_ms=round(seconds * 1e3, 3),
                    memory_mb=memory_mb,
                    share_of_peak=round(rate * operations / peak, 4),
                    first_step_s=first_s,
                )
            )
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch._dynamo.reset()
    return Rates(precision=hardware.precision, rows=tuple(rows), unmeasured=tuple(unmeasured))


def _measure(step: Step, device: torch.device) -> tuple[float, float | None, float]:
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
    """Seconds of one call: the median of blocks of calls, after two calls that warm up."""
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
