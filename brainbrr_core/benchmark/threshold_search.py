"""``brainbrr bench scoring``: the time to choose an operating point, for as much EEG as TUSZ's dev.

The scores are synthetic: noise with two time constants, as a network's logits have, that rises in
most of the seizures. Only the time is of interest; the F1 score says nothing about a detector.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from brainbrr_core.annotation import Event
from brainbrr_core.benchmark.peak_memory import peak_mb
from brainbrr_core.benchmark.result import Report, Table
from brainbrr_core.configuration import Detection
from brainbrr_core.constants import FRAME_HZ
from brainbrr_core.detection import finder_for
from brainbrr_core.scoring import ScoredRecording, sweep_thresholds, tune_threshold

#: TUSZ 2.0.3's dev split: recordings, patients, hours and seizures.
RECORDINGS, PATIENTS, HOURS, SEIZURES = 1832, 53, 435.5, 1081


class ThresholdSearch(Report):
    """Seconds and memory of one process that tries every operating point."""

    recordings: int
    hours: float
    seizures: int
    operating_points: int
    #: Seconds of the first search, with compilation where no compiled code is stored.
    first_s: float
    #: Seconds of the second search, and of the processor.
    wall_s: float
    cpu_s: float
    peak_mb: int
    f1: float

    def tables(self) -> list[Table]:
        """One row for each figure."""
        rows = [
            ["operating points", f"{self.operating_points:,}"],
            ["sweep, seconds", f"{self.wall_s:.2f}"],
            ["sweep, seconds of processor", f"{self.cpu_s:.2f}"],
            ["the first sweep, with compilation if needed", f"{self.first_s:.2f}"],
            ["peak memory, MB", f"{self.peak_mb:,}"],
        ]
        title = f"{self.recordings:,} recordings, {self.hours} h"
        return [Table(title, ["", "figure"], rows)]


def run(recordings: int, seed: int = 0, log: Callable[[str], None] = print) -> ThresholdSearch:
    """Search for the operating point of ``recordings`` synthetic recordings, in one process.

    Hours and seizures are in proportion to those of TUSZ's dev.
    """
    log(f"making up the frames of {recordings:,} recordings")
    framed = _recordings(recordings, np.random.default_rng(seed))
    detection = Detection()

    def search() -> tuple[float, float, int, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        sweep = sweep_thresholds(framed, finder_for(detection), detection.off_ratio)
        tuned = tune_threshold(sweep)
        return (
            time.perf_counter() - wall,
            time.process_time() - cpu,
            len(sweep.thresholds),
            tuned.f1,
        )

    # The first one compiles.
    first_s, _, points, _ = search()
    wall_s, cpu_s, _, f1 = search()
    return ThresholdSearch(
        recordings=recordings,
        hours=round(sum(one.duration_s for one in framed) / 3600, 1),
        seizures=sum(len(one.reference) for one in framed),
        operating_points=points,
        first_s=round(first_s, 2),
        wall_s=round(wall_s, 2),
        cpu_s=round(cpu_s, 2),
        peak_mb=round(peak_mb()),
        f1=round(f1, 3),
    )


def _recordings(count: int, rng: np.random.Generator) -> list[ScoredRecording]:
    seconds = rng.gamma(2.0, size=count) + 0.02
    seconds *= HOURS * 3600 * count / RECORDINGS / seconds.sum()
    with_seizure = set(rng.choice(count, round(SEIZURES * count / RECORDINGS), False).tolist())
    framed = []
    for number, duration_s in enumerate(seconds.tolist()):
        frames = int(np.ceil(duration_s * FRAME_HZ))
        slow, fast = (
            scipy.ndimage.gaussian_filter1d(rng.normal(size=frames), width) * np.sqrt(width)
            for width in (80, 8)
        )
        scores = -4 + 3 * slow + 2.5 * fast + 0.7 * rng.normal(size=frames)
        reference = []
        if number in with_seizure:
            start = float(rng.uniform(0, duration_s / 2))
            stop = min(start + float(rng.gamma(2.0, 35.0)), duration_s)
            reference.append(Event(start, stop))
            scores[round(start * FRAME_HZ) : round(stop * FRAME_HZ)] += rng.uniform(0, 12)
        framed.append(
            ScoredRecording(
                f"p{number % PATIENTS:02}",
                duration_s,
                tuple(reference),
                scores.astype(np.float32),
            )
        )
    return framed
