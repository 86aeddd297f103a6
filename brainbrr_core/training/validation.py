"""Validation: every recording of dev, stitched, scored by events, and when that ends a training.

The score that is compared is the event sensitivity at no more than ten false alarms in 24 hours
(SzCORE's rule). Where dev is so short that ten a day are hardly a single alarm, that figure
says nothing; then the average precision by the second is compared instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.constants import RATE
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.detection import found_by
from brainbrr_core.detection.recordings import recording_frames
from brainbrr_core.detection.scorer import WindowScorer, windows_at_once
from brainbrr_core.scoring import (
    RecordingFrames,
    auprc,
    auroc,
    per_second,
    rank,
    sensitivity_at,
    sweep_thresholds,
)
from brainbrr_core.training.distributed import World

FALSE_ALARMS_PER_DAY = 10.0
#: Ten false alarms a day must be at least this many in dev for the sensitivity to be compared.
LEAST_ALARMS = 3.0
#: Windows at once on a CPU, where a validation is compared with others of its training alone.
_ON_CPU = 8

BY_EVENTS = "sensitivity at 10 false alarms per 24 h"
BY_SECONDS = "average precision by the second"


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures of dev at one step; ``rule`` says which of them ``score`` is."""

    step: int
    rule: str
    score: float
    #: Event sensitivity, its false alarms per 24 h and its threshold, a logit; NaN where none
    #: keeps to ten.
    sensitivity: float
    false_per_day: float
    threshold: float
    #: The best event F1 of all thresholds.
    f1: float
    auroc: float
    auprc: float
    hours: float

    def line(self) -> str:
        """The figures in one line, for the log."""
        return (
            f"step {self.step}: {self.rule} {self.score:.3f}; on dev ({self.hours:.1f} h): event "
            f"F1 {self.f1:.3f}, sensitivity {self.sensitivity:.3f} at {self.false_per_day:.1f} "
            f"false alarms per 24 h, AUROC {self.auroc:.3f}, average precision {self.auprc:.3f}"
        )


@dataclass(frozen=True)
class Validator:
    """Slides a network over every recording of dev; each process takes its share of them."""

    #: Those that tuning and evaluation take too (:func:`brainbrr_core.cache.scorable.scorable`).
    recordings: Sequence[ManifestRecording]
    window_samples: int
    store: Store
    configuration: Configuration
    device: torch.device
    world: World
    #: The last network's, which is compiled once for all validations.
    _scorers: list[WindowScorer] = field(default_factory=list, init=False, repr=False)

    def __call__(self, network: nn.Module, step: int) -> Validation:
        """Figures of the network as it is. The same in every process."""
        own = shares(self.recordings, self.world.size)[self.world.rank]
        frames = self.world.gather(self._frames(network, own))
        found = self._judged(frames, step) if self.world.first else None
        return self.world.of_first(found)

    def _judged(self, frames: dict[str, NDArray[np.float32]], step: int) -> Validation:
        scored = [
            RecordingFrames(
                r.patient,
                r.duration_s,
                r.reference,
                frames[r.partition_key],
                r.unknown,
            )
            for r in self.recordings
        ]
        return judge(scored, self.configuration, step)

    def _frames(
        self, network: nn.Module, recordings: Sequence[ManifestRecording]
    ) -> dict[str, NDArray[np.float32]]:
        """Scores of the frames of recordings, by partition key."""
        detection, window = self.configuration.detection, self.window_samples
        return dict(
            recording_frames(
                self._scorer(network),
                ((r.partition_key, RecordingReader(self.store, r)) for r in recordings),
                window,
                min(detection.stride_s * RATE, window),
                detection.stitching,
            )
        )

    def _scorer(self, network: nn.Module) -> WindowScorer:
        if not (self._scorers and self._scorers[0].network is network):
            hardware = self.configuration.hardware
            size = windows_at_once(hardware, self.device, _ON_CPU)
            self._scorers[:] = [WindowScorer.of(network, hardware, self.device, size)]
        return self._scorers[0]


def shares(recordings: Sequence[ManifestRecording], size: int) -> list[list[ManifestRecording]]:
    """Recordings shared among ``size`` processes, so that all have about as much to score.

    The longest first, each to the process with the fewest samples so far; the same in every
    process, whatever the order of ``recordings``.
    """
    given: list[list[ManifestRecording]] = [[] for _ in range(size)]
    samples = [0] * size
    for recording in sorted(recordings, key=lambda r: (-r.samples, r.partition_key)):
        least = samples.index(min(samples))
        given[least].append(recording)
        samples[least] += recording.samples
    return given


def judge(
    recordings: Sequence[RecordingFrames], configuration: Configuration, step: int
) -> Validation:
    """Figures of recordings whose frames are known; at least one must have a seizure."""
    sweep = sweep_thresholds(
        recordings,
        found_by(configuration.detection),
        configuration.detection.off_ratio,
    )
    rows, events = sweep.rows(), sweep.szcore
    hours = float(sweep.ovlp.seconds.sum()) / 3600
    sensitivities, places = sensitivity_at(
        events.detected.sum(axis=1)[None],
        events.false.sum(axis=1)[None],
        events.reference.sum(keepdims=True),
        events.seconds.sum(keepdims=True),
        FALSE_ALARMS_PER_DAY,
    )
    place = int(places[0])
    best = rows[place] if place >= 0 else None
    seconds = [per_second(r.scores_8hz, r.reference, r.unknown) for r in recordings]
    ranking = rank(
        np.concatenate([values for values, _ in seconds]),
        np.concatenate([labels for _, labels in seconds]),
    )
    precision = auprc(ranking)
    by_events = FALSE_ALARMS_PER_DAY * hours / 24 >= LEAST_ALARMS
    # Without a threshold that keeps the limit, nothing is found at it: a sensitivity of 0.
    sensitivity = float(sensitivities[0])
    return Validation(
        step=step,
        rule=BY_EVENTS if by_events else BY_SECONDS,
        score=sensitivity if by_events else precision,
        sensitivity=sensitivity,
        false_per_day=best.false_per_day if best else math.nan,
        threshold=best.threshold if best else math.nan,
        f1=max(0.0 if math.isnan(row.f1) else row.f1 for row in rows),
        auroc=auroc(ranking),
        auprc=precision,
        hours=hours,
    )


@dataclass(slots=True)
class Course:
    """The validations of a training: the best so far, and whether to go on."""

    #: Validations without a better one that end the training; 0 never does.
    patience: int
    best_step: int | None = None
    #: Score, and the average precision among equal scores.
    best: list[float] = field(default_factory=list)
    since_best: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, values: dict[str, Any], patience: int) -> Course:
        """The course that a checkpoint remembers; a new one from nothing."""
        return cls(**values) if values else cls(patience)

    @property
    def over(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self.since_best

    def take(self, found: Validation) -> bool:
        """Count a validation; whether it is the best so far."""
        values = asdict(found)
        # JSON has no NaN.
        undefined = {key: None for key, value in values.items() if value != value}
        self.seen.append(values | undefined)
        rank_of = [found.score, found.auprc]
        if self.best_step is None or rank_of > self.best:
            self.best_step, self.best, self.since_best = found.step, rank_of, 0
            return True
        self.since_best += 1
        return False

    def reason(self) -> str:
        """Why the training ended early."""
        return (
            f"no better validation than that of step {self.best_step} in {self.since_best} "
            "validations"
        )
