"""Are the fused kernels the layer that they replace? Values, gradients, and losses in training.

Both are compared with the layer in float64, on the same device: the kernels must be as far from
it as their number format makes them, not as far as this run happens to be.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from brainbrr_core.benchmark.gpu.extent import Task
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


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A layer of a preset on a sequence of some length, in some precision."""

    preset: str
    length: int
    precision: str
    device: str
    backends: tuple[Backend, ...]


def equality(task: Task) -> dict[str, Any]:
    """Errors of both backends against float64, by precision, width and length.

    The kernels are compiled anew for each length, in one of their variants, the one that is taken
    where the same bits are asked for: all of them would take minutes a length.
    """
    os.environ[DETERMINISTIC_KERNELS] = "1"
    sequences = [
        _Sequence(preset, length, precision, task.configuration.hardware.device, task.backends)
        for length in task.extent.lengths
        # The layers of ``small`` differ from those of ``tiny`` in their width alone.
        for preset in (task.extent.presets[0], task.extent.presets[-1])
        for precision in TOLERANCES
    ]
    with process_pool(min(len(sequences), usable_cores())) as pool:
        compared = list(pool.map(_compared, dict.fromkeys(sequences)))
    rows = [row for rows in compared for row in rows]
    return {"rows": rows, "within": all(row["within"] for row in rows)}


def _compared(sequence: _Sequence) -> list[dict[str, Any]]:
    device, shape = torch.device(sequence.device), PRESETS[sequence.preset]
    torch.manual_seed(0)
    d_model = shape.channels[-1]
    exact = ssm_layer("torch", d_model, shape.d_state, shape.headdim)
    weights = {name: value.clone() for name, value in exact.state_dict().items()}
    u = torch.randn(_BATCH, sequence.length, d_model).to(device)
    cotangent = torch.randn(_BATCH, sequence.length, d_model).to(device)
    reference = _pass(exact.double().to(device), u.double(), cotangent.double(), None)
    rows = []
    for backend in sequence.backends:
        layer = ssm_layer(backend, d_model, shape.d_state, shape.headdim).to(device)
        layer.load_state_dict(weights)
        kind = torch.bfloat16 if sequence.precision == "bfloat16" else None
        errors = _errors(_pass(layer, u, cotangent, kind), reference)
        rows.append(
            {
                "preset": sequence.preset,
                "backend": backend,
                "precision": sequence.precision,
                "length": sequence.length,
                **errors,
                "within": _within(errors, TOLERANCES[sequence.precision]),
            }
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
    made = {"value": out.detach(), "input": leaf.grad, **gradients}
    return {name: tensor.double() for name, tensor in made.items() if tensor is not None}


def _errors(found: dict[str, Tensor], reference: dict[str, Tensor]) -> dict[str, Any]:
    missing = sorted(reference.keys() - found.keys())
    relative = {
        name: float((found[name] - exact).norm() / exact.norm().clamp_min(1e-12))
        for name, exact in reference.items()
        if name in found
    }
    value = relative.pop("value")
    # A sequence of one sample has no decay: its gradient is zero, and no error is relative to it.
    if float(reference["A_log"].norm()) == 0.0:
        relative["A_log"] = float(found["A_log"].norm())
    cancelling = {name: error for name, error in relative.items() if name in CANCELLING}
    plain = {name: error for name, error in relative.items() if name not in CANCELLING}
    return {
        "value": value,
        "gradient": max(plain.values()),
        "gradient_of": max(plain, key=plain.__getitem__),
        "cancelling": max(cancelling.values()),
        "cancelling_of": max(cancelling, key=cancelling.__getitem__),
        "without_gradient": missing,
    }


def _within(errors: Mapping[str, Any], bounds: tuple[float, float, float]) -> bool:
    figures = (errors["value"], errors["gradient"], errors["cancelling"])
    # Not a number is never within.
    return not errors["without_gradient"] and all(
        figure <= bound for figure, bound in zip(figures, bounds, strict=True)
    )


def losses(task: Task) -> dict[str, Any]:
    """The loss of each backend on the same batches from the same weights.

    In both precisions of torch, and in the configured one of the kernels: how far float32 and
    bfloat16 lie apart in torch says how much a rounding matters.
    """
    device = torch.device(task.configuration.hardware.device)
    curves: dict[str, dict[str, list[float]]] = {}
    for preset in task.extent.presets:
        curves[preset] = {
            f"{backend}, {precision}": _curve(task, preset, backend, precision, device)
            for backend in task.backends
            for precision in TOLERANCES
            if backend == "torch" or precision == task.configuration.hardware.precision
        }
    return {"curves": curves}


def _curve(
    task: Task, preset: str, backend: Backend, precision: str, device: torch.device
) -> list[float]:
    network = build(preset, backend, seed=0).to(device).train()
    settings = Training(learning_rate=_LEARNING_RATE)
    loss, optimizer = loss_of(settings, _POSITIVE_FRACTION), make_optimizer(network, settings)
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
    return [round(float(value), 6) for value in torch.stack(values).tolist()]


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
