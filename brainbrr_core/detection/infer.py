"""The windows of a signal that is read piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int], NDArray[np.float32]]


def padded_window(read: Read, start: int, samples: int, window: int) -> NDArray[np.float32]:
    """The window at ``start`` of a recording, followed by zeros where the recording is shorter."""
    stop = min(start + window, samples)
    signal = read(start, stop)
    if signal.ndim != 2 or signal.shape[1] != stop - start:
        raise ValueError(f"the signal of samples {start} to {stop} has the shape {signal.shape}")
    if stop - start == window:
        return signal
    padded = np.zeros((signal.shape[0], window), dtype=np.float32)
    padded[:, : stop - start] = signal
    return padded
