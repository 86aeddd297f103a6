"""Passes of a network over one batch: their speed, and the memory and utilization they take.

Each is measured in its own process, so that the peak memory is that of one task.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeVar

import torch
from torch import Tensor

from brainbrr_core.benchmark.operation_times import operation_times, operations_of_projections
from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.configuration import Hardware, Model, Training
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.model import build_network
from brainbrr_core.model.arithmetic import float32_products
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.compilation import clear_gradients, compiled
from brainbrr_core.model.device import check_device
from brainbrr_core.training.determinism import fixed_arithmetic
from brainbrr_core.training.loss import loss_of
from brainbrr_core.training.optimizer import make_optimizer

Result = TypeVar("Result")
Pass = Literal["forward", "training"]
PASSES: tuple[Pass, ...] = ("forward", "training")
#: Side of the square matrices whose product gives the device's peak.
_GEMM = {"cpu": 2048, "cuda": 8192}
_LEAST_STEPS = 3
_POSITIVE_FRACTION = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures: passes over one batch again and again."""

    model: Model
    backend: Backend
    kind: Pass
    batch: int
    window_s: int
    hardware: Hardware
    budget_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Windows per second, the peak memory in MB, and a GPU's utilization (from nvidia-smi)."""

    windows_per_s: float
    memory_mb: float
    busy: float | None


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the time on a CPU by kind of operation; the projections' operations per second."""

    time: dict[str, float]
    projections_per_s: float


def gemm_peak(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product: the best of some runs."""
    side = _GEMM[device.type]
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left = torch.randn(side, side, device=device).to(kind)
    best = float("inf")
    for _ in range(5):
        settle(device)
        start = time.perf_counter()
        left @ left
        settle(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def in_own_process(measurement: Callable[[Task], Result], task: Task) -> Result:
    """What a measurement gives in a new process."""
    with process_pool(1) as pool:
        return pool.submit(measurement, task).result()


def measure(task: Task) -> Rate:
    """Run one task in this process. The first two steps warm up and are not timed."""
    torch.set_num_threads(task.threads)
    device = check_device(task.hardware)
    keep_freed_memory()
    step = make_step(task, device)
    for _ in range(2):
        step()
    settle(device)
    with _Busy(device) as busy:
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < _LEAST_STEPS or time.perf_counter() - start < task.budget_s:
            begun = time.perf_counter()
            step()
            settle(device)
            times.append(time.perf_counter() - begun)
    memory = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else peak_mb()
    return Rate(round(task.batch / median(times), 2), round(memory, 1), busy.share())


def measure_shares(task: Task) -> Shares:
    """Profile one task in this process, on the CPU."""
    torch.set_num_threads(task.threads)
    keep_freed_memory()
    step = make_step(task, check_device(task.hardware))
    seconds = operation_times(step)
    whole = sum(seconds.values())
    spent_in_products = seconds["projections"]
    return Shares(
        {kind: round(spent / whole, 3) for kind, spent in seconds.items()},
        # Not every network has some.
        operations_of_projections(step) / spent_in_products if spent_in_products else 0.0,
    )


def make_step(task: Task, device: torch.device) -> Callable[[], None]:
    """The step of a task: each call does one pass over the same batch.

    It has the arithmetic of a training, or of scoring for a forward pass.
    """
    network = build_network(
        task.model,
        task.window_s * RATE,
        ssm_backend=task.backend,
        seed=0,
        recompute_activations=task.hardware.recompute_activations,
    ).to(device)
    generator = torch.Generator().manual_seed(0)
    shape = (task.batch, len(CHANNELS), task.window_s * RATE)
    signals = torch.randn(shape, generator=generator).to(device)
    labels = (torch.rand(shape[0], shape[2], generator=generator) < _POSITIVE_FRACTION).float()
    labels = labels.to(device)
    bfloat16 = task.hardware.precision == "bfloat16"
    training = Training(learning_rate=1e-5)
    loss, optimizer = loss_of(training, _POSITIVE_FRACTION), make_optimizer(network, training)
    forward = compiled(network, task.hardware.compile)

    def logits() -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
            out: Tensor = forward(signals)
        return out

    def infer() -> None:
        with float32_products(), torch.inference_mode():
            logits()

    def train() -> None:
        with fixed_arithmetic(task.hardware, device):
            clear_gradients(network, keep=task.hardware.compile == "cuda_graphs")
            torch.autograd.backward(loss(logits(), labels, all_known=True))
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return infer if task.kind == "forward" else train


def settle(device: torch.device) -> None:
    """Wait until a GPU has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Busy:
    """Samples a GPU's utilization, as nvidia-smi reports it, while the block runs."""

    _COMMAND = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0")

    def __init__(self, device: torch.device) -> None:
        self._tool = shutil.which("nvidia-smi") if device.type == "cuda" else None
        self._samples: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _Busy:
        if self._tool is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._tool is not None:
            self._thread.join()

    def _sample(self) -> None:
        while self._tool is not None and not self._over.wait(0.5):
            done = subprocess.run(
                [self._tool, *self._COMMAND], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                self._samples.append(float(done.stdout.split()[0]) / 100)

    def share(self) -> float | None:
        """Mean of the samples; None without any."""
        return round(sum(self._samples) / len(self._samples), 3) if self._samples else None
