"""Scoring: from a reference and a hypothesis to counts and figures.

This package has the scoring rules (SzCORE, NEDC), curves over all thresholds, confidence intervals,
and the choice of a threshold by a rule. ``detection`` turns scores into events, and ``evaluation``
decides what a report shows.
"""

from brainbrr_core.scoring.alignment import align, kappa, label_kappa
from brainbrr_core.scoring.bootstrap import (
    FEW_PATIENTS,
    UNDEFINED,
    Interval,
    Method,
    all_or_none,
    false_discovery_rates,
    interval,
    no_false_alarm,
    resamples,
    two_sided_p,
)
from brainbrr_core.scoring.counts import Counts, Figures, Measure, figures, total
from brainbrr_core.scoring.curves import (
    Ranking,
    ReliabilityBin,
    auprc,
    auroc,
    expected_calibration_error,
    per_second,
    pr_points,
    rank,
    reliability,
    roc_points,
)
from brainbrr_core.scoring.event_counter import EventCounter
from brainbrr_core.scoring.event_table import EventTable
from brainbrr_core.scoring.nedc import NedcCounts
from brainbrr_core.scoring.operating_point import OperatingPoint, sigmoid
from brainbrr_core.scoring.recording import RecordingEvents, ScoredRecording, seizures
from brainbrr_core.scoring.sweep import (
    FALSE_ALARM_LIMITS,
    Find,
    RuleSweep,
    Sweep,
    SweepRow,
    TunedThreshold,
    sensitivity_at,
    sweep_at,
    sweep_thresholds,
    tune_threshold,
)
from brainbrr_core.scoring.szcore import SzcoreCounts
from brainbrr_core.scoring.unknown import UnknownTime

__all__ = [
    "FALSE_ALARM_LIMITS",
    "FEW_PATIENTS",
    "UNDEFINED",
    "Counts",
    "EventCounter",
    "EventTable",
    "Figures",
    "Find",
    "Interval",
    "Measure",
    "Method",
    "NedcCounts",
    "OperatingPoint",
    "Ranking",
    "RecordingEvents",
    "ReliabilityBin",
    "RuleSweep",
    "ScoredRecording",
    "Sweep",
    "SweepRow",
    "SzcoreCounts",
    "TunedThreshold",
    "UnknownTime",
    "align",
    "all_or_none",
    "auprc",
    "auroc",
    "expected_calibration_error",
    "false_discovery_rates",
    "figures",
    "interval",
    "kappa",
    "label_kappa",
    "no_false_alarm",
    "per_second",
    "pr_points",
    "rank",
    "reliability",
    "resamples",
    "roc_points",
    "seizures",
    "sensitivity_at",
    "sigmoid",
    "sweep_at",
    "sweep_thresholds",
    "total",
    "tune_threshold",
    "two_sided_p",
]
