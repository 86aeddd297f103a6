"""``brainbrr bench model``: networks by windows per second, memory, and share of the peak speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import JsonValue

from brainbrr_core.benchmark.network_cost import MINUTES, cost
from brainbrr_core.benchmark.network_passes import (
    PASSES,
    Pass,
    Task,
    gemm_peak,
    in_own_process,
    measure,
    measure_shares,
)
from brainbrr_core.benchmark.operation_times import KINDS, REST
from brainbrr_core.benchmark.recurrence import RecurrenceTimes, compare
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.configuration import Hardware, Model
from brainbrr_core.configuration.settings import DEFAULT_NETWORK
from brainbrr_core.constants import RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import (
    AdaptedNetwork,
    build_network,
    check_on_one_batch,
    has_state_space_layers,
)
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device, describe_device


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


def backends_of(names: Sequence[str]) -> list[Backend]:
    """The backends of these names. Raises :class:`BrainbrrError` for one that does not exist."""
    backends: dict[str, Backend] = {"torch": "torch", "mamba_ssm": "mamba_ssm"}
    for name in names:
        if name not in backends:
            raise BrainbrrError(f"backend {name!r} is not known: use some of {list(backends)}")
    return [backends[name] for name in names]
