"""The training loop: batches in, an averaged network out.

It knows tensors and optimizer steps. Where batches come from, and whether the cache is fit for
training, is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.mamba2 import NO_WEIGHT_DECAY
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.hardware import check_device
from brainbrr_core.training.schedule import ema_decay, learning_rate

BETAS = (0.9, 0.98)
#: Windows named in the message about a non-finite step; the saved file names all of them.
NAMED_WINDOWS = 4


class Batch(Protocol):
    """The windows of one optimizer step."""

    @property
    def signals(self) -> Tensor:
        """(batch, 19, samples), float32, in standard deviations."""

    @property
    def labels(self) -> Tensor:
        """(batch, samples), float32: 1 in a seizure, 0 outside."""

    @property
    def names(self) -> tuple[str, ...]:
        """For each row, its recording and window in words."""


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
    windows_per_s: float
    #: Of the time so far, the part spent waiting for batches.
    data_wait_share: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class FitSummary:
    """A whole training. Rates and times are of this process, not of a run before a resume."""

    steps: int
    #: Steps that a checkpoint had already done.
    resumed_from: int
    #: Of the last step; None if the checkpoint was already complete.
    last_loss: float | None
    windows: int
    windows_per_s: float
    data_wait_share: float
    elapsed_s: float


@dataclass(slots=True)
class _Clock:
    start: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    windows: int = 0

    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def rate(self) -> float:
        return self.windows / max(self.elapsed(), 1e-9)

    def wait_share(self) -> float:
        return self.waited / max(self.elapsed(), 1e-9)


def balanced_loss(logits: Tensor, labels: Tensor, positive_fraction: float) -> Tensor:
    """Binary cross-entropy in which seizure and background weigh one half each, in float32.

    ``positive_fraction`` is the share of seizure samples in the training set. The weights are
    its exact inverse, neither capped nor softened: then a probability of 0.5 means evidence
    equal for both, however the training set was balanced, and thresholds of trainings on
    different selections compare. A network without any evidence has a loss of ln 2.
    """
    ratio = (1.0 - positive_fraction) / positive_fraction
    weighted = functional.binary_cross_entropy_with_logits(
        logits.float(), labels, pos_weight=torch.tensor(ratio, device=logits.device)
    )
    return weighted / (2.0 * (1.0 - positive_fraction))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for the optimizer: matrices and kernels decay; vectors and scalars do not.

    Biases, norms and the parameters marked by Mamba-2 are among those that do not.
    """
    decaying: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in network.parameters():
        decays = parameter.ndim >= 2 and not getattr(parameter, NO_WEIGHT_DECAY, False)
        (decaying if decays else kept).append(parameter)
    return [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterator[Batch]],
    settings: Training,
    hardware: Hardware,
    directory: Path,
    positive_fraction: float,
    on_step: Callable[[StepReport], None],
) -> FitSummary:
    """Train ``network`` and leave the averaged weights in it.

    ``batches(first)`` yields the batches of optimizer steps ``first``, ``first + 1``, ...,
    counted from 0; the same call must yield the same batches. A checkpoint in ``directory`` is
    continued; on the CPU, with the same number of threads, the result is then the one of an
    uninterrupted training bit for bit. ``on_step`` is called after each step, and after the
    step's checkpoint if it has one; what it raises ends the training.

    Raises :class:`BrainbrrError` if the device is not the one asked for, if the checkpoint is
    of other settings or another network, if the training set has one class only, if batches run
    out, or if a loss or gradient is not finite: then the batch and the weights are saved in
    ``directory`` and the message names the windows.
    """
    if not 0.0 < positive_fraction < 1.0:
        raise BrainbrrError(
            f"{positive_fraction:.0%} of the training samples are seizure, so there is nothing "
            "to tell apart: select more recordings (selection.recordings)"
        )
    device = check_device(hardware)
    with _deterministic(device):
        run = _Run(network, settings, hardware, device, directory, positive_fraction)
        first = run.resume()
        clock = _Clock()
        loss: float | None = None
        source = batches(first) if first < settings.steps else iter(())
        for step in range(first, settings.steps):
            asked = time.perf_counter()
            batch = next(source, None)
            clock.waited += time.perf_counter() - asked
            if batch is None:
                raise BrainbrrError(
                    f"the training data ended at step {step} of {settings.steps}: "
                    "lower training.steps or select more recordings"
                )
            loss, norm, rate = run.step(step, batch)
            clock.windows += len(batch.names)
            done = step + 1
            if done % settings.checkpoint_every == 0 or done == settings.steps:
                run.save(done)
            on_step(
                StepReport(
                    step=done,
                    steps=settings.steps,
                    loss=loss,
                    learning_rate=rate,
                    gradient_norm=norm,
                    windows_per_s=clock.rate(),
                    data_wait_share=clock.wait_share(),
                    elapsed_s=clock.elapsed(),
                )
            )
        network.load_state_dict(run.ema)
    return FitSummary(
        steps=settings.steps,
        resumed_from=first,
        last_loss=loss,
        windows=clock.windows,
        windows_per_s=clock.rate(),
        data_wait_share=clock.wait_share(),
        elapsed_s=clock.elapsed(),
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


class _Run:
    """The state of one training: network, optimizer and averaged weights."""

    def __init__(
        self,
        network: nn.Module,
        settings: Training,
        hardware: Hardware,
        device: torch.device,
        directory: Path,
        positive_fraction: float,
    ) -> None:
        self.network = network.to(device).train()
        self.settings = settings
        self.device = device
        self.directory = directory
        self.positive_fraction = positive_fraction
        self.bfloat16 = hardware.precision == "bfloat16"
        self.forward: Callable[[Tensor], Tensor] = (
            torch.compile(network) if hardware.compile else network
        )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(network, settings.weight_decay),
            lr=settings.learning_rate,
            betas=BETAS,
        )
        self.ema = {name: value.clone() for name, value in network.state_dict().items()}
        #: What a checkpoint must agree with to be continued.
        self.recorded: dict[str, Any] = {
            **{
                f"training.{key}": value
                for key, value in settings.model_dump(exclude={"checkpoint_every"}).items()
            },
            "hardware.batch_size": hardware.batch_size,
            "hardware.precision": hardware.precision,
            "share of seizure in the training samples": positive_fraction,
        }

    def step(self, step: int, batch: Batch) -> tuple[float, float, float]:
        """One optimizer step: its loss, gradient norm before clipping, and learning rate."""
        rate = learning_rate(
            step, self.settings.steps, self.settings.warmup_steps, self.settings.learning_rate
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        signals = batch.signals.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            logits = self.forward(signals)
        loss = balanced_loss(logits, labels, self.positive_fraction)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        # One transfer for both: on a GPU each waits for the card.
        values = torch.stack([loss.detach(), norm])
        if not bool(torch.isfinite(values).all()):
            self._stop(step, batch, logits, values)
        self.optimizer.step()
        keep = ema_decay(step)
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.ema[name].lerp_(value, 1.0 - keep)
        loss_value, norm_value = values.tolist()
        return loss_value, norm_value, rate

    def save(self, done: int) -> None:
        """Write the checkpoint after ``done`` steps."""
        files.save_checkpoint(
            self.directory,
            files.Checkpoint(
                step=done,
                settings=self.recorded,
                network=self.network.state_dict(),
                ema=self.ema,
                optimizer=files.optimizer_tensors(self.network, self.optimizer),
            ),
        )

    def resume(self) -> int:
        """Take up the directory's checkpoint, if any; the number of steps it had done."""
        found = files.load_checkpoint(self.directory)
        if found is None:
            return 0
        mend = "restore the setting, or delete the checkpoint to train anew"
        for key, value in self.recorded.items():
            if found.settings.get(key) != value:
                raise BrainbrrError(
                    f"the checkpoint in {self.directory} was written with {key} "
                    f"{found.settings.get(key)}, this run has {value}: {mend}"
                )
        shapes = {name: value.shape for name, value in self.ema.items()}
        if {name: value.shape for name, value in found.network.items()} != shapes:
            raise BrainbrrError(
                f"the checkpoint in {self.directory} is of another network: {mend} (model.preset)"
            )
        self.network.load_state_dict(found.network)
        for name, value in found.ema.items():
            self.ema[name].copy_(value)
        files.restore_optimizer(self.network, self.optimizer, found.optimizer)
        return found.step

    def _stop(self, step: int, batch: Batch, logits: Tensor, values: Tensor) -> None:
        """Save what is needed to do this step again, and end the training."""
        loss, norm = values.tolist()
        path = self.directory / f"nonfinite-step-{step}.safetensors"
        tensors = {"signals": batch.signals, "labels": batch.labels}
        tensors |= {f"network/{name}": value for name, value in self.network.state_dict().items()}
        header = {"step": step, "names": batch.names, "loss": str(loss), "norm": str(norm)}
        files.save_tensors(path, tensors, header)
        finite = logits.detach().isfinite().all(dim=1).cpu()
        finite &= batch.labels.isfinite().all(dim=1).cpu()
        culprits = [
            name for name, sound in zip(batch.names, finite.tolist(), strict=True) if not sound
        ]
        named = culprits or list(batch.names)
        listed = ", ".join(named[:NAMED_WINDOWS])
        if len(named) > NAMED_WINDOWS:
            listed += f" and {len(named) - NAMED_WINDOWS} more"
        what = "loss" if not torch.isfinite(values[0]) else "gradient"
        raise BrainbrrError(
            f"the {what} of step {step} is not finite, in {listed}: the batch and the weights are "
            f"saved in {path}; exclude the window, or lower training.learning_rate"
        )
