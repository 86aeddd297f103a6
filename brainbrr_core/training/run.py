"""A training, from the pre-flight to the record of a finished run.

The same cache, configuration and seed name the same folder, so a finished run is used again and
a broken one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from brainbrr_core.cache.lease import holding
from brainbrr_core.cache.manifest import Manifest, counts
from brainbrr_core.cache.readiness import Preflight, check
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Training
from brainbrr_core.constants import SPLITS
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.augmentation import draw
from brainbrr_core.data.device_batches import ArrivingBatch, send
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.data.prefetch import prefetched
from brainbrr_core.data.weighting import equal_seizures
from brainbrr_core.model import build
from brainbrr_core.model.device import describe_device
from brainbrr_core.runs.identity import training_settings
from brainbrr_core.runs.record import RunRecord, write_record
from brainbrr_core.runs.run import (
    MODEL,
    Run,
    earlier_runs,
    open_run,
    run_directory,
    run_identity,
)
from brainbrr_core.runs.run_corpus import RunCorpus
from brainbrr_core.runs.used_versions import RUN, write_started
from brainbrr_core.runs.weights import save_model
from brainbrr_core.training.determinism import prepare_environment
from brainbrr_core.training.distributed import ALONE, World, joined
from brainbrr_core.training.loop import StepReport, fit, ignore_step
from brainbrr_core.training.metrics import MetricsLog
from brainbrr_core.training.preflight import check_machine, disk_remarks
from brainbrr_core.training.provenance import provenance_of
from brainbrr_core.training.resumption import steps_done
from brainbrr_core.training.validation import Validation, Validator

#: Batches in page-locked memory: one is filled while another is copied to the device.
RING = 2


@holding("train")
def train(
    configuration: Configuration,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    log: Callable[[str], None] = print,
) -> Run:
    """Train the network of a configuration, or return the finished run of the same identity.

    In processes that ``torchrun`` started, all train together and the first one writes and logs.
    Raises :class:`WorkRemains` where the cache or the manifest is not current, and
    :class:`BrainbrrError` for a device that is not the one asked for, for splits that cannot be
    trained on, and for a loss or gradient that is not finite.
    """
    preflight = check(configuration)
    directory = run_directory(configuration, preflight.manifest)
    if (directory / RUN).is_file() and (directory / MODEL).is_file():
        log(f"run {directory.name} is finished already: nothing to train")
        return replace(open_run(directory), reused=True)
    identity = run_identity(training_settings(configuration), preflight.manifest)
    for line in earlier_runs(configuration.runs_dir, identity):
        log(f"{line}; a new run is trained")
    prepare_environment(configuration.hardware)
    with joined(configuration.hardware) as world:
        if not world.first:
            on_step, log = None, _silent
        _train(configuration, preflight, directory, world, on_step, log)
        world.wait()
    return open_run(directory)


def _silent(_line: str) -> None:
    """What the processes after the first one say."""


def _train(
    configuration: Configuration,
    preflight: Preflight,
    directory: Path,
    world: World,
    on_step: Callable[[StepReport], None] | None,
    log: Callable[[str], None],
) -> None:
    manifest, store = preflight.manifest, preflight.plan.store
    hardware, settings = configuration.hardware, configuration.training
    device = check_machine(configuration, world.local_rank)
    for line in [*preflight.lines(), *disk_remarks(preflight)]:
        log(line)
    description = describe_device(device)
    log(
        f"device {description}, ssm backend {hardware.ssm_backend}, {world.size} "
        f"process{'es' if world.size > 1 else ''}"
    )
    sampling = BalancedSampling.of(manifest, configuration.sampling)
    log(
        f"training set {len(sampling)} windows an epoch, {sampling.positive_fraction:.4f} ictal; "
        f"{settings.steps} steps of {hardware.batch_size}"
    )
    network = build(
        configuration.model.preset,
        hardware.ssm_backend,
        seed=settings.seed,
        recompute_activations=hardware.recompute_activations,
    )
    known = provenance_of(configuration, manifest, description)
    directory.mkdir(parents=True, exist_ok=True)
    if world.first:
        write_started(directory, manifest.version)
        store.note_run(directory)
    started = time.monotonic()
    with MetricsLog(directory, configuration, world, steps_done(directory) + 1) as metrics:

        def validated(found: Validation) -> None:
            metrics.validation(found)
            log(found.line())

        summary = fit(
            network,
            _batches(
                configuration,
                manifest,
                training_windows(manifest, store, settings, sampling, device),
                DeviceFeed(device),
                world,
            ),
            settings,
            hardware,
            directory,
            sampling.positive_fraction,
            on_step or ignore_step,
            validate=Validator(
                scorable(preflight.plan, configuration.labels.seizure, "dev"),
                manifest.window_samples,
                store,
                configuration,
                device,
                world,
            ),
            on_validation=validated,
            journal=metrics,
            world=world,
            provenance=known,
            log=log,
        )
    if summary.stopped:
        log(f"ended after {summary.steps} of {settings.steps} steps: {summary.stopped}")
    if summary.skipped_steps:
        log(summary.skips())
    if not world.first:
        return
    identity = run_identity(training_settings(configuration), manifest)
    checksum = save_model(directory / MODEL, network.to("cpu"), {"identity": identity})
    values = {
        **known,
        "identity": identity,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "positive_fraction": sampling.positive_fraction,
        "fit": asdict(summary),
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "data": counts(manifest, SPLITS),
        "model_blake3": checksum,
    }
    # Before what makes the run a finished one.
    RunCorpus.of(preflight.plan).write(directory)
    write_record(directory, RunRecord.model_validate(values))


def training_windows(
    manifest: Manifest,
    store: Store,
    settings: Training,
    sampling: BalancedSampling,
    device: torch.device = CPU,
) -> WindowDataset:
    """The windows of a training, as stored, with weights where the settings ask for some."""
    weights = None
    if settings.seizure_weight == "events":
        weights = equal_seizures(manifest, sampling.expected_draws(len(manifest)))
    return WindowDataset(
        manifest, store, kind="int16", ring=RING, seizure_weights=weights, device=device
    )


def _batches(
    configuration: Configuration,
    manifest: Manifest,
    dataset: WindowDataset,
    feed: DeviceFeed,
    world: World = ALONE,
) -> Callable[[int], Iterator[Batch]]:
    """This process's share of the batches from a step on, sent to the device ahead by a thread."""
    sampling = BalancedSampling.of(manifest, configuration.sampling)
    size, training = configuration.hardware.batch_size, configuration.training
    places = np.arange(size)[world.rank :: world.size]

    def sent(first_step: int) -> Iterator[ArrivingBatch]:
        drawn = sampling.batches(size, training.seed, first_step)
        for step, rows in enumerate(drawn, start=first_step):
            changes = draw(training.augmentation, training.seed, step, places.tolist())
            yield send(dataset, dataset.fetch(rows[places]), changes, feed)

    def received(first_step: int) -> Iterator[Batch]:
        with closing(prefetched(sent(first_step))) as arriving:
            for batch in arriving:
                yield batch.receive()

    return received
