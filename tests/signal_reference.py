"""The signal chain in plain float64 scipy, whole recordings at once: what production must match.

It shares no code with production but the published taps and the electrodes' positions.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from brainbrr_core.signal.resampling import design


class ArraySource:
    """A recording in memory, as the chain reads it."""

    def __init__(
        self, data: NDArray[np.float64], rate: Fraction, missing: tuple[str, ...] = ()
    ) -> None:
        self.data, self.rate, self.missing = data, rate, missing
        self.samples = data.shape[1]

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return (self.data[:, start:stop] - self.data[:, :1]).astype(np.float32)


def resample(data: NDArray[np.float64], rate: Fraction) -> NDArray[np.float64]:
    """Channels (n, samples) at 256 Hz."""
    filters = design(rate)
    assert not filters.is_interpolated, "test_rates.py has the reference of such rates"
    count = data.shape[1] * filters.up // filters.down
    if filters.up == filters.down:
        return data
    half = len(filters.taps) // 2
    # Enough mirrored samples that the filter never meets an end, in whole steps of ``down``.
    reach = -(-(half // filters.up + 2) // filters.down) * filters.down
    extended = np.concatenate(
        [
            2 * data[:, :1] - data[:, reach:0:-1],
            data,
            2 * data[:, -1:] - data[:, -2 : -reach - 2 : -1],
        ],
        axis=1,
    )
    # The first output falls on the filter's middle when that is a whole number of steps away.
    taps = np.concatenate([np.zeros(-half % filters.down), filters.taps])
    filtered = signal.upfirdn(taps, extended, filters.up, filters.down, axis=1)
    first = (-(-half // filters.down) * filters.down + reach * filters.up) // filters.down
    return np.asarray(filtered[:, first : first + count])


def filtered(
    data: NDArray[np.float64], rate: Fraction, *, notch: float = 60.0
) -> NDArray[np.float64]:
    """The signal after resampling, band-pass and notch, in µV."""
    y = resample(data, rate)
    bandpass = signal.butter(3, (0.5, 120.0), "bandpass", fs=256, output="sos")
    zi = signal.sosfilt_zi(bandpass)[:, None, :] * y[None, :, :1]
    y, _ = signal.sosfilt(bandpass, y, axis=1, zi=zi)
    b, a = signal.iirnotch(notch, 30.0, fs=256)
    y, _ = signal.lfilter(b, a, y, axis=1, zi=signal.lfilter_zi(b, a)[None, :] * y[:, :1])
    return np.asarray(y)


def chain(data: NDArray[np.float64], rate: Fraction, *, notch: float = 60.0) -> NDArray[np.float64]:
    """The z-scored signal in standard deviations, clipped at 10."""
    y = filtered(data, rate, notch=notch)
    deviation = y.std(axis=1, keepdims=True)
    return np.clip((y - y.mean(axis=1, keepdims=True)) / deviation, -10, 10)
