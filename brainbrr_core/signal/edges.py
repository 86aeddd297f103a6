"""What a recording is taken to be before its first sample and after its last.

Filters need a past, and a resampler both sides. Nothing here hangs on one sample, since the first
one of a recording is often garbage: an amplifier that is still settling, a value of full scale.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Seconds of each end that say where the signal lies there.
EDGE_S = 1
#: What the edges follow from, as it stands in the preprocessing version.
CONSTANTS = {"edge_s": EDGE_S, "level": "median", "reflection": "odd"}


class SignalSource(Protocol):
    """A recording's raw signal: the electrodes it has, in the order of ``CHANNELS``."""

    @property
    def rate(self) -> Fraction:
        """Samples per second."""

    @property
    def samples(self) -> int:
        """Samples per channel."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes to be interpolated."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop`` of the present channels, (channels, n).

        In µV from a constant of each channel's own, such as its first sample: without an
        electrode's offset, float32 is exact enough, and the band-pass removes a constant anyway.
        """


def edge_samples(rate: Fraction) -> int:
    """Samples of each end that are looked at, at ``rate`` samples per second."""
    return max(1, int(EDGE_S * rate))


def level(source: SignalSource) -> NDArray[np.float32]:
    """Where each channel (channels, 1) lies at the beginning: the median of the first second.

    Of an even number of samples it is the lower one of the middle two, so always a sample. The
    filters start from the steady state of a signal that has always been there.
    """
    first = np.sort(source.read(0, min(edge_samples(source.rate), source.samples)), axis=1)
    return first[:, (first.shape[1] - 1) // 2, None]


def read_reflected(
    source: SignalSource, zero: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.float32]:
    """Samples ``start`` to ``stop`` less ``zero``, extended at both ends by odd reflection.

    The reflection is about the outermost sample. One that lies further from the other samples of
    its second than their whole range is brought to that distance for it: garbage is not mirrored
    to last as long as the resampler's filter.
    """
    samples = source.samples
    edge = min(edge_samples(source.rate), samples - 1)
    parts = []
    if start < 0:
        first = source.read(0, edge + 1)
        centre = _within(first[:, :1], first[:, 1:])
        mirrored = source.read(1, min(1 - start, samples))[:, ::-1]
        parts.append(2 * (centre - zero) - (mirrored - zero))
    parts.append(source.read(max(start, 0), min(stop, samples)) - zero)
    if stop > samples:
        last = source.read(samples - 1 - edge, samples)
        centre = _within(last[:, -1:], last[:, :-1])
        mirrored = source.read(max(2 * samples - 1 - stop, 0), samples - 1)[:, ::-1]
        parts.append(2 * (centre - zero) - (mirrored - zero))
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    # Outputs of the last period that lie past the recording's end are thrown away: what they are
    # made of must exist, but does not matter.
    beyond = stop - start - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, beyond))) if beyond else signal


def _within(sample: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sample`` (channels, 1), no further from ``others`` (channels, n) than their range."""
    if not others.shape[1]:
        return sample
    low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)
    return np.clip(sample, low - (high - low), high + (high - low))
