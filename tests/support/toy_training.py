"""A training small enough for a test, in the test's process or as a program of its own.

The program is ``toy_training.py FOLDER STEPS CHECKPOINT_EVERY ACCUMULATE [LAST]``, alone or with
the variables of ``torchrun``. With ``TOY_MASKED`` some samples are unknown; with ``TOY_SPOILED``
the last window of step 4 has a NaN and one step may be skipped; with ``TOY_GPU=BACKEND`` the preset
``tiny`` trains on a GPU, deterministically; with ``TOY_NETWORK=NAME`` another network trains, small
and without dropout; with ``TOY_TWINS`` every window comes twice, once for each of two processes.
The program prints a line per step and writes ``weights.safetensors``, and
``weights-RANK.safetensors`` of every process but the main one; after the step LAST it waits to be
killed.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from brainbrr_core.configuration import Hardware, Model, Training
from brainbrr_core.data import UNKNOWN_LABEL, Batch, known_samples
from brainbrr_core.model import (
    AdaptedNetwork,
    NetworkShape,
    SeizureNetwork,
    build,
    build_network,
)
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training import checkpoint as files
from brainbrr_core.training.determinism import prepare_environment
from brainbrr_core.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    join_process_group,
)
from brainbrr_core.training.loop import fit
from brainbrr_core.training.provenance import Provenance
from brainbrr_core.training.report import FitSummary, StepReport
from brainbrr_core.training.trainer import Trainer
from brainbrr_core.training.validation import BY_EVENTS, Validation

SMALLEST = NetworkShape(
    channels=(8, 8), strides=(4, 4), layers=1, headdim=4, d_state=4, blocks=1, kernels=(3, 5)
)
SAMPLES = 512
FRACTION = 0.25
#: Options with which each of the other networks is small, and its windows may be of 2 s.
SMALL_OPTIONS: dict[str, dict[str, JsonValue]] = {
    "dcrnn": {"step_s": 0.25, "hidden": 8},
    "eegnet": {"segment_s": 1, "F1": 4},
    "line_length": {"step_s": 0.25, "smooth_s": 0.75},
    "seizure_transformer": {"width": 32, "layers": 2, "feedforward": 64},
    "tcn": {"width": 8, "levels": 3},
    "tcn_bimamba": {"width": 32, "layers": 1, "headdim": 16, "d_state": 4},
    "unet": {"width": 4, "depth": 3},
}


def toy_batch(step: int, rows: int = 4) -> Batch:
    """Noise, and in a quarter of every window a rhythm on all channels: the seizure."""
    generator = torch.Generator().manual_seed(step)
    signals = torch.randn(rows, 19, SAMPLES, generator=generator)
    labels = torch.zeros(rows, SAMPLES)
    rhythm = 2 * torch.sin(2 * math.pi * 4 * torch.arange(SAMPLES) / 256)
    starts = torch.randint(0, SAMPLES * 3 // 4, (rows,), generator=generator).tolist()
    for row, start in enumerate(starts):
        labels[row, start : start + SAMPLES // 4] = 1
        signals[row] += rhythm * labels[row]
    names = tuple(f"recording-{step}-{row} at 0 s" for row in range(rows))
    return Batch(signals, labels, names, known=(SAMPLES,) * rows)


def counted(batch: Batch) -> Batch:
    """The batch as its labels are now, which a test has changed."""
    return replace(batch, known=known_samples(batch.labels))


def masked_batch(step: int) -> Batch:
    """A batch whose first window is wholly unknown, and two of the others in part."""
    batch = toy_batch(step)
    batch.labels[0] = UNKNOWN_LABEL
    batch.labels[1, ::3] = UNKNOWN_LABEL
    batch.labels[2, :200] = UNKNOWN_LABEL
    return counted(batch)


def twin_batch(step: int) -> Batch:
    """Two windows, each of them twice."""
    batch = toy_batch(step)
    twins = [0, 0, 1, 1]
    return Batch(
        batch.signals[twins], batch.labels[twins], batch.names, known=(SAMPLES,) * len(twins)
    )


def spoiled_batch(step: int) -> Batch:
    """The toy's batch; that of step 4 has a NaN in its last row."""
    batch = toy_batch(step)
    if step == 3:
        batch.signals[3, 4, 100] = math.nan
    return batch


def toy_batches(first: int) -> Iterator[Batch]:
    return map(toy_batch, itertools.count(first))


def spoiled_batches(first: int) -> Iterator[Batch]:
    return map(spoiled_batch, itertools.count(first))


def toy_network(seed: int = 0) -> SeizureNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SeizureNetwork(SMALLEST)


def other_network(name: str, seed: int = 0, **options: JsonValue) -> AdaptedNetwork:
    """One of the other networks, small."""
    model = Model(network=name, options=SMALL_OPTIONS[name] | options)
    network = build_network(model, SAMPLES, seed=seed)
    assert isinstance(network, AdaptedNetwork)
    return network


def toy_settings(steps: int, checkpoint_every: int = 100, **others: Any) -> Training:
    return Training(
        steps=steps, warmup_steps=3, learning_rate=5e-3, checkpoint_every=checkpoint_every, **others
    )


def toy_trainer(
    settings: Training | None = None,
    hardware: Hardware | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    network: nn.Module | None = None,
) -> Trainer:
    """A trainer on the CPU."""
    return Trainer(
        network or toy_network(),
        settings or toy_settings(50),
        hardware or Hardware(batch_size=4),
        torch.device("cpu"),
        FRACTION,
        group,
    )


def toy_provenance(preset: str = "tiny", preprocessing_version: str = "v0") -> Provenance:
    return Provenance(
        profile="toy",
        model=Model.model_validate({"preset": preset}),
        configuration={},
        seed=0,
        preprocessing_version=preprocessing_version,
        manifest="m",
        ssm_backend="torch",
        hardware={"device": "cpu"},
    )


class Interrupted(Exception):
    """A training ends here."""


def interrupt_at(step: int) -> Callable[[StepReport], None]:
    """An ``on_step`` that ends the training after a step."""

    def interrupt(report: StepReport) -> None:
        if report.step == step:
            raise Interrupted

    return interrupt


def toy_validation(step: int, score: float, auprc: float = 0.5) -> Validation:
    return Validation(
        step=step,
        rule=BY_EVENTS,
        score=score,
        sensitivity=score,
        false_per_day=5.0,
        threshold=0.5,
        f1=0.5,
        auroc=0.5,
        auprc=auprc,
        hours=10.0,
    )


class ScriptedValidation:
    """A ``validate`` that returns given scores by step and keeps copies of the weights it gets."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores
        self.weights: dict[int, dict[str, Tensor]] = {}

    def __call__(self, network: nn.Module, step: int) -> Validation:
        self.weights[step] = copy_weights(network)
        return toy_validation(step, self.scores[step])


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def has_weights(network: nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


class LinearNetwork(nn.Module):
    """One logit per sample from the channels: small enough to follow by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.1, 0.1, 19)[None])
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bct,c->bt", x, self.weight[0]) + self.bias


def training_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of all weights and of the optimizer's whole state."""
    tensors = {**network.state_dict(), **files.optimizer_tensors(network, optimizer)}
    return {name: value.clone() for name, value in tensors.items()}


def same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def ignore(report: StepReport) -> None:
    pass


def train(
    directory: Path,
    settings: Training,
    on_step: Callable[[StepReport], None] = ignore,
    hardware: Hardware | None = None,
    network: nn.Module | None = None,
    batches: Callable[[int], Iterator[Batch]] = toy_batches,
    **others: Any,
) -> tuple[nn.Module, FitSummary]:
    network = network or toy_network()
    hardware = hardware or Hardware(batch_size=4)
    summary = fit(network, batches, settings, hardware, directory, FRACTION, on_step, **others)
    return network, summary


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return has_weights(first, dict(second.state_dict()))


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    folder, steps, every, accumulate = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    last = int(sys.argv[5]) if len(sys.argv) > 5 else None
    torch.set_num_threads(1)
    hardware = Hardware(batch_size=4, accumulate=accumulate)
    make_network: Callable[..., nn.Module] = toy_network
    if "TOY_GPU" in os.environ:
        values = {"device": "cuda", "deterministic": True, "ssm_backend": os.environ["TOY_GPU"]}
        hardware = Hardware.model_validate(hardware.model_dump() | values)
        prepare_environment(hardware)
        make_network = partial(build, "tiny", hardware.ssm_backend)
    if "TOY_NETWORK" in os.environ:
        make_network = partial(other_network, os.environ["TOY_NETWORK"], dropout=0.0)
    make: Callable[[int], Batch] = toy_batch
    limit: int | None = None
    if "TOY_MASKED" in os.environ:
        make = masked_batch
    elif "TOY_TWINS" in os.environ:
        make = twin_batch
    elif "TOY_SPOILED" in os.environ:
        make, limit = spoiled_batch, 1
    with join_process_group(hardware) as group:

        def share(first: int) -> Iterator[Batch]:
            for step in itertools.count(first):
                batch = make(step)
                own = slice(group.rank, None, group.world_size)
                yield Batch(
                    batch.signals[own].to(hardware.device),
                    batch.labels[own].to(hardware.device),
                    batch.names[own],
                    known=batch.known[own],
                )

        def show(report: StepReport) -> None:
            if group.is_main:
                print(json.dumps([report.step, report.loss, report.gradient_norm]), flush=True)
            if report.step == last:
                signal.pause()

        network = make_network(seed=group.rank)
        settings = toy_settings(steps, every, skipped_steps_limit=limit)
        fit(network, share, settings, hardware, folder, FRACTION, show, group=group, log=say)
    name = "weights" if group.is_main else f"weights-{group.rank}"
    weight_files.save_model(folder / f"{name}.safetensors", network, {})


if __name__ == "__main__":
    main()
