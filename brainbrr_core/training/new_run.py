"""A new run: from a cache that passed the pre-flight to the record of a finished training.

Everything here needs torch. Before it imports this module, :mod:`brainbrr_core.training.run` checks
whether there is anything to train and whether the cache is ready for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue

from brainbrr_core.cache.manifest import Manifest, counts
from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import channels_of
from brainbrr_core.configuration import Hardware, Training
from brainbrr_core.constants import SPLITS
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.augmentation import draw
from brainbrr_core.data.device_batches import ArrivingBatch, send
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.data.prefetch import read_ahead
from brainbrr_core.data.weighting import equal_seizures
from brainbrr_core.display.counts import count
from brainbrr_core.files.one_process import one_process
from brainbrr_core.model import AdaptedNetwork, AnyNetwork, build_network, check_on_one_batch
from brainbrr_core.model.device import check_device, describe_device
from brainbrr_core.runs.earlier_trainings import record_trainings_before
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.network_source import keep_source
from brainbrr_core.runs.record import MODEL, RunRecord, is_finished, write_record
from brainbrr_core.runs.run import run_identity
from brainbrr_core.runs.run_corpus import RunCorpus
from brainbrr_core.runs.used_versions import write_started
from brainbrr_core.runs.weights import save_model
from brainbrr_core.training.determinism import prepare_environment
from brainbrr_core.training.distributed import SINGLE_PROCESS, ProcessGroup, join_process_group
from brainbrr_core.training.fine_tuning import (
    freeze_encoder,
    load_starting_weights,
    starting_sentence,
)
from brainbrr_core.training.loop import fit, ignore_line, ignore_step
from brainbrr_core.training.metrics import MetricsLog
from brainbrr_core.training.preflight import check_space, disk_remarks
from brainbrr_core.training.provenance import Provenance
from brainbrr_core.training.report import StepReport
from brainbrr_core.training.resumption import steps_done
from brainbrr_core.training.validation import Validation, Validator

#: Number of batches in page-locked memory: one is filled while the other is copied to the device.
RING = 2


def train_anew(
    preflight: Preflight,
    settings: TrainingSettings,
    directory: Path,
    recorded: dict[str, JsonValue],
    on_step: Callable[[StepReport], None] | None,
    after_validation: Callable[[Validation], None] | None,
    log: Callable[[str], None],
) -> bool:
    """Train a network on a checked cache, resuming from its last checkpoint if there is one.

    ``directory`` becomes the run's folder, and ``recorded`` is the configuration that ``run.json``
    records. In processes that ``torchrun`` has started, all of them train together, and the
    main one writes files and logs. False where another process has finished the run just before,
    which is left as it is. Raises as :func:`~brainbrr_core.training.run.train` does.
    """
    prepare_environment(settings.hardware)
    with join_process_group(settings.hardware) as group:
        if not group.is_main:
            on_step, after_validation, log = None, None, ignore_line
        with ExitStack() as lock:
            trained = _train(
                preflight,
                settings,
                directory,
                recorded,
                group,
                lock,
                on_step,
                after_validation,
                log,
            )
        group.barrier()
    return trained


def _only_training_of(directory: Path) -> AbstractContextManager[None]:
    """A block in which no other process trains the run of this folder: both would write to it."""
    return one_process(
        directory.with_name(f".{directory.name}.lock"),
        f"another process trains run {directory.name} in {directory.parent}: wait for it, and run "
        "the same command again to use its result",
    )


def _train(
    preflight: Preflight,
    settings: TrainingSettings,
    directory: Path,
    recorded: dict[str, JsonValue],
    group: ProcessGroup,
    lock: ExitStack,
    on_step: Callable[[StepReport], None] | None,
    after_validation: Callable[[Validation], None] | None,
    log: Callable[[str], None],
) -> bool:
    manifest, store = preflight.manifest, preflight.plan.store
    hardware, training = settings.hardware, settings.training
    device = check_device(hardware, group.local_rank)
    network = _checked_network(settings, manifest)
    weight_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    check_space(directory.parent, weight_bytes, training.keep_checkpoints)
    description = describe_device(device)
    for line in [*preflight.lines(), *disk_remarks(preflight)]:
        log(line)
    log(
        f"device {description}, SSM backend {hardware.ssm_backend}, {group.world_size} "
        f"process{'es' if group.world_size > 1 else ''}"
    )

    if settings.start is not None:
        log(starting_sentence(settings.start, network))
    sampling = BalancedSampling.of(manifest, settings.sampling)
    log(
        f"training set {len(sampling):,} windows an epoch, {sampling.positive_fraction:.1%} of "
        f"their time ictal; {count(training.steps, 'step')} of "
        f"{count(hardware.batch_size, 'window')}"
    )
    dataset = training_windows(manifest, store, training, sampling, device)
    provenance = Provenance(
        profile=manifest.profile,
        model=settings.model,
        configuration=recorded,
        seed=training.seed,
        preprocessing_version=manifest.version,
        manifest=manifest.source,
        ssm_backend=hardware.ssm_backend,
        hardware=description.record(),
    )
    validate = Validator(
        preflight.scorable("dev"),
        manifest.window_samples,
        store,
        settings.detection,
        hardware,
        device,
        group,
    )

    if group.is_main:
        lock.enter_context(_only_training_of(directory))
    # Another process may have finished it since the caller looked, which needed no lock.
    if group.broadcast(is_finished(directory) if group.is_main else None):
        log(f"another process has just finished run {directory.name}: nothing to train")
        return False
    directory.mkdir(parents=True, exist_ok=True)
    if group.is_main:
        write_started(directory, manifest.version)
        keep_source(settings.model.network, directory)
        if settings.start is not None:
            start = settings.start
            record_trainings_before(directory, start.checksum, str(start.directory))
        store.note_run(directory)
    started = time.monotonic()
    with MetricsLog(
        directory,
        group,
        steps_done(directory) + 1,
        wandb_project=training.wandb,
        mlflow_experiment=training.mlflow,
        configuration=provenance.configuration,
        log=log,
    ) as metrics:

        def on_validation(validation: Validation) -> None:
            metrics.log_validation(validation)
            log(validation.line())
            if after_validation is not None:
                after_validation(validation)

        summary = fit(
            network,
            training_batches(dataset, sampling, training, hardware, DeviceFeed(device), group),
            training,
            hardware,
            directory,
            sampling.positive_fraction,
            on_step or ignore_step,
            validate=validate,
            on_validation=on_validation,
            step_log=metrics,
            group=group,
            provenance=provenance,
            log=log,
        )
    if summary.stopped:
        log(f"ended after {summary.steps} of {training.steps} steps: {summary.stopped}")
    if summary.skipped_steps:
        log(summary.skips())

    if not group.is_main:
        return True
    identity = run_identity(settings, manifest)
    checksum = save_model(directory / MODEL, network.to("cpu"), {"identity": identity})
    values: dict[str, object] = {
        **provenance.record(),
        "identity": identity,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "positive_fraction": sampling.positive_fraction,
        "fit": summary.model_dump(mode="json"),
        "processes": group.world_size,
        "threads": torch.get_num_threads(),
        "data": counts(manifest, SPLITS),
        "model_blake3": checksum,
    }
    # The record is written last: a run with a record is finished.
    RunCorpus.of(preflight.plan).write(directory)
    write_record(directory, RunRecord.model_validate(values))
    return True


def _checked_network(settings: TrainingSettings, manifest: Manifest) -> AnyNetwork:
    """The network to train, with its initial weights. Raises if it cannot be trained."""
    network = build_network(
        settings.model,
        manifest.window_samples,
        channels=len(channels_of(manifest.version)),
        ssm_backend=settings.hardware.ssm_backend,
        seed=settings.training.seed,
        recompute_activations=settings.hardware.recompute_activations,
    )
    if isinstance(network, AdaptedNetwork):
        check_on_one_batch(network)
    if settings.start is not None:
        load_starting_weights(network, settings.start, settings.model, manifest.version)
    if settings.training.freeze is not None:
        freeze_encoder(network)
    return network


def training_windows(
    manifest: Manifest,
    store: Store,
    settings: Training,
    sampling: BalancedSampling,
    device: torch.device = CPU,
) -> WindowDataset:
    """The windows of a training, as int16, with weights if the settings ask for them."""
    weights = None
    if settings.seizure_weight == "events":
        weights = equal_seizures(manifest, sampling.expected_draws(len(manifest)))
    return WindowDataset(
        manifest, store, kind="int16", ring=RING, seizure_weights=weights, device=device
    )


def training_batches(
    dataset: WindowDataset,
    sampling: BalancedSampling,
    settings: Training,
    hardware: Hardware,
    feed: DeviceFeed,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Callable[[int], Generator[Batch]]:
    """A function that yields this process's share of the batches, beginning with a step.

    A thread reads and augments the batches, and sends them to the device before they are needed.
    """
    rows_of_process = np.arange(hardware.batch_size)[group.rank :: group.world_size]

    def send_from(first_step: int) -> Iterator[ArrivingBatch]:
        drawn = sampling.batches(hardware.batch_size, settings.seed, first_step)
        for step, rows in enumerate(drawn, start=first_step):
            positions = rows_of_process.tolist()
            changes = draw(settings.augmentation, settings.seed, step, positions, dataset.channels)
            yield send(dataset, dataset.fetch(rows[rows_of_process]), changes, feed)

    def receive_from(first_step: int) -> Generator[Batch]:
        with closing(read_ahead(send_from(first_step))) as arriving:
            for batch in arriving:
                yield batch.receive()

    return receive_from
