"""``brainbrr bench scoring``: what choosing an operating point takes, on as much EEG as TUSZ's dev.

The scores are made up: noise with two time constants, as a network's logits have, that rises in
most of the seizures. Nothing is learned from the figures found; the time is what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage

from brainbrr_core.annotation import Event
from brainbrr_core.benchmark.peak import peak_mb
from brainbrr_core.configuration import Detection
from brainbrr_core.constants import FRAME_HZ
from brainbrr_core.detection import found_by
from brainbrr_core.scoring import ScoredRecording, sweep_thresholds, tune_threshold

#: TUSZ 2.0.3's dev split: recordings, patients, hours and seizures.
RECORDINGS, PATIENTS, HOURS, SEIZURES = 1832, 53, 435.5, 1081


def run(recordings: int, seed: int = 0, log: Callable[[str], None] = print) -> dict[str, Any]:
    """Sweep made-up frames of ``recordings`` recordings; seconds are those of one process.

    Hours and seizures are in proportion to those of TUSZ's dev.
    """
    log(f"making up the frames of {recordings:,} recordings")
    made = _recordings(recordings, np.random.default_rng(seed))
    settings = Detection()

    def sweep() -> tuple[float, float, int, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        found = sweep_thresholds(made, found_by(settings), settings.off_ratio)
        tuned = tune_threshold(found)
        return (
            time.perf_counter() - wall,
            time.process_time() - cpu,
            len(found.thresholds),
            tuned.f1,
        )

    # The first one compiles.
    first_s, _, points, _ = sweep()
    wall_s, cpu_s, _, f1 = sweep()
    return {
        "recordings": recordings,
        "hours": round(sum(one.duration_s for one in made) / 3600, 1),
        "seizures": sum(len(one.reference) for one in made),
        "operating_points": points,
        "first_s": round(first_s, 2),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "peak_mb": round(peak_mb()),
        "f1": round(f1, 3),
    }


def _recordings(count: int, rng: np.random.Generator) -> list[ScoredRecording]:
    seconds = rng.gamma(2.0, size=count) + 0.02
    seconds *= HOURS * 3600 * count / RECORDINGS / seconds.sum()
    with_seizure = set(rng.choice(count, round(SEIZURES * count / RECORDINGS), False).tolist())
    made = []
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
        made.append(
            ScoredRecording(
                f"p{number % PATIENTS:02}",
                duration_s,
                tuple(reference),
                scores.astype(np.float32),
            )
        )
    return made
