"""Do the fused kernels compute the layer that they replace? Values, gradients, and losses.

The kernels and the layer in torch are both compared with the layer in float64, on the same device.
The allowed distance follows from the number format, not from what one run happened to give.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.configuration import Training
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.machine.pools import process_pool
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model import PRESETS, build
from brainbrr_core.model.backend import DETERMINISTIC_KERNELS, Backend, ssm_layer
from brainbrr_core.training.loss import loss_of
from brainbrr_core.training.optimizer import make_optimizer

#: Parameters whose gradients are sums, over all samples of a batch, of terms of either sign.
CANCELLING = ("A_log", "dt_bias", "D")
#: Largest allowed ``norm(x - reference) / norm(reference)``, in the order values, gradients,
#: gradients of :data:`CANCELLING`. A number of bfloat16 is off by 2**-9 at most, and five in
#: series are rounded between input and output, ten between input and gradient: 2**-6 and 2**-5.
#: Products of float32 are TF32 inside the kernels, off by 2**-11; two in series make the values,
#: four the gradients: 2**-9 and 2**-8. Where terms cancel, eight times the gradients'.
TOLERANCES: Mapping[str, tuple[float, float, float]] = {
    "bfloat16": (2**-6, 2**-5, 2**-2),
    "float32": (2**-9, 2**-8, 2**-5),
}
_BATCH = 4
_WINDOW_S = 60
_LEARNING_RATE = 1e-3
_POSITIVE_FRACTION = 0.25


class Distance(Figures):
    """How far a layer's output and gradients are from float64, relative to their norm.

    ``gradient`` and ``cancelling`` are the largest distances of a gradient, and ``gradient_of``
    and ``cancelling_of`` name their parameters.
    """

    value: float
    gradient: float
    gradient_of: str
    cancelling: float
    cancelling_of: str
    #: Parameters that should have a gradient and have none.
    without_gradient: tuple[str, ...]

    def is_within(self, value: float, gradient: float, cancelling: float) -> bool:
        """Whether no gradient is missing and no distance exceeds its bound; NaN always does."""
        return (
            not self.without_gradient
            and self.value <= value
            and self.gradient <= gradient
            and self.cancelling <= cancelling
        )


class LayerDistance(Distance):
    """The distance of one layer on one sequence."""

    preset: str
    backend: Backend
    precision: str
    length: NonNegativeInt
    within: bool


class Equality(Figures):
    """The distances of all layers."""

    rows: tuple[LayerDistance, ...]
    within: bool

    def table(self) -> Table:
        """One row for each layer and sequence."""
        rows = [
            [
                f"{row.preset}, {row.backend}",
                row.precision,
                f"{row.length:,}",
                f"{row.value:.1e}",
                f"{row.gradient:.1e} ({row.gradient_of})",
                f"{row.cancelling:.1e} ({row.cancelling_of})",
                "yes" if row.within else "NO",
            ]
            for row in self.rows
        ]
        columns = ["layer of", "precision", "steps", "values", "gradients", "of sums", "within"]
        return Table("Distance of one layer from float64, relative", columns, rows)


class Losses(Figures):
    """The loss after each step, by preset and by backend with its precision."""

    curves: dict[str, dict[str, tuple[float, ...]]]

    def table(self) -> Table:
        """One row for each curve, with its largest distance from torch in float32."""
        rows = []
        for preset, curves in self.curves.items():
            reference = curves["torch, float32"]
            for name, curve in curves.items():
                apart = max(
                    abs(ours - theirs) for ours, theirs in zip(curve, reference, strict=True)
                )
                figures = (curve[0], curve[len(curve) // 2], curve[-1], apart)
                rows.append([f"{preset}, {name}", *(f"{figure:.4f}" for figure in figures)])
        columns = ["network", "first", "middle", "last", "largest difference from torch, float32"]
        return Table("Loss on equal batches", columns, rows)


@dataclass(frozen=True, slots=True)
class LayerTask:
    """The layer of a preset, to compare on a sequence of some length in some precision."""

    preset: str
    length: int
    precision: str
    device: str
    backends: tuple[Backend, ...]


def equality(task: Task) -> Equality:
    """Distances of both backends from float64, by precision, width and length.

    The kernels are compiled for each length, in their deterministic variant only: to compile all
    variants would take minutes for each length.
    """
    os.environ[DETERMINISTIC_KERNELS] = "1"
    layers = [
        LayerTask(preset, length, precision, task.configuration.hardware.device, task.backends)
        for length in task.extent.lengths
        # The layers of ``small`` differ from those of ``tiny`` in their width alone.
        for preset in (task.extent.presets[0], task.extent.presets[-1])
        for precision in TOLERANCES
    ]
    with process_pool(min(len(layers), usable_cores())) as pool:
        compared = list(pool.map(compare, dict.fromkeys(layers)))
    rows = tuple(row for rows in compared for row in rows)
    return Equality(rows=rows, within=all(row.within for row in rows))


def compare(task: LayerTask) -> list[LayerDistance]:
    """The distance of each backend's layer from the layer in float64."""
    device, shape = torch.device(task.device), PRESETS[task.preset]
    torch.manual_seed(0)
    d_model = shape.channels[-1]
    exact = ssm_layer("torch", d_model, shape.d_state, shape.headdim)
    weights = {name: value.clone() for name, value in exact.state_dict().items()}
    u = torch.randn(_BATCH, task.length, d_model).to(device)
    cotangent = torch.randn(_BATCH, task.length, d_model).to(device)
    reference = _pass(exact.double().to(device), u.double(), cotangent.double(), None)
    rows = []
    for backend in task.backends:
        layer = ssm_layer(backend, d_model, shape.d_state, shape.headdim).to(device)
        layer.load_state_dict(weights)
        kind = torch.bfloat16 if task.precision == "bfloat16" else None
        distance = _distance(_pass(layer, u, cotangent, kind), reference)
        rows.append(
            LayerDistance(
                preset=task.preset,
                backend=backend,
                precision=task.precision,
                length=task.length,
                within=distance.is_within(*TOLERANCES[task.precision]),
                **dict(distance),
            )
        )
    return rows


def _pass(
    layer: nn.Module, u: Tensor, cotangent: Tensor, autocast: torch.dtype | None
) -> dict[str, Tensor]:
    """The layer's output and its gradients for one cotangent, by name."""
    layer.zero_grad(set_to_none=True)
    leaf = u.clone().requires_grad_()
    with torch.autocast(u.device.type, dtype=autocast, enabled=autocast is not None):
        out = layer(leaf)
    torch.autograd.backward(out, cotangent.to(out.dtype))
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    tensors = {"value": out.detach(), "input": leaf.grad, **gradients}
    return {name: tensor.double() for name, tensor in tensors.items() if tensor is not None}


def _distance(tensors: dict[str, Tensor], reference: dict[str, Tensor]) -> Distance:
    relative = {
        name: float((tensors[name] - exact).norm() / exact.norm().clamp_min(1e-12))
        for name, exact in reference.items()
        if name in tensors
    }
    value = relative.pop("value")
    # A sequence of one sample has no decay. Its gradient is zero, so the distance is absolute.
    if float(reference["A_log"].norm()) == 0.0:
        relative["A_log"] = float(tensors["A_log"].norm())
    cancelling = {name: error for name, error in relative.items() if name in CANCELLING}
    plain = {name: error for name, error in relative.items() if name not in CANCELLING}
    return Distance(
        value=value,
        gradient=max(plain.values()),
        gradient_of=max(plain, key=plain.__getitem__),
        cancelling=max(cancelling.values()),
        cancelling_of=max(cancelling, key=cancelling.__getitem__),
        without_gradient=tuple(sorted(reference.keys() - tensors.keys())),
    )


def losses(task: Task) -> Losses:
    """The loss of each backend on the same batches from the same weights.

    Torch is run in both precisions, the kernels in the configured one. The distance between
    float32 and bfloat16 in torch shows how much rounding matters.
    """
    device = torch.device(task.configuration.hardware.device)
    curves: dict[str, dict[str, tuple[float, ...]]] = {}
    for preset in task.extent.presets:
        curves[preset] = {
            f"{backend}, {precision}": _curve(task, preset, backend, precision, device)
            for backend in task.backends
            for precision in TOLERANCES
            if backend == "torch" or precision == task.configuration.hardware.precision
        }
    return Losses(curves=curves)


def _curve(
    task: Task, preset: str, backend: Backend, precision: str, device: torch.device
) -> tuple[float, ...]:
    network = build(preset, backend, seed=0).to(device).train()
    training = Training(learning_rate=_LEARNING_RATE)
    loss, optimizer = loss_of(training, _POSITIVE_FRACTION), make_optimizer(network, training)
    generator = torch.Generator(device).manual_seed(0)
    values = []
    for _ in range(task.extent.equal_batches):
        signals, labels = _rhythmic(task.extent.equal_batch, generator, device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(signals)
        value = loss(logits, labels, all_known=True)
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        values.append(value.detach())
    return tuple(round(float(value), 6) for value in torch.stack(values).tolist())


def _rhythmic(
    windows: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Noise in which a quarter of each window has a rhythm of 3 to 6 Hz, and labels that say so."""
    samples = _WINDOW_S * RATE
    shape = (windows, len(CHANNELS), samples)
    signals = torch.randn(shape, generator=generator, device=device)
    drawn = torch.rand(2, windows, 1, generator=generator, device=device)
    first = (drawn[0] * 0.75 * samples).long()
    at = torch.arange(samples, device=device)
    labels = ((at >= first) & (at < first + samples // 4)).float()
    rhythm = torch.sin(2 * torch.pi * (3 + 3 * drawn[1]) * at / RATE) * labels
    return signals + rhythm[:, None], labels
