"""A training run: a folder whose name follows from all that shapes the model.

The same cache, configuration and seed name the same folder, so a finished run is used again and
a broken one goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from brainbrr_core.atomic import replacing
from brainbrr_core.cache.manifest import Manifest, counts
from brainbrr_core.cache.version import digest
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.layout import SPLITS
from brainbrr_core.data import BalancedSampling, Batch, WindowDataset
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.model import SeizureNetwork, build
from brainbrr_core.training.checkpoint import load_model, save_model
from brainbrr_core.training.hardware import check_device, describe_device
from brainbrr_core.training.identity import settings_identity
from brainbrr_core.training.loop import StepReport, fit
from brainbrr_core.training.preflight import Preflight, check

MODEL = "model.safetensors"
RUN = "run.json"
STEPS = "steps.jsonl"


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
    ssm_backend: str
    preprocessing_version: str
    manifest: str


class _RunFile(BaseModel):
    """What every reader of a ``run.json`` relies on; a file without it is damaged."""

    identity: _Identity
    finished_at: str
    seconds: float
    parameters: int
    hardware: dict[str, str]


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

    def load_network(self) -> SeizureNetwork:
        """The trained network, in evaluation mode, on the CPU."""
        model = self.values["identity"]["model"]
        network = build(model["preset"], self.values["identity"]["ssm_backend"])
        state, _ = load_model(self.directory / MODEL)
        network.load_state_dict(state)
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


def trained_versions(runs_dir: Path) -> set[str]:
    """Preprocessing versions that finished runs were trained on."""
    runs = [open_run(path.parent) for path in runs_dir.glob(f"*/{RUN}")]
    return {run.values["identity"]["preprocessing_version"] for run in runs}


def current_run(configuration: Configuration) -> tuple[Run, Preflight]:
    """The finished run of the configuration as it is now, and the cache it was trained on."""
    preflight = check(configuration)
    return open_run(run_directory(configuration, preflight.manifest)), preflight


def train(
    configuration: Configuration,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    log: Callable[[str], None] = print,
) -> Run:
    """Train the network of a configuration, or return the finished run of the same identity.

    Raises what the pre-flight and :func:`fit` raise.
    """
    preflight = check(configuration)
    manifest = preflight.manifest
    directory = run_directory(configuration, manifest)
    if (directory / RUN).is_file() and (directory / MODEL).is_file():
        log(f"run {directory.name} is finished already: nothing to train")
        finished = open_run(directory)
        return Run(directory, finished.values, reused=True)
    for line in preflight.lines():
        log(line)
    device = check_device(configuration.hardware)
    description = describe_device(device)
    log(f"device {description}, ssm backend {configuration.hardware.ssm_backend}")
    sampling = BalancedSampling.of(manifest, configuration.sampling)
    dataset = WindowDataset(manifest, preflight.plan.store)
    log(
        f"training set {len(sampling)} windows an epoch, {sampling.positive_fraction:.4f} ictal; "
        f"{configuration.training.steps} steps of {configuration.hardware.batch_size}"
    )
    network = build(
        configuration.model.preset,
        configuration.hardware.ssm_backend,
        seed=configuration.training.seed,
    )

    def batches(first_step: int) -> Iterator[Batch]:
        rows = sampling.batches(
            configuration.hardware.batch_size, configuration.training.seed, first_step
        )
        return (dataset.fetch(batch) for batch in rows)

    directory.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (directory / STEPS).open("a", encoding="utf-8") as steps:

        def report(step: StepReport) -> None:
            steps.write(json.dumps(asdict(step)) + "\n")
            if on_step is not None:
                on_step(step)

        summary = fit(
            network,
            batches,
            configuration.training,
            configuration.hardware,
            directory,
            sampling.positive_fraction,
            report,
        )
    values = {
        "identity": identity(configuration, manifest),
        "profile": configuration.profile,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "positive_fraction": sampling.positive_fraction,
        "fit": asdict(summary),
        "hardware": description,
        "threads": torch.get_num_threads(),
        "libraries": {name: library_version(name) for name in ("brainbrr", "torch", "numpy")},
        "data": counts(manifest, SPLITS),
    }
    save_model(directory / MODEL, network.to("cpu"), {"identity": json.dumps(values["identity"])})
    write_json(directory / RUN, values)
    return Run(directory, values)


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        temporary.write_text(text, encoding="utf-8")
