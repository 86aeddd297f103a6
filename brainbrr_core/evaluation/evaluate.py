"""A run's scores on a split: the threshold from dev, events on whole recordings, the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.atomic import replacing
from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import digest
from brainbrr_core.configuration import Configuration, Detection
from brainbrr_core.configuration.model import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.report import Strip, write_report
from brainbrr_core.evaluation.results import (
    EvaluationResults,
    Highlight,
    ScoredRecording,
    ThresholdChoice,
    score,
    worst_false_alarms,
    worst_misses,
)
from brainbrr_core.prediction.predictor import THRESHOLD, Predictor
from brainbrr_core.progress import progress
from brainbrr_core.scoring import TunedThreshold, tune_threshold
from brainbrr_core.training.run import Run, current_run, write_json

#: Bumped when scoring, detection or the report change though their settings do not.
EVALUATION_VERSION = 1
REPORT, RESULTS = "report.html", "results.json"
_IDENTITY = "evaluation identity"


@dataclass(frozen=True)
class Evaluation:
    """Where a report lies and what it says."""

    report: Path
    results: EvaluationResults
    run: Run
    identity: str
    reused: bool


def evaluate(
    configuration: Configuration, split: str | None = None, *, log: Callable[[str], None] = print
) -> Evaluation:
    """Score the current run on a split (the configuration's by default) and write the report.

    The operating threshold is tuned on dev, once, and kept with the run. A report made of the
    same run, cache, settings and split is returned as it is.

    Raises :class:`WorkRemains` when there is no current run or the cache is not fresh.
    """
    split = split or configuration.evaluation.split
    run, preflight = current_run(configuration)
    manifest, store = preflight.manifest, preflight.plan.store
    identity = _identity(configuration, run, split)
    folder = run.directory / f"report-{split}"
    known = _read(folder / RESULTS)
    if (
        known is not None
        and known.provenance.get(_IDENTITY) == identity
        and (folder / REPORT).is_file()
    ):
        log(f"the report of run {run.name} on {split} is current: nothing to score")
        return Evaluation(folder / REPORT, known, run, identity, reused=True)
    recordings = [r for r in manifest.recordings if r.split == split]
    if not recordings:
        raise BrainbrrError(
            f"split {split} has no recording in profile {manifest.profile}: choose a larger "
            "--profile or another --split"
        )
    predictor = Predictor.of(run, configuration)
    on_dev = _probabilities(predictor, store, manifest, "dev")
    choice = _choose_threshold(configuration.detection, manifest, on_dev, run)
    frames = on_dev if split == "dev" else _probabilities(predictor, store, manifest, split)
    find = _detector(configuration.detection)
    scored = [_scored(r, frames[r.partition_key], find, choice.on_threshold) for r in recordings]
    results = score(
        scored,
        split=split,
        profile=configuration.profile,
        threshold=choice,
        provenance=_provenance(configuration, run, manifest) | {_IDENTITY: identity},
        detect=find,
    )
    highlights = worst_misses(results) + worst_false_alarms(results)
    strips = [_strip(store, manifest, highlight, frames) for highlight in highlights]
    write_report(folder / REPORT, results, strips)
    with replacing(folder / RESULTS) as temporary:
        temporary.write_text(results.to_json(), encoding="utf-8")
    return Evaluation(folder / REPORT, results, run, identity, reused=False)


def settings_identity(configuration: Configuration, split: str) -> dict[str, Any]:
    """The settings that shape a report."""
    return {
        "evaluation_version": EVALUATION_VERSION,
        "detection": configuration.detection.model_dump(mode="json"),
        "split": split,
    }


def _identity(configuration: Configuration, run: Run, split: str) -> str:
    return digest(
        {
            **settings_identity(configuration, split),
            "run": run.values["identity"],
            "finished_at": run.values["finished_at"],
        }
    )


def _read(path: Path) -> EvaluationResults | None:
    if not path.is_file():
        return None
    try:
        return EvaluationResults.from_json(path.read_text(encoding="utf-8"), str(path))
    except BrainbrrError:
        # Damaged, or of another version of the program: scored anew.
        return None


def _probabilities(
    predictor: Predictor, store: Store, manifest: Manifest, split: str
) -> dict[str, NDArray[np.float32]]:
    """Frames of every recording of a split, by partition key."""
    recordings = [r for r in manifest.recordings if r.split == split]
    frames = {}
    hours = sum(r.samples for r in recordings) / RATE / 3600
    with progress(f"score {split}", hours, "hours") as bar:
        for recording in recordings:
            reader = RecordingReader(store, recording)
            frames[recording.partition_key] = predictor.probabilities(reader.read, reader.samples)
            bar.advance(recording.samples / RATE / 3600)
    return frames


def _detector(
    settings: Detection,
) -> Callable[[NDArray[np.float32], float, float], Sequence[Event]]:
    def find(frames: NDArray[np.float32], duration_s: float, threshold: float) -> list[Event]:
        return detect(frames, duration_s, settings, threshold)

    return find


def _scored(
    recording: ManifestRecording,
    frames: NDArray[np.float32],
    find: Callable[[NDArray[np.float32], float, float], Sequence[Event]],
    threshold: float,
) -> ScoredRecording:
    duration = recording.samples / RATE
    return ScoredRecording(
        recording.partition_key,
        recording.patient,
        recording.montage,
        duration,
        tuple(Event(start, stop, label) for start, stop, label in recording.seizures),
        tuple(find(frames, duration, threshold)),
        frames,
    )


def _choose_threshold(
    settings: Detection, manifest: Manifest, frames: dict[str, NDArray[np.float32]], run: Run
) -> ThresholdChoice:
    """The threshold with the best event F1 on dev, kept with the run for predictions."""
    find = _detector(settings)
    dev = [
        _scored(r, frames[r.partition_key], find, settings.on_threshold)
        for r in manifest.recordings
        if r.split == "dev"
    ]
    tuned: TunedThreshold = tune_threshold(dev, find)
    write_json(
        run.directory / THRESHOLD,
        {
            "on_threshold": tuned.threshold,
            "dev_f1": tuned.f1,
            "detection": settings.model_dump(mode="json"),
        },
    )
    return ThresholdChoice(
        tuned.threshold, tuned.threshold * settings.off_ratio, "dev", tuned.f1, tuned.rows
    )


def _provenance(configuration: Configuration, run: Run, manifest: Manifest) -> dict[str, str]:
    identity: dict[str, Any] = run.values["identity"]
    return {
        "run": run.name,
        "profile": configuration.profile,
        "preprocessing version": manifest.version,
        "manifest": manifest.source[:12],
        "model": f"{identity['model']['preset']}, {run.values['parameters']:,} parameters",
        "ssm backend": identity["ssm_backend"],
        "seed": str(identity["training"]["seed"]),
        "optimizer steps": str(identity["training"]["steps"]),
        "training": f"{run.values['seconds']:.0f} s",
        "hardware": json.dumps(run.values["hardware"], sort_keys=True),
        **{
            f"version of {name}": library_version(name)
            for name in ("brainbrr", "timescoring", "torch")
        },
    }


def _strip(
    store: Store,
    manifest: Manifest,
    highlight: Highlight,
    frames: dict[str, NDArray[np.float32]],
) -> Strip:
    """The EEG of a missed seizure or false alarm."""
    key = highlight.partition_key
    recording = next(r for r in manifest.recordings if r.partition_key == key)
    reader = RecordingReader(store, recording)
    start, stop = round(highlight.start_s * RATE), round(highlight.stop_s * RATE)
    return Strip(highlight, reader.read(start, min(stop, reader.samples)), frames[key])
