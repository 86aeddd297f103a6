"""Weights with which every seizure counts the same in a training, however long it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.constants import RATE

#: For each recording of a manifest, the weight of a sample of each of its seizures.
SeizureWeights = tuple[tuple[float, ...], ...]


def equal_seizures(manifest: Manifest, draws: NDArray[np.float64]) -> SeizureWeights:
    """Weights with which each seizure has the same share in an epoch.

    ``draws`` (windows,) says how often each window is drawn in an epoch, on average. A seizure of
    which an epoch shows ``n`` samples on average, over all windows and as often as they overlap,
    has the weight ``mean(n) / n``, the mean over all seizures that an epoch can show. So the
    weights follow from the training set alone, whatever else is in a batch; ``n`` times the weight
    is the same for all, and the mean weight of a seizure's sample in an epoch is 1. A seizure that
    no epoch shows has the weight 1.
    """
    shown = [_shown(manifest, draws, number) for number in range(len(manifest.recordings))]
    counts = np.concatenate([np.zeros(0), *shown])
    mean = float(counts.sum()) / max(int(np.count_nonzero(counts)), 1)
    return tuple(tuple(mean / n if n > 0 else 1.0 for n in one.tolist()) for one in shown)


def _shown(manifest: Manifest, draws: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """How many samples of each seizure of a recording an epoch shows on average."""
    seizures = manifest.recordings[number].seizures
    # Windows are in the order of their recordings.
    rows = slice(*np.searchsorted(manifest.recording, [number, number + 1]).tolist())
    if not seizures or not draws[rows].any():
        return np.zeros(len(seizures))
    start = manifest.start[rows, None]
    # Rounded as the labels are.
    first, last = np.rint([(begin * RATE, end * RATE) for begin, end, _ in seizures]).T
    inside = np.minimum(last, start + manifest.window_samples) - np.maximum(first, start)
    shown: NDArray[np.float64] = draws[rows] @ np.maximum(inside, 0)
    return shown
