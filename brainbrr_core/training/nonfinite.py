"""A step whose loss or gradient is not finite: skipped, or saved whole and done again at will.

Nothing is averaged away or clamped. A training skips a few such steps, each named in its log; the
one that is too many ends it and is saved, with the weights that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training.loss import Loss, loss_of

#: Windows named in the message; the saved file names all of them.
NAMED_WINDOWS = 4
#: Steps that are skipped in all where the settings do not say: a product in bfloat16 may overflow
#: by chance, one in float32 hardly does.
SKIPPED_STEPS = {"bfloat16": 20, "float32": 0}


def skipped_steps_limit(settings: Training, hardware: Hardware) -> int:
    """How many steps of a training may be skipped; one more ends it."""
    if settings.skipped_steps_limit is not None:
        return settings.skipped_steps_limit
    return SKIPPED_STEPS[hardware.precision]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What became of a step: where the first value that is not finite appears.

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
        """Whether the step went well this time."""
        return bool(torch.isfinite(torch.tensor([self.loss, self.gradient_norm])).all())


def dissect(
    network: nn.Module,
    loss: Loss,
    signals: Tensor,
    labels: Tensor,
    names: tuple[str, ...],
    bfloat16: bool = False,
    weights: Tensor | None = None,
) -> Anatomy:
    """Do the forward and backward pass of a batch again and look at every module on the way.

    The network's gradients are those of the batch afterwards; its weights do not change.
    """
    culprits: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, tuple) else (output,)
            if not all(bool(part.isfinite().all()) for part in outputs):
                culprits.append(name)

        return look

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        network.zero_grad(set_to_none=True)
        with torch.autocast(signals.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = network(signals)
        value = loss(logits, labels, weights)
        torch.autograd.backward(value)
    finally:
        for hook in hooks:
            hook.remove()
    sound = logits.detach().isfinite().all(dim=1) & labels.isfinite().all(dim=1)
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    norms = torch.stack([gradient.float().norm() for gradient in gradients.values()])
    return Anatomy(
        loss=float(value.detach()),
        gradient_norm=float(norms.norm()),
        windows=tuple(n for n, good in zip(names, sound.tolist(), strict=True) if not good),
        module=culprits[0] if culprits else None,
        parameters=tuple(n for n, g in gradients.items() if not bool(g.isfinite().all())),
    )


def save_step(
    path: Path,
    network: nn.Module,
    signals: Tensor,
    labels: Tensor,
    names: tuple[str, ...],
    header: dict[str, Any],
    weights: Tensor | None = None,
) -> None:
    """Write what is needed to do a step again: weights, windows, and what ``header`` says."""
    tensors = {"signals": signals, "labels": labels}
    if weights is not None:
        tensors["weights"] = weights
    tensors |= {f"network/{name}": value for name, value in network.state_dict().items()}
    weight_files.save_tensors(path, tensors, {**header, "names": names})


def error_of(anatomy: Anatomy, step: int, names: tuple[str, ...], path: Path) -> BrainbrrError:
    """The one line about a step that is not finite, in this process's share of its batch."""
    listed = some_of(anatomy.windows or names)
    loss_is_finite = bool(torch.isfinite(torch.tensor(anatomy.loss)))
    what = "gradient" if loss_is_finite else "loss"
    where = f" (first in {anatomy.module})" if anatomy.module else ""
    return BrainbrrError(
        f"the {what} of step {step} is not finite{where}, in {listed}: the batch and the weights "
        f"are saved, look with `brainbrr replay {path}`; exclude the window, or lower "
        "training.learning_rate"
    )


def some_of(names: tuple[str, ...]) -> str:
    """The first windows by name, and how many more there are."""
    listed = ", ".join(names[:NAMED_WINDOWS])
    if len(names) > NAMED_WINDOWS:
        listed += f" and {len(names) - NAMED_WINDOWS} more"
    return listed


def replay(path: Path) -> tuple[Anatomy, dict[str, Any]]:
    """Do a saved step again, in torch on the CPU: what became of it, and the file's header.

    Raises :class:`BrainbrrError` when the file is damaged or is not a saved step.
    """
    tensors, header = weight_files.load_tensors(path)
    try:
        preset, fraction = header["preset"], float(header["positive_fraction"])
        settings = Training.model_validate(header["training"])
        signals, labels = tensors["signals"], tensors["labels"]
        names = tuple(header["names"])
        bfloat16 = header["precision"] == "bfloat16"
    except (KeyError, ValueError) as error:
        raise BrainbrrError(f"{path} is not a saved step ({error}): give one of those") from None
    network = build(preset)
    network.load_state_dict(
        {n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")}
    )
    loss = loss_of(settings, fraction)
    weights = tensors.get("weights")
    return dissect(network.train(), loss, signals, labels, names, bfloat16, weights), header
