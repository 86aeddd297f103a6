"""A training on the GPU as users run it: its data, its interruption, its scores.

All of it is of one synthetic corpus, which :func:`prepare` writes and builds, with a small training
on the CPU beside it.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.gpu.rates import seconds_of
from brainbrr_core.benchmark.model import Task as Step
from brainbrr_core.benchmark.model import make_step
from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import Manifest, ManifestRecording
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
from brainbrr_core.constants import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, found_by
from brainbrr_core.detection.recordings import recording_frames, with_scores
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.machine.processors import usable_cores
from brainbrr_core.model import build
from brainbrr_core.model.device import check_device
from brainbrr_core.runs.run import Run, latest_run
from brainbrr_core.scoring import OperatingPoint, sweep_thresholds, tune_threshold
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.checkpoint import CHECKPOINT_NAME
from brainbrr_core.training.run import train

#: TUSZ's dev: the hours that a validation scores.
TUSZ_DEV_HOURS = 435.0
_SEED = 0
#: Steps of the trainings that are interrupted and repeated, and between their checkpoints.
_REPEATED_STEPS, _CHECKPOINT = 40, 10
_CPU = Hardware(batch_size=8)

Frames = dict[str, NDArray[np.float32]]


def _settings(
    task: Task,
    name: str,
    preset: str,
    hardware: Hardware,
    steps: int,
    augmentation: Augmentation | None = None,
    checkpoint_every: int | None = None,
) -> Configuration:
    """The settings of one training on the synthetic corpus, with a runs folder of its own."""
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
            "selection": type(task.configuration.selection)(),
            "model": Model.model_validate({"preset": preset}),
            "training": training,
            "hardware": hardware,
        }
    )


def _on_gpu(task: Task, **changes: Any) -> Hardware:
    """The configured hardware with the fastest backend that is there, and with ``changes``."""
    update = {"ssm_backend": task.backends[-1], "accumulate": 1, **changes}
    return task.configuration.hardware.model_copy(update=update)


def _of_cpu(task: Task) -> Configuration:
    return _settings(task, "cpu", "tiny", _CPU, task.extent.cpu_steps)


def _recordings(configuration: Configuration) -> tuple[Store, Manifest]:
    plan = plan_corpus(configuration)
    return plan.store, update_manifest(plan, configuration).manifest


def prepare(task: Task) -> dict[str, Any]:
    """Write the corpus, build its shards and train ``tiny`` on the CPU."""
    # Others compile beside it.
    torch.set_num_threads(min(4, usable_cores()))
    settings = _of_cpu(task)
    clock = time.perf_counter()
    write_corpus(
        task.folder / "tusz",
        recordings=task.extent.recordings,
        hours=task.extent.hours,
        seed=_SEED,
    )
    build_shards(plan_corpus(settings), settings.preprocessing)
    _, manifest = _recordings(settings)
    built = time.perf_counter()
    train(settings, log=_say)
    return {
        "hours": round(sum(r.samples for r in manifest.recordings) / RATE / 3600, 2),
        "corpus_s": round(built - clock, 1),
        "cpu_training_s": round(time.perf_counter() - built, 1),
    }


def waiting(task: Task) -> dict[str, Any]:
    """Windows a second of trainings from the store, against the same step on one batch again.

    What a GPU loses by waiting for data, and by whatever else a training does beside its steps, is
    the difference.
    """
    augmentation = load(Overrides(config="full:cpu"), {}).training.augmentation
    rows = []
    for preset in task.extent.trained:
        hardware = _on_gpu(task, batch_size=task.extent.batches[preset])
        step = Step(
            preset,
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
        settings = _settings(
            task, f"waiting-{preset}", preset, hardware, task.extent.gpu_steps, augmentation
        )
        fit = train(settings, log=_say).record.fit
        rows.append(
            {
                "preset": preset,
                "backend": hardware.ssm_backend,
                "batch": hardware.batch_size,
                "one_batch_windows_per_s": round(alone, 1),
                "training_windows_per_s": round(fit.windows_per_s, 1),
                "lost_share": round(1 - fit.windows_per_s / alone, 4),
                "host_waited_share": round(fit.data_wait_share, 4),
            }
        )
    return {"steps": task.extent.gpu_steps, "rows": rows}


def resuming(task: Task) -> dict[str, Any]:
    """Deterministic trainings: whole, once more, and killed and gone on with; and what it costs."""
    batch = min(task.extent.batches["tiny"], 64)
    exact = _on_gpu(task, batch_size=batch, deterministic=True)
    whole = _repeated(task, "whole", exact)
    plain = _repeated(task, "plain", _on_gpu(task, batch_size=batch))
    for settings in (whole, plain):
        _process(settings).join()
    again, killed = (_repeated(task, name, exact) for name in ("again", "killed"))
    second, first = _process(again), _process(killed)
    while first.is_alive() and not list(killed.runs_dir.glob(f"*/{CHECKPOINT_NAME}")):
        time.sleep(0.05)
    first.kill()
    first.join()
    _process(killed).join()
    second.join()
    runs = {
        name: latest_run(settings.runs_dir)
        for name, settings in (
            ("whole", whole),
            ("again", again),
            ("killed", killed),
            ("plain", plain),
        )
    }
    weights = {name: run.record.model_blake3 for name, run in runs.items()}
    rates = {name: run.record.fit.windows_per_s for name, run in runs.items()}
    return {
        "steps": _REPEATED_STEPS,
        "batch": batch,
        "same_twice": weights["whole"] == weights["again"],
        "resumed_from": runs["killed"].record.fit.resumed_from,
        "same_after_a_kill": weights["whole"] == weights["killed"],
        "deterministic_windows_per_s": round(rates["whole"], 1),
        "plain_windows_per_s": round(rates["plain"], 1),
    }


def _repeated(task: Task, name: str, hardware: Hardware) -> Configuration:
    return _settings(task, name, "tiny", hardware, _REPEATED_STEPS, checkpoint_every=_CHECKPOINT)


def _process(settings: Configuration) -> multiprocessing.process.BaseProcess:
    """A training in a process of its own, under way."""
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(settings,))
    process.start()
    return process


def _train(settings: Configuration) -> None:
    train(settings, log=_say)


def scoring(task: Task) -> dict[str, Any]:
    """Hours of EEG that an untrained network scores in a second, and what TUSZ's dev would take."""
    settings = _of_cpu(task)
    store, manifest = _recordings(settings)
    hours = sum(r.samples for r in manifest.recordings) / RATE / 3600
    rows = []
    for preset in task.extent.presets:
        hardware = _on_gpu(task, batch_size=task.extent.batches[preset])
        device = check_device(hardware)
        network = build(preset, hardware.ssm_backend, seed=0).to(device)
        scorer = WindowScorer.of(network, hardware, device)
        # The first time opens and verifies the shards.
        _frames(scorer, store, manifest.recordings, settings)
        start = time.perf_counter()
        _frames(scorer, store, manifest.recordings, settings)
        rate = hours / (time.perf_counter() - start)
        rows.append(
            {
                "preset": preset,
                "backend": hardware.ssm_backend,
                "batch": scorer.batch,
                "hours_per_s": round(rate, 3),
                "tusz_dev_s": round(TUSZ_DEV_HOURS / rate, 1),
            }
        )
    return {
        "hours": round(hours, 2),
        "precision": task.configuration.hardware.precision,
        "rows": rows,
    }


def crossing(task: Task) -> dict[str, Any]:
    """A network trained on the CPU scored on the GPU, and one trained on the GPU on the CPU."""
    settings = _of_cpu(task)
    store, manifest = _recordings(settings)
    dev = [r for r in manifest.recordings if r.split == "dev"]
    ways = {"torch, float32": _on_gpu(task, ssm_backend="torch", precision="float32")} | {
        f"{backend}, {task.configuration.hardware.precision}": _on_gpu(task, ssm_backend=backend)
        for backend in task.backends
    }
    rows = []
    for name in ("cpu", "waiting-tiny"):
        runs_dir = task.folder / "runs" / name
        if not runs_dir.is_dir():
            continue
        run = latest_run(runs_dir)
        exact = _frames_of(run, _CPU, store, dev, settings)
        point, events = _tuned(exact, dev, settings)
        for way, hardware in ways.items():
            found = _frames_of(run, hardware, store, dev, settings)
            tuned, _ = _tuned(found, dev, settings)
            at_same = _events(found, dev, settings, point)
            rows.append(
                {
                    "trained_on": "cpu" if name == "cpu" else "gpu",
                    "scored_by": way,
                    "largest_logit_difference": max(
                        float(np.abs(found[key] - exact[key]).max()) for key in exact
                    ),
                    "logits_sd": round(float(np.concatenate([*exact.values()]).std()), 4),
                    "largest_probability_difference": max(
                        float(np.abs(_sigmoid(found[key]) - _sigmoid(exact[key])).max())
                        for key in exact
                    ),
                    "threshold": round(tuned.on, 5),
                    "threshold_on_cpu": round(point.on, 5),
                    "events": sum(map(len, at_same.values())),
                    "events_on_cpu": sum(map(len, events.values())),
                    "events_moved_s": _moved(at_same, events),
                }
            )
    return {"recordings": len(dev), "rows": rows}


def _frames(
    scorer: WindowScorer,
    store: Store,
    recordings: list[ManifestRecording] | tuple[ManifestRecording, ...],
    settings: Configuration,
) -> Frames:
    window = settings.windows.length_s * RATE
    return dict(
        recording_frames(
            scorer,
            ((r.partition_key, RecordingReader(store, r)) for r in recordings),
            window,
            min(settings.detection.stride_s * RATE, window),
            settings.detection.stitching,
        )
    )


def _frames_of(
    run: Run,
    hardware: Hardware,
    store: Store,
    recordings: list[ManifestRecording],
    settings: Configuration,
) -> Frames:
    device = check_device(hardware)
    network = run.load_network(hardware.ssm_backend).to(device)
    return _frames(WindowScorer.of(network, hardware, device), store, recordings, settings)


def _tuned(
    frames: Frames, recordings: list[ManifestRecording], settings: Configuration
) -> tuple[OperatingPoint, dict[str, list[tuple[float, float]]]]:
    scored = [with_scores(r, frames[r.partition_key]) for r in recordings]
    sweep = sweep_thresholds(scored, found_by(settings.detection), settings.detection.off_ratio)
    point = tune_threshold(sweep).point
    return point, _events(frames, recordings, settings, point)


def _events(
    frames: Frames,
    recordings: list[ManifestRecording],
    settings: Configuration,
    point: OperatingPoint,
) -> dict[str, list[tuple[float, float]]]:
    return {
        r.partition_key: [
            (event.start, event.stop)
            for event in detect(frames[r.partition_key], r.duration_s, settings.detection, point)
        ]
        for r in recordings
    }


def _moved(
    found: dict[str, list[tuple[float, float]]], expected: dict[str, list[tuple[float, float]]]
) -> float | None:
    """By how many seconds a bound moved at most; None where there are not the same events."""
    if any(len(found[key]) != len(expected[key]) for key in expected):
        return None
    bounds = [
        abs(a - b)
        for key in expected
        for one, other in zip(found[key], expected[key], strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return round(max(bounds, default=0.0), 3)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    probabilities: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return probabilities


def _say(line: str) -> None:
    print(line, flush=True)
