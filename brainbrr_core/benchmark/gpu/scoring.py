"""Scoring on the GPU: how fast, and whether it finds what the CPU finds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.benchmark.gpu.extent import Task
from brainbrr_core.benchmark.gpu.training import CPU, on_gpu, stored_recordings
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Detection, Hardware
from brainbrr_core.constants import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, finder_for
from brainbrr_core.detection.recordings import recording_frames, with_scores
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.model import build
from brainbrr_core.model.backend import Backend
from brainbrr_core.model.device import check_device
from brainbrr_core.runs.run import Run, latest_run
from brainbrr_core.scoring import OperatingPoint, sweep_thresholds, tune_threshold

#: Hours of TUSZ's dev split, which a validation scores.
TUSZ_DEV_HOURS = 435.0
Frames = dict[str, NDArray[np.float32]]
#: Starts and stops of a recording's events in seconds, by partition key.
Spans = dict[str, list[tuple[float, float]]]


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


def scoring(task: Task) -> Scoring:
    """Hours of EEG that an untrained network scores in a second, and the time for TUSZ's dev."""
    window_s, detection = task.configuration.windows.length_s, task.configuration.detection
    store, manifest = stored_recordings(task)
    hours = sum(r.samples for r in manifest.recordings) / RATE / 3600
    rows = []
    for preset in task.extent.presets:
        hardware = on_gpu(task, batch_size=task.extent.batches[preset])
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
    store, manifest = stored_recordings(task)
    dev = [r for r in manifest.recordings if r.split == "dev"]
    window_s, detection = task.configuration.windows.length_s, task.configuration.detection
    ways = {"torch, float32": on_gpu(task, ssm_backend="torch", precision="float32")} | {
        f"{backend}, {task.configuration.hardware.precision}": on_gpu(task, ssm_backend=backend)
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
        exact = frames_by(run, CPU)
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
    return tune_threshold(
        sweep_thresholds(framed, finder_for(detection), detection.off_ratio)
    ).point


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
