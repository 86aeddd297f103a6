"""Detectors that ``brainbrr bench learn`` compares: a network, and the line length of the signal.

Each scores the frames of whole recordings. Its threshold is tuned on dev, and its events on the
unseen patients are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.benchmark.result import Figures
from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Detection
from brainbrr_core.constants import FRAME_SAMPLES
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import detect, finder_for, frame_count
from brainbrr_core.detection.recordings import with_scores
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
from brainbrr_core.scoring.szcore import score_recording

Frames = NDArray[np.float32]
#: Scores the frames of a whole recording.
Detector = Callable[[RecordingReader], Frames]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stored:
    """A recording in its store, with a patient name that is unique over both corpora."""

    store: Store
    recording: ManifestRecording
    patient: str


#: Ends of an interval of 95 %; None where it is undefined.
Interval = tuple[float | None, float | None]


class DetectorScore(Figures):
    """A detector's scores on all unseen patients together."""

    threshold: float
    f1: float
    sensitivity: float
    detected: float
    reference: float
    false: float
    false_per_day: float
    average_precision: float
    f1_interval: Interval


class SignalReader(Protocol):
    """Reads a preprocessed signal."""

    @property
    def samples(self) -> int:
        """Length of the signal in samples."""

    def read(self, start: int, stop: int) -> Frames:
        """Samples ``start`` to ``stop``, (19, stop - start), in standard deviations."""


def line_length(reader: SignalReader) -> Frames:
    """Score of each frame: its line length, relative to the median of the recording's frames.

    Line length is the mean over channels and samples of the absolute difference from the sample
    before.
    """
    signal = reader.read(0, reader.samples)
    steps = np.abs(np.diff(signal, axis=1, prepend=signal[:, :1])).mean(axis=0)
    edges = np.arange(frame_count(reader.samples)) * FRAME_SAMPLES
    sizes = np.diff(np.append(edges, reader.samples))
    lengths = np.add.reduceat(steps, edges) / sizes
    relative: Frames = (lengths / np.median(lengths)).astype(np.float32)
    return relative


def network_detector(predictor: Predictor) -> Detector:
    """A network as a detector."""

    def frames(reader: RecordingReader) -> Frames:
        [(_, scores)] = predictor.frames([(None, reader)])
        return scores

    return frames


class DetectorFrames:
    """One detector's frames: of dev, to tune its threshold, and of the unseen, to be scored."""

    def __init__(self, dev: Sequence[Stored], unseen: Sequence[Stored], detector: Detector) -> None:
        self._dev = [_framed(one, detector) for one in dev]
        self._unseen = [_framed(one, detector) for one in unseen]

    def tune(self, detection: Detection) -> OperatingPoint:
        """The operating point with the best event F1 on dev."""
        sweep = sweep_thresholds(
            self._dev,
            finder_for(detection),
            detection.off_ratio,
        )
        return tune_threshold(sweep).point

    def score(self, detection: Detection, point: OperatingPoint) -> Score:
        """Count events of the unseen patients."""
        by_patient: dict[str, list[Counts]] = {}
        for framed in self._unseen:
            detected = detect(framed.scores_8hz, framed.duration_s, detection, point)
            events = replace(framed, hypothesis=tuple(detected)).events
            by_patient.setdefault(framed.patient, []).append(score_recording(events).event)
        patients = tuple(total(by_patient[patient]) for patient in sorted(by_patient))
        return Score(point, patients, self._average_precision())

    def _average_precision(self) -> float:
        """Average precision by the second on the unseen patients, which needs no threshold."""
        seconds = [per_second(f.scores_8hz, f.reference, f.unknown) for f in self._unseen]
        values, labels = zip(*seconds, strict=True)
        return auprc(rank(np.concatenate(values), np.concatenate(labels)))


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of a detector at an operating point, by patient."""

    point: OperatingPoint
    patients: tuple[Counts, ...]
    #: By the second; it does not depend on the threshold.
    average_precision: float

    @property
    def pooled(self) -> Counts:
        """The counts of all patients together."""
        return total(self.patients)

    def resampled_f1(self, drawn: Floats) -> Floats:
        """F1 of each of the resamples ``drawn`` (resamples, patients)."""
        counts = np.array([[c.reference, c.detected, c.false] for c in self.patients])
        reference, detected, false = (drawn @ counts).T
        with np.errstate(invalid="ignore"):
            f1: Floats = 2 * detected / (detected + false + reference)
        return f1

    def figures(self, f1_interval: Interval) -> DetectorScore:
        """The figures of all patients together, with the interval of the F1 score."""
        pooled = self.pooled
        return DetectorScore(
            threshold=round(self.point.on, 4),
            f1=round(pooled.f1, 3),
            sensitivity=round(pooled.sensitivity, 3),
            detected=pooled.detected,
            reference=pooled.reference,
            false=pooled.false,
            false_per_day=round(pooled.false_per_day, 1),
            average_precision=round(self.average_precision, 3),
            f1_interval=f1_interval,
        )


def _framed(one: Stored, detector: Detector) -> ScoredRecording:
    recording = one.recording
    with torch.inference_mode():
        frames = detector(RecordingReader(one.store, recording))
    return replace(with_scores(recording, frames), patient=one.patient)
