"""How a recording is extended before its first sample and after its last.

Filters need earlier samples, and a resampler needs samples on both sides. Nothing here depends on
a single sample, since the first one of a recording is often garbage: an amplifier that is still
settling, or a value at full scale.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

#: Seconds at each end from which the signal's level there is taken.
EDGE_S = 1
#: The constants of the edges, as the preprocessing version has them.
CONSTANTS: dict[str, JsonValue] = {"edge_s": EDGE_S, "level": "median", "reflection": "odd"}


class SignalSource(Protocol):
    """A recording's raw signal.

    Its channels are those of a montage that the recording has, in the order of the montage: for
    ``10-20``, electrodes may be missing; the derivations of ``double-banana`` are complete.
    """

    @property
    def rate(self) -> Fraction:
        """Samples per second."""

    @property
    def samples(self) -> int:
        """Samples per channel."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Electrodes that are not among the channels, to be interpolated after filtering."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read an interval of the signal.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last.

        Returns
        -------
        array of float32, shape (channels, stop - start)
            In µV relative to a constant per channel, such as its first sample: without an
            electrode's offset float32 is exact enough, and the band-pass removes it anyway. Unless
            it is a view, the caller may overwrite it.
        """


def edge_samples(rate: Fraction) -> int:
    """Samples of each end from which the level is taken, at ``rate`` samples per second."""
    # In integers, which take a tenth of the time of fractions.
    return max(1, EDGE_S * rate.numerator // rate.denominator)


def level(source: SignalSource) -> NDArray[np.float32]:
    """The level (channels, 1) of each channel at the beginning: the median of the first second.

    Of an even number of samples it is the lower of the middle two, so always a sample. The filters
    start from their steady state for a signal that has always been at this level.
    """
    first = np.sort(source.read(0, min(edge_samples(source.rate), source.samples)), axis=1)
    return first[:, (first.shape[1] - 1) // 2, None]


def read_reflected(
    source: SignalSource, zero: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.float32]:
    """Samples ``start`` to ``stop`` less ``zero``, extended at both ends by odd reflection.

    The reflection is about the outermost sample. One that lies further from the other samples of
    its second than their whole range is moved to that distance for the reflection: otherwise
    garbage would be extended over the whole length of the resampler's filter.
    """
    samples = source.samples
    edge = min(edge_samples(source.rate), samples - 1)
    parts = []
    if start < 0:
        first = source.read(0, edge + 1)
        center = _within(first[:, :1], first[:, 1:])
        mirrored = source.read(1, min(1 - start, samples))[:, ::-1]
        parts.append(2 * (center - zero) - (mirrored - zero))
    within = source.read(max(start, 0), min(stop, samples))
    # A view is somebody else's memory.
    parts.append(np.subtract(within, zero, out=within if within.flags.owndata else None))
    if stop > samples:
        last = source.read(samples - 1 - edge, samples)
        center = _within(last[:, -1:], last[:, :-1])
        mirrored = source.read(max(2 * samples - 1 - stop, 0), samples - 1)[:, ::-1]
        parts.append(2 * (center - zero) - (mirrored - zero))
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    # Outputs of the last period that are past the recording's end are discarded: their inputs must
    # exist, but their values do not matter.
    beyond = stop - start - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, beyond))) if beyond else signal


def _within(sample: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sample`` (channels, 1), no further from ``others`` (channels, n) than their range."""
    if not others.shape[1]:
        return sample
    low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)
    return np.clip(sample, low - (high - low), high + (high - low))
