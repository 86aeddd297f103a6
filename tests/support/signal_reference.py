"""The signal chain in plain float64 scipy, whole recordings at once: what production must match.

It shares no code with production but the published taps and the electrodes' positions.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from brainbrr_core.signal.resampling import design


class ArraySource:
    """A recording in memory, as the chain reads it."""

    def __init__(
        self, data: NDArray[np.floating], rate: Fraction, missing: tuple[str, ...] = ()
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
    second = int(rate)
    first = _mirror(data[:, :1], data[:, 1 : second + 1])
    last = _mirror(data[:, -1:], data[:, -second - 1 : -1])
    extended = np.concatenate(
        [
            2 * first - data[:, reach:0:-1],
            data,
            2 * last - data[:, -2 : -reach - 2 : -1],
        ],
        axis=1,
    )
    # The first output falls on the filter's middle when that is a whole number of steps away.
    taps = np.concatenate([np.zeros(-half % filters.down), filters.taps])
    filtered = signal.upfirdn(taps, extended, filters.up, filters.down, axis=1)
    begin = (-(-half // filters.down) * filters.down + reach * filters.up) // filters.down
    return np.asarray(filtered[:, begin : begin + count])


def _mirror(outermost: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outermost sample, no further from the others of its second than their range."""
    low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)
    return np.clip(outermost, 2 * low - high, 2 * high - low)


def filtered(
    data: NDArray[np.float64], rate: Fraction, *, notch: float = 60.0
) -> NDArray[np.float64]:
    """The signal after resampling, band-pass and notch, in µV."""
    return filtered_at_256(resample(data, rate), level(data, rate), notch=notch)


def level(data: NDArray[np.float64], rate: Fraction) -> NDArray[np.float64]:
    """The lower median of the first second of each channel, (n, 1)."""
    sorted_second = np.sort(data[:, : int(rate)], axis=1)
    return sorted_second[:, [(sorted_second.shape[1] - 1) // 2]]


def filtered_at_256(
    y: NDArray[np.float64], begin: NDArray[np.float64], *, notch: float = 60.0
) -> NDArray[np.float64]:
    """Band-pass and notch of a signal at 256 Hz, as if it had always been at ``begin`` before."""
    bandpass = signal.butter(3, (0.5, 120.0), "bandpass", fs=256, output="sos")
    zi = signal.sosfilt_zi(bandpass)[:, None, :] * begin[None]
    y, _ = signal.sosfilt(bandpass, y, axis=1, zi=zi)
    b, a = signal.iirnotch(notch, 30.0, fs=256)
    # Of a constant, the band-pass leaves nothing.
    y, _ = signal.lfilter(b, a, y, axis=1, zi=np.zeros((len(y), 2)))
    return np.asarray(y)


def settled(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a filtered signal to take its mean and deviation from: not its first 2 s."""
    return y[:, 512:]


def chain(
    data: NDArray[np.float64], rate: Fraction, *, notch: float = 60.0, robust: bool = False
) -> NDArray[np.float64]:
    """The z-scored signal in standard deviations, clipped at 10."""
    return scored(filtered(data, rate, notch=notch), robust=robust)


def scored(y: NDArray[np.float64], *, robust: bool = False) -> NDArray[np.float64]:
    """A filtered signal in standard deviations, clipped at 10."""
    used = settled(y)
    if robust:
        lower, middle, upper = np.quantile(used, [0.25, 0.5, 0.75], axis=1)[:, :, None]
        # A Gaussian's quartiles are 0.6745 standard deviations from its middle.
        return np.asarray(
            np.clip((y - middle) / ((upper - lower) / 2 / stats.norm.ppf(0.75)), -10, 10)
        )
    deviation = used.std(axis=1, keepdims=True)
    return np.asarray(np.clip((y - used.mean(axis=1, keepdims=True)) / deviation, -10, 10))


def synthetic_eeg(rate: float, seconds: float, channels: int = 19) -> NDArray[np.float64]:
    """Brown noise with a standard deviation of 30 µV on offsets of some hundred µV."""
    rng = np.random.default_rng(11)
    count = int(rate * seconds)
    walk = rng.standard_normal((channels, count)).cumsum(axis=1)
    # Without the drift that no EEG has.
    smooth = np.apply_along_axis(np.convolve, 1, walk, np.ones(int(rate)) / rate, "same")
    noise = walk - smooth
    noise *= 30 / noise.std(axis=1, keepdims=True)
    return np.asarray(noise + 300 * rng.standard_normal((channels, 1)))


def synthetic_seizure(
    rate: int, seconds: int, at: int, microvolts: float = 500.0
) -> NDArray[np.float64]:
    """A minute of 3 Hz in a background of 15 µV."""
    data = synthetic_eeg(rate, seconds) / 2
    time_s = np.arange(60 * rate) / rate
    data[:, at * rate : (at + 60) * rate] += microvolts * np.sin(2 * np.pi * 3 * time_s)
    return data
