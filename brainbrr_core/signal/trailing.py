"""Statistics for a causal z-score: of the minutes that end with each 10 s of a signal.

While there are fewer minutes so far, all of them count. The first minute is z-scored as a whole by
its own statistics, so that nothing is divided by the spread of a few seconds; as everywhere, the
two seconds in which the filters settle are left out. The 10 s themselves count, too: no window ends
within them, so nothing has to wait for them, and a channel that is connected late is not divided by
the spread of the time before alone.

Whole recordings and samples as they arrive are processed by the same class, which gives the same
bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing
from brainbrr_core.constants import BLOCK_S
from brainbrr_core.signal.statistics import SETTLING_S, Statistics, of_moments, robust

#: Seconds at the beginning that are z-scored as a whole.
START_S = 60
#: The constants of trailing statistics, as the preprocessing versions that use them have them.
CONSTANTS = {"start_s": START_S}

#: Up to 10 s of filtered signal (channels, n), and the statistics for their z-score.
Scaled = tuple[NDArray[np.float32], Statistics]


class TrailingStatistics:
    """Filtered signal in, in pieces of any length; blocks of 10 s with their statistics out.

    A block is given when its last sample has come; those of the first minute when that is over.
    Keeps a minute of signal in memory at the beginning, and for the scale ``robust`` always as many
    minutes as the setting says.
    """

    def __init__(self, settings: Preprocessing) -> None:
        if settings.zscore_minutes is None:
            raise ValueError("preprocessing.zscore_minutes is not set")
        self._settings = settings
        self._block_samples = BLOCK_S * settings.rate_hz
        blocks = settings.zscore_minutes * 60 // BLOCK_S
        self._sums: deque[tuple[NDArray[np.float64], int]] = deque(maxlen=blocks)
        self._kept: deque[NDArray[np.float32]] = deque(maxlen=blocks)
        self._rest = np.zeros((len(settings.channels), 0), np.float32)
        #: The blocks of the first minute until it is over.
        self._start: list[NDArray[np.float32]] = []
        self._started = False

    def push(self, filtered: NDArray[np.float32]) -> Iterator[Scaled]:
        """Add the next samples (channels, n) in µV; yield the blocks that they complete."""
        if self._rest.shape[1]:
            filtered = np.concatenate([self._rest, filtered], axis=1)
        size = self._block_samples
        whole = filtered.shape[1] // size * size
        for first in range(0, whole, size):
            yield from self._take(np.ascontiguousarray(filtered[:, first : first + size]))
        self._rest = filtered[:, whole:].copy()

    def finish(self) -> Iterator[Scaled]:
        """Yield the remaining blocks: no sample follows. The last block may be shorter."""
        if self._rest.shape[1]:
            yield from self._take(self._rest)
        if not self._started:
            yield from self._begin()

    def _take(self, block: NDArray[np.float32]) -> Iterator[Scaled]:
        # A heavy import, needed only where signals are computed.
        from brainbrr_core.signal.moments import add_moments

        settling = 0 if self._sums else SETTLING_S * self._settings.rate_hz
        counted = np.ascontiguousarray(block[:, settling:])
        sums = np.zeros((len(counted), 2))
        add_moments(counted, sums)
        self._sums.append((sums, counted.shape[1]))
        if self._settings.scale == "robust":
            self._kept.append(counted)
        if self._started:
            yield block, self._trailing()
            return
        self._start.append(block)
        if len(self._start) * BLOCK_S >= START_S:
            yield from self._begin()

    def _begin(self) -> Iterator[Scaled]:
        """Yield the blocks of the first minute, which is over, or of a shorter recording."""
        start, self._start, self._started = self._start, [], True
        samples = sum(block.shape[1] for block in start)
        statistics = Statistics.of(start, samples, self._settings)
        for block in start:
            yield block, statistics

    def _trailing(self) -> Statistics:
        """The statistics of the minutes that end with the last block."""
        # Summed in this order, not in one that a library chooses.
        sums, used = np.zeros((len(self._settings.channels), 2)), 0
        for of_block, count in self._sums:
            sums += of_block
            used += count
        moments = of_moments(sums, used)
        if self._settings.scale == "recording_sd":
            return moments
        return robust(lambda: self._kept, 0, moments)
