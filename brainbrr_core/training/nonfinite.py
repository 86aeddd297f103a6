"""Saving, diagnosing and replaying a training step whose loss or gradient is not finite.

Such values are never clamped or averaged away. A training skips a few such steps, each named in its
log. The first one beyond the limit ends the training and is saved, with the weights before the
step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from brainbrr_core.configuration import Model, Training
from brainbrr_core.configuration.settings import Precision
from brainbrr_core.data import Batch, known_samples
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build_network
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training.fine_tuning import freeze_encoder
from brainbrr_core.training.loss import Loss, loss_of
from brainbrr_core.training.trainer import StepMetrics, Trainer

#: The most windows that a message names; the saved file has all of them.
NAMED_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class StepDiagnosis:
    """Where values that are not finite appear in a step.

    Attributes
    ----------
    loss, gradient_norm : float
        Loss and norm of the gradient.
    windows : tuple of str
        Windows with a logit or label that is not finite.
    module : str or None
        The first module with an output that is not finite.
    parameters : tuple of str
        Parameters with a gradient that is not finite.
    """

    loss: float
    gradient_norm: float
    windows: tuple[str, ...]
    module: str | None
    parameters: tuple[str, ...]

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are finite."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


class SavedStep(BaseModel):
    """The header of a saved step's file, which describes its tensors."""

    step: int
    #: Loss and gradient norm at the time, as text: JSON has no NaN or infinity.
    loss: str
    norm: str
    #: The network; None if the training did not know its settings.
    model: Model | None = None
    #: Name of its size, which earlier versions of the program wrote instead.
    preset: str | None = None
    training: Training
    positive_fraction: float
    precision: Precision
    #: Recording and second of each window.
    names: tuple[str, ...]


def diagnose_step(
    network: nn.Module, loss: Loss, batch: Batch, bfloat16: bool = False
) -> StepDiagnosis:
    """Repeat the forward and backward pass of a batch, and check the output of every module.

    Afterwards the network's gradients are those of the batch; its weights do not change.
    """
    nonfinite_modules: list[str] = []

    def hook_of(name: str) -> Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            if not all(bool(tensor.isfinite().all()) for tensor in outputs):
                nonfinite_modules.append(name)

        return hook

    handles = [
        module.register_forward_hook(hook_of(name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        network.zero_grad(set_to_none=True)
        with torch.autocast(batch.signals.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = network(batch.signals)
        value = loss(logits, batch.labels, batch.weights)
        torch.autograd.backward(value)
    finally:
        for handle in handles:
            handle.remove()
    finite = logits.detach().isfinite().all(dim=1) & batch.labels.isfinite().all(dim=1)
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    norms = torch.stack([gradient.float().norm() for gradient in gradients.values()])
    return StepDiagnosis(
        loss=float(value.detach()),
        gradient_norm=float(norms.norm()),
        windows=tuple(
            name for name, good in zip(batch.names, finite.tolist(), strict=True) if not good
        ),
        module=nonfinite_modules[0] if nonfinite_modules else None,
        parameters=tuple(n for n, g in gradients.items() if not bool(g.isfinite().all())),
    )


def end_training(
    trainer: Trainer, metrics: StepMetrics, batch: Batch, directory: Path, model: Model | None
) -> NoReturn:
    """Save a step that is not finite so that it can be replayed, and raise :class:`BrainbrrError`.

    ``batch`` is that of the step, and the trainer has the weights before the step.
    """
    group = trainer.group
    suffix = f"-process-{group.rank}" if group.world_size > 1 else ""
    path = directory / f"nonfinite-step-{metrics.step}{suffix}.safetensors"
    header = SavedStep(
        step=metrics.step,
        loss=str(metrics.loss),
        norm=str(metrics.gradient_norm),
        model=model,
        training=trainer.settings,
        positive_fraction=trainer.positive_fraction,
        precision=trainer.hardware.precision,
        names=batch.names,
    )
    tensors = {"signals": batch.signals, "labels": batch.labels}
    if batch.weights is not None:
        tensors["weights"] = batch.weights
    tensors |= {f"network/{name}": value for name, value in trainer.network.state_dict().items()}
    weight_files.save_tensors(path, tensors, header.model_dump(mode="json"))
    diagnosis = diagnose_step(trainer.network, trainer.loss, batch, trainer.bfloat16)
    quantity = "gradient" if math.isfinite(diagnosis.loss) else "loss"
    module = f" (first in {diagnosis.module})" if diagnosis.module else ""
    raise BrainbrrError(
        f"the {quantity} of step {metrics.step} is not finite{module}, in "
        f"{list_windows(diagnosis.windows or batch.names)}: the batch and the weights are saved; "
        f"run `brainbrr replay {path}` to examine them, and exclude the window or lower "
        "training.learning_rate"
    )


def list_windows(names: tuple[str, ...]) -> str:
    """The first windows by name, and how many more there are."""
    listed = ", ".join(names[:NAMED_WINDOWS])
    if len(names) > NAMED_WINDOWS:
        listed += f" and {len(names) - NAMED_WINDOWS} more"
    return listed


def replay(path: Path) -> tuple[StepDiagnosis, SavedStep]:
    """Repeat a saved step with torch on the CPU; return the diagnosis and the file's header.

    Raises :class:`BrainbrrError` if the file is damaged or not a saved step.
    """
    tensors, values = weight_files.load_tensors(path)
    try:
        saved = SavedStep.model_validate(values)
        batch = Batch(
            tensors["signals"],
            tensors["labels"],
            saved.names,
            tensors.get("weights"),
            known=known_samples(tensors["labels"]),
        )
    except KeyError as error:
        raise _not_a_saved_step(path, str(error)) from None
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise _not_a_saved_step(path, names) from None
    model = saved.model
    if model is None and saved.preset is not None:
        model = Model.model_validate({"preset": saved.preset})
    if model is None:
        raise _not_a_saved_step(path, "model")
    _, channels, samples = batch.signals.shape
    network = build_network(model, samples, channels=channels)
    network.load_state_dict(
        {n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")}
    )
    if saved.training.freeze is not None:
        freeze_encoder(network)
    loss = loss_of(saved.training, saved.positive_fraction)
    return diagnose_step(network.train(), loss, batch, saved.precision == "bfloat16"), saved


def _not_a_saved_step(path: Path, missing: str) -> BrainbrrError:
    return BrainbrrError(
        f"{path} is not a saved step that can be replayed ({missing} is missing or invalid): give "
        "a file nonfinite-step-*.safetensors of a run's folder"
    )
