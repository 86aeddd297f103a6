"""``brainbrr bench learn``: does the network learn what a plain detector cannot find?

A synthetic corpus of ten patients; training, threshold and scores each on patients of their own.
Beside the trained network stand the same network untrained and the field's plainest baseline,
a threshold on the line length (Esteller et al., "Line length: an efficient feature for seizure
onset detection", 2001). The scores are SzCORE's event scores on whole recordings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import Manifest, ManifestRecording, update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Detection, Model, Training
from brainbrr_core.configuration.model import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import FRAME_SAMPLES, detect, finder, frame_count
from brainbrr_core.model import build
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.scoring import Counts, RecordingEvents, sweep_thresholds, total, tune_threshold
from brainbrr_core.scoring.szcore import score_recording
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.hardware import describe_device
from brainbrr_core.training.loop import StepReport
from brainbrr_core.training.run import train

#: Thirty recordings are six patients to train on, two to tune the threshold and two to score.
RECORDINGS, HOURS = 30, 8.0
#: Larger networks learn from smaller steps.
LEARNING_RATE = {"tiny": 2e-3, "small": 1.5e-3, "base": 3e-4}
#: Small, so that few windows give many steps.
BATCH = 8

Frames = NDArray[np.float32]
#: Frames of a whole recording, of the signal that ``read`` gives.
Detector = Callable[[RecordingReader], Frames]


@dataclass(frozen=True)
class _Framed:
    """A recording with one detector's frames, as the scoring wants it."""

    patient: str
    duration_s: float
    reference: tuple[Event, ...]
    probabilities_8hz: Frames


def run(
    configuration: Configuration,
    folder: Path,
    *,
    preset: str,
    steps: int,
    seed: int,
    on_step: Callable[[StepReport], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write the corpus below ``folder``, train on it and score the three detectors.

    The corpus, the first weights and the order of the windows follow from ``seed``. A folder that
    holds some of it already is gone on with.
    """
    settings = _settings(configuration, folder, preset, steps, seed)
    clock = time.perf_counter()
    summary = write_corpus(folder / "tusz", recordings=RECORDINGS, hours=HOURS, seed=seed)
    build_shards(plan_corpus(settings), settings.preprocessing)
    plan = plan_corpus(settings)
    manifest = update_manifest(plan, settings).manifest
    prepared = time.perf_counter() - clock
    log(f"corpus of {summary.patients} patients, {summary.hours:.1f} h, in {prepared:.0f} s")
    clock = time.perf_counter()
    trained = train(settings, on_step=on_step, log=log)
    seconds = time.perf_counter() - clock
    predictor = Predictor.of(trained, settings)
    untrained = Predictor(
        build(preset, seed=seed).eval().to(predictor.device),
        settings,
        predictor.device,
        predictor.window_s,
    )
    detection = settings.detection
    store = plan.store
    log("scoring")
    rows = {
        "trained": _tuned(manifest, store, detection, _by(predictor)),
        "line length": _tuned(manifest, store, detection, line_length),
        "untrained, its own threshold": _tuned(manifest, store, detection, _by(untrained)),
    }
    threshold = rows["trained"]["threshold"]
    rows["untrained"] = _scored(manifest, store, detection, _by(untrained), threshold)
    return {
        "seed": seed,
        "preset": preset,
        "hours": round(summary.hours, 2),
        "steps": trained.values["fit"]["steps"],
        "best_step": trained.values["fit"]["best_step"],
        "patients": {
            split: sorted({r.patient for r in manifest.recordings if r.split == split})
            for split in ("train", "dev", "eval")
        },
        "seizures_scored": sum(len(r.seizures) for r in manifest.recordings if r.split == "eval"),
        "corpus_s": round(prepared, 1),
        "training_s": round(seconds, 1),
        "windows_per_s": round(trained.values["fit"]["windows_per_s"], 2),
        "data_wait_share": round(trained.values["fit"]["data_wait_share"], 5),
        "hardware": describe_device(predictor.device),
        "detectors": rows,
    }


def _settings(
    configuration: Configuration, folder: Path, preset: str, steps: int, seed: int
) -> Configuration:
    training = Training(
        seed=seed,
        steps=steps,
        warmup_steps=min(30, steps // 4),
        learning_rate=LEARNING_RATE[preset],
        validate_every=max(1, steps // 4),
        checkpoint_every=max(1, steps // 4),
        keep_checkpoints=0,
    )
    return configuration.model_copy(
        update={
            "profile": "learn",
            "data_dir": str(folder / "tusz"),
            "cache_root": folder / "cache",
            "runs_dir": folder / "runs",
            "version": None,
            "selection": type(configuration.selection)(),
            "model": Model.model_validate({"preset": preset}),
            "training": training,
            "hardware": configuration.hardware.model_copy(update={"batch_size": BATCH}),
        }
    )


def line_length(reader: RecordingReader) -> Frames:
    """Line length against the recording's median, as a number between 0 and 1, by frames.

    The mean over channels and samples of the absolute difference to the sample before; a frame
    at the median gives 0.5, at twice the median 2/3.
    """
    signal = reader.read(0, reader.samples)
    steps = np.abs(np.diff(signal, axis=1, prepend=signal[:, :1])).mean(axis=0)
    edges = np.arange(frame_count(reader.samples)) * FRAME_SAMPLES
    sizes = np.diff(np.append(edges, reader.samples))
    lengths = np.add.reduceat(steps, edges) / sizes
    relative: Frames = (lengths / (lengths + np.median(lengths))).astype(np.float32)
    return relative


def _by(predictor: Predictor) -> Detector:
    def frames(reader: RecordingReader) -> Frames:
        return predictor.probabilities(reader.read, reader.samples)

    return frames


def _framed(manifest: Manifest, store: Store, split: str, detector: Detector) -> list[_Framed]:
    def one(recording: ManifestRecording) -> _Framed:
        with torch.inference_mode():
            frames = detector(RecordingReader(store, recording))
        seizures = tuple(Event(start, stop, label) for start, stop, label in recording.seizures)
        return _Framed(recording.patient, recording.samples / RATE, seizures, frames)

    return [one(recording) for recording in manifest.recordings if recording.split == split]


def _tuned(
    manifest: Manifest, store: Store, detection: Detection, detector: Detector
) -> dict[str, float]:
    """Figures on eval at the threshold that is best on dev."""
    dev = _framed(manifest, store, "dev", detector)
    sweep = sweep_thresholds(dev, lambda frames, duration_s: finder(frames, duration_s, detection))
    tuned = tune_threshold(sweep)
    return _scored(manifest, store, detection, detector, tuned.threshold)


def _scored(
    manifest: Manifest, store: Store, detection: Detection, detector: Detector, threshold: float
) -> dict[str, float]:
    counts: list[Counts] = []
    for framed in _framed(manifest, store, "eval", detector):
        found = detect(framed.probabilities_8hz, framed.duration_s, detection, threshold)
        events = RecordingEvents(framed.patient, framed.duration_s, framed.reference, tuple(found))
        counts.append(score_recording(events).event)
    pooled = total(counts)
    return {
        "threshold": round(threshold, 4),
        "f1": round(pooled.f1, 3),
        "sensitivity": round(pooled.sensitivity, 3),
        "detected": pooled.detected,
        "reference": pooled.reference,
        "false": pooled.false,
        "false_per_day": round(pooled.false_per_day, 1),
    }
