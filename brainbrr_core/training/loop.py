"""The training loop: batches in, an averaged network out.

It knows tensors and optimizer steps. Where batches come from, and whether the cache is fit for
training, is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.model.device import check_device
from brainbrr_core.model.memory import fits_memory
from brainbrr_core.training.determinism import fixed_arithmetic, prepare_environment
from brainbrr_core.training.distributed import ALONE, World
from brainbrr_core.training.state import Step, TrainingState
from brainbrr_core.training.validation import Course, Validation

#: A batch whose probabilities differ by less than this is answered by one number.
COLLAPSED_SPREAD = 0.003
#: Consecutive steps of such batches after the warm-up that end the training.
COLLAPSED_STEPS = 100
#: Steps between two looks at a device where the settings do not say. A look at a CPU costs nothing.
REPORT_EVERY = {"cuda": 20, "cpu": 1}


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step. Rates are means over this process's steps so far.

    The time of steps whose figures were fetched together is shared out evenly among them.
    """

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
    #: Of the training time so far, the part in which this process waited for batches; a GPU may
    #: have been at work on earlier steps meanwhile.
    data_wait_share: float
    elapsed_s: float
    #: Steps that a checkpoint had done when this process began.
    resumed_from: int = 0
    #: The windows of a step that was skipped since its loss or gradient is not finite, in this
    #: process's share of the batch; empty for any other.
    skipped: tuple[str, ...] = ()

    def left_s(self) -> float:
        """Seconds until the last step, at the rate of this process."""
        return self.elapsed_s / (self.step - self.resumed_from) * (self.steps - self.step)

    def note(self) -> str:
        """What stands beside a progress bar."""
        loss = "skipped" if self.skipped else f"loss {self.loss:.3f}"
        return (
            f"{loss}, {self.windows_per_s:.1f} windows/s, "
            f"{self.data_wait_share:.1%} waiting for data"
        )


@dataclass(frozen=True, slots=True)
class FitSummary:
    """A whole training. Rates and times are of this process, not of a run before a resume."""

    #: Steps done in all.
    steps: int
    #: Steps that a checkpoint had already done.
    resumed_from: int
    #: Of the last step that was not skipped; None if this process did none.
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
    #: The steps in all, counted from 1, whose loss or gradient was not finite.
    skipped_steps: tuple[int, ...] = ()

    def skips(self) -> str:
        """How many steps were skipped and which, in a line."""
        return (
            f"{len(self.skipped_steps)} of {self.steps} steps were skipped since their loss or "
            f"gradient was not finite: {', '.join(map(str, self.skipped_steps))}"
        )


class Journal(Protocol):
    """Where the figures of every step are written down."""

    def step(self, report: StepReport) -> None:
        """Write one step down."""

    def settle(self) -> None:
        """Wait until all that was written is on the disk."""


def ignore_step(_report: StepReport) -> None:
    """What is done after a step where nobody asks."""


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds of training, those of them that were waited for batches, and windows, so far."""

    trained: float = 0.0
    waited: float = 0.0
    windows: float = 0.0

    def toward(self, later: _Times, share: float) -> _Times:
        """What lies between, at that share of the way."""
        return _Times(
            self.trained + (later.trained - self.trained) * share,
            self.waited + (later.waited - self.waited) * share,
            self.windows + (later.windows - self.windows) * share,
        )


@dataclass(slots=True)
class _Clock:
    start: float
    waited: float = 0.0
    validated: float = 0.0
    windows: int = 0
    #: As of the last figures that were fetched.
    counted: _Times = _Times()

    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def trained(self) -> float:
        """Seconds without those of validations."""
        return self.elapsed() - self.validated

    def rate(self) -> float:
        return self.windows / max(self.trained(), 1e-9)

    def wait_share(self) -> float:
        return self.waited / max(self.trained(), 1e-9)

    def share_out(self, steps: int) -> Iterator[_Times]:
        """The times at each of the steps since the last call, spread evenly over them."""
        before, now = self.counted, _Times(self.trained(), self.waited, self.windows)
        self.counted = now
        for number in range(1, steps + 1):
            yield before.toward(now, number / steps)


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
    ``first + 1``, ..., counted from 0, on the device; the same call must yield the same batches.
    A checkpoint in ``directory`` is continued; on the CPU, with the same number of threads, the
    result is then the one of an uninterrupted training bit for bit, as it is on a GPU with
    ``hardware.deterministic``. ``on_step`` is called after each step, and after the step's
    checkpoint if it has one; what it raises ends the training. ``journal`` has a step on the disk
    before a checkpoint that covers it. ``validate`` gets the averaged network.

    The device is waited for every ``hardware.report_every`` steps and before validations and
    checkpoints, never within a step. Journal and ``on_step`` get each step all the same, so many
    at a time; so late is seen what ends a training.

    A step whose loss or gradient is not finite changes no weight, is named to ``log`` and counted,
    over interruptions too. A damaged checkpoint is put aside for the newest whole one of
    ``directory``, and ``log`` is told.

    Raises :class:`WorkRemains` if the disk takes no checkpoint. Raises :class:`BrainbrrError` if
    the device is not the one asked for, if its memory is too small for a step, if it is too late
    for ``hardware.deterministic``, if the checkpoint is of other settings or another network, if
    none is whole, if the training set has one class only, if batches run out, if the network
    answers everything alike, if a weight is not finite, or if more than
    ``settings.skipped_steps_limit`` steps are not: then the batch and the weights are saved in
    ``directory`` and the message names the windows.
    """
    if not 0.0 < positive_fraction < 1.0:
        raise BrainbrrError(
            f"{positive_fraction:.0%} of the training samples are seizure, so there is nothing "
            "to tell apart: select more recordings (selection.recordings)"
        )
    prepare_environment(hardware)
    device = check_device(hardware, world.local_rank)
    keep_freed_memory()
    every = hardware.report_every or REPORT_EVERY[device.type]
    with fixed_arithmetic(hardware, device), _fits_memory(hardware, world):
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
            state.step(done, batch)
            clock.windows += len(batch.names) * world.size
            done += 1
            last = done == settings.steps
            due = validate is not None and (last or done % settings.validate_every == 0)
            saved = due or last or done % settings.checkpoint_every == 0
            if not saved and state.queued < every:
                continue
            steps = state.fetch()
            for step, times in zip(steps, clock.share_out(len(steps)), strict=True):
                if step.finite:
                    loss = step.loss
                    _watch_for_collapse(state, step)
                elif not state.count_skipped(step):
                    # Two may not read at once: the one before lets go of its buffers first.
                    source = iter(())
                    state.stop(step, next(batches(step.number - 1)))
                report = _report(step, times, settings, clock, first)
                if journal is not None:
                    journal.step(report)
                if saved and step.number == done:
                    state.check_weights(done)
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
        skipped_steps=state.skipped_steps,
    )


def _fits_memory(hardware: Hardware, world: World) -> AbstractContextManager[None]:
    share = hardware.batch_size // world.size
    at_once = max(1, share // hardware.accumulate)
    remedies = []
    if at_once > 1:
        remedies.append(f"raise hardware.accumulate (now {hardware.accumulate})")
    if not hardware.recompute_activations:
        remedies.append("set hardware.recompute_activations: true")
    remedies.append(f"lower hardware.batch_size (now {hardware.batch_size}), which is another run")
    return fits_memory(
        f"a training step of {share} windows, {at_once} at once",
        f"{' or '.join(remedies)}; `brainbrr doctor --batch` says what fits",
    )


def _report(step: Step, times: _Times, settings: Training, clock: _Clock, first: int) -> StepReport:
    trained = max(times.trained, 1e-9)
    return StepReport(
        step=step.number,
        steps=settings.steps,
        loss=step.loss,
        learning_rate=step.learning_rate,
        gradient_norm=step.gradient_norm,
        spread=step.spread,
        windows_per_s=times.windows / trained,
        data_wait_share=times.waited / trained,
        elapsed_s=times.trained + clock.validated,
        resumed_from=first,
        skipped=() if step.finite else step.names,
    )


def _watch_for_collapse(state: TrainingState, step: Step) -> None:
    """End a training whose network has given one answer to everything for a while."""
    flat = step.number > state.settings.warmup_steps and step.spread < COLLAPSED_SPREAD
    state.progress["flat_steps"] = state.progress.get("flat_steps", 0) + 1 if flat else 0
    if state.progress["flat_steps"] >= COLLAPSED_STEPS:
        raise BrainbrrError(
            f"the network has collapsed: for {COLLAPSED_STEPS} steps up to step {step.number} its "
            f"probabilities differ by {step.spread:.1e} within a batch; lower "
            "training.learning_rate, and delete the run's checkpoints to train anew"
        )
