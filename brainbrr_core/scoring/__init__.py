"""How detections are judged: from a reference and a hypothesis to counts and figures.

Here belong the scoring rules (SzCORE, NEDC), the curves of probabilities and the choice of the
threshold by a rule. How probabilities become events belongs to ``detection``; what a report
shows of the figures belongs to ``evaluation``.
"""

from brainbrr_core.scoring.counts import Counts, Figures, Measure, figures, mean_figures, total
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
from brainbrr_core.scoring.nedc import NedcCounts
from brainbrr_core.scoring.recording import RecordingEvents, seizures
from brainbrr_core.scoring.sweep import (
    COARSE_THRESHOLDS,
    Detect,
    RecordingProbabilities,
    SweepRow,
    TunedThreshold,
    sweep_thresholds,
    tune_threshold,
)
from brainbrr_core.scoring.szcore import SzcoreCounts, SzcoreSummary, summarise

__all__ = [
    "COARSE_THRESHOLDS",
    "Counts",
    "Detect",
    "Figures",
    "Measure",
    "NedcCounts",
    "Ranking",
    "RecordingEvents",
    "RecordingProbabilities",
    "ReliabilityBin",
    "SweepRow",
    "SzcoreCounts",
    "SzcoreSummary",
    "TunedThreshold",
    "auprc",
    "auroc",
    "expected_calibration_error",
    "figures",
    "mean_figures",
    "per_second",
    "pr_points",
    "rank",
    "reliability",
    "roc_points",
    "seizures",
    "summarise",
    "sweep_thresholds",
    "total",
    "tune_threshold",
]
