"""Validation: a network's scores on every recording of dev, and the figures that follow from them.

Validations are compared by the event sensitivity at no more than ten false alarms per 24 hours
(SzCORE's rule). If dev is so short that this rate allows fewer than three false alarms, that figure
is meaningless, and validations are compared by the average precision over seconds instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from torch import nn

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Detection, Hardware
from brainbrr_core.constants import RATE
from brainbrr_core.detection import finder_for
from brainbrr_core.detection.recordings import score_stored
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.scoring import (
    ScoredRecording,
    auprc,
    auroc,
    per_second,
    rank,
    sensitivity_at,
    sweep_thresholds,
)
from brainbrr_core.training.distributed import ProcessGroup

FALSE_ALARMS_PER_DAY = 10.0
#: The least number of false alarms in dev, at that rate, for the sensitivity to be compared.
LEAST_ALARMS = 3.0

BY_EVENTS = "sensitivity at 10 false alarms per 24 h"
BY_SECONDS = "average precision by the second"


def _nan_from_null(value: float | None) -> float:
    return math.nan if value is None else value


def _null_from_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


#: A figure that may be undefined: NaN here, null in JSON, which has no NaN.
Figure = Annotated[float, BeforeValidator(_nan_from_null), PlainSerializer(_null_from_nan)]


class Validation(BaseModel):
    """Figures on dev at one step; ``rule`` names the one that is also ``score``."""

    model_config = ConfigDict(frozen=True)

    step: int
    rule: str
    score: Figure
    #: Event sensitivity, false alarms per 24 h and threshold (a logit) at that sensitivity; the
    #: latter two are NaN if no threshold keeps the limit of ten false alarms.
    sensitivity: Figure
    false_per_day: Figure
    threshold: Figure
    #: The best event F1 over all thresholds.
    f1: Figure
    auroc: Figure
    auprc: Figure
    #: Duration of dev in hours.
    hours: Figure

    def line(self) -> str:
        """The figures in one line, for the log."""
        return (
            f"step {self.step}: on dev ({self.hours:.1f} h) best event F1 {self.f1:.3f}, "
            f"{BY_EVENTS} {self.sensitivity:.3f}, AUROC {self.auroc:.3f}, {BY_SECONDS} "
            f"{self.auprc:.3f}; weights are chosen by the {self.rule}"
        )


@dataclass(frozen=True)
class Validator:
    """Scores every recording of dev with a network; each process takes a share of them."""

    #: The same recordings that tuning and evaluation use
    #: (:func:`brainbrr_core.cache.scorable.scorable`).
    recordings: Sequence[ManifestRecording]
    window_samples: int
    store: Store
    detection: Detection
    hardware: Hardware
    device: torch.device
    group: ProcessGroup
    #: The scorer of the last network, which is thus compiled once for all validations.
    _scorers: list[WindowScorer] = field(default_factory=list, init=False, repr=False)

    def __call__(self, network: nn.Module, step: int) -> Validation:
        """Figures of the network with its current weights, the same in every process."""
        own = shares(self.recordings, self.group.world_size)[self.group.rank]
        scored = self.group.gather(self._scored(network, own))
        validation = None
        if self.group.is_main:
            in_order = [scored[r.partition_key] for r in self.recordings]
            validation = score_recordings(in_order, self.detection, step)
        return self.group.broadcast(validation)

    def _scored(
        self, network: nn.Module, recordings: Sequence[ManifestRecording]
    ) -> dict[str, ScoredRecording]:
        """Recordings with the scores of their frames, by partition key."""
        scored = score_stored(
            self._scorer(network),
            self.store,
            recordings,
            self.window_samples,
            min(self.detection.stride_s * RATE, self.window_samples),
            self.detection.stitching,
        )
        return {recording.partition_key: recording for recording in scored}

    def _scorer(self, network: nn.Module) -> WindowScorer:
        if not (self._scorers and self._scorers[0].network is network):
            self._scorers[:] = [WindowScorer.of(network, self.hardware, self.device)]
        return self._scorers[0]


def shares(recordings: Sequence[ManifestRecording], size: int) -> list[list[ManifestRecording]]:
    """Divide recordings among ``size`` processes so that all have about the same to score.

    The longest come first, each goes to the process with the fewest samples so far. The result does
    not depend on the order of ``recordings``.
    """
    assigned: list[list[ManifestRecording]] = [[] for _ in range(size)]
    samples = [0] * size
    for recording in sorted(recordings, key=lambda r: (-r.samples, r.partition_key)):
        least = samples.index(min(samples))
        assigned[least].append(recording)
        samples[least] += recording.samples
    return assigned


def score_recordings(
    recordings: Sequence[ScoredRecording], detection: Detection, step: int
) -> Validation:
    """Compute figures from the scores of frames; at least one recording must have a seizure."""
    sweep = sweep_thresholds(recordings, finder_for(detection), detection.off_ratio)
    rows, events = sweep.rows(), sweep.szcore
    hours = float(sweep.ovlp.seconds.sum()) / 3600
    sensitivities, positions = sensitivity_at(
        events.detected.sum(axis=1)[None],
        events.false.sum(axis=1)[None],
        events.reference.sum(keepdims=True),
        events.seconds.sum(keepdims=True),
        FALSE_ALARMS_PER_DAY,
    )
    position = int(positions[0])
    best = rows[position] if position >= 0 else None
    seconds = [per_second(r.scores_8hz, r.reference, r.unknown) for r in recordings]
    ranking = rank(
        np.concatenate([values for values, _ in seconds]),
        np.concatenate([labels for _, labels in seconds]),
    )
    precision = auprc(ranking)
    by_events = FALSE_ALARMS_PER_DAY * hours / 24 >= LEAST_ALARMS
    # If no threshold keeps the limit, nothing is detected: a sensitivity of 0.
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
