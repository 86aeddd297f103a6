"""How many windows a training step can have at once: tried on a GPU, counted on a CPU.

On a GPU real steps are made, each number of windows in a process of its own, so that nothing is
left of the one before; a tenth of the free memory stays free, for validations and for gaps between
tensors. On a CPU nothing is run: a step that does not fit would be swapped out, or end a process.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from brainbrr_core.benchmark.network_cost import peak_bytes
from brainbrr_core.configuration import Configuration, Hardware, Training
from brainbrr_core.constants import BLOCK_S, CHANNELS, RATE
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import usable_memory
from brainbrr_core.model import SeizureNetwork, build
from brainbrr_core.model.device import check_device, describe_device
from brainbrr_core.model.memory import OutOfMemory
from brainbrr_core.training.loop import fit
from brainbrr_core.training.report import StepReport

#: The part of the free memory that is left free.
MARGIN = 0.1
#: Larger numbers of windows are not tried.
MOST = 1024
#: Steps before those whose time is taken, which compile and choose kernels; and those.
_WARM, _TIMED = 3, 5
_POSITIVE_FRACTION = 0.2
#: Bytes of a parameter: the weight, its gradient, two moments and the average.
_PARAMETER_BYTES = 5 * 4
#: Of a process on a CPU: what libraries take, and what they need for convolutions beside the
#: tensors that are counted (1.24 times as much was measured).
_LIBRARIES_BYTES, _BESIDE_COUNTED = 450_000_000, 1.25

Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class Trial:
    """The training step that a process makes."""

    preset: str
    hardware: Hardware
    training: Training
    window_s: int
    windows: int


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it: the most memory that tensors took, and the speed."""

    memory_gb: float
    windows_per_s: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """The most windows of a length that a step has at once; 0 where not even one fits.

    ``memory_gb`` is what tensors take then. Without ``windows_per_s`` it was counted, not tried.
    """

    window_s: int
    recompute_activations: bool
    windows: int
    memory_gb: float | None
    windows_per_s: float | None

    @property
    def at_least(self) -> bool:
        """Whether more may fit, which was not tried."""
        return self.windows_per_s is not None and self.windows >= MOST


@dataclass(frozen=True)
class Capacity:
    """The device, its free memory, and what fits, for each length with and without."""

    device: dict[str, str]
    free_gb: float
    rows: tuple[Fitting, ...]

    def advice(self, window_s: int, batch_size: int) -> Hardware | None:
        """Settings that make steps of ``batch_size`` windows fit; None where none do.

        Of those that fit, the ones that were faster, or else the ones that compute nothing twice.
        """
        rows = [row for row in self.rows if row.window_s == window_s and row.windows > 0]
        if not rows:
            return None
        best = max(rows, key=lambda row: (row.windows_per_s or 0.0, not row.recompute_activations))
        parts = next(
            parts
            for parts in range(1, batch_size + 1)
            if batch_size % parts == 0 and batch_size // parts <= best.windows
        )
        return Hardware(
            batch_size=batch_size,
            accumulate=parts,
            recompute_activations=best.recompute_activations,
        )


def capacity(
    configuration: Configuration, minutes: Sequence[float] = (), log: Callable[[str], None] = print
) -> Capacity:
    """What fits the configured device, for windows of so many minutes or the configured ones.

    Raises :class:`BrainbrrError` where the device or the backend is not there, or where a length
    is not possible for windows.
    """
    lengths = [_length(each) for each in minutes] or [configuration.windows.length_s]
    if configuration.hardware.device == "cpu":
        return _counted(configuration, lengths, log)
    return _tried(configuration, lengths, log)


def _length(minutes: float) -> int:
    seconds = round(60 * minutes)
    if seconds <= 0 or seconds % BLOCK_S:
        raise BrainbrrError(
            f"windows of {minutes:g} minutes cannot be: their seconds are a multiple of {BLOCK_S}"
        )
    return seconds


def _counted(
    configuration: Configuration, lengths: Sequence[int], log: Callable[[str], None]
) -> Capacity:
    free = usable_memory()
    if free is None:
        raise BrainbrrError(
            "this system does not say how much memory is free, so nothing can be said of a batch"
        )
    preset, precision = configuration.model.preset, configuration.hardware.precision
    network = build(preset)
    fixed = _LIBRARIES_BYTES + _PARAMETER_BYTES * sum(p.numel() for p in network.parameters())
    rows = []
    for window_s in lengths:
        for recompute in (False, True):
            log(f"{_name(window_s, recompute)}: counting")
            each = _BESIDE_COUNTED * peak_bytes(
                preset,
                window_s,
                bfloat16=precision == "bfloat16",
                recompute_activations=recompute,
            )
            windows = max(0, int(((1 - MARGIN) * free - fixed) // each))
            memory = (fixed + windows * each) / 1e9 if windows else None
            rows.append(Fitting(window_s, recompute, windows, memory, None))
    return Capacity(describe_device(torch.device("cpu")).record(), free / 1e9, tuple(rows))


def _tried(
    configuration: Configuration, lengths: Sequence[int], log: Callable[[str], None]
) -> Capacity:
    device, free_gb = _in_a_process(_look, configuration.hardware)
    rows = []
    for window_s in lengths:
        start = configuration.hardware.batch_size
        for recompute in (False, True):
            changes = {"recompute_activations": recompute, "accumulate": 1}
            hardware = configuration.hardware.model_copy(update=changes)

            def fits(
                windows: int, hardware: Hardware = hardware, s: int = window_s
            ) -> Tried | None:
                name = _name(s, hardware.recompute_activations)
                trial = Trial(
                    configuration.model.preset, hardware, configuration.training, s, windows
                )
                tried = _in_a_process(attempt, trial)
                log(
                    f"{name}: {windows} at once "
                    + (f"fit, {tried.memory_gb:.1f} GB" if tried else "do not fit")
                )
                return tried

            most = largest(fits, start)
            if most is None:
                rows.append(Fitting(window_s, recompute, 0, None, None))
                continue
            start, tried = most
            rows.append(Fitting(window_s, recompute, start, tried.memory_gb, tried.windows_per_s))
    return Capacity(device, free_gb, tuple(rows))


def _name(window_s: int, recompute: bool) -> str:
    return f"windows of {window_s} s{', activations recomputed' if recompute else ''}"


def largest(
    fits: Callable[[int], Figures | None], start: int, most: int = MOST
) -> tuple[int, Figures] | None:
    """About the largest number for which ``fits`` gives figures, and these; None where none does.

    At least eight ninths of it: from ``start`` it is doubled or halved, and then what is between
    is halved until it is an eighth. ``most`` is the largest that is tried.
    """
    number = min(start, most)
    figures = fits(number)
    too_many = None
    while figures is None:
        too_many, number = number, number // 2
        if number == 0:
            return None
        figures = fits(number)
    while too_many is None and number < most:
        more = min(2 * number, most)
        found = fits(more)
        if found is None:
            too_many = more
        else:
            number, figures = more, found
    while too_many is not None and too_many - number > max(1, number // 8):
        between = (number + too_many) // 2
        found = fits(between)
        if found is None:
            too_many = between
        else:
            number, figures = between, found
    return number, figures


def _in_a_process(function: Callable[[Any], Figures], argument: Any) -> Figures:
    with process_pool(1) as pool:
        try:
            return pool.submit(function, argument).result()
        except BrokenProcessPool:
            raise BrainbrrError(
                "a process that tried a training step was ended from outside: is the machine's "
                "memory full?"
            ) from None


def _look(hardware: Hardware) -> tuple[dict[str, str], float]:
    """The device and its free memory in GB."""
    device = check_device(hardware)
    free, _ = torch.cuda.mem_get_info(device)
    return describe_device(device).record(), free / 1e9


class _Enough(Exception):
    """All steps are made."""


def attempt(trial: Trial) -> Tried | None:
    """Make training steps in this process; None where the device's memory is too small.

    Raises :class:`BrainbrrError` where a step fails for another reason.
    """
    device = check_device(trial.hardware)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction((1 - MARGIN) * free / total, device)
    network = build(
        trial.preset,
        trial.hardware.ssm_backend,
        seed=0,
        recompute_activations=trial.hardware.recompute_activations,
    )
    try:
        return _steps(trial, network, device)
    except OutOfMemory:
        return None
    except RuntimeError as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BrainbrrError(
            f"a training step of {trial.windows} windows of {trial.window_s} s fails: {first}"
        ) from None


def _steps(trial: Trial, network: SeizureNetwork, device: torch.device) -> Tried:
    ends: list[float] = []

    def note(_report: StepReport) -> None:
        ends.append(time.perf_counter())
        if len(ends) == _WARM + _TIMED:
            raise _Enough

    # No checkpoint, validation or end of a schedule comes in between.
    endless = {"steps": 1_000_000, "checkpoint_every": 1_000_000, "validate_every": 1_000_000}
    # One step at a time: the time of each is taken where the device has done it.
    hardware = {"batch_size": trial.windows, "report_every": 1}
    with (
        tempfile.TemporaryDirectory(prefix="brainbrr-batch-") as folder,
        contextlib.suppress(_Enough),
    ):
        fit(
            network,
            lambda _first: _batches(trial, device),
            trial.training.model_copy(update=endless),
            trial.hardware.model_copy(update=hardware),
            Path(folder),
            _POSITIVE_FRACTION,
            note,
        )
    seconds = statistics.median(
        b - a for a, b in zip(ends[_WARM - 1 :], ends[_WARM:], strict=False)
    )
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return Tried(memory / 1e9, trial.windows / seconds)


def _batches(trial: Trial, device: torch.device) -> Iterator[Batch]:
    """The same batch of noise again and again, some of it labeled as seizure."""
    samples = trial.window_s * RATE
    generator = torch.Generator(device).manual_seed(0)
    signals = torch.randn(trial.windows, len(CHANNELS), samples, generator=generator, device=device)
    labels = torch.zeros(trial.windows, samples, device=device)
    labels[:, : round(_POSITIVE_FRACTION * samples)] = 1.0
    names = tuple(f"noise {row}" for row in range(trial.windows))
    known = (samples,) * trial.windows
    while True:
        yield Batch(signals, labels, names, known=known)
