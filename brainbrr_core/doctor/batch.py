"""How many windows a training step can have at a time: tried on a GPU, calculated on a CPU.

On a GPU real training steps are run, each number of windows in a process of its own, so that
nothing remains in memory from the one before; a tenth of the free memory is left free, for
validations and for gaps between tensors. On a CPU nothing is run: a step that does not fit would
be swapped out, or end a process.
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
from typing import TypeVar

import torch

from brainbrr_core.benchmark.network_cost import peak_bytes
from brainbrr_core.configuration import Hardware, Model, Training
from brainbrr_core.constants import BLOCK_S, CHANNELS, RATE
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import usable_memory
from brainbrr_core.model import AnyNetwork, build_network, can_recompute_activations
from brainbrr_core.model.compute_threads import ROWS_ON_CPU, threads_of_step
from brainbrr_core.model.device import check_device, describe_device
from brainbrr_core.model.memory import OutOfMemory
from brainbrr_core.training.loop import fit
from brainbrr_core.training.report import StepReport

#: Share of the free memory that is left free.
MARGIN = 0.1
#: The largest number of windows that is tried.
MOST = 1024
#: Steps that are not timed, in which kernels are compiled and chosen; and timed steps.
_WARM, _TIMED = 3, 5
_POSITIVE_FRACTION = 0.2
#: Bytes of a parameter: its weight, gradient, two moments and average.
_PARAMETER_BYTES = 5 * 4
#: Bytes of a parameter's gradient in each thread that computes one.
_GRADIENT_BYTES = 4
#: Bytes of the samples of a window's channels and labels at one time.
_SAMPLE_BYTES = 4 * (len(CHANNELS) + 1)
#: On a CPU: memory of the libraries in bytes, and the memory of a step over that of its tensors,
#: since convolutions need more (1.24 was measured).
_LIBRARIES_BYTES, _STEP_OVER_TENSORS = 450_000_000, 1.25

Figures = TypeVar("Figures")
Argument = TypeVar("Argument")


@dataclass(frozen=True, slots=True)
class Trial:
    """A training step that a process is to run."""

    model: Model
    hardware: Hardware
    training: Training
    window_s: int
    windows: int


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of a trial: the peak memory of tensors, and the speed."""

    memory_gb: float
    windows_per_s: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """The most windows of a length that a step can have at a time; 0 where not even one fits.

    On a CPU whose threads compute parts of a batch, they are those of a whole batch or, where not
    all threads could have :data:`~brainbrr_core.model.compute_threads.ROWS_ON_CPU`, of a part.

    ``memory_gb`` is the memory of that step. Without ``windows_per_s`` it was calculated, not
    tried.
    """

    window_s: int
    recompute_activations: bool
    windows: int
    memory_gb: float | None
    windows_per_s: float | None

    @property
    def at_least(self) -> bool:
        """Whether more windows may fit, which was not tried."""
        return self.windows_per_s is not None and self.windows >= MOST


@dataclass(frozen=True)
class Capacity:
    """The device, its free memory, and what fits.

    There are two rows for each length, with and without recomputing activations, where the network
    can recompute them, and otherwise one.
    """

    device: dict[str, str]
    free_gb: float
    rows: tuple[Fitting, ...]

    def advice(self, window_s: int, batch_size: int) -> Hardware | None:
        """Settings with which steps of ``batch_size`` windows fit; None where no window fits.

        Where both ways of computing fit, the faster one, or else the one that computes nothing
        twice.
        """
        rows = [row for row in self.rows if row.window_s == window_s and row.windows > 0]
        if not rows:
            return None
        best = max(rows, key=lambda row: (row.windows_per_s or 0.0, not row.recompute_activations))
        accumulate = next(
            parts
            for parts in range(1, batch_size + 1)
            if batch_size % parts == 0 and batch_size // parts <= best.windows
        )
        return Hardware(
            batch_size=batch_size,
            accumulate=accumulate,
            recompute_activations=best.recompute_activations,
        )


@dataclass(frozen=True)
class TrainingStep:
    """What decides how much memory a training step needs, but its windows."""

    model: Model
    hardware: Hardware
    training: Training


def window_seconds(minutes: float) -> int:
    """The length in seconds of windows of so many minutes.

    Raises :class:`BrainbrrError` where it is not a multiple of the store's blocks.
    """
    seconds = round(60 * minutes)
    if seconds <= 0 or seconds % BLOCK_S:
        raise BrainbrrError(
            f"windows of {minutes:g} minutes are not possible: their length must be a multiple of "
            f"{BLOCK_S} s"
        )
    return seconds


def capacity(
    step: TrainingStep, lengths_s: Sequence[int], log: Callable[[str], None] = print
) -> Capacity:
    """How many windows of each length fit the device of ``step``.

    Raises :class:`BrainbrrError` where the device or the backend is not there.
    """
    if step.hardware.device == "cpu":
        return _calculated_capacity(step, lengths_s, log)
    return _tried_capacity(step, lengths_s, log)


def _calculated_capacity(
    step: TrainingStep, lengths_s: Sequence[int], log: Callable[[str], None]
) -> Capacity:
    free = usable_memory()
    if free is None:
        raise BrainbrrError(
            "this system does not report how much memory is free, so the batch cannot be calculated"
        )
    rows = []
    for window_s in lengths_s:
        network = build_network(step.model, window_s * RATE)
        threads = threads_of_step(network, step.hardware, torch.device("cpu"))
        fixed = _LIBRARIES_BYTES + (_PARAMETER_BYTES + threads * _GRADIENT_BYTES) * sum(
            parameter.numel() for parameter in network.parameters()
        )
        for recompute in _ways(step.model):
            log(f"{_name(window_s, recompute)}: calculating")
            each = _STEP_OVER_TENSORS * peak_bytes(
                step.model,
                window_s,
                bfloat16=step.hardware.precision == "bfloat16",
                recompute_activations=recompute,
            )
            windows, needed = _windows_in(
                (1 - MARGIN) * free - fixed, each, _SAMPLE_BYTES * window_s * RATE, threads
            )
            memory = (fixed + needed) / 1e9 if windows else None
            rows.append(Fitting(window_s, recompute, windows, memory, None))
    return Capacity(describe_device(torch.device("cpu")).record(), free / 1e9, tuple(rows))


def _windows_in(room: float, each: float, stored: float, threads: int) -> tuple[int, float]:
    """How many windows a part of a batch, or a batch, may have on a CPU, and their memory in bytes.

    While a window is computed, it takes ``each`` bytes; in its batch, which is longer in memory, it
    takes ``stored`` bytes. Where ``threads`` compute at the same time, with all their
    windows in ``room``, a batch may have as many as are stored in the rest.
    """
    most = max(0, int(room // (max(1, threads) * each)))
    if not threads:
        return most, most * each
    computed = threads * ROWS_ON_CPU * each
    in_batch = min(MOST, int((room - computed) // stored))
    if in_batch < ROWS_ON_CPU:
        return min(most, ROWS_ON_CPU), threads * min(most, ROWS_ON_CPU) * each
    return in_batch, computed + in_batch * stored


def _tried_capacity(
    step: TrainingStep, lengths_s: Sequence[int], log: Callable[[str], None]
) -> Capacity:
    device, free_gb = in_own_process(_free_memory, step.hardware)
    rows = []
    for window_s in lengths_s:
        start = step.hardware.batch_size
        for recompute in _ways(step.model):
            changes = {"recompute_activations": recompute, "accumulate": 1}
            hardware = step.hardware.model_copy(update=changes)

            def fits(
                windows: int, hardware: Hardware = hardware, window_s: int = window_s
            ) -> Tried | None:
                trial = Trial(step.model, hardware, step.training, window_s, windows)
                tried = in_own_process(attempt, trial)
                log(
                    f"{_name(window_s, hardware.recompute_activations)}: {windows} at a time "
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


def _ways(model: Model) -> tuple[bool, ...]:
    """Whether activations are recomputed, for each way in which a network can be trained."""
    return (False, True) if can_recompute_activations(model) else (False,)


def _name(window_s: int, recompute: bool) -> str:
    return f"windows of {window_s} s{', activations recomputed' if recompute else ''}"


def largest(
    fits: Callable[[int], Figures | None], start: int, most: int = MOST
) -> tuple[int, Figures] | None:
    """About the largest number for which ``fits`` gives figures, and these; None where none does.

    It is at least eight ninths of the largest: ``start`` is doubled or halved until the answer
    changes, and the interval in which it changes is halved until it is an eighth of the number.
    ``most`` is the largest number that is tried.
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
        figures_of_more = fits(more)
        if figures_of_more is None:
            too_many = more
        else:
            number, figures = more, figures_of_more
    while too_many is not None and too_many - number > max(1, number // 8):
        between = (number + too_many) // 2
        figures_between = fits(between)
        if figures_between is None:
            too_many = between
        else:
            number, figures = between, figures_between
    return number, figures


def in_own_process(function: Callable[[Argument], Figures], argument: Argument) -> Figures:
    """Call a function in a new process, whose memory is free again afterwards.

    Raises :class:`BrainbrrError` where the system ends that process.
    """
    with process_pool(1) as pool:
        try:
            return pool.submit(function, argument).result()
        except BrokenProcessPool:
            raise BrainbrrError(
                "the system ended a process that tried a training step, which it does when the "
                "machine's memory is full: free some, and run the same command again"
            ) from None


def _free_memory(hardware: Hardware) -> tuple[dict[str, str], float]:
    """The device and its free memory in GB."""
    device = check_device(hardware)
    free, _ = torch.cuda.mem_get_info(device)
    return describe_device(device).record(), free / 1e9


class _Enough(Exception):
    """All steps have been run."""


def attempt(trial: Trial) -> Tried | None:
    """Run training steps in this process; None where the device's memory is too small.

    Raises :class:`BrainbrrError` where a step fails for another reason.
    """
    device = check_device(trial.hardware)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction((1 - MARGIN) * free / total, device)
    network = build_network(
        trial.model,
        trial.window_s * RATE,
        ssm_backend=trial.hardware.ssm_backend,
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


def _steps(trial: Trial, network: AnyNetwork, device: torch.device) -> Tried:
    ends: list[float] = []

    def note(_report: StepReport) -> None:
        ends.append(time.perf_counter())
        if len(ends) == _WARM + _TIMED:
            raise _Enough

    # No checkpoint, validation or end of the schedule comes in between.
    endless = {"steps": 1_000_000, "checkpoint_every": 1_000_000, "validate_every": 1_000_000}
    # Reported step by step, so that the device has finished each step when its time is taken.
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
    """The same batch of noise over and over, a part of it labeled as seizure."""
    samples = trial.window_s * RATE
    generator = torch.Generator(device).manual_seed(0)
    signals = torch.randn(trial.windows, len(CHANNELS), samples, generator=generator, device=device)
    labels = torch.zeros(trial.windows, samples, device=device)
    labels[:, : round(_POSITIVE_FRACTION * samples)] = 1.0
    names = tuple(f"noise {row}" for row in range(trial.windows))
    known_samples = (samples,) * trial.windows
    while True:
        yield Batch(signals, labels, names, known=known_samples)
