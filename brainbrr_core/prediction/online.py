"""Detection while a recording is made: samples in, onsets and events out as they become certain.

The signal chain is causal but for half of the resampler's filter. The network looks both ways
within its window, and a sample's score is stitched from all windows that cover it; so a moment
is judged when the first window that begins after it has arrived as a whole. That is the latency.
Given the same mean and deviation, the events are those that ``Predictor.predict_all`` finds in the
whole recording, however the samples are cut into pieces, and no onset is ever withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from brainbrr_core.constants import FRAME_HZ, RATE
from brainbrr_core.detection import Stitcher, check_finite, padded_window, window_starts
from brainbrr_core.detection.scorer import WindowScorer
from brainbrr_core.detection.stream import EventStream, NewEvents
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.prediction.normalization import Normalization
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.scoring import OperatingPoint
from brainbrr_core.signal.chain import Quantizer
from brainbrr_core.signal.quantization import span
from brainbrr_core.signal.statistics import Statistics
from brainbrr_core.signal.stream import SignalStream
from brainbrr_core.signal.trailing import START_S, TrailingStatistics

#: One line of output: ``kind`` is ``onset`` or ``event``, times are seconds of the recording.
Line = dict[str, JsonValue]


class OnlineDetector:
    """A network on samples as they arrive.

    Memory is bounded by a window, by the first seconds until they are over, and by the minutes
    that are z-scored with.

    Parameters
    ----------
    predictor : Predictor
        The network and its settings.
    rate : Fraction
        Samples per second of the input, in Hz.
    missing : tuple of str
        Electrodes that the input lacks and that are interpolated.
    point : OperatingPoint
        The logits at which an event begins and ends.
    normalization : Normalization
        A given mean and standard deviation or those of the first seconds. Where
        ``preprocessing.zscore_minutes`` is set it must be neither: the signal is then the same
        as that of the whole recording in the store.

    Raises
    ------
    BrainbrrError
        For the recording's own mean and standard deviation, which are not known before its end,
        and for a run whose signal chain is not known.
    """

    def __init__(
        self,
        predictor: Predictor,
        rate: Fraction,
        missing: tuple[str, ...],
        point: OperatingPoint,
        normalization: Normalization,
    ) -> None:
        predictor.require_chain()
        self._predictor, self._rate = predictor, rate
        # A window is scored as soon as it has arrived.
        self._scorer = WindowScorer.of(
            predictor.network, predictor.hardware, predictor.device, batch=1
        )
        self._settings = predictor.preprocessing
        normalization.check(self._settings)
        self._trailing: TrailingStatistics | None = None
        if self._settings.zscore_minutes is not None:
            self._trailing = TrailingStatistics(self._settings)
        elif normalization.statistics is None and normalization.first_s is None:
            raise BrainbrrError(
                "a recording's own mean and deviation are not known before its end: give --stats "
                "or --first-minutes"
            )
        self._stream = SignalStream(rate, missing, self._settings)
        self._first_samples = round((normalization.first_s or 0) * self._settings.rate_hz)
        self.statistics = normalization.statistics
        self._quantizer = (
            None if self.statistics is None else Quantizer(self.statistics, self._settings)
        )
        detection = predictor.detection
        self._stitcher = Stitcher(predictor.window, detection.stitching)
        self._events = EventStream(detection, point)
        self._received = 0
        #: Filtered signal whose mean and deviation are not known yet.
        self._waiting: list[NDArray[np.float32]] = []
        #: Samples at 256 Hz so far, and the quantized ones from ``_start`` on.
        self._samples = self._start = 0
        self._pieces: list[NDArray[np.int16]] = []
        self._windows = 0
        #: Events so far.
        self.found = 0

    @property
    def version(self) -> str:
        """The preprocessing version that the mean and deviation belong to."""
        return self._predictor.version

    @property
    def signal_s(self) -> float:
        """Seconds of signal that have arrived."""
        return float(self._received / self._rate)

    @property
    def latency_s(self) -> float:
        """Seconds of signal that must follow a moment, at most, before it is judged.

        An onset is given at most this long after the event has lasted ``min_duration_s``; an
        event at most this long after the longest gap that is closed has passed since its end.
        """
        predictor = self._predictor
        half = round(predictor.detection.smooth_s * FRAME_HZ / 2)
        overlap = (predictor.window + predictor.stride) / self._settings.rate_hz
        if self._trailing is not None:
            # The first minute is z-scored when it is over.
            overlap = max(overlap, START_S)
        return overlap + (half + 1) / FRAME_HZ + self._stream.delay_s

    def push(self, raw: NDArray[np.float32]) -> list[Line]:
        """Take samples (channels, n) in µV; give what they make certain."""
        self._received += raw.shape[1]
        return [line for piece in self._stream.push(raw) for line in self._take(piece)]

    def finish(self) -> list[Line]:
        """Give the rest: the recording has ended."""
        lines = [line for piece in self._stream.finish() for line in self._take(piece)]
        if self._trailing is not None:
            for block, statistics in self._trailing.finish():
                lines += self._store(block, Quantizer(statistics, self._settings))
        if self._waiting:
            lines += self._begin()
        if not self._samples:
            return lines
        starts = window_starts(self._samples, self._predictor.window, self._predictor.stride)
        for start in starts[self._windows :]:
            lines += self._run(start)
        last = self._stitcher.finish(self._samples)
        duration_s = self._samples / self._settings.rate_hz
        return lines + self._lines(self._events.finish(last, duration_s))

    def _take(self, filtered: NDArray[np.float32]) -> Iterator[Line]:
        if self._trailing is not None:
            for block, statistics in self._trailing.push(filtered):
                yield from self._store(block, Quantizer(statistics, self._settings))
            return
        if self._quantizer is not None:
            yield from self._store(filtered, self._quantizer)
            return
        self._waiting.append(filtered)
        if sum(piece.shape[1] for piece in self._waiting) >= self._first_samples:
            yield from self._begin()

    def _begin(self) -> list[Line]:
        """The first seconds are over, or the recording is: their mean and deviation are used."""
        self.statistics = Statistics.of(self._waiting, self._first_samples, self._settings)
        quantizer = self._quantizer = Quantizer(self.statistics, self._settings)
        waiting, self._waiting = self._waiting, []
        return [line for piece in waiting for line in self._store(piece, quantizer)]

    def _store(self, filtered: NDArray[np.float32], quantizer: Quantizer) -> Iterator[Line]:
        """Keep what the network will see; run the windows that are complete."""
        blocks, _ = quantizer.apply(filtered)
        channels, count = filtered.shape
        self._pieces.append(blocks.transpose(1, 0, 2).reshape(channels, -1)[:, :count])
        self._samples += count
        while self._windows * self._predictor.stride + self._predictor.window <= self._samples:
            yield from self._run(self._windows * self._predictor.stride)

    def _run(self, start: int) -> list[Line]:
        predictor = self._predictor
        window = padded_window(self._read, start, self._samples, predictor.window)
        [scores] = self._scorer.window_scores([window])
        check_finite(scores, f"window at {start / RATE:g} s")
        self._windows += 1
        return self._lines(self._events.add(self._stitcher.add(start, scores)))

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples from ``start`` on; those before it are not needed any more."""
        remaining = np.concatenate(self._pieces, axis=1)[:, start - self._start :]
        self._pieces, self._start = [remaining], start
        return span(remaining[None], 0, stop - start)

    def _lines(self, new: NewEvents) -> list[Line]:
        self.found += len(new.events)
        onsets: list[Line] = [
            {"kind": "onset", "onset_s": onset, "signal_s": self.signal_s} for onset in new.onsets
        ]
        return onsets + [
            {
                "kind": "event",
                "onset_s": event.start,
                "duration_s": event.duration,
                "label": event.label,
                "confidence": event.confidence,
                "signal_s": self.signal_s,
            }
            for event in new.events
        ]
