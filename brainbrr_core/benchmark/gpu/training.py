"""A training on the GPU as users run it: its data, its interruption, its scores.

All sections use one synthetic corpus. :func:`prepare` writes it, builds its cache, and trains a
small network on the CPU for comparison.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from typing import Literal, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.gpu.rates import seconds_of
from brainbrr_core.benchmark.network_rates import Task as Step
from brainbrr_core.benchmark.network_rates import make_step
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import (
    Augmentation,
    Configuration,
    Detection,
    Hardware,
    Model,
    Overrides,
    Training,
    load,
)
from brainbrr_core.configuration.settings import Precision, Selection
from brainbrr_core.constants import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, found_by
from brainbrr_core.detection.recordings import recording_frames, with_scores
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model import build
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device
from brainbrr_core.runs.run import Run, latest_run
from brainbrr_core.scoring import OperatingPoint, sweep_thresholds, tune_threshold
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.checkpoint import CHECKPOINT_NAME
from brainbrr_core.training.run import train

#: Hours of TUSZ's dev split, which a validation scores.
TUSZ_DEV_HOURS = 435.0
_SEED = 0
#: Steps of the trainings that are interrupted and repeated, and between their checkpoints.
_REPEATED_STEPS, _CHECKPOINT = 40, 10
_CPU = Hardware(batch_size=8)

Frames = dict[str, NDArray[np.float32]]
#: Starts and stops of a recording's events in seconds, by partition key.
Spans = dict[str, list[tuple[float, float]]]


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


class ScoringRate(Figures):
    """Hours of EEG that a network scores in a second, and the seconds for TUSZ's dev."""

    preset: str
    backend: Backend
    batch: int
    hours_per_s: float
    tusz_dev_s: float


class Scoring(Figures):
    """Scoring of the synthetic corpus."""

    hours: float
    precision: str
    rows: tuple[ScoringRate, ...]

    def table(self) -> Table:
        """One row for each network."""
        rows = [
            [
                f"{row.preset}, {row.backend}",
                str(row.batch),
                f"{row.hours_per_s:.2f}",
                f"{row.tusz_dev_s:,.0f}",
            ]
            for row in self.rows
        ]
        columns = ["network", "batch", "hours of EEG a second", "435 h of TUSZ's dev, s"]
        return Table(f"Scoring in {self.precision}", columns, rows)


class Crossed(Figures):
    """Scores of one network on the GPU, compared with its scores on the CPU in float32."""

    trained_on: Literal["cpu", "gpu"]
    scored_by: str
    largest_logit_difference: float
    logits_sd: float
    largest_probability_difference: float
    threshold: float
    threshold_on_cpu: float
    #: Events at the threshold that was chosen on the CPU.
    events: int
    events_on_cpu: int
    #: By how much an event's start or stop differs at most; None where the events differ.
    events_moved_s: float | None


class Crossing(Figures):
    """Networks that were trained on one device and scored on the other."""

    recordings: int
    rows: tuple[Crossed, ...]

    def table(self) -> Table:
        """One row for each network and way to score it."""
        rows = [
            [
                f"{row.trained_on}, by {row.scored_by}",
                f"{row.largest_logit_difference:.1e}",
                f"{row.largest_probability_difference:.1e}",
                f"{row.threshold:.4f} ({row.threshold_on_cpu:.4f})",
                f"{row.events} ({row.events_on_cpu})",
                "" if row.events_moved_s is None else f"{row.events_moved_s:g} s",
            ]
            for row in self.rows
        ]
        columns = ["trained on", "logits apart", "probabilities", "threshold", "events", "moved"]
        return Table("Scored on the GPU, against the CPU (in parentheses)", columns, rows)


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


def _on_gpu(task: Task, **changes: Unpack[_HardwareChanges]) -> Hardware:
    """The configured hardware with the fastest available backend, and with ``changes``."""
    update = {"ssm_backend": task.backends[-1], "accumulate": 1, **changes}
    return task.configuration.hardware.model_copy(update=update)


def _on_cpu(task: Task) -> Configuration:
    """The configuration of the training on the CPU."""
    return _training_configuration(task, "cpu", "tiny", _CPU, task.extent.cpu_steps)


def _recordings(task: Task) -> tuple[Store, Manifest]:
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
    _, manifest = _recordings(task)
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
        hardware = _on_gpu(task, batch_size=task.extent.batches[preset])
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
    exact = _on_gpu(task, batch_size=batch, deterministic=True)
    plain = _on_gpu(task, batch_size=batch)
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


def scoring(task: Task) -> Scoring:
    """Hours of EEG that an untrained network scores in a second, and the time for TUSZ's dev."""
    window_s, detection = task.configuration.windows.length_s, task.configuration.detection
    store, manifest = _recordings(task)
    hours = sum(r.samples for r in manifest.recordings) / RATE / 3600
    rows = []
    for preset in task.extent.presets:
        hardware = _on_gpu(task, batch_size=task.extent.batches[preset])
        device = check_device(hardware)
        network = build(preset, hardware.ssm_backend, seed=0).to(device)
        scorer = WindowScorer.of(network, hardware, device)
        # The first time opens and verifies the shards.
        _frames(scorer, store, manifest.recordings, window_s, detection)
        start = time.perf_counter()
        _frames(scorer, store, manifest.recordings, window_s, detection)
        rate = hours / (time.perf_counter() - start)
        rows.append(
            ScoringRate(
                preset=preset,
                backend=hardware.ssm_backend,
                batch=scorer.batch,
                hours_per_s=round(rate, 3),
                tusz_dev_s=round(TUSZ_DEV_HOURS / rate, 1),
            )
        )
    return Scoring(
        hours=round(hours, 2), precision=task.configuration.hardware.precision, rows=tuple(rows)
    )


def crossing(task: Task) -> Crossing:
    """Score a network trained on the CPU on the GPU, and one trained on the GPU on the CPU."""
    store, manifest = _recordings(task)
    dev = [r for r in manifest.recordings if r.split == "dev"]
    window_s, detection = task.configuration.windows.length_s, task.configuration.detection
    ways = {"torch, float32": _on_gpu(task, ssm_backend="torch", precision="float32")} | {
        f"{backend}, {task.configuration.hardware.precision}": _on_gpu(task, ssm_backend=backend)
        for backend in task.backends
    }

    def frames_by(run: Run, hardware: Hardware) -> Frames:
        device = check_device(hardware)
        network = run.load_network(hardware.ssm_backend).to(device)
        scorer = WindowScorer.of(network, hardware, device)
        return _frames(scorer, store, dev, window_s, detection)

    rows = []
    trained: tuple[tuple[Literal["cpu", "gpu"], str], ...] = (
        ("cpu", "cpu"),
        ("gpu", "waiting-tiny"),
    )
    for device_name, name in trained:
        runs_dir = task.folder / "runs" / name
        if not runs_dir.is_dir():
            continue
        run = latest_run(runs_dir)
        exact = frames_by(run, _CPU)
        point = _tune(exact, dev, detection)
        events = _events(exact, dev, detection, point)
        for way, hardware in ways.items():
            frames = frames_by(run, hardware)
            at_same = _events(frames, dev, detection, point)
            rows.append(
                Crossed(
                    trained_on=device_name,
                    scored_by=way,
                    largest_logit_difference=max(
                        float(np.abs(frames[key] - exact[key]).max()) for key in exact
                    ),
                    logits_sd=round(float(np.concatenate([*exact.values()]).std()), 4),
                    largest_probability_difference=max(
                        float(np.abs(_sigmoid(frames[key]) - _sigmoid(exact[key])).max())
                        for key in exact
                    ),
                    threshold=round(_tune(frames, dev, detection).on, 5),
                    threshold_on_cpu=round(point.on, 5),
                    events=sum(map(len, at_same.values())),
                    events_on_cpu=sum(map(len, events.values())),
                    events_moved_s=_moved(at_same, events),
                )
            )
    return Crossing(recordings=len(dev), rows=tuple(rows))


def _frames(
    scorer: WindowScorer,
    store: Store,
    recordings: Sequence[ManifestRecording],
    window_s: int,
    detection: Detection,
) -> Frames:
    """Scores of the frames of each recording, by partition key."""
    window = window_s * RATE
    return dict(
        recording_frames(
            scorer,
            ((r.partition_key, RecordingReader(store, r)) for r in recordings),
            window,
            min(detection.stride_s * RATE, window),
            detection.stitching,
        )
    )


def _tune(
    frames: Frames, recordings: Sequence[ManifestRecording], detection: Detection
) -> OperatingPoint:
    """The operating point with the best event F1."""
    framed = [with_scores(r, frames[r.partition_key]) for r in recordings]
    return tune_threshold(sweep_thresholds(framed, found_by(detection), detection.off_ratio)).point


def _events(
    frames: Frames,
    recordings: Sequence[ManifestRecording],
    detection: Detection,
    point: OperatingPoint,
) -> Spans:
    return {
        r.partition_key: [
            (event.start, event.stop)
            for event in detect(frames[r.partition_key], r.duration_s, detection, point)
        ]
        for r in recordings
    }


def _moved(events: Spans, expected: Spans) -> float | None:
    """By how many seconds a start or stop moved at most; None where events appear or vanish."""
    if any(len(events[key]) != len(expected[key]) for key in expected):
        return None
    differences = [
        abs(ours - theirs)
        for key in expected
        for event, other in zip(events[key], expected[key], strict=True)
        for ours, theirs in zip(event, other, strict=True)
    ]
    return round(max(differences, default=0.0), 3)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return probabilities


def _log(line: str) -> None:
    print(line, flush=True)
