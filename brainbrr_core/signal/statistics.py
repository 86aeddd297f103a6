"""Center and spread of a filtered signal per channel, from which its z-score is computed.

Two scales. ``recording_sd``: mean and standard deviation. ``robust``: median and interquartile
range, as a standard deviation of a Gaussian with that range, which a seizure or an artifact that
lasts less than a quarter of the recording hardly moves. Both leave out the first seconds, in which
the filters settle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.machine.compiled import compiled

#: Seconds at the beginning that are left out. The response of the band-pass and the notch to
#: a sample of garbage is down to a thousandth of it by then.
SETTLING_S = 2
#: Interquartile range of a Gaussian whose standard deviation is 1.
GAUSSIAN_IQR = 1.3489795003921634
#: An interquartile range below this, in µV, is that of a channel which was disconnected for most of
#: the recording. Its spread is the standard deviation on either scale.
QUIET_UV = 0.1
#: The constants of the statistics, as the preprocessing version has them.
CONSTANTS = {"settling_s": SETTLING_S}

Pieces = Callable[[], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True)
class Statistics:
    """Center and spread of a filtered signal, per channel.

    Attributes
    ----------
    mean : array of float64, shape (channels,)
        Mean in µV; the median on the scale ``robust``.
    deviation : array of float64, shape (channels,)
        Standard deviation in µV; on the scale ``robust``, the interquartile range divided by that
        of a Gaussian of standard deviation 1.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(
        cls, filtered: Iterable[NDArray[np.float32]], samples: int, settings: Preprocessing
    ) -> Statistics:
        """Measure the first samples of a signal, in one pass.

        For the scale ``robust`` all pieces are kept in memory; :meth:`of_passes` keeps none.

        Parameters
        ----------
        filtered : iterable of arrays of float32, shape (channels, n)
            Consecutive pieces of the signal in µV at 256 Hz.
        samples : int
            How many samples count.
        settings : Preprocessing
            The scale.

        Returns
        -------
        Statistics
            Center and spread without the first two seconds.
        """
        if settings.scale == "recording_sd":
            return cls.of_passes(lambda: filtered, samples, settings)
        pieces = list(_first(filtered, samples))
        return cls.of_passes(lambda: pieces, samples, settings)

    @classmethod
    def of_passes(cls, pieces: Pieces, samples: int, settings: Preprocessing) -> Statistics:
        """Measure the first samples of a signal, in several passes and little memory.

        Parameters
        ----------
        pieces : callable
            Returns the pieces of the signal (channels, n) in µV at 256 Hz from the beginning;
            called once, and several times for the scale ``robust``.
        samples : int
            How many samples count.
        settings : Preprocessing
            The scale.

        Returns
        -------
        Statistics
            Center and spread without the first two seconds.
        """
        settling = SETTLING_S * settings.rate_hz
        settled = _moments(_first(pieces(), samples), settling, len(settings.channels))
        if settings.scale == "recording_sd":
            return settled
        return robust(lambda: _first(pieces(), samples), settling, settled)


def robust(pieces: Pieces, settling: int, moments: Statistics) -> Statistics:
    """Center and spread by quartiles, without the first ``settling`` samples.

    ``moments`` are the same signal's mean and deviation, for channels that are too quiet.
    """
    lower, middle, upper = _quartiles(pieces, settling, len(moments.mean))
    spread = upper - lower
    deviation = np.where(spread < QUIET_UV, moments.deviation, spread / GAUSSIAN_IQR)
    return Statistics(middle, deviation)


def of_moments(sums: NDArray[np.float64], samples: int) -> Statistics:
    """Mean and deviation from each channel's sum and sum of squares (channels, 2)."""
    mean, square = sums.T / max(samples, 1)
    return Statistics(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


def _first(filtered: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """The first ``samples`` of a signal that comes in pieces."""
    given = 0
    for piece in filtered:
        taken = piece[:, : samples - given]
        given += taken.shape[1]
        yield taken
        if given == samples:
            return


def _moments(filtered: Iterable[NDArray[np.float32]], settling: int, channels: int) -> Statistics:
    # A heavy import, needed only where signals are computed.
    from brainbrr_core.signal.moments import add_moments

    sums = np.zeros((channels, 2))
    before = np.zeros_like(sums)
    counted = 0
    for piece in filtered:
        cut = min(max(settling - counted, 0), piece.shape[1])
        if cut:
            add_moments(np.ascontiguousarray(piece[:, :cut]), before)
        if cut < piece.shape[1]:
            add_moments(np.ascontiguousarray(piece[:, cut:]), sums)
        counted += piece.shape[1]
    used = counted - settling
    if used < settling:
        # Too short to leave anything out.
        used, sums = counted, sums + before
    return of_moments(sums, used)


def _quartiles(pieces: Pieces, settling: int, channels: int) -> NDArray[np.float64]:
    """The three quartiles (3, channels) as ``numpy.quantile`` has them, to the last sample.

    Numbers in the order of their values are counted by the upper half of their bits, then by the
    lower half among those that share the upper one with a quartile.
    """
    length = sum(piece.shape[1] for piece in pieces())
    skipped = settling if length >= 2 * settling else 0
    if not length:
        return np.zeros((3, channels))
    # Quartiles lie between two samples each.
    ranks, parts = np.divmod((length - skipped - 1) * np.arange(1, 4), 4)
    both = np.stack([ranks, np.minimum(ranks + 1, length - skipped - 1)], axis=1).reshape(-1)
    upper = np.zeros((channels, 1 << 16), np.int64)
    for piece in _after(pieces(), skipped):
        count_upper_halves(piece.view(np.uint32), upper)
    high = np.array([_position(counts, both) for counts in upper])
    lower = np.zeros((channels, len(both), 1 << 16), np.int32)
    for piece in _after(pieces(), skipped):
        count_lower_halves(piece.view(np.uint32), high, lower)
    values = np.empty((channels, len(both)))
    for channel, counts in enumerate(lower):
        for n, wanted in enumerate(both):
            smaller = upper[channel, : high[channel, n]].sum()
            low = _position(counts[n], wanted - smaller)
            values[channel, n] = _value_of(int(high[channel, n]) << 16 | int(low))
    before, after = values.reshape(channels, 3, 2).transpose(2, 1, 0)
    return np.asarray(before + (after - before) * parts[:, None] / 4)


def _position(counts: NDArray[np.integer], ranks: NDArray[np.int64] | np.int64) -> NDArray[np.intp]:
    """In which bin the sample of each rank is counted; the smallest has rank 0."""
    return np.asarray(np.searchsorted(counts.cumsum(dtype=np.int64), ranks, side="right"))


def _after(filtered: Iterable[NDArray[np.float32]], skipped: int) -> Iterator[NDArray[np.float32]]:
    """A signal that comes in pieces, without its first samples."""
    position = 0
    for piece in filtered:
        cut = min(max(skipped - position, 0), piece.shape[1])
        position += piece.shape[1]
        if cut < piece.shape[1]:
            yield np.ascontiguousarray(piece[:, cut:])


def _value_of(key: int) -> np.float32:
    """The float32 that is at ``key`` in the order of values."""
    bits = key ^ 0x80000000 if key & 0x80000000 else key ^ 0xFFFFFFFF
    return np.uint32(bits).view(np.float32)


@compiled
def count_upper_halves(
    bits: NDArray[np.uint32], counts: NDArray[np.int64]
) -> None:  # pragma: no cover - compiled
    """Count the bits (channels, n) of float32 by the upper half of their place in the order.

    A number's place in the order of values is that of its bits, the sign's inverted, all inverted
    for one that is negative.
    """
    for channel in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            x = bits[channel, t]
            key = x ^ np.uint32(0xFFFFFFFF) if x >> 31 else x ^ np.uint32(0x80000000)
            counts[channel, key >> 16] += 1


@compiled
def count_lower_halves(
    bits: NDArray[np.uint32], upper: NDArray[np.int64], counts: NDArray[np.int32]
) -> None:  # pragma: no cover - compiled
    """Count those whose upper half is one of ``upper`` (channels, k) by the lower half.

    ``counts`` is (channels, k, 65536).
    """
    for channel in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            x = bits[channel, t]
            key = x ^ np.uint32(0xFFFFFFFF) if x >> 31 else x ^ np.uint32(0x80000000)
            for n in range(upper.shape[1]):
                if key >> 16 == upper[channel, n]:
                    counts[channel, n, key & 0xFFFF] += 1
