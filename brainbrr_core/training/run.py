"""A training run: a folder whose name follows from all that shapes the model.

The same cache, configuration and seed name the same folder, so a finished run is used again and
a broken one goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from brainbrr_core.cache.lease import holding
from brainbrr_core.cache.manifest import Manifest, counts
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Training
from brainbrr_core.corpus.layouts.base import SPLITS
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.data.augmentation import draw
from brainbrr_core.data.device_batches import ArrivingBatch, send
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.data.prefetch import prefetched
from brainbrr_core.data.weighting import equal_seizures
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.model import SeizureNetwork, build
from brainbrr_core.model.backend import Backend
from brainbrr_core.training.checkpoint import load_model, save_model
from brainbrr_core.training.determinism import prepare_environment
from brainbrr_core.training.distributed import ALONE, World, joined
from brainbrr_core.training.hardware import describe_device
from brainbrr_core.training.identity import TRAINING_VERSION, settings_identity
from brainbrr_core.training.loop import StepReport, fit, ignore_step
from brainbrr_core.training.metrics import MetricsLog
from brainbrr_core.training.preflight import Preflight, check, check_machine, disk_remarks
from brainbrr_core.training.provenance import provenance_of
from brainbrr_core.training.resumption import steps_done
from brainbrr_core.training.run_corpus import RunCorpus
from brainbrr_core.training.used_versions import RUN, STARTED
from brainbrr_core.training.validation import Validation, Validator

MODEL = "model.safetensors"
#: Batches in page-locked memory: one is filled while another is copied to the device.
RING = 2


#: What a run of before each training version was made without.
_CHANGED_WITH = {
    # Their thresholds were probabilities, and settings of detection not part of a run's name: the
    # weights that were kept may be of another step.
    4: "validations choose weights in another way",
    # Noise is drawn where the network is, by another generator, and the optimizer is one kernel,
    # which rounds where several did before.
    5: "augmentation draws other noise and steps are rounded in another way",
}


class _Model(BaseModel):
    preset: str


class _Windows(BaseModel):
    length_s: int


class _Training(BaseModel):
    seed: int
    steps: int


class _Identity(BaseModel):
    model: _Model
    windows: _Windows
    training: _Training
    preprocessing_version: str
    manifest: str


class _RunFile(BaseModel):
    """What every reader of a ``run.json`` relies on; a file without it is damaged."""

    identity: _Identity
    finished_at: str
    seconds: float
    parameters: int
    hardware: dict[str, str]
    ssm_backend: str
    model_blake3: str


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and what ``run.json`` says of it."""

    directory: Path
    values: dict[str, Any]
    reused: bool = False

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    @property
    def trained_with(self) -> str:
        """The backend of the state-space layers that the training used."""
        return str(self.values["ssm_backend"])

    def load_network(self, ssm_backend: Backend) -> SeizureNetwork:
        """The trained network on a backend of choice, in evaluation mode, on the CPU.

        The weights fit both backends. Raises :class:`BrainbrrError` when the backend cannot be
        had, or when the weights are damaged or not the ones that the run recorded.
        """
        network = build(self.values["identity"]["model"]["preset"], ssm_backend)
        path = self.directory / MODEL
        state, _ = load_model(path, self.values["model_blake3"])
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise BrainbrrError(
                f"{path} does not hold the network that {self.directory / RUN} names: remove the "
                "folder and train again"
            ) from None
        return network.eval()


def identity(configuration: Configuration, manifest: Manifest) -> dict[str, Any]:
    """All that shapes the model; two runs with the same identity give the same model."""
    return {
        **settings_identity(configuration),
        "preprocessing_version": manifest.version,
        "manifest": manifest.source,
    }


def run_directory(configuration: Configuration, manifest: Manifest) -> Path:
    """The folder of the run that a configuration and a manifest name."""
    name = digest(identity(configuration, manifest))[:12]
    return configuration.runs_dir / f"{configuration.profile}-{name}"


def open_run(directory: Path) -> Run:
    """A finished run. Raises :class:`WorkRemains` when there is none in ``directory``."""
    try:
        text = (directory / RUN).read_text(encoding="utf-8")
        _RunFile.model_validate_json(text)
    except FileNotFoundError:
        raise WorkRemains(f"no finished run in {directory}: run `brainbrr train`") from None
    except NotADirectoryError:
        raise BrainbrrError(
            f"{directory} is a file: name the run's folder, which holds {RUN} and {MODEL}"
        ) from None
    except ValueError:
        raise BrainbrrError(f"{directory / RUN} is damaged: remove it and train again") from None
    return Run(directory, json.loads(text))


def latest_run(runs_dir: Path) -> Run:
    """The run that finished last. Raises :class:`WorkRemains` when there is none."""
    finished = sorted(
        runs_dir.glob(f"*/{RUN}"), key=lambda path: (path.stat().st_mtime_ns, str(path))
    )
    if not finished:
        raise WorkRemains(f"no finished run in {runs_dir}: run `brainbrr train`")
    return open_run(finished[-1].parent)


def current_run(configuration: Configuration) -> tuple[Run, Preflight]:
    """The finished run of the configuration as it is now, and the cache it was trained on.

    Raises :class:`WorkRemains` where there is none, which names a run of an earlier version.
    """
    preflight = check(configuration)
    directory = run_directory(configuration, preflight.manifest)
    if not (directory / RUN).exists():
        earlier = earlier_runs(configuration, preflight.manifest)
        if earlier:
            raise WorkRemains(f"{'; '.join(earlier)}: run `brainbrr train`")
    return open_run(directory), preflight


def earlier_runs(configuration: Configuration, manifest: Manifest) -> list[str]:
    """What to say of finished runs that differ from the configured one in their version alone.

    Each is said to lack what changed with the versions since, whether its settings use that or not.
    """
    wanted = identity(configuration, manifest)
    lines = []
    for path in sorted(configuration.runs_dir.glob(f"*/{RUN}")):
        try:
            known = open_run(path.parent).values["identity"]
        except BrainbrrError:
            # Named where it is used.
            continue
        version = known.get("training_version", 0)
        rest = {key: value for key, value in known.items() if key != "training_version"}
        if version < TRAINING_VERSION and all(wanted.get(key) == rest[key] for key in rest):
            since = [text for number, text in _CHANGED_WITH.items() if version < number]
            lines.append(
                f"run {path.parent.name} has these settings but is of training version {version}, "
                f"not {TRAINING_VERSION}: since then {' and '.join(since)} (it stays, and "
                f"`brainbrr evaluate {path.parent.name}` scores it)"
            )
    return lines


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
        finished = open_run(directory)
        return Run(directory, finished.values, reused=True)
    for line in earlier_runs(configuration, preflight.manifest):
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
        write_json(directory / STARTED, {"preprocessing_version": manifest.version})
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
    of = identity(configuration, manifest)
    checksum = save_model(directory / MODEL, network.to("cpu"), {"identity": of})
    values = {
        **known,
        "identity": of,
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
    write_json(directory / RUN, values)


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


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        temporary.write_text(text, encoding="utf-8")
