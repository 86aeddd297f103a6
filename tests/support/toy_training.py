"""A training small enough for a test; run as a program, a process that can be killed or joined.

As a program: ``toy_training.py FOLDER STEPS CHECKPOINT_EVERY ACCUMULATE [LAST]``, alone or with the
variables of ``torchrun``; with ``TOY_MASKED``, some samples are unknown; with ``TOY_SPOILED``, the
last window of step 4 has a sample that is no number, and one step may be skipped; with
``TOY_GPU=BACKEND``, the preset ``tiny`` trains on a GPU to the same bits each time. It prints a
line a step, and leaves ``weights.safetensors``; after the step LAST it waits to be killed.
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
from torch import nn

from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.data import UNKNOWN_LABEL, Batch, known_samples
from brainbrr_core.model import NetworkShape, SeizureNetwork, build
from brainbrr_core.runs import weights as weight_files
from brainbrr_core.training.determinism import prepare_environment
from brainbrr_core.training.distributed import joined
from brainbrr_core.training.loop import FitSummary, StepReport, fit

SMALLEST = NetworkShape(
    channels=(8, 8), strides=(4, 4), layers=1, headdim=4, d_state=4, blocks=1, kernels=(3, 5)
)
SAMPLES = 512
FRACTION = 0.25


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


def spoiled_batch(step: int) -> Batch:
    """The toy's batch; that of step 4 has a sample that is no number in its last row."""
    batch = toy_batch(step)
    if step == 3:
        batch.signals[3, 4, 100] = math.nan
    return batch


def toy_batches(first: int) -> Iterator[Batch]:
    step = first
    while True:
        yield toy_batch(step)
        step += 1


def toy_network(seed: int = 0) -> SeizureNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SeizureNetwork(SMALLEST)


def toy_settings(steps: int, checkpoint_every: int = 100, **others: Any) -> Training:
    return Training(
        steps=steps, warmup_steps=3, learning_rate=5e-3, checkpoint_every=checkpoint_every, **others
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
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    folder, steps, every, accumulate = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    last = int(sys.argv[5]) if len(sys.argv) > 5 else None
    torch.set_num_threads(1)
    hardware = Hardware(batch_size=4, accumulate=accumulate)
    make_network = toy_network
    if "TOY_GPU" in os.environ:
        values = {"device": "cuda", "deterministic": True, "ssm_backend": os.environ["TOY_GPU"]}
        hardware = Hardware.model_validate(hardware.model_dump() | values)
        prepare_environment(hardware)
        make_network = partial(build, "tiny", hardware.ssm_backend)
    make, limit = toy_batch, None
    if "TOY_MASKED" in os.environ:
        make = masked_batch
    elif "TOY_SPOILED" in os.environ:
        make, limit = spoiled_batch, 1
    with joined(hardware) as world:

        def share(first: int) -> Iterator[Batch]:
            for step in itertools.count(first):
                batch = make(step)
                own = slice(world.rank, None, world.size)
                yield Batch(
                    batch.signals[own].to(hardware.device),
                    batch.labels[own].to(hardware.device),
                    batch.names[own],
                    known=batch.known[own],
                )

        def show(report: StepReport) -> None:
            if world.first:
                print(json.dumps([report.step, report.loss, report.gradient_norm]), flush=True)
            if report.step == last:
                signal.pause()

        network = make_network(seed=world.rank)
        settings = toy_settings(steps, every, skipped_steps_limit=limit)
        fit(network, share, settings, hardware, folder, FRACTION, show, world=world, log=say)
    if world.first:
        weight_files.save_model(folder / "weights.safetensors", network, {})


if __name__ == "__main__":
    main()
