"""The training loop: batches in, an averaged network out.

It knows tensors and optimizer steps. Where batches come from, and whether the cache is fit for
training, is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.training.distributed import ALONE, World
from brainbrr_core.training.hardware import check_device
from brainbrr_core.training.state import Step, TrainingState
from brainbrr_core.training.validation import Course, Validation

#: A batch whose probabilities differ by less than this is answered by one number.
COLLAPSED_SPREAD = 0.003
#: Consecutive steps of such batches after the warm-up that end the training.
COLLAPSED_STEPS = 100


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step. Rates are means over this process's steps so far."""

    #: Steps done, this one included.
    step: int
    steps: int
    loss: float
    learning_rate: float
    #: Before clipping.
    gradient_norm: float
    #: Standard deviation of the probabilities in the batch.
    spread: float
    #: Of all processes together.
    windows_per_s: float
    #: Of the training time so far, the part spent waiting for batches.
    data_wait_share: float
    elapsed_s: float
    #: Steps that a checkpoint had done when this process began.
    resumed_from: int = 0

    def left_s(self) -> float:
        """Seconds until the last step, at the rate of this process."""
        return self.elapsed_s / (self.step - self.resumed_from) * (self.steps - self.step)

    def note(self) -> str:
        """What stands beside a progress bar."""
        return (
            f"loss {self.loss:.3f}, {self.windows_per_s:.1f} windows/s, "
            f"{self.data_wait_share:.1%} waiting for data"
        )


@dataclass(frozen=True, slots=True)
class FitSummary:
    """A whole training. Rates and times are of this process, not of a run before a resume."""

    #: Steps done in all.
    steps: int
    #: Steps that a checkpoint had already done.
    resumed_from: int
    #: Of the last step; None if the checkpoint was already complete.
    last_loss: float | None
    windows: int
    #: Over the time of the steps; validations are not among them.
    windows_per_s: float
    data_wait_share: float
    elapsed_s: float
    #: Why it ended before ``training.steps``, or empty.
    stopped: str = ""
    #: Step of the weights that were kept; None without validation.
    best_step: int | None = None
    validations: tuple[dict[str, Any], ...] = ()


class Journal(Protocol):
    """Where the figures of every step are written down."""

    def step(self, report: StepReport) -> None:
        """Write one step down."""

    def settle(self) -> None:
        """Wait until all that was written is on the disk."""


def ignore_step(_report: StepReport) -> None:
    """What is done after a step where nobody asks."""


@dataclass(slots=True)
class _Clock:
    start: float
    waited: float = 0.0
    validated: float = 0.0
    windows: int = 0

    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def rate(self) -> float:
        return self.windows / max(self.elapsed() - self.validated, 1e-9)

    def wait_share(self) -> float:
        return self.waited / max(self.elapsed() - self.validated, 1e-9)


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    settings: Training,
    hardware: Hardware,
    directory: Path,
    positive_fraction: float,
    on_step: Callable[[StepReport], None],
    *,
    validate: Callable[[nn.Module, int], Validation] | None = None,
    on_validation: Callable[[Validation], None] | None = None,
    journal: Journal | None = None,
    world: World = ALONE,
    provenance: dict[str, Any] | None = None,
    log: Callable[[str], None] = print,
) -> FitSummary:
    """Train ``network`` and leave in it the averaged weights: the best validated, or the last.

    ``batches(first)`` yields this process's share of the batches of optimizer steps ``first``,
    ``first + 1``, ..., counted from 0; the same call must yield the same batches. A checkpoint in
    ``directory`` is continued; on the CPU, with the same number of threads, the result is then
    the one of an uninterrupted training bit for bit. ``on_step`` is called after each step, and
    after the step's checkpoint if it has one; what it raises ends the training. ``journal`` has a
    step on the disk before a checkpoint that covers it. ``validate`` gets the averaged network.

    A damaged checkpoint is put aside for the newest whole one of ``directory``, and ``log`` is
    told.

    Raises :class:`WorkRemains` if the disk takes no checkpoint. Raises :class:`BrainbrrError` if
    the device is not the one asked for, if the checkpoint is of other settings or another
    network, if none is whole, if the training set has one class only, if batches run out, if the
    network answers everything alike, or if a loss or gradient is not finite: then the batch and
    the weights are saved in ``directory`` and the message names the windows.
    """
    if not 0.0 < positive_fraction < 1.0:
        raise BrainbrrError(
            f"{positive_fraction:.0%} of the training samples are seizure, so there is nothing "
            "to tell apart: select more recordings (selection.recordings)"
        )
    device = check_device(hardware, world.local_rank)
    keep_freed_memory()
    with _deterministic(device):
        state = TrainingState(
            network,
            settings,
            hardware,
            device,
            directory,
            positive_fraction,
            world,
            provenance or {},
            log,
        )
        first = state.resume()
        course = Course.of(state.progress.get("course", {}), settings.patience)
        clock = _Clock(time.perf_counter())
        loss: float | None = None
        done = first
        source = batches(first) if first < settings.steps and not course.over else iter(())
        while done < settings.steps and not course.over:
            asked = time.perf_counter()
            batch = next(source, None)
            clock.waited += time.perf_counter() - asked
            if batch is None:
                raise BrainbrrError(
                    f"the training data ended at step {done} of {settings.steps}: "
                    "lower training.steps or select more recordings"
                )
            step = state.step(done, batch)
            loss = step.loss
            _watch_for_collapse(state, step, done)
            clock.windows += len(batch.names) * world.size
            done += 1
            last = done == settings.steps
            due = validate is not None and (last or done % settings.validate_every == 0)
            if due and validate is not None:
                asked = time.perf_counter()
                with state.averaged() as averaged:
                    found = validate(averaged, done)
                if course.take(found):
                    state.keep_best()
                state.progress["course"] = asdict(course)
                clock.validated += time.perf_counter() - asked
                if on_validation is not None:
                    on_validation(found)
            report = _report(step, done, settings, clock, first)
            if journal is not None:
                journal.step(report)
            if due or last or done % settings.checkpoint_every == 0:
                if journal is not None:
                    journal.settle()
                state.save(done)
            on_step(report)
        if course.best_step is not None:
            state.load_best()
        else:
            network.load_state_dict(state.ema)
    return FitSummary(
        steps=done,
        resumed_from=first,
        last_loss=loss,
        windows=clock.windows,
        windows_per_s=clock.rate(),
        data_wait_share=clock.wait_share(),
        elapsed_s=clock.elapsed(),
        stopped=course.reason() if done < settings.steps else "",
        best_step=course.best_step,
        validations=tuple(course.seen),
    )


def _report(step: Step, done: int, settings: Training, clock: _Clock, first: int) -> StepReport:
    return StepReport(
        step=done,
        steps=settings.steps,
        loss=step.loss,
        learning_rate=step.learning_rate,
        gradient_norm=step.gradient_norm,
        spread=step.spread,
        windows_per_s=clock.rate(),
        data_wait_share=clock.wait_share(),
        elapsed_s=clock.elapsed(),
        resumed_from=first,
    )


def _watch_for_collapse(state: TrainingState, step: Step, number: int) -> None:
    """End a training whose network has given one answer to everything for a while."""
    flat = number >= state.settings.warmup_steps and step.spread < COLLAPSED_SPREAD
    state.progress["flat_steps"] = state.progress.get("flat_steps", 0) + 1 if flat else 0
    if state.progress["flat_steps"] >= COLLAPSED_STEPS:
        raise BrainbrrError(
            f"the network has collapsed: for {COLLAPSED_STEPS} steps up to step {number} its "
            f"probabilities differ by {step.spread:.1e} within a batch; lower "
            "training.learning_rate, and delete the run's checkpoints to train anew"
        )


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """On the CPU, refuse operations whose result could differ; they cost nothing there."""
    if device.type != "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
