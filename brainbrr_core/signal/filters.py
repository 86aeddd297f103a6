"""The causal band-pass and notch, designed by scipy and run over all channels at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing


@lru_cache(maxsize=8)
def sections(settings: Preprocessing) -> NDArray[np.float64]:
    """Second-order sections (n, 6): Butterworth band-pass, then notch."""
    from scipy import signal

    bandpass = signal.butter(
        settings.bandpass_order,
        settings.bandpass_hz,
        btype="bandpass",
        fs=settings.rate_hz,
        output="sos",
    )
    notch = signal.tf2sos(
        *signal.iirnotch(settings.notch_hz, settings.notch_q, fs=settings.rate_hz)
    )
    return np.ascontiguousarray(np.vstack([bandpass, notch]), dtype=np.float64)


def steady_state(settings: Preprocessing, first: NDArray[np.float64]) -> NDArray[np.float64]:
    """State (n sections, channels, 2) of the filters after an eternity at ``first`` (channels)."""
    from scipy import signal

    unit = signal.sosfilt_zi(sections(settings))
    return np.ascontiguousarray(unit[:, None, :] * first[None, :, None])


@njit(cache=True, nogil=True)
def filter_in_place(
    samples: NDArray[np.float32], sos: NDArray[np.float64], state: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Filter ``samples`` (channels, n) in place; ``state`` goes on to the next call.

    Transposed direct form II with state in float64: float32 state in transfer-function form is
    5.7 µV off on clinical EEG. Channels lie innermost, so that one instruction serves several.
    """
    channels, count = samples.shape
    tile = 512
    work = np.empty((tile, channels), np.float64)
    for start in range(0, count, tile):
        size = min(tile, count - start)
        for channel in range(channels):
            for t in range(size):
                work[t, channel] = samples[channel, start + t]
        for section in range(sos.shape[0]):
            b0, b1, b2 = sos[section, 0], sos[section, 1], sos[section, 2]
            a1, a2 = sos[section, 4], sos[section, 5]
            first = state[section, :, 0].copy()
            second = state[section, :, 1].copy()
            for t in range(size):
                for channel in range(channels):
                    x = work[t, channel]
                    y = b0 * x + first[channel]
                    first[channel] = b1 * x - a1 * y + second[channel]
                    second[channel] = b2 * x - a2 * y
                    work[t, channel] = y
            state[section, :, 0] = first
            state[section, :, 1] = second
        for channel in range(channels):
            for t in range(size):
                samples[channel, start + t] = work[t, channel]


@njit(cache=True, nogil=True)
def add_moments(
    samples: NDArray[np.float32], sums: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Add each channel's sum and sum of squares to ``sums`` (channels, 2).

    The filters leave no offset, so a plain sum of squares in float64 loses nothing.
    """
    for channel in range(samples.shape[0]):
        total = 0.0
        squares = 0.0
        for t in range(samples.shape[1]):
            x = np.float64(samples[channel, t])
            total += x
            squares += x * x
        sums[channel, 0] += total
        sums[channel, 1] += squares


@njit(cache=True, nogil=True)
def quantize(
    samples: NDArray[np.float32],
    mean: NDArray[np.float64],
    factor: NDArray[np.float64],
    limit: int,
    out: NDArray[np.int16],
) -> None:  # pragma: no cover - compiled
    """Write ``(samples - mean) * factor``, rounded and clipped, as blocks.

    ``samples`` is (channels, n), ``out`` (blocks, channels, block samples); what ``samples`` does
    not fill of the last block is left alone.
    """
    length = out.shape[2]
    for channel in range(samples.shape[0]):
        for block in range(out.shape[0]):
            start = block * length
            for t in range(min(length, samples.shape[1] - start)):
                x = np.rint((samples[channel, start + t] - mean[channel]) * factor[channel])
                out[block, channel, t] = np.int16(min(max(x, -limit), limit))
