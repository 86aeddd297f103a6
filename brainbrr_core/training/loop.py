"""The training loop: batches in, a network with averaged weights out.

It handles tensors and optimizer steps, and does not know where batches come from. In order:

1. resume from the newest checkpoint (``checkpoint_manager``);
2. for each step, take a batch and update the weights (``trainer``);
3. every few steps, and before everything below, fetch the figures from the device and log them;
4. if it is due, validate the averaged weights (``early_stopping``), then save a checkpoint;
5. at the end, load the averaged weights of the best validation into the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import keep_freed_memory
from brainbrr_core.model.compute_threads import ROWS_ON_CPU, threads_of_step
from brainbrr_core.model.device import check_device
from brainbrr_core.model.memory import fits_memory
from brainbrr_core.progress import summarize_when_stopped
from brainbrr_core.training.checkpoint import TrainingProgress
from brainbrr_core.training.checkpoint_manager import CheckpointManager
from brainbrr_core.training.determinism import fixed_arithmetic, prepare_environment
from brainbrr_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from brainbrr_core.training.nonfinite import end_training, list_windows
from brainbrr_core.training.provenance import Provenance
from brainbrr_core.training.report import FitSummary, StepReport
from brainbrr_core.training.step_timer import StepTimer, Times
from brainbrr_core.training.stopping import listen
from brainbrr_core.training.trainer import StepMetrics, Trainer
from brainbrr_core.training.validation import Validation

#: The network has collapsed if the probabilities of a batch have a lower standard deviation.
COLLAPSED_SPREAD = 0.003
#: Number of consecutive such steps, after the warm-up, that end the training.
COLLAPSED_STEPS = 100
#: Default number of steps between two fetches of figures from the device. On a CPU a fetch costs
#: nothing.
REPORT_EVERY = {"cuda": 20, "cpu": 1}


class StepLog(Protocol):
    """A log of the figures of every step."""

    def log_step(self, report: StepReport) -> None:
        """Log one step."""

    def flush(self) -> None:
        """Wait until everything that was logged is on the disk."""


def ignore_step(_report: StepReport) -> None:
    """Do nothing after a step."""


def ignore_line(_line: str) -> None:
    """Log nothing, in all processes but the main one."""


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
    step_log: StepLog | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    provenance: Provenance | None = None,
    log: Callable[[str], None] = print,
) -> FitSummary:
    """Train ``network``, and leave the averaged weights of its best validation in it.

    Without validations, they are those of the last step.

    Parameters
    ----------
    network : nn.Module
        Maps signals (B, 19, T) to a logit for each sample, (B, T).
    batches : callable
        ``batches(first)`` yields this process's share of the batches of optimizer steps ``first``,
        ``first + 1``, ..., counted from 0, on the device; the same call must yield the same
        batches.
    settings : Training
        Loss, optimizer, schedule, and when to validate and save.
    hardware : Hardware
        Device, precision and batch size.
    directory : Path
        The folder of the checkpoints. The training resumes from the newest one; on a CPU with the
        same number of threads, and on a GPU with ``hardware.deterministic``, the result is then
        bit-identical to that of an uninterrupted training.
    positive_fraction : float
        Share of seizure samples in the training set.
    on_step : callable
        Called after each step, and after the step's checkpoint if there is one. An exception ends
        the training.
    validate : callable, optional
        ``validate(network, step)`` is called with the network with its averaged weights.
    on_validation : callable, optional
        Called with each validation.
    step_log : StepLog, optional
        Called with each step, which is on disk before a checkpoint that covers it.
    group : ProcessGroup
        The processes that train together.
    provenance : Provenance, optional
        Recorded in every checkpoint.
    log : callable
        Called with a line, in the main process only, if a step is skipped or a damaged file is
        renamed.

    Returns
    -------
    FitSummary
        Steps, times and validations.

    Raises
    ------
    WorkRemains
        If a checkpoint cannot be written.
    BrainbrrError
        If the device is not the requested one or has too little memory for a step, if it is too
        late for ``hardware.deterministic``, if the checkpoint belongs to other settings or another
        network, if all checkpoints are damaged, if the training set has one class only, if batches
        run out, if the network has collapsed to one output for all samples, if a weight is not
        finite, or if more than ``settings.skipped_steps_limit`` steps are not finite: then the
        batch and the weights are saved in ``directory`` and the message names the windows.

    Notes
    -----
    The host waits for the device every ``hardware.report_every`` steps and before validations and
    checkpoints, never within a step. ``step_log`` and ``on_step`` still get every step, but several
    at a time; problems that end a training are noticed only then.

    A step whose loss or gradient is not finite changes no weight. It is logged and counted, and
    the count survives interruptions.

    In a single process, the first Ctrl+C (or SIGTERM) ends the training after the current step, or
    at once during a validation, with a checkpoint from which the same call resumes; a second one
    ends it at once. A training that was interrupted during a validation resumes with it.
    """
    if not 0.0 < positive_fraction < 1.0:
        raise BrainbrrError(
            f"{positive_fraction:.0%} of the training samples are seizure, so there is nothing "
            "to tell apart: select more recordings (selection.recordings)"
        )
    if not group.is_main:
        log = ignore_line
    prepare_environment(hardware)
    device = check_device(hardware, group.local_rank)
    keep_freed_memory()
    report_every = hardware.report_every or REPORT_EVERY[device.type]
    alone = group.world_size == 1
    with (
        fixed_arithmetic(hardware, device),
        _fits_memory(network, hardware, device, group),
        listen(active=alone) as stop,
        ExitStack() as stack,
    ):
        trainer = Trainer(network, settings, hardware, device, positive_fraction, group)
        checkpoints = CheckpointManager(directory, trainer, provenance, log)
        resumed_from = saved = step = checkpoints.resume()
        stack.enter_context(summarize_when_stopped(lambda: _unsaved(step, saved, settings.steps)))
        progress = checkpoints.progress
        early_stopping = progress.early_stopping
        timer = StepTimer()
        last_loss: float | None = None
        source: Iterator[Batch] | None = None

        def is_due(number: int) -> bool:
            """Whether a validation follows step ``number``."""
            is_last = number == settings.steps
            return validate is not None and (is_last or number % settings.validate_every == 0)

        def do_validation() -> None:
            """Validate the averaged weights; an interruption first saves the step before it."""
            if validate is None:
                return
            try:
                with stop.at_once(), timer.validating(), trainer.averaged_weights() as averaged:
                    validation = validate(averaged, step)
            except KeyboardInterrupt as interruption:
                if not alone:
                    raise
                if step_log is not None:
                    step_log.flush()
                checkpoints.save(step)
                interruption.add_note(
                    f"step {step} of {settings.steps} is saved in {directory}: run the same "
                    "command again to resume with its validation"
                )
                raise
            if early_stopping.update(validation):
                checkpoints.keep_best()
            if on_validation is not None:
                on_validation(validation)

        if step > 0 and is_due(step) and not early_stopping.has_validated(step):
            # This validation was interrupted.
            do_validation()
            checkpoints.save(step)

        while step < settings.steps and not early_stopping.should_stop:
            if source is None:
                source = batches(step)
            with timer.waiting():
                batch = next(source, None)
            if batch is None:
                raise BrainbrrError(
                    f"the training data ended at step {step} of {settings.steps}: "
                    "lower training.steps or select more recordings"
                )
            trainer.train_step(step, batch)
            timer.add_windows(len(batch.names) * group.world_size)
            step += 1

            stops = stop.requested
            validates = is_due(step) and not stops
            is_last = step == settings.steps
            saves = validates or is_last or stops or step % settings.checkpoint_every == 0
            if not saves and trainer.pending_steps < report_every:
                continue

            fetched = trainer.fetch_metrics()
            for metrics, times in zip(fetched, timer.divide(len(fetched)), strict=True):
                if metrics.finite:
                    last_loss = metrics.loss
                    _check_for_collapse(metrics, settings, progress)
                elif not _skip(metrics, trainer, progress, log):
                    # Only one iterator may read at a time: this one must release its buffers first.
                    source = None
                    batch = next(batches(metrics.step - 1))
                    model = None if provenance is None else provenance.model
                    end_training(trainer, metrics, batch, directory, model)
                report = _report(metrics, times, settings, timer.validated_s, resumed_from)
                if step_log is not None:
                    step_log.log_step(report)
                if saves and metrics.step == step:
                    trainer.check_weights(step)
                    if validates:
                        do_validation()
                    if step_log is not None:
                        step_log.flush()
                    checkpoints.save(step)
                    saved = step
                on_step(report)
            if stops:
                stop.end(
                    f"step {step} of {settings.steps} is saved in {directory}: run the same "
                    "command again to resume"
                )
        checkpoints.load_final_weights()
    totals = timer.totals()
    return FitSummary(
        steps=step,
        resumed_from=resumed_from,
        last_loss=last_loss,
        windows=timer.windows,
        windows_per_s=totals.windows_per_s,
        data_wait_share=totals.wait_share,
        elapsed_s=timer.elapsed_s(),
        stopped=early_stopping.reason() if step < settings.steps else "",
        best_step=early_stopping.best_step,
        validations=tuple(early_stopping.validations),
        skipped_steps=tuple(progress.skipped_steps),
    )


def _unsaved(step: int, saved: int, steps: int) -> str:
    """What an interruption loses that leaves no checkpoint of its own, and how to go on."""
    reached = f"step {step} of {steps} was reached"
    if not saved:
        return f"{reached}, and none is saved: the same command begins anew"
    return (
        f"{reached}: run the same command again to resume from step {saved}, the last that is saved"
    )


def _skip(
    metrics: StepMetrics,
    trainer: Trainer,
    progress: TrainingProgress,
    log: Callable[[str], None],
) -> bool:
    """Count and log a step that is not finite; return False if it exceeds the limit.

    Raises :class:`BrainbrrError` if the weights are not finite either.
    """
    trainer.check_weights(metrics.step)
    if len(progress.skipped_steps) >= trainer.skipped_steps_limit:
        return False
    progress.skipped_steps.append(metrics.step)
    log(
        f"step {metrics.step} is skipped ({len(progress.skipped_steps)} so far, at most "
        f"{trainer.skipped_steps_limit}): its loss is {metrics.loss:g} and its gradient norm "
        f"{metrics.gradient_norm:g}, in {list_windows(metrics.names)}"
    )
    return True


def _check_for_collapse(
    metrics: StepMetrics, settings: Training, progress: TrainingProgress
) -> None:
    """End a training whose network has given one output for all samples for many steps."""
    flat = metrics.step > settings.warmup_steps and metrics.spread < COLLAPSED_SPREAD
    progress.flat_steps = progress.flat_steps + 1 if flat else 0
    if progress.flat_steps >= COLLAPSED_STEPS:
        raise BrainbrrError(
            f"the network has collapsed: for {COLLAPSED_STEPS} steps up to step {metrics.step} its "
            f"probabilities differ by {metrics.spread:.1e} within a batch; lower "
            "training.learning_rate, and delete the run's checkpoints to train from the first step"
        )


def _report(
    metrics: StepMetrics, times: Times, settings: Training, validated_s: float, resumed_from: int
) -> StepReport:
    return StepReport(
        step=metrics.step,
        steps=settings.steps,
        loss=metrics.loss,
        learning_rate=metrics.learning_rate,
        gradient_norm=metrics.gradient_norm,
        spread=metrics.spread,
        windows_per_s=times.windows_per_s,
        data_wait_share=times.wait_share,
        elapsed_s=times.trained_s + validated_s,
        resumed_from=resumed_from,
        skipped=() if metrics.finite else metrics.names,
    )


def _fits_memory(
    network: nn.Module, hardware: Hardware, device: torch.device, group: ProcessGroup
) -> AbstractContextManager[None]:
    """Turn an out-of-memory error into one line with the settings that need less memory."""
    share = hardware.batch_size // group.world_size
    at_once = part = -(-share // hardware.accumulate)
    threads = threads_of_step(network, hardware, device, group.world_size)
    if threads:
        part = min(part, ROWS_ON_CPU)
        at_once = min(share, threads * part)
    remedies = []
    if part > 1:
        parts = next(parts for parts in range(2, share + 1) if -(-share // parts) < part)
        remedies.append(f"raise hardware.accumulate (now {hardware.accumulate}) to {parts} or more")
    if not hardware.recompute_activations:
        remedies.append("set hardware.recompute_activations: true")
    remedies.append(f"lower hardware.batch_size (now {hardware.batch_size}), which is another run")
    return fits_memory(
        f"a training step of {share} windows, {at_once} at once",
        f"{' or '.join(remedies)}; `brainbrr doctor --batch` says what fits",
    )
