"""The state of one training: network, optimizer, averaged weights, and one step of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import Batch
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.compilation import clear_gradients, compiled
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.distributed import World
from brainbrr_core.training.identity import LATER_TRAINING, training_values
from brainbrr_core.training.loss import known_samples, loss_of
from brainbrr_core.training.nonfinite import dissect, error_of, save_step
from brainbrr_core.training.optimizer import make_optimizer
from brainbrr_core.training.resumption import newest_whole, set_aside
from brainbrr_core.training.schedule import ema_decay, learning_rate


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: figures over all processes."""

    loss: float
    #: Before clipping.
    gradient_norm: float
    #: Standard deviation of the probabilities of the batch.
    spread: float
    learning_rate: float


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
        #: The averaged weights of the best validation, on the CPU; empty without one.
        self.best: files.Tensors = {}
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

    def step(self, step: int, batch: Batch) -> Step:
        """One optimizer step on this process's share of a batch.

        The loss is the mean over the known samples of the whole batch, however many of them are
        in each part and process. A batch without any has no loss and no gradient.

        Raises :class:`BrainbrrError` when a loss or gradient is not finite, before any weight
        changes.
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
        # Counted where the labels are still in this machine's memory: a GPU is not waited for.
        known = [known_samples(labels) for labels in label_parts]
        # Gradients are averaged over processes, whose shares may differ in known samples.
        known_in_batch = self.world.total(sum(known), self.device) / self.world.size
        for number, (signals, labels, weights) in enumerate(pieces, start=1):
            known_here, all_known = known[number - 1], known[number - 1] == labels.numel()
            signals = signals.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            if weights is not None:
                weights = weights.to(self.device, non_blocking=True)
            # Gradients travel between processes once a step, with its last part.
            waiting = self.replicas is not None and number < parts
            with self.replicas.no_sync() if waiting and self.replicas else contextlib.nullcontext():
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
                    logits = self.forward(signals)
                share = known_here / known_in_batch if known_in_batch else 0.0
                piece = self.loss(logits, labels, weights, all_known=all_known) * share
                torch.autograd.backward(piece)
            loss += piece.detach()
            spread += torch.sigmoid(logits.detach().float()).std() * (len(signals) / rows)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        # One transfer for all: on a GPU each waits for the card.
        values = self.world.mean(torch.stack([loss, norm, spread]))
        loss_value, norm_value, spread_value = values.tolist()
        if not bool(torch.isfinite(values).all()):
            self._stop(step, batch, loss_value, norm_value)
        self.optimizer.step()
        keep = ema_decay(step)
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.ema[name].lerp_(value, 1.0 - keep)
        return Step(loss_value, norm_value, spread_value, rate)

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
        files.save_tensors(self.directory / files.BEST_NAME, self.best, header)
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
        self.progress = found.progress
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
            same = usable and files.content_checksum(weights) == files.content_checksum(self.best)
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

    def _stop(self, step: int, batch: Batch, loss: float, norm: float) -> None:
        """Save what is needed to do this step again, and end the training."""
        suffix = f"-process-{self.world.rank}" if self.world.size > 1 else ""
        path = self.directory / f"nonfinite-step-{step}{suffix}.safetensors"
        header = {
            "step": step,
            "loss": str(loss),
            "norm": str(norm),
            "preset": self.provenance.get("preset"),
            "training": self.settings.model_dump(mode="json"),
            "positive_fraction": self.positive_fraction,
            "precision": self.hardware.precision,
        }
        save_step(
            path, self.network, batch.signals, batch.labels, batch.names, header, batch.weights
        )
        signals, labels = batch.signals.to(self.device), batch.labels.to(self.device)
        weights = None if batch.weights is None else batch.weights.to(self.device)
        anatomy = dissect(
            self.network, self.loss, signals, labels, batch.names, self.bfloat16, weights
        )
        raise error_of(anatomy, step, batch.names, path)


def _silent(_line: str) -> None:
    """What the processes after the first one say."""


def _best_in(path: Path) -> tuple[files.Tensors, int | None, bool]:
    """The weights in a file of best ones and their step, and whether it is damaged."""
    if not path.is_file():
        return {}, None, False
    try:
        weights, header = files.load_tensors(path)
    except files.DamagedFile:
        return {}, None, True
    return weights, header.get("step"), False
