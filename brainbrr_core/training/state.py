"""The state of one training: network, optimizer, averaged weights, and one step of it."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.compilation import clear_gradients, compiled
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.runs.identity import LATER_TRAINING, training_values
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.distributed import World
from brainbrr_core.training.loss import loss_of
from brainbrr_core.training.nonfinite import (
    dissect,
    error_of,
    save_step,
    skipped_steps_limit,
    some_of,
)
from brainbrr_core.training.optimizer import make_optimizer
from brainbrr_core.training.resumption import newest_whole, set_aside
from brainbrr_core.training.schedule import ema_decay, learning_rate


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: figures over all processes."""

    #: Counted from 1.
    number: int
    loss: float
    #: Before clipping.
    gradient_norm: float
    #: Standard deviation of the probabilities of the batch.
    spread: float
    learning_rate: float
    #: The windows of this process's share of the batch.
    names: tuple[str, ...]

    @property
    def finite(self) -> bool:
        """Whether it changed the weights; otherwise it was skipped."""
        return all(map(math.isfinite, (self.loss, self.gradient_norm, self.spread)))


@dataclass(frozen=True, slots=True)
class _Queued:
    """A step whose figures are still on the device: loss, gradient norm and spread."""

    number: int
    figures: Tensor
    learning_rate: float
    names: tuple[str, ...]


class TrainingState:
    """What a step changes, what a checkpoint holds."""

    def __init__(
        self,
        network: nn.Module,
        settings: Training,
        hardware: Hardware,
        device: torch.device,
        directory: Path,
        positive_fraction: float,
        world: World,
        provenance: dict[str, Any],
        log: Callable[[str], None],
    ) -> None:
        self.network = network.to(device).train()
        self.settings = settings
        self.hardware = hardware
        self.device = device
        self.directory = directory
        self.world = world
        self.provenance = provenance
        self.positive_fraction = positive_fraction
        self.loss = loss_of(settings, positive_fraction)
        self.bfloat16 = hardware.precision == "bfloat16"
        self.replicas = (
            DistributedDataParallel(
                network, device_ids=[device.index] if device.type == "cuda" else None
            )
            if world.size > 1
            else None
        )
        forward = network if self.replicas is None else self.replicas
        self.forward = compiled(forward, hardware.compile)
        self.optimizer = make_optimizer(network, settings)
        self.ema = {name: value.clone() for name, value in network.state_dict().items()}
        # The same tensors in the same order, for one kernel over all of them.
        self._weights = list(network.state_dict().values())
        self._averages = list(self.ema.values())
        #: Steps that are not finite: the most that are skipped, and the device's own count.
        self.skipped_steps_limit = skipped_steps_limit(settings, hardware)
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._queued: list[_Queued] = []
        #: The averaged weights of the best validation, on the CPU; empty without one.
        self.best: weight_files.Tensors = {}
        #: The step of the weights in the file of the best ones.
        self._best_on_disk: int | None = None
        self._log = log if world.first else _silent
        #: What the loop must remember beside tensors.
        self.progress: dict[str, Any] = {}
        #: What a checkpoint must agree with to be continued.
        self.recorded: dict[str, Any] = {
            **{f"training.{key}": value for key, value in training_values(settings).items()},
            "hardware.batch_size": hardware.batch_size,
            "hardware.precision": hardware.precision,
            "share of seizure in the training samples": positive_fraction,
            "preprocessing version": provenance.get("preprocessing_version"),
        }

    def step(self, step: int, batch: Batch) -> None:
        """One optimizer step, counted from 0, on this process's share of a batch on the device.

        The loss is the mean over the known samples of the whole batch, however many of them are
        in each part and process. A batch without any has no loss and no gradient.

        The device is not waited for: :meth:`fetch` gives the figures. Where loss or gradient is
        not finite in any process, the step changes no weight, moment or count of the optimizer
        in all of them, and where that was one step too many, neither does any later one.
        """
        rate = learning_rate(
            step, self.settings.steps, self.settings.warmup_steps, self.settings.learning_rate
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clear_gradients(self.network, keep=self.hardware.compile == "cuda_graphs")
        parts = self.hardware.accumulate
        rows = len(batch.names)
        loss = torch.zeros((), device=self.device)
        spread = torch.zeros((), device=self.device)
        label_parts = batch.labels.chunk(parts)
        weight_parts = (
            [None] * len(label_parts) if batch.weights is None else batch.weights.chunk(parts)
        )
        pieces = zip(batch.signals.chunk(parts), label_parts, weight_parts, strict=True)
        # Counted on the host, before the labels went to the device.
        counts = iter(batch.known)
        known = [sum(itertools.islice(counts, len(labels))) for labels in label_parts]
        # Gradients are averaged over processes, whose shares may differ in known samples. Without
        # any, each share is none of one.
        known_in_batch = self.world.total(sum(known), self.device).clamp(min=1) / self.world.size
        for number, (signals, labels, weights) in enumerate(pieces, start=1):
            known_here, all_known = known[number - 1], known[number - 1] == labels.numel()
            # Gradients travel between processes once a step, with its last part.
            waiting = self.replicas is not None and number < parts
            with self.replicas.no_sync() if waiting and self.replicas else contextlib.nullcontext():
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
                    logits = self.forward(signals)
                share = torch.full_like(known_in_batch, known_here) / known_in_batch
                piece = self.loss(logits, labels, weights, all_known=all_known) * share.float()
                torch.autograd.backward(piece)
            loss += piece.detach()
            spread += torch.sigmoid(logits.detach().float()).std() * (len(signals) / rows)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        figures = self.world.mean(torch.stack([loss, norm, spread]))
        wrong = ~torch.isfinite(figures).all()
        self._skipped += wrong
        # After the one that ends the training the weights stay those that it began with, however
        # late the host hears of it.
        self.optimizer.found_inf = (wrong | (self._skipped > self.skipped_steps_limit)).float()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1.0 - ema_decay(step))
        self._queued.append(_Queued(step + 1, figures, rate, batch.names))

    @property
    def queued(self) -> int:
        """Steps whose figures are still on the device."""
        return len(self._queued)

    def fetch(self) -> list[Step]:
        """The steps since the last call, in order: here the device is waited for, once."""
        queued, self._queued = self._queued, []
        if not queued:
            return []
        figures: list[list[float]] = torch.stack([step.figures for step in queued]).tolist()
        return [
            Step(step.number, loss, norm, spread, step.learning_rate, step.names)
            for step, (loss, norm, spread) in zip(queued, figures, strict=True)
        ]

    def count_skipped(self, step: Step) -> bool:
        """Note and log a step that is not finite; whether that is as many as may be, or fewer.

        Raises :class:`BrainbrrError` where it is the weights that are not finite.
        """
        self.check_weights(step.number)
        skipped = [*self.skipped_steps, step.number]
        if len(skipped) > self.skipped_steps_limit:
            return False
        self.progress["skipped_steps"] = skipped
        self._log(
            f"step {step.number} is skipped ({len(skipped)} so far, at most "
            f"{self.skipped_steps_limit}): its loss is {step.loss:g} and its gradient norm "
            f"{step.gradient_norm:g}, in {some_of(step.names)}"
        )
        return True

    @property
    def skipped_steps(self) -> tuple[int, ...]:
        """The steps, counted from 1, that were not finite and changed no weight."""
        return tuple(self.progress.get("skipped_steps", ()))

    def check_weights(self, done: int) -> None:
        """Raise :class:`BrainbrrError` where a weight is not finite: no later step repairs that."""
        largest = torch.stack(torch._foreach_norm(self._weights, math.inf)).tolist()
        for name, value in zip(self.ema, largest, strict=True):
            if not math.isfinite(value):
                raise BrainbrrError(
                    f"{name} is not finite after step {done} though every step that was not "
                    "finite was skipped: run the same command again, which goes on from the last "
                    "checkpoint; should it end here again, lower training.learning_rate and "
                    "delete the run's checkpoints to train anew"
                )

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The network with the averaged weights, until the block ends."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema)
        try:
            yield self.network
        finally:
            self.network.load_state_dict(kept)

    def keep_best(self) -> None:
        """Keep the averaged weights of now as the best."""
        self.best = {name: value.detach().cpu().clone() for name, value in self.ema.items()}

    def save(self, done: int) -> None:
        """Write the checkpoint after ``done`` steps, and the best weights beside it."""
        if not self.world.first:
            return
        files.save_checkpoint(
            self.directory,
            files.Checkpoint(
                step=done,
                settings=self.recorded,
                progress=self.progress,
                provenance=self.provenance,
                network=self.network.state_dict(),
                ema=self.ema,
                optimizer=files.optimizer_tensors(self.network, self.optimizer),
                best=self.best,
            ),
            self.settings.keep_checkpoints,
        )
        # The checkpoint holds the best weights, so that both are of one moment whatever ends the
        # process between two files; the file beside it is for people, and written after it.
        if self.best and self._best_step != self._best_on_disk:
            self._write_best()

    @property
    def _best_step(self) -> int | None:
        step: int | None = self.progress.get("course", {}).get("best_step")
        return step

    def _write_best(self) -> None:
        header = {"step": self._best_step, "provenance": self.provenance}
        weight_files.save_tensors(self.directory / files.BEST_NAME, self.best, header)
        self._best_on_disk = self._best_step

    def load_best(self) -> None:
        """Give the network the best averaged weights, which must have been kept."""
        self.network.load_state_dict(self.best)

    def resume(self) -> int:
        """Take up the directory's newest whole checkpoint, if any; the steps it had done.

        Damaged files before it get another name, and the log says so. Raises
        :class:`BrainbrrError` when it is of other settings, of another preprocessing version or
        of another network, or when there are checkpoints and none is whole.
        """
        resumption = newest_whole(self.directory)
        if resumption is None:
            return 0
        found = resumption.checkpoint
        self._check(found)
        # No process may rename what another one is still to read.
        self.world.wait()
        if self.world.first and resumption.path.name != files.CHECKPOINT_NAME:
            kept = [f"{path.name} is kept as {set_aside(path).name}" for path in resumption.damaged]
            self._log(
                f"the last checkpoint in {self.directory} is {'damaged' if kept else 'gone'}: the "
                f"training goes on from step {found.step}, in {resumption.path.name}"
                + "".join(f"; {text}" for text in kept)
            )
        self.network.load_state_dict(found.network)
        for name, value in found.ema.items():
            self.ema[name].copy_(value)
        files.restore_optimizer(self.network, self.optimizer, found.optimizer)
        skipped = len(found.progress.get("skipped_steps", ()))
        if skipped > self.skipped_steps_limit:
            raise BrainbrrError(
                f"the checkpoint in {self.directory} has skipped {skipped} steps that were not "
                f"finite and training.skipped_steps_limit is {self.skipped_steps_limit}: raise it, "
                "or remove the run's checkpoints to train anew"
            )
        self.progress = found.progress
        self._skipped.fill_(skipped)
        self.best = found.best
        if self._best_step is not None:
            self._restore_best()
        return found.step

    def _check(self, found: files.Checkpoint) -> None:
        """Raise :class:`BrainbrrError` when a checkpoint is not of this training."""
        remedy = "restore the setting, or remove the run's checkpoints to train anew"
        # A later setting is recorded where it has another value than its default.
        later = {f"training.{key}": value for key, value in LATER_TRAINING.items()}
        for key, value in (later | self.recorded).items():
            written = found.settings.get(key, later.get(key))
            if written != value:
                raise BrainbrrError(
                    f"the checkpoint in {self.directory} was written with {key} {written}, this "
                    f"run has {value}: {remedy}"
                )
        shapes = {name: value.shape for name, value in self.ema.items()}
        if {name: value.shape for name, value in found.network.items()} != shapes:
            raise BrainbrrError(
                f"the checkpoint in {self.directory} is of another network: {remedy} (model.preset)"
            )

    def _restore_best(self) -> None:
        """Make the checkpoint and the file of the best weights agree.

        The checkpoint decides: a file that is damaged, gone, or of a step that the checkpoint
        knows nothing of is written again from it. Only a checkpoint of an earlier version of the
        program has no best weights of its own. Then the file is all there is, and where it is no
        use, hours of training are worth more than the choice among validations: the best is
        forgotten, which is said now and not after the last step, and the next validation sets it.
        """
        path = self.directory / files.BEST_NAME
        weights, step, damaged = _best_in(path)
        # Every process must have looked before the first one renames or writes.
        self.world.wait()
        if damaged and self.world.first:
            self._log(f"{path} is damaged: it is kept as {set_aside(path).name}")
        usable = step == self._best_step
        if self.best:
            checksum = weight_files.content_checksum
            same = usable and checksum(weights) == checksum(self.best)
            self._best_on_disk = step if same else None
        elif usable:
            self.best, self._best_on_disk = weights, step
        else:
            self._log(
                f"the best weights, of step {self._best_step}, are lost: the next validation "
                "counts as the best so far"
            )
            self.progress["course"].update(best_step=None, best=[], since_best=0)
            return
        if self._best_on_disk is None and self.world.first:
            self._log(f"{path} is written again from the checkpoint (step {self._best_step})")
            self._write_best()

    def stop(self, step: Step, batch: Batch) -> NoReturn:
        """Save what is needed to do a step again that is not finite, and end the training.

        ``batch`` is the step's, and the weights are still those that it began with.
        """
        suffix = f"-process-{self.world.rank}" if self.world.size > 1 else ""
        path = self.directory / f"nonfinite-step-{step.number}{suffix}.safetensors"
        header = {
            "step": step.number,
            "loss": str(step.loss),
            "norm": str(step.gradient_norm),
            "preset": self.provenance.get("preset"),
            "training": self.settings.model_dump(mode="json"),
            "positive_fraction": self.positive_fraction,
            "precision": self.hardware.precision,
        }
        save_step(
            path, self.network, batch.signals, batch.labels, batch.names, header, batch.weights
        )
        anatomy = dissect(
            self.network,
            self.loss,
            batch.signals,
            batch.labels,
            batch.names,
            self.bfloat16,
            batch.weights,
        )
        raise error_of(anatomy, step.number, batch.names, path)


def _silent(_line: str) -> None:
    """What the processes after the first one say."""


def _best_in(path: Path) -> tuple[weight_files.Tensors, int | None, bool]:
    """The weights in a file of best ones and their step, and whether it is damaged."""
    if not path.is_file():
        return {}, None, False
    try:
        weights, header = weight_files.load_tensors(path)
    except weight_files.DamagedFile:
        return {}, None, True
    return weights, header.get("step"), False
