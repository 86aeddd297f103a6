"""``brainbrr bench learn``: does the network learn what a plain detector cannot find?

Training and threshold are of a synthetic corpus of ten patients; the scores are of patients that
neither saw: the two of its eval split, and those of a second corpus, whose recordings have one
seizure at most, so that finding them everywhere does not pay. Beside the trained network
stand the same network untrained and the field's plainest baseline, a threshold on the line length
(Esteller et al., "Line length: an efficient feature for seizure onset detection", 2001). The
scores are SzCORE's event scores on whole recordings; their intervals are over patients, for this
one training: another seed's scores may lie outside.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.cache.build import build as build_shards
from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import (
    Configuration,
    Detection,
    Model,
    Overrides,
    Training,
    changed,
    load,
)
from brainbrr_core.constants import FRAME_SAMPLES, RATE, SPLITS
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, found_by, frame_count
from brainbrr_core.detection.recordings import with_scores
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import build
from brainbrr_core.model.device import describe_device
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.scoring import (
    Counts,
    OperatingPoint,
    ScoredRecording,
    auprc,
    per_second,
    rank,
    sweep_thresholds,
    total,
    tune_threshold,
)
from brainbrr_core.scoring.bootstrap import interval, resamples
from brainbrr_core.scoring.szcore import score_recording
from brainbrr_core.synthesis import write_corpus
from brainbrr_core.training.loop import StepReport
from brainbrr_core.training.run import train


@dataclass(frozen=True, slots=True)
class CorpusSize:
    """A synthetic corpus: see :func:`brainbrr_core.synthesis.write_corpus`."""

    recordings: int
    hours: float
    further_every_s: float | None


#: Thirty recordings of half an hour are six patients to train on, two to tune the threshold and two
#: to score.
TEN_PATIENTS = CorpusSize(30, 15.0, 1400.0)
#: Fifteen patients that are scored only, in recordings of half an hour.
MORE_PATIENTS = CorpusSize(48, 24.0, None)
CORPUS = "tusz"
#: Added to the seed for the second corpus: no patient of it is one of the first.
MORE_SEED = 1_000_000
#: Larger networks learn from smaller steps.
LEARNING_RATE = {"tiny": 2e-3, "small": 1.5e-3, "base": 3e-4}
#: The profile whose augmentation is used. Six patients show few places where seizures begin:
#: without any, and on half the hours, a network that saw three foci on the right found nothing on
#: the left.
AUGMENTED_AS = "full"
#: Small, so that few windows give many steps.
BATCH = 8
_RESAMPLES = 2000
#: What ``--set`` may not change.
_FIXED = (
    "profile",
    "data_dir",
    "cache_root",
    "runs_dir",
    "dagster_home",
    "version",
    "selection",
    "model.preset",
    "training.steps",
    "training.seed",
)

Frames = NDArray[np.float32]
#: Frames of a whole recording, of the signal that ``read`` gives.
Detector = Callable[[RecordingReader], Frames]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Known:
    """A recording in its store; patients of the second corpus have names of their own."""

    store: Store
    recording: ManifestRecording
    patient: str


def run(
    configuration: Configuration,
    folder: Path,
    *,
    preset: str,
    steps: int,
    seed: int,
    assignments: Sequence[str] = (),
    baselines: bool = True,
    on_step: Callable[[StepReport], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write the corpora below ``folder``, train on the first and score the three detectors.

    Corpora, first weights and the order of the windows follow from ``seed``. A folder that holds
    some of it already is gone on with. ``assignments`` change settings, as
    :func:`brainbrr_core.configuration.changed` has them. Without ``baselines`` the trained
    network alone is scored.

    Raises :class:`BrainbrrError` where an assignment changes what the measurement itself sets:
    folders, selection, preset, steps and seed.
    """
    settings = _settings(configuration, folder / "ten", preset, steps, seed, assignments)
    clock = time.perf_counter()
    known = _prepared(settings, folder / "ten", TEN_PATIENTS, seed, "")
    more = _settings(configuration, folder / "more", preset, steps, seed, assignments)
    others = _prepared(more, folder / "more", MORE_PATIENTS, seed + MORE_SEED, "more/")
    prepared = time.perf_counter() - clock
    by_split = {split: [one for one in known if one.recording.split == split] for split in SPLITS}
    dev, unseen = by_split["dev"], by_split["eval"] + others
    log(f"{len(known)} recordings of ten patients and {len(others)} more, in {prepared:.0f} s")
    clock = time.perf_counter()
    trained = train(settings, on_step=on_step, log=log)
    seconds = time.perf_counter() - clock
    predictor = Predictor.of(trained, settings)
    detection = settings.detection
    log("scoring")
    clock = time.perf_counter()
    by_network = _Framing(dev, unseen, _by(predictor))
    point = by_network.tuned(detection)
    scores = {"trained": by_network.scored(detection, point)}
    if baselines:
        untrained = Predictor(
            build(preset, seed=seed).eval().to(predictor.device),
            settings,
            predictor.device,
            predictor.window_s,
            predictor.batch,
        )
        by_length = _Framing(dev, unseen, line_length)
        by_chance = _Framing(dev, unseen, _by(untrained))
        scores |= {
            "line length": by_length.scored(detection, by_length.tuned(detection)),
            "untrained": by_chance.scored(detection, point),
            "untrained, threshold of its own": by_chance.scored(
                detection, by_chance.tuned(detection)
            ),
        }
    drawn = resamples(len(scores["trained"].patients), _RESAMPLES, seed)
    f1 = {name: score.resampled_f1(drawn) for name, score in scores.items()}
    patients = drawn.shape[1]
    values: dict[str, Any] = {
        "seed": seed,
        "set": list(assignments),
        "preset": preset,
        "steps": trained.record.fit.steps,
        "best_step": trained.record.fit.best_step,
        "patients": {
            "train": _patients(by_split["train"]),
            "dev": _patients(dev),
            "unseen": _patients(unseen),
        },
        "hours": {
            "train": _hours(by_split["train"]),
            "dev": _hours(dev),
            "unseen": _hours(unseen),
        },
        "seizures_scored": sum(len(one.recording.seizures) for one in unseen),
        "corpus_s": round(prepared, 1),
        "training_s": round(seconds, 1),
        "scoring_s": round(time.perf_counter() - clock, 1),
        "windows_per_s": round(trained.record.fit.windows_per_s, 2),
        "data_wait_share": round(trained.record.fit.data_wait_share, 5),
        "hardware": describe_device(predictor.device),
        "detectors": {
            name: score.figures() | {"f1_interval": _rounded(f1[name], patients)}
            for name, score in scores.items()
        },
    }
    if baselines:
        values["f1_above_line_length"] = {
            "difference": round(scores["trained"].pooled.f1 - scores["line length"].pooled.f1, 3),
            "interval": _rounded(f1["trained"] - f1["line length"], patients),
        }
    return values


def _prepared(
    settings: Configuration, folder: Path, size: CorpusSize, seed: int, prefix: str
) -> list[_Known]:
    """Write and build a corpus; its recordings that can be scored."""
    write_corpus(
        folder / CORPUS,
        recordings=size.recordings,
        hours=size.hours,
        seed=seed,
        further_every_s=size.further_every_s,
    )
    build_shards(plan_corpus(settings), settings.preprocessing)
    plan = plan_corpus(settings)
    manifest = update_manifest(plan, settings).manifest
    return [_Known(plan.store, r, prefix + r.patient) for r in manifest.recordings]


def _patients(known: Sequence[_Known]) -> int:
    return len({one.patient for one in known})


def _hours(known: Sequence[_Known]) -> float:
    return round(sum(one.recording.samples for one in known) / RATE / 3600, 2)


def _rounded(figures: Floats, patients: int) -> list[float | None]:
    """Interval of a resampled figure, without NaN, which JSON lacks."""
    return [None if math.isnan(end) else round(end, 3) for end in interval(figures, patients)]


def _settings(
    configuration: Configuration,
    folder: Path,
    preset: str,
    steps: int,
    seed: int,
    assignments: Sequence[str] = (),
) -> Configuration:
    training = Training(
        seed=seed,
        steps=steps,
        warmup_steps=min(30, steps // 4),
        learning_rate=LEARNING_RATE[preset],
        validate_every=max(1, steps // 4),
        checkpoint_every=max(1, steps // 4),
        keep_checkpoints=0,
        augmentation=load(Overrides(config=f"{AUGMENTED_AS}:cpu"), {}).training.augmentation,
    )
    refused = [text for text in assignments if _is_fixed(text.partition("=")[0].strip())]
    if refused:
        raise BrainbrrError(
            f"--set {refused[0]}: the measurement sets that itself; preset, steps and seed have "
            "options of their own"
        )
    measured = configuration.model_copy(
        update={
            "profile": "learn",
            "data_dir": str(folder / CORPUS),
            "cache_root": folder / "cache",
            "runs_dir": folder / "runs",
            "version": None,
            "selection": type(configuration.selection)(),
            "model": Model.model_validate({"preset": preset}),
            "training": training,
            "hardware": configuration.hardware.model_copy(update={"batch_size": BATCH}),
        }
    )
    return changed(measured, assignments)


def _is_fixed(key: str) -> bool:
    """Whether the measurement alone may set a setting, or one below it."""
    return any(key == fixed or fixed.startswith(f"{key}.") for fixed in _FIXED) or (
        key.partition(".")[0] == "selection"
    )


def line_length(reader: RecordingReader) -> Frames:
    """Line length against the recording's median, as a score, by frames.

    The mean over channels and samples of the absolute difference to the sample before; a frame
    at the median gives 1.
    """
    signal = reader.read(0, reader.samples)
    steps = np.abs(np.diff(signal, axis=1, prepend=signal[:, :1])).mean(axis=0)
    edges = np.arange(frame_count(reader.samples)) * FRAME_SAMPLES
    sizes = np.diff(np.append(edges, reader.samples))
    lengths = np.add.reduceat(steps, edges) / sizes
    relative: Frames = (lengths / np.median(lengths)).astype(np.float32)
    return relative


def _by(predictor: Predictor) -> Detector:
    def frames(reader: RecordingReader) -> Frames:
        [(_, scores)] = predictor.frames([(None, reader)])
        return scores

    return frames


class _Framing:
    """One detector's frames: those of dev, to tune its threshold on, and the unseen, to score."""

    def __init__(self, dev: Sequence[_Known], unseen: Sequence[_Known], detector: Detector) -> None:
        self._dev = [_framed(one, detector) for one in dev]
        self._unseen = [_framed(one, detector) for one in unseen]

    def tuned(self, detection: Detection) -> OperatingPoint:
        """The operating point with the best event F1 on dev."""
        sweep = sweep_thresholds(
            self._dev,
            found_by(detection),
            detection.off_ratio,
        )
        return tune_threshold(sweep).point

    def scored(self, detection: Detection, point: OperatingPoint) -> Score:
        """Counts on the unseen patients."""
        by_patient: dict[str, list[Counts]] = {}
        for framed in self._unseen:
            found = detect(framed.scores_8hz, framed.duration_s, detection, point)
            events = replace(framed, hypothesis=tuple(found)).events
            by_patient.setdefault(framed.patient, []).append(score_recording(events).event)
        patients = tuple(total(by_patient[patient]) for patient in sorted(by_patient))
        return Score(point, patients, self._average_precision())

    def _average_precision(self) -> float:
        """Average precision by the second on the unseen patients: no threshold has a part in it."""
        seconds = [per_second(f.scores_8hz, f.reference, f.unknown) for f in self._unseen]
        values, labels = zip(*seconds, strict=True)
        return auprc(rank(np.concatenate(values), np.concatenate(labels)))


@dataclass(frozen=True, slots=True)
class Score:
    """What a detector found at an operating point, by patient."""

    point: OperatingPoint
    patients: tuple[Counts, ...]
    #: By the second, whatever the threshold.
    average_precision: float

    @property
    def pooled(self) -> Counts:
        """Of all patients together."""
        return total(self.patients)

    def resampled_f1(self, drawn: Floats) -> Floats:
        """F1 of each of the resamples ``drawn`` (resamples, patients)."""
        counts = np.array([[c.reference, c.detected, c.false] for c in self.patients])
        reference, detected, false = (drawn @ counts).T
        with np.errstate(invalid="ignore"):
            f1: Floats = 2 * detected / (detected + false + reference)
        return f1

    def figures(self) -> dict[str, Any]:
        """The figures of all patients together."""
        pooled = self.pooled
        return {
            "threshold": round(self.point.on, 4),
            "f1": round(pooled.f1, 3),
            "sensitivity": round(pooled.sensitivity, 3),
            "detected": pooled.detected,
            "reference": pooled.reference,
            "false": pooled.false,
            "false_per_day": round(pooled.false_per_day, 1),
            "average_precision": round(self.average_precision, 3),
        }


def _framed(one: _Known, detector: Detector) -> ScoredRecording:
    recording = one.recording
    with torch.inference_mode():
        frames = detector(RecordingReader(one.store, recording))
    return replace(with_scores(recording, frames), patient=one.patient)
