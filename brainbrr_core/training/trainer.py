"""One optimizer step: forward and backward pass, update of the weights, and of their average.

The trainer handles tensors only. ``loop`` decides where batches come from, when to validate and
what to save.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.compilation import clear_gradients, compiled
from brainbrr_core.model.compute_threads import ROWS_ON_CPU, ComputeThreads, threads_of_step
from brainbrr_core.training.determinism import seed_step
from brainbrr_core.training.distributed import ProcessGroup
from brainbrr_core.training.loss import loss_of
from brainbrr_core.training.optimizer import make_optimizer
from brainbrr_core.training.schedule import ema_decay, learning_rate

#: Default number of steps that a training skips at most: a product in bfloat16 may overflow by
#: chance, one in float32 hardly ever does.
SKIPPED_STEPS = {"bfloat16": 20, "float32": 0}


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Figures of one optimizer step, over all processes."""

    #: Counted from 1.
    step: int
    loss: float
    #: Before clipping.
    gradient_norm: float
    #: Standard deviation of the probabilities in the batch.
    spread: float
    learning_rate: float
    #: The windows in this process's share of the batch.
    names: tuple[str, ...]

    @property
    def finite(self) -> bool:
        """Whether all figures are finite; otherwise the step was skipped."""
        return all(map(math.isfinite, (self.loss, self.gradient_norm, self.spread)))


@dataclass(frozen=True, slots=True)
class _PendingStep:
    """A step whose figures are still on the device: loss, gradient norm and spread."""

    step: int
    figures: Tensor
    learning_rate: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows of a batch."""

    signals: Tensor
    labels: Tensor
    weights: Tensor | None
    #: Whether every sample has a label.
    all_known: bool
    #: Its share of the labeled samples of the whole batch.
    of_loss: Tensor
    #: Its share of this process's windows.
    of_rows: float


class Trainer:
    """A network in training: its optimizer, its averaged weights, and the step that changes them.

    Parameters
    ----------
    network : nn.Module
        Moved to ``device`` and set to training mode.
    settings : Training
        Loss, optimizer and schedule.
    hardware : Hardware
        Precision, number of parts of a batch, compilation.
    device : torch.device
        Where the network is and batches arrive.
    positive_fraction : float
        Share of seizure samples in the training set, for the weights of the loss.
    group : ProcessGroup
        The processes that train together. All of them start from the weights of the main one.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: Training,
        hardware: Hardware,
        device: torch.device,
        positive_fraction: float,
        group: ProcessGroup,
    ) -> None:
        self.network = network.to(device).train()
        self.settings = settings
        self.hardware = hardware
        self.device = device
        self.positive_fraction = positive_fraction
        self.group = group
        self.loss = loss_of(settings, positive_fraction)
        self.bfloat16 = hardware.precision == "bfloat16"
        self._replicas = (
            DistributedDataParallel(
                network, device_ids=[device.index] if device.type == "cuda" else None
            )
            if group.world_size > 1
            else None
        )
        self._threads = self._compute_threads()
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        forward = network if self._replicas is None else self._replicas
        self._forward = compiled(forward, hardware.compile)
        self.optimizer = make_optimizer(network, settings)
        #: The exponential moving average of the weights, by name.
        self.ema = {name: value.clone() for name, value in network.state_dict().items()}
        # Weights and averages in the same order, for one kernel over all of them.
        floating = {n: v for n, v in network.state_dict().items() if v.is_floating_point()}
        self._weights = list(floating.values())
        self._averages = [self.ema[name] for name in floating]
        #: Buffers that forward passes change in training, such as the statistics of a batch norm.
        parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        self._statistics = [v for n, v in network.state_dict().items() if n not in parameters]
        #: Counters, such as those of batch norms, are not averaged: the last value is used.
        self._counters = [
            (self.ema[name], value)
            for name, value in network.state_dict().items()
            if name not in floating
        ]
        #: The most steps that may be skipped because they are not finite; one more ends the
        #: training.
        self.skipped_steps_limit = skipped_steps_limit(settings, hardware)
        # Counted on the device, so that the host does not wait for it.
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._pending: list[_PendingStep] = []

    def train_step(self, step: int, batch: Batch) -> None:
        """Do optimizer step ``step``, counted from 0, on this process's share of a batch.

        The batch is on the device. The loss is the mean over all samples of the batch whose label
        is known, however they are distributed over parts and processes. A batch without any
        has a loss of 0 and no gradient.

        The host does not wait for the device: :meth:`fetch_metrics` returns the figures. If the
        loss or gradient is not finite in any process, the step changes no weight, no statistics of
        a norm, and no moment or count of the optimizer, in any process. Once more steps than the
        limit were not finite, no later step changes anything.
        """
        rate = learning_rate(
            step, self.settings.steps, self.settings.warmup_steps, self.settings.learning_rate
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seed_step(self.settings.seed, step, self.group.rank)
        clear_gradients(self.network, keep=self.hardware.compile == "cuda_graphs")
        statistics = [value.clone() for value in self._statistics]
        loss, spread = self._forward_backward(batch)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        figures = self.group.mean(torch.stack([loss, norm, spread]))
        skipped = self._update_weights(figures)
        self._update_statistics(statistics, skipped)
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1.0 - ema_decay(step))
            for last, counter in self._counters:
                last.copy_(counter)
        self._pending.append(_PendingStep(step + 1, figures, rate, batch.names))

    def _forward_backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add the gradients of a batch, part by part; return its loss and spread."""
        loss = torch.zeros((), device=self.device)
        spread = torch.zeros((), device=self.device)
        for part_loss, part_spread in self._gradients_of(self._parts_of(batch)):
            loss += part_loss
            spread += part_spread
        return loss, spread

    def _compute_threads(self) -> ComputeThreads | None:
        """Threads for the parts of a batch; None where one part is computed after the other."""
        threads = threads_of_step(self.network, self.hardware, self.device, self.group.world_size)
        return ComputeThreads(threads) if threads else None

    def _parts_of(self, batch: Batch) -> list[_Part]:
        """The batch in ``hardware.accumulate`` parts, or smaller ones for several threads."""
        rows = -(-len(batch.names) // self.hardware.accumulate)
        if self._threads is not None:
            rows = min(rows, ROWS_ON_CPU)
        labels_of = torch.split(batch.labels, rows)
        weights_of = (
            [None] * len(labels_of) if batch.weights is None else torch.split(batch.weights, rows)
        )
        # The host counted the samples with a label before they were sent to the device.
        counts = iter(batch.known)
        labeled_of = [sum(itertools.islice(counts, len(labels))) for labels in labels_of]
        # Gradients are averaged over processes, whose numbers of labeled samples may differ. The
        # total is at least 1, so that a batch without any does not divide by 0.
        labeled_in_batch = (
            self.group.total(sum(labeled_of), self.device).clamp(min=1) / self.group.world_size
        )
        return [
            _Part(
                signals,
                labels,
                weights,
                all_known=labeled == labels.numel(),
                of_loss=(torch.full_like(labeled_in_batch, labeled) / labeled_in_batch).float(),
                of_rows=len(signals) / len(batch.names),
            )
            for signals, labels, weights, labeled in zip(
                torch.split(batch.signals, rows), labels_of, weights_of, labeled_of, strict=True
            )
        ]

    def _gradients_of(self, parts: list[_Part]) -> Iterator[tuple[Tensor, Tensor]]:
        """Add the gradients of each part; yield its shares of the batch's loss and spread."""
        if self._threads is not None:
            for loss, spread, gradients in self._threads.map(self._gradients, parts):
                _add_gradients(self._parameters, gradients)
                yield loss, spread
            return
        for number, part in enumerate(parts, start=1):
            with self._no_reduction() if number < len(parts) else contextlib.nullcontext():
                loss, spread = self._forward_part(part)
                torch.autograd.backward(loss)
            yield loss.detach(), spread

    def _forward_part(self, part: _Part) -> tuple[Tensor, Tensor]:
        """A part's shares of the batch's loss, with its graph, and of the spread."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            logits = self._forward(part.signals)
        loss = self.loss(logits, part.labels, part.weights, all_known=part.all_known)
        spread = torch.sigmoid(logits.detach().float()).std()
        return loss * part.of_loss, spread * part.of_rows

    def _gradients(self, part: _Part) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        """As :meth:`_forward_part`, with the part's gradients, which are not added to any."""
        loss, spread = self._forward_part(part)
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        return loss.detach(), spread, gradients

    def _no_reduction(self) -> AbstractContextManager[None]:
        """Do not average gradients over processes in this block: the last micro-batch does it."""
        if self._replicas is None:
            return contextlib.nullcontext()
        no_sync: AbstractContextManager[None] = self._replicas.no_sync()
        return no_sync

    def _update_weights(self, figures: Tensor) -> Tensor:
        """Take the optimizer's step, which the device itself skips if a figure is not finite.

        Returns a boolean scalar on the device: whether the step was skipped.
        """
        nonfinite = ~torch.isfinite(figures).all()
        self._skipped += nonfinite
        # From the step that ends the training on, the weights no longer change, however late the
        # host learns of it.
        over_limit = self._skipped > self.skipped_steps_limit
        skipped = nonfinite | over_limit
        self.optimizer.found_inf = skipped.float()
        self.optimizer.step()
        return skipped

    def _update_statistics(self, before: list[Tensor], skipped: Tensor) -> None:
        """Average the statistics of norms over processes; restore them if the step was skipped.

        Each process has computed them from its own windows.
        """
        for old, value in zip(before, self._statistics, strict=True):
            new = value
            if self.group.world_size > 1 and value.is_floating_point():
                # Adding the mean change leaves unchanged values bit-identical.
                new = old + self.group.mean(value - old)
            value.copy_(torch.where(skipped, old, new))

    @property
    def pending_steps(self) -> int:
        """Steps whose figures are still on the device."""
        return len(self._pending)

    def fetch_metrics(self) -> list[StepMetrics]:
        """Figures of the steps since the last call, in order. Waits for the device once."""
        pending, self._pending = self._pending, []
        if not pending:
            return []
        figures: list[list[float]] = torch.stack([step.figures for step in pending]).tolist()
        return [
            StepMetrics(step.step, loss, norm, spread, step.learning_rate, step.names)
            for step, (loss, norm, spread) in zip(pending, figures, strict=True)
        ]

    def set_skipped_steps(self, count: int) -> None:
        """Set the number of steps that were skipped before the training was resumed."""
        self._skipped.fill_(count)

    def check_weights(self, step: int) -> None:
        """Raise :class:`BrainbrrError` if a weight is not finite after ``step`` steps.

        No later step could correct it.
        """
        largest = torch.stack(torch._foreach_norm(self._weights, math.inf)).tolist()
        names = [name for name, value in self.ema.items() if value.is_floating_point()]
        for name, value in zip(names, largest, strict=True):
            if not math.isfinite(value):
                raise BrainbrrError(
                    f"{name} is not finite after step {step} though every step that was not "
                    "finite was skipped: run the same command again, which resumes from the last "
                    "checkpoint; if it happens again, lower training.learning_rate and "
                    "delete the run's checkpoints to train from the first step"
                )

    @contextmanager
    def averaged_weights(self) -> Iterator[nn.Module]:
        """The network with its averaged weights, until the block ends."""
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema)
        try:
            yield self.network
        finally:
            self.network.load_state_dict(weights)


def skipped_steps_limit(settings: Training, hardware: Hardware) -> int:
    """The most steps of a training that may be skipped because they are not finite."""
    if settings.skipped_steps_limit is not None:
        return settings.skipped_steps_limit
    return SKIPPED_STEPS[hardware.precision]


def _add_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add a part's gradients to those of the parameters, as a backward pass does."""
    sums, added = [], []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            # In the parameter's memory layout, which the fused optimizer takes for granted.
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        else:
            sums.append(parameter.grad)
            added.append(gradient)
    if sums:
        torch._foreach_add_(sums, added)
