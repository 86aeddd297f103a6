"""Scores of nothing: no second, no frame, no unknown time."""

from __future__ import annotations

import math

import numpy as np

from brainbrr_core.configuration.settings import Detection
from brainbrr_core.detection import finder_for
from brainbrr_core.scoring import ScoredRecording
from brainbrr_core.scoring.counts import Counts, figures
from brainbrr_core.scoring.sweep import sweep_thresholds
from brainbrr_core.scoring.unknown import UnknownTime


def test_without_a_second_of_recording_there_is_no_rate_of_false_alarms() -> None:
    counts = Counts(reference=2, detected=1, false=3, seconds=0.0)
    assert math.isnan(counts.false_per_day)
    assert math.isnan(figures(counts).false_per_day)
    assert figures(counts).sensitivity == 0.5


def test_without_unknown_time_every_event_is_a_hit_or_a_false_alarm() -> None:
    events = [(0.0, 5.0), (20.0, 30.0)]
    assert UnknownTime().leaves_out(events, [(1.0, 2.0)]) == [False, False]
    assert not UnknownTime()
    assert UnknownTime().known_seconds(40.0) == 40.0


def test_recordings_without_a_frame_have_no_threshold_to_try() -> None:
    empty = ScoredRecording("a", 0.0, (), np.zeros(0, np.float32))
    sweep = sweep_thresholds([empty], finder_for(Detection()), 0.9)
    assert sweep.thresholds.size == sweep.off_thresholds.size == 0
    assert sweep.szcore.detected.shape == (0, 1)
