"""A network's scores on the recordings of a split, and the counts at every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Detection
from brainbrr_core.detection import detect, finder_for
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.progress import progress
from brainbrr_core.scoring import (
    OperatingPoint,
    ScoredRecording,
    Sweep,
    SweepRow,
    sweep_at,
    sweep_thresholds,
)

#: The most points of a curve that are stored for drawing.
_DRAWN_ROWS = 300


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Recordings with their scores, and the counts at every operating point.

    Attributes
    ----------
    recordings : tuple of ScoredRecording
        References, and scores of frames of 1/8 s.
    detection : Detection
        The settings that turn scores into events.
    sweep : Sweep
        Counts of events at operating points over the whole range of scores.
    """

    recordings: tuple[ScoredRecording, ...]
    detection: Detection
    sweep: Sweep

    def curve(self) -> tuple[SweepRow, ...]:
        """Figures at the operating points, thinned out for a drawing."""
        return _thin(self.sweep.rows())

    def detect(self, point: OperatingPoint) -> list[ScoredRecording]:
        """The recordings with the events at one operating point."""
        return [
            replace(
                one,
                hypothesis=tuple(detect(one.scores_8hz, one.duration_s, self.detection, point)),
            )
            for one in self.recordings
        ]

    def count_at(self, points: Sequence[OperatingPoint]) -> Sweep | None:
        """Counts at given operating points, one row for each; None without points."""
        if not points:
            return None
        return sweep_at(self.recordings, finder_for(self.detection), points)


def compute_scores(
    predictor: Predictor, store: Store, recordings: Sequence[ManifestRecording], split: str
) -> SplitScores:
    """Score recordings with a network, and count events at every operating point.

    The settings of detection are those of the predictor. The progress bars show ``split``.
    """
    scored, detection = [], predictor.detection
    hours = sum(recording.duration_s for recording in recordings) / 3600
    with progress(f"score {split}", hours, "hours") as bar:
        for recording in predictor.score_stored(store, recordings):
            scored.append(recording)
            bar.advance(recording.duration_s / 3600)
    with progress(f"sweep {split}", hours, "hours") as bar:
        sweep = sweep_thresholds(
            scored,
            finder_for(detection),
            detection.off_ratio,
            lambda seconds: bar.advance(seconds / 3600),
        )
    return SplitScores(tuple(scored), detection, sweep)


def _thin(rows: Sequence[SweepRow]) -> tuple[SweepRow, ...]:
    """Rows spread evenly over those that differ from the one before, with both ends."""
    distinct = [
        row
        for number, row in enumerate(rows)
        if number in (0, len(rows) - 1) or _figures(row) != _figures(rows[number - 1])
    ]
    if len(distinct) <= _DRAWN_ROWS:
        return tuple(distinct)
    chosen = np.unique(np.linspace(0, len(distinct) - 1, _DRAWN_ROWS).round().astype(int))
    return tuple(distinct[number] for number in chosen)


def _figures(row: SweepRow) -> str:
    # As text, two undefined figures are the same.
    return repr(replace(row, threshold=0.0, off_threshold=0.0))
