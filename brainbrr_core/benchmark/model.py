"""``brainbrr bench model``: windows a second, memory, and the share of what the device can do.

Each figure is taken in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from brainbrr_core.benchmark.cost import MINUTES, cost
from brainbrr_core.benchmark.parts import operations_of_projections, parts
from brainbrr_core.benchmark.peak import peak_mb
from brainbrr_core.benchmark.scan import compare
from brainbrr_core.configuration import Configuration, Hardware, Training
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.model import PRESETS, build
from brainbrr_core.model.arithmetic import float32_products
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.compilation import clear_gradients, compiled
from brainbrr_core.model.device import check_device, describe_device
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
    """What one process measures."""

    preset: str
    backend: Backend
    kind: Pass
    batch: int
    window_s: int
    hardware: Hardware
    budget_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Windows a second, the peak memory in MB, and on a GPU its busy share (nvidia-smi's)."""

    windows_per_s: float
    memory_mb: float
    busy: float | None


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the time on a CPU by kind of operation; the projections' operations a second."""

    time: dict[str, float]
    projections_per_s: float


def run(
    configuration: Configuration,
    *,
    presets: Sequence[str],
    backends: Sequence[Backend],
    batches: Sequence[int],
    budget_s: float,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure presets, backends and batch sizes on the configured device, and compare scans.

    Raises :class:`BrainbrrError` when the device or a backend is not there.
    """
    hardware, window_s = configuration.hardware, configuration.windows.length_s
    device = check_device(hardware)
    for backend in backends:
        build("tiny", backend)
    threads = torch.get_num_threads()
    peak = gemm_peak(device, hardware.precision)
    rows = []
    for preset in presets:
        counted = cost(preset, window_s)
        operations = {"forward": counted.forward, "training": counted.training}
        for backend in backends:
            for batch in batches:
                row: dict[str, Any] = {"preset": preset, "backend": backend, "batch": batch}
                for kind in PASSES:
                    log(f"{preset}, {backend}, batch {batch}: {kind}")
                    task = Task(preset, backend, kind, batch, window_s, hardware, budget_s, threads)
                    rate = _in_a_process(measure, task)
                    row[kind] = asdict(rate) | {
                        "gflop_per_window": round(operations[kind] / 1e9, 3),
                        "share_of_peak": round(operations[kind] * rate.windows_per_s / peak, 4),
                    }
                    if device.type == "cpu":
                        shares = _in_a_process(measure_parts, task)
                        row[kind]["time"] = shares.time
                        row[kind]["projections_of_peak"] = round(shares.projections_per_s / peak, 3)
                rows.append(row)
    log("comparing scans")
    return {
        "device": describe_device(device),
        "precision": hardware.precision,
        "window_s": window_s,
        "peak_gflop_per_s": round(peak / 1e9, 1),
        "rows": rows,
        "scan": compare() if device.type == "cpu" else None,
    }


def growth(
    preset: str, hardware: Hardware, minutes: Sequence[int] | None = None
) -> list[dict[str, float]]:
    """Operations and memory kept for the gradient, counted, and the peak of training on a window.

    The peak is what torch allocated on a GPU; on a CPU the process's, libraries included.
    """
    threads = torch.get_num_threads()
    rows = []
    for length in minutes or MINUTES:
        counted = cost(preset, 60 * length)
        task = Task(preset, "torch", "training", 1, 60 * length, hardware, 0.0, threads)
        rows.append(
            {
                "minutes": length,
                "forward_gflop": round(counted.forward / 1e9, 3),
                "training_gflop": round(counted.training / 1e9, 3),
                "kept_mb": round(counted.kept_bytes / 1e6, 1),
                "forward_gflop_per_minute": round(counted.forward / 1e9 / length, 4),
                "kept_mb_per_minute": round(counted.kept_bytes / 1e6 / length, 2),
                "peak_mb": _in_a_process(measure, task).memory_mb,
            }
        )
    return rows


def gemm_peak(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product, the best of some."""
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


def _in_a_process(measurement: Callable[[Task], Result], task: Task) -> Result:
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


def measure_parts(task: Task) -> Shares:
    """Profile one task in this process, on the CPU."""
    torch.set_num_threads(task.threads)
    keep_freed_memory()
    step = make_step(task, check_device(task.hardware))
    seconds = parts(step)
    whole = sum(seconds.values())
    return Shares(
        {kind: round(spent / whole, 3) for kind, spent in seconds.items()},
        operations_of_projections(step) / seconds["projections"],
    )


def make_step(task: Task, device: torch.device) -> Callable[[], None]:
    """A step of a task, on the same batch at each call, with the arithmetic of a training or of
    scoring.
    """
    recompute = task.hardware.recompute_activations
    network = build(task.preset, task.backend, seed=0, recompute_activations=recompute).to(device)
    generator = torch.Generator().manual_seed(0)
    shape = (task.batch, len(CHANNELS), task.window_s * RATE)
    signals = torch.randn(shape, generator=generator).to(device)
    labels = (torch.rand(shape[0], shape[2], generator=generator) < _POSITIVE_FRACTION).float()
    labels = labels.to(device)
    bfloat16 = task.hardware.precision == "bfloat16"
    settings = Training(learning_rate=1e-5)
    loss, optimizer = loss_of(settings, _POSITIVE_FRACTION), make_optimizer(network, settings)
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


def check_presets(presets: Sequence[str]) -> None:
    """Raise :class:`BrainbrrError` for a preset that does not exist."""
    for preset in presets:
        if preset not in PRESETS:
            raise BrainbrrError(f"preset {preset!r} is not known: use some of {list(PRESETS)}")


def backends_of(names: Sequence[str]) -> list[Backend]:
    """The backends of these names. Raises :class:`BrainbrrError` for one that does not exist."""
    known: dict[str, Backend] = {"torch": "torch", "mamba_ssm": "mamba_ssm"}
    for name in names:
        if name not in known:
            raise BrainbrrError(f"backend {name!r} is not known: use some of {list(known)}")
    return [known[name] for name in names]
