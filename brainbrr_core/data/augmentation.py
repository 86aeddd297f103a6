"""Changes to windows that keep what they show: for training only, off by default.

What is drawn for a row follows from seed, step and the row's place in the whole batch, so that
a training can be resumed, accumulated or shared between processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Augmentation
from brainbrr_core.configuration.model import RATE
from brainbrr_core.data.windows import Batch
from brainbrr_core.signal.montage import CHANNELS

_LEFT_RIGHT = {"Fp1": "Fp2", "F3": "F4", "C3": "C4", "P3": "P4", "F7": "F8", "T3": "T4"}
_LEFT_RIGHT |= {"T5": "T6", "O1": "O2"}
_OTHER = _LEFT_RIGHT | {right: left for left, right in _LEFT_RIGHT.items()}
#: For each channel, the one on the other side of the head; midline channels are their own.
MIRRORED = [CHANNELS.index(_OTHER.get(name, name)) for name in CHANNELS]


def augment(
    batch: Batch, settings: Augmentation, seed: int, step: int, places: Sequence[int]
) -> None:
    """Change a batch of float32 windows in place.

    ``places`` gives each row's place in the whole batch of ``step``. Channels are silenced,
    mirrored and made noisy; signals and labels are moved in time together.
    """
    if settings == Augmentation():
        return
    signals: NDArray[np.float32] = batch.signals.numpy()
    labels: NDArray[np.float32] = batch.labels.numpy()
    # What is said of each sample moves with it.
    weights = None if batch.weights is None else batch.weights.numpy()
    for row, place in enumerate(places):
        rng = np.random.default_rng([seed, step, place])
        of_samples = [labels[row]] if weights is None else [labels[row], weights[row]]
        _augment_window(signals[row], of_samples, settings, rng)


def _augment_window(
    signal: NDArray[np.float32],
    of_samples: Sequence[NDArray[np.float32]],
    settings: Augmentation,
    rng: np.random.Generator,
) -> None:
    # Every draw is made whatever is switched on, so that one setting does not change another's.
    shift = round(rng.uniform(-1, 1) * settings.time_shift_s * RATE)
    factor = (1 + settings.amplitude) ** rng.uniform(-1, 1)
    mirrored = rng.random() < settings.left_right_flip
    silent = rng.random(len(signal)) < settings.channel_dropout
    if mirrored:
        signal[:] = signal[MIRRORED]
    if shift:
        signal[:] = _moved(signal, shift)
        for values in of_samples:
            values[:] = _moved(values, shift)
    if settings.amplitude:
        signal *= np.float32(factor)
    if settings.noise_sd:
        noise = rng.standard_normal(signal.shape, dtype=np.float32)
        signal += noise * np.float32(settings.noise_sd)
    signal[silent] = 0.0


def _moved(values: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """Values moved by ``shift`` samples along the last axis, the edge filled by reflection."""
    length = values.shape[-1]
    index = np.abs(np.arange(length) - shift)
    index = np.where(index >= length, 2 * (length - 1) - index, index)
    return values[..., index]
