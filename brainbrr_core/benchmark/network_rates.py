"""``brainbrr bench model``: windows per second, memory, and the share of the device's peak speed.

Each figure is measured in its own process, so that the peak memory is that of one task.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeVar

import torch
from pydantic import JsonValue
from torch import Tensor

from brainbrr_core.benchmark.network_cost import MINUTES, cost
from brainbrr_core.benchmark.operation_times import (
    KINDS,
    REST,
    operation_times,
    operations_of_projections,
)
from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.benchmark.recurrence import RecurrenceTimes, compare
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.configuration import Hardware, Model, Training
from brainbrr_core.configuration.settings import DEFAULT_NETWORK
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.model import (
    AdaptedNetwork,
    build_network,
    check_on_one_batch,
    has_state_space_layers,
)
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


class PassFigures(Figures):
    """One kind of pass, with one batch size."""

    windows_per_s: float
    memory_mb: float
    #: Utilization of the GPU; None on a CPU.
    busy: float | None
    gflop_per_window: float
    share_of_peak: float
    #: Shares of the time by kind of operation, and the speed of the projections relative to the
    #: peak; on a CPU only.
    time: dict[str, float] | None = None
    projections_of_peak: float | None = None


class NetworkRate(Figures):
    """A network with one backend and one batch size."""

    network: str
    #: The size of the default network; None for another one.
    preset: str | None
    #: What computes its state-space layers; None for a network without.
    backend: Backend | None
    parameters: int
    batch: int
    forward: PassFigures
    training: PassFigures

    def cells(self, kind: Pass) -> list[str]:
        """The first cells of a row."""
        name = self.preset or self.network
        return [
            name if self.backend is None else f"{name}, {self.backend}",
            f"{self.parameters:,}",
            str(self.batch),
            kind,
        ]

    def figures(self, kind: Pass) -> PassFigures:
        """Those of one kind of pass."""
        return self.forward if kind == "forward" else self.training


class NetworkRates(Report):
    """Networks on one device; on a CPU also the recurrence alone."""

    device: dict[str, str]
    precision: str
    window_s: int
    peak_gflop_per_s: float
    rows: tuple[NetworkRate, ...]
    scan: RecurrenceTimes | None

    def tables(self) -> list[Table]:
        """Rates; on a CPU also the shares of the time, and the recurrence."""
        device = ", ".join(f"{name} {value}" for name, value in self.device.items())
        rates = Table(
            f"windows of {self.window_s} s, {self.precision}, {device}; peak of a matrix "
            f"product {self.peak_gflop_per_s:,.0f} GFLOP/s",
            [
                "network",
                "parameters",
                "batch",
                "pass",
                "windows/s",
                "MB",
                "GFLOP",
                "of peak",
                "busy",
            ],
            [
                [
                    *row.cells(kind),
                    f"{figures.windows_per_s:.1f}",
                    f"{figures.memory_mb:.0f}",
                    f"{figures.gflop_per_window:.2f}",
                    f"{figures.share_of_peak:.1%}",
                    "" if figures.busy is None else f"{figures.busy:.0%}",
                ]
                for row in self.rows
                for kind in PASSES
                for figures in (row.figures(kind),)
            ],
        )
        return [rates, *self._time_tables(), *self._recurrence_tables()]

    def _time_tables(self) -> list[Table]:
        rows = [
            [
                *row.cells(kind),
                *(f"{figures.time[name]:.0%}" for name in (*KINDS, REST)),
                f"{figures.projections_of_peak:.0%}",
            ]
            for row in self.rows
            for kind in PASSES
            for figures in (row.figures(kind),)
            if figures.time is not None
        ]
        columns = ["network", "parameters", "batch", "pass", *KINDS, REST, "projections of peak"]
        title = "where the time goes, and how near the projections come to the peak"
        return [Table(title, columns, rows)] if rows else []

    def _recurrence_tables(self) -> list[Table]:
        if self.scan is None:
            return []
        title = f"one layer of base, {self.scan.length} steps, forward and backward"
        rows = [[name, f"{ms:.1f}"] for name, ms in self.scan.ms.items()]
        return [Table(title, ["", "ms"], rows)]

    def remarks(self) -> list[str]:
        """The ratios of the recurrence's times."""
        return [] if self.scan is None else self.scan.remarks()


def run(
    hardware: Hardware,
    window_s: int,
    *,
    models: Sequence[Model],
    backends: Sequence[Backend],
    batches: Sequence[int],
    budget_s: float,
    log: Callable[[str], None] = print,
) -> NetworkRates:
    """Measure networks, backends and batch sizes on a device.

    On a CPU the recurrence of state-space layers is measured, too, where a network has some.

    Raises :class:`BrainbrrError` when the device or a backend is not available, and for a network
    that cannot be built or does not do what a network must.
    """
    device = check_device(hardware)
    variants = [
        (model, backend, _parameters(model, window_s, backend, hardware))
        for model in models
        for backend in (backends if has_state_space_layers(model) else (None,))
    ]
    threads = torch.get_num_threads()
    peak = gemm_peak(device, hardware.precision)
    rows = []
    for model, backend, parameters in variants:
        counted = cost(model, window_s)
        operations = {"forward": counted.forward, "training": counted.training}
        for batch in batches:
            passes = {}
            for kind in PASSES:
                of_backend = "" if backend is None else f", {backend}"
                log(f"{model.name}{of_backend}, batch {batch}: {kind}")
                task = Task(
                    model, backend or "torch", kind, batch, window_s, hardware, budget_s, threads
                )
                passes[kind] = _pass_figures(task, operations[kind], peak)
            rows.append(
                NetworkRate(
                    network=model.network,
                    preset=model.preset if model.network == DEFAULT_NETWORK else None,
                    backend=backend,
                    parameters=parameters,
                    batch=batch,
                    **passes,
                )
            )
    scans = device.type == "cpu" and any(backend is not None for _, backend, _ in variants)
    if scans:
        log("comparing scans")
    return NetworkRates(
        device=describe_device(device).record(),
        precision=hardware.precision,
        window_s=window_s,
        peak_gflop_per_s=round(peak / 1e9, 1),
        rows=tuple(rows),
        scan=compare() if scans else None,
    )


def _parameters(model: Model, window_s: int, backend: Backend | None, hardware: Hardware) -> int:
    """How many parameters a network has, which is tried on one batch.

    Raises :class:`BrainbrrError` where it cannot be built, or does not do what a network must.
    """
    network = build_network(
        model,
        window_s * RATE,
        ssm_backend=backend or "torch",
        recompute_activations=hardware.recompute_activations,
    )
    if isinstance(network, AdaptedNetwork):
        check_on_one_batch(network)
    return sum(parameter.numel() for parameter in network.parameters())


def _pass_figures(task: Task, operations: int, peak: float) -> PassFigures:
    """Measure a task whose window takes so many operations, on a device with this peak speed."""
    rate = in_own_process(measure, task)
    figures = PassFigures(
        windows_per_s=rate.windows_per_s,
        memory_mb=rate.memory_mb,
        busy=rate.busy,
        gflop_per_window=round(operations / 1e9, 3),
        share_of_peak=round(operations * rate.windows_per_s / peak, 4),
    )
    if task.hardware.device != "cpu":
        return figures
    shares = in_own_process(measure_shares, task)
    of_peak = round(shares.projections_per_s / peak, 3)
    return figures.model_copy(update={"time": shares.time, "projections_of_peak": of_peak})


class LengthCost(Figures):
    """Cost of one window of so many minutes."""

    minutes: int
    forward_gflop: float
    training_gflop: float
    kept_mb: float
    forward_gflop_per_minute: float
    kept_mb_per_minute: float
    peak_mb: float


class Growth(Report):
    """How the cost of networks grows with the length of the window."""

    networks: dict[str, tuple[LengthCost, ...]]

    def as_json(self) -> dict[str, JsonValue]:
        """The rows by network: by the preset of the default one."""
        return {name: [row.as_json() for row in rows] for name, rows in self.networks.items()}

    def tables(self) -> list[Table]:
        """One table for each network."""
        columns = [
            "minutes",
            "forward GFLOP",
            "training GFLOP",
            "kept MB",
            "peak MB",
            "GFLOP per minute",
            "MB per minute",
        ]
        return [
            Table(
                f"{name}, one window: operations and kept memory counted, the peak measured",
                columns,
                [
                    [
                        f"{figure:,}"
                        for figure in (
                            row.minutes,
                            row.forward_gflop,
                            row.training_gflop,
                            row.kept_mb,
                            row.peak_mb,
                            row.forward_gflop_per_minute,
                            row.kept_mb_per_minute,
                        )
                    ]
                    for row in rows
                ],
            )
            for name, rows in self.networks.items()
        ]


def growth(models: Sequence[Model], hardware: Hardware) -> Growth:
    """Count operations and the memory kept for the gradient, and measure the peak of a training.

    The peak is what torch allocated on a GPU; on a CPU that of the process, libraries included.
    """
    threads = torch.get_num_threads()
    return Growth(
        networks={
            model.name: tuple(_length_cost(model, length, hardware, threads) for length in MINUTES)
            for model in models
        }
    )


def _length_cost(model: Model, minutes: int, hardware: Hardware, threads: int) -> LengthCost:
    counted = cost(model, 60 * minutes)
    task = Task(model, "torch", "training", 1, 60 * minutes, hardware, 0.0, threads)
    return LengthCost(
        minutes=minutes,
        forward_gflop=round(counted.forward / 1e9, 3),
        training_gflop=round(counted.training / 1e9, 3),
        kept_mb=round(counted.kept_bytes / 1e6, 1),
        forward_gflop_per_minute=round(counted.forward / 1e9 / minutes, 4),
        kept_mb_per_minute=round(counted.kept_bytes / 1e6 / minutes, 2),
        peak_mb=in_own_process(measure, task).memory_mb,
    )


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


def backends_of(names: Sequence[str]) -> list[Backend]:
    """The backends of these names. Raises :class:`BrainbrrError` for one that does not exist."""
    backends: dict[str, Backend] = {"torch": "torch", "mamba_ssm": "mamba_ssm"}
    for name in names:
        if name not in backends:
            raise BrainbrrError(f"backend {name!r} is not known: use some of {list(backends)}")
    return [backends[name] for name in names]
