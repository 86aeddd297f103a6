"""A training on the GPU as users run it: its data and its interruption.

All sections of the measurement use one synthetic corpus. :func:`prepare` writes it, builds its
cache, and trains a small network on the CPU for comparison.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from typing import TypedDict, Unpack

import torch

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.gpu.rates import seconds_of
from brainbrr_core.benchmark.network_passes import Task as Step
from brainbrr_core.benchmark.network_passes import make_step
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import (
    Augmentation,
    Configuration,
    Hardware,
    Model,
    Overrides,
    Training,
    load,
)
from brainbrr_core.configuration.settings import Precision, Selection
from brainbrr_core.constants import RATE
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device
from brainbrr_core.runs.run import latest_run
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.checkpoint import CHECKPOINT_NAME
from brainbrr_core.training.run import train

_SEED = 0
#: Steps of the trainings that are interrupted and repeated, and between their checkpoints.
_REPEATED_STEPS, _CHECKPOINT = 40, 10
CPU = Hardware(batch_size=8)


class Preparation(Figures):
    """The synthetic corpus, and the training on the CPU."""

    hours: float
    corpus_s: float
    cpu_training_s: float

    def table(self) -> Table:
        """One row for each figure."""
        figures = {
            "hours": self.hours,
            "corpus s": self.corpus_s,
            "cpu training s": self.cpu_training_s,
        }
        rows = [[name, f"{figure:,}"] for name, figure in figures.items()]
        return Table("Synthetic corpus, and a training of tiny on the CPU", ["", "figure"], rows)


class Wait(Figures):
    """A training from the store, compared with the same step on one batch again and again."""

    preset: str
    backend: Backend
    batch: int
    one_batch_windows_per_s: float
    training_windows_per_s: float
    lost_share: float
    host_waited_share: float


class Waiting(Figures):
    """Trainings of so many steps."""

    steps: int
    rows: tuple[Wait, ...]

    def table(self) -> Table:
        """One row for each training."""
        columns = [
            "network",
            "batch",
            "one batch again, windows/s",
            "from the store, augmented, windows/s",
            "lost, first steps included",
            "host waited",
        ]
        rows = [
            [
                f"{row.preset}, {row.backend}",
                str(row.batch),
                f"{row.one_batch_windows_per_s:,.0f}",
                f"{row.training_windows_per_s:,.0f}",
                f"{row.lost_share:.1%}",
                f"{row.host_waited_share:.1%}",
            ]
            for row in self.rows
        ]
        return Table(f"Trainings of {self.steps} steps", columns, rows)


class Resuming(Figures):
    """Whether a training gives the same model twice, and after it was killed; and the speed."""

    steps: int
    batch: int
    same_twice: bool
    resumed_from: int
    same_after_a_kill: bool
    deterministic_windows_per_s: float
    plain_windows_per_s: float

    def table(self) -> Table:
        """One row for each figure."""
        rows = [
            ["the same model twice", "yes" if self.same_twice else "NO"],
            [
                f"killed, resumed from step {self.resumed_from}: the same model",
                "yes" if self.same_after_a_kill else "NO",
            ],
            ["deterministic, windows/s", f"{self.deterministic_windows_per_s:,.0f}"],
            ["not deterministic, windows/s", f"{self.plain_windows_per_s:,.0f}"],
        ]
        title = f"hardware.deterministic, {self.steps} steps of {self.batch}"
        return Table(title, ["", ""], rows)


class _HardwareChanges(TypedDict, total=False):
    batch_size: int
    deterministic: bool
    ssm_backend: Backend
    precision: Precision


def _training_configuration(
    task: Task,
    name: str,
    preset: str,
    hardware: Hardware,
    steps: int,
    augmentation: Augmentation | None = None,
    checkpoint_every: int | None = None,
) -> Configuration:
    """The configuration of one training on the synthetic corpus, with its own runs folder."""
    training = Training(
        seed=_SEED,
        steps=steps,
        warmup_steps=min(30, steps // 4),
        learning_rate=1e-3,
        validate_every=steps,
        checkpoint_every=checkpoint_every or steps,
        keep_checkpoints=0,
        augmentation=augmentation or Augmentation(),
    )
    return task.configuration.model_copy(
        update={
            "profile": "gpu",
            "data_dir": str(task.folder / "tusz"),
            "cache_root": task.folder / "cache",
            "runs_dir": task.folder / "runs" / name,
            "version": None,
            "selection": Selection(),
            "model": Model.model_validate({"preset": preset}),
            "training": training,
            "hardware": hardware,
        }
    )


def on_gpu(task: Task, **changes: Unpack[_HardwareChanges]) -> Hardware:
    """The configured hardware with the fastest available backend, and with ``changes``."""
    update = {"ssm_backend": task.backends[-1], "accumulate": 1, **changes}
    return task.configuration.hardware.model_copy(update=update)


def _on_cpu(task: Task) -> Configuration:
    """The configuration of the training on the CPU."""
    return _training_configuration(task, "cpu", "tiny", CPU, task.extent.cpu_steps)


def stored_recordings(task: Task) -> tuple[Store, Manifest]:
    """The store and the manifest of the synthetic corpus."""
    configuration = _on_cpu(task)
    plan = plan_corpus(configuration)
    return plan.store, update_manifest(plan, configuration.manifest_settings).manifest


def prepare(task: Task) -> Preparation:
    """Write the corpus, build its shards and train ``tiny`` on the CPU."""
    # Other processes compile at the same time.
    torch.set_num_threads(min(4, usable_cores()))
    configuration = _on_cpu(task)
    clock = time.perf_counter()
    write_corpus(
        task.folder / "tusz",
        recordings=task.extent.recordings,
        hours=task.extent.hours,
        seed=_SEED,
    )
    build_shards(plan_corpus(configuration), configuration.preprocessing)
    _, manifest = stored_recordings(task)
    built = time.perf_counter()
    train(configuration, log=_log)
    return Preparation(
        hours=round(sum(r.samples for r in manifest.recordings) / RATE / 3600, 2),
        corpus_s=round(built - clock, 1),
        cpu_training_s=round(time.perf_counter() - built, 1),
    )


def waiting(task: Task) -> Waiting:
    """Windows per second of trainings from the store, compared with steps on one batch.

    The difference is what a GPU loses by waiting for data, and by everything that a training does
    besides its steps.
    """
    augmentation = load(Overrides(config="full:cpu"), {}).training.augmentation
    rows = []
    for preset in task.extent.trained:
        hardware = on_gpu(task, batch_size=task.extent.batches[preset])
        step = Step(
            Model.model_validate({"preset": preset}),
            hardware.ssm_backend,
            "training",
            hardware.batch_size,
            task.configuration.windows.length_s,
            hardware,
            task.extent.seconds,
            torch.get_num_threads(),
        )
        device = check_device(hardware)
        alone = hardware.batch_size / seconds_of(make_step(step, device), device, step.budget_s)
        configuration = _training_configuration(
            task, f"waiting-{preset}", preset, hardware, task.extent.gpu_steps, augmentation
        )
        fit = train(configuration, log=_log).record.fit
        rows.append(
            Wait(
                preset=preset,
                backend=hardware.ssm_backend,
                batch=hardware.batch_size,
                one_batch_windows_per_s=round(alone, 1),
                training_windows_per_s=round(fit.windows_per_s, 1),
                lost_share=round(1 - fit.windows_per_s / alone, 4),
                host_waited_share=round(fit.data_wait_share, 4),
            )
        )
    return Waiting(steps=task.extent.gpu_steps, rows=tuple(rows))


def resuming(task: Task) -> Resuming:
    """Run deterministic trainings: whole, again, and killed and resumed; and one that is not."""
    batch = min(task.extent.batches["tiny"], 64)
    exact = on_gpu(task, batch_size=batch, deterministic=True)
    plain = on_gpu(task, batch_size=batch)
    _start_training(task, "whole", exact).join()
    _start_training(task, "plain", plain).join()
    again = _start_training(task, "again", exact)
    killed = _start_training(task, "killed", exact)
    runs_dir = task.folder / "runs"
    while killed.is_alive() and not list((runs_dir / "killed").glob(f"*/{CHECKPOINT_NAME}")):
        time.sleep(0.05)
    killed.kill()
    killed.join()
    _start_training(task, "killed", exact).join()
    again.join()
    records = {
        name: latest_run(runs_dir / name).record for name in ("whole", "again", "killed", "plain")
    }
    weights = {name: record.model_blake3 for name, record in records.items()}
    return Resuming(
        steps=_REPEATED_STEPS,
        batch=batch,
        same_twice=weights["whole"] == weights["again"],
        resumed_from=records["killed"].fit.resumed_from,
        same_after_a_kill=weights["whole"] == weights["killed"],
        deterministic_windows_per_s=round(records["whole"].fit.windows_per_s, 1),
        plain_windows_per_s=round(records["plain"].fit.windows_per_s, 1),
    )


def _start_training(task: Task, name: str, hardware: Hardware) -> BaseProcess:
    """Start a training of ``tiny``, or resume it, in its own process."""
    configuration = _training_configuration(
        task, name, "tiny", hardware, _REPEATED_STEPS, checkpoint_every=_CHECKPOINT
    )
    process = multiprocessing.get_context("spawn").Process(
        target=train, args=(configuration,), kwargs={"log": _log}
    )
    process.start()
    return process


def _log(line: str) -> None:
    print(line, flush=True)
