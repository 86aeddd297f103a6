"""A step whose loss or gradient is not finite: saved as it was, diagnosed, and replayed.

Nothing is averaged away or clamped. A training skips a few such steps, each named in its log; the
one that is too many ends it and is saved, with the weights that it began with.
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

#: Windows named in the message; the saved file names all of them.
NAMED_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class StepDiagnosis:
    """Where the first value that is not finite appears in a step.

    ``windows`` are those with a logit or label that is not finite; ``module`` is the first module
    with such an output and ``parameters`` those with such a gradient.
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
    """What the file of a saved step says next to its tensors."""

    step: int
    #: Loss and gradient norm at the time, as text: JSON has no NaN or infinity.
    loss: str
    norm: str
    #: The network; None where the training was not given one.
    model: Model | None = None
    #: What earlier versions of the program wrote instead: the name of its size.
    preset: str | None = None
    training: Training
    positive_fraction: float
    precision: Precision
    #: Recording and second of each window.
    names: tuple[str, ...]


def diagnose_step(
    network: nn.Module, loss: Loss, batch: Batch, bfloat16: bool = False
) -> StepDiagnosis:
    """Do the forward and backward pass of a batch again, and look at the output of every module.

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
    """Save what is needed to replay a step that is not finite, and raise :class:`BrainbrrError`.

    ``batch`` is the step's, and the trainer's weights are those that it began with.
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
        f"{list_windows(diagnosis.windows or batch.names)}: the batch and the weights are saved, "
        f"look with `brainbrr replay {path}`; exclude the window, or lower "
        "training.learning_rate"
    )


def list_windows(names: tuple[str, ...]) -> str:
    """The first windows by name, and how many more there are."""
    listed = ", ".join(names[:NAMED_WINDOWS])
    if len(names) > NAMED_WINDOWS:
        listed += f" and {len(names) - NAMED_WINDOWS} more"
    return listed


def replay(path: Path) -> tuple[StepDiagnosis, SavedStep]:
    """Do a saved step again, in torch on the CPU; return the diagnosis and what was saved.

    Raises :class:`BrainbrrError` when the file is damaged or is not a saved step.
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
