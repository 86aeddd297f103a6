"""An EDF that another program is still writing, read record by record as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.edf.header import EdfHeader, UnusableEdf, read_header
from brainbrr_core.edf.reader import wrong_channels
from brainbrr_core.edf.records import read_records, whole_records
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.edf.timestamps import RecordClock
from brainbrr_core.signal.montage import match_channels
from brainbrr_core.signal.quantization import to_microvolts
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: Seconds between two checks of the file's size, and seconds of signal that are read at once.
_POLL_S, _READ_S = 0.5, 60


class GrowingEdf:
    """The electrodes of an EDF whose data records are appended while it is read.

    The number of records in its header is ignored: writers fill it in at the end. ``bad`` names
    channels that count as missing. Raises :class:`UnusableEdf` as
    :func:`~brainbrr_core.edf.reader.open_edf` does, and ``OSError`` where the file cannot be
    opened.
    """

    def __init__(
        self, path: Path, bad: Iterable[str] = (), rules: ChannelRules | None = None
    ) -> None:
        self._file = LocalEdf(path)
        self._header: EdfHeader = read_header(self._file)
        labels = [signal.label for signal in self._header.signals]
        match = match_channels(labels, bad, rules)
        if match.reason is not None:
            raise wrong_channels(match)
        self._channels = [self._header.signals[index] for index, _ in match.signals.values()]
        self._gains = np.array([channel.microvolts() for channel in self._channels], np.float32)
        rates = {channel.samples / self._header.record_duration for channel in self._channels}
        if len(rates) > 1:
            raise UnusableEdf("uneven_rates", ", ".join(f"{float(r):g}" for r in sorted(rates)))
        self.rate: Fraction = rates.pop()
        self.missing = match.to_interpolate
        try:
            design(self.rate)
        except UnsupportedRate as error:
            raise UnusableEdf("unsupported_rate", str(error)) from None
        RecordClock(self._header, self.rate).check()

    def pieces(
        self, idle_s: float, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[NDArray[np.float32]]:
        """Samples (channels, n) in µV, relative to each channel's first, as records are appended.

        Ends when the file has not grown for ``idle_s`` seconds; with 0, at its present end.
        ``sleep`` waits between two checks. Raises :class:`UnusableEdf` at the first record whose
        time stamp does not agree with the samples.
        """
        clock = RecordClock(self._header, self.rate)
        at_once = max(1, int(_READ_S / self._header.record_duration))
        done, waited = 0, 0.0
        zero: NDArray[np.int16] | None = None
        while True:
            whole, _ = whole_records(self._file, self._header)
            if whole > done:
                count, waited = min(whole - done, at_once), 0.0
                records = read_records(self._file, self._header, done, done + count)
                if clock.signal is not None:
                    stop = clock.signal.offset + clock.signal.samples
                    clock.add(done, records[:, clock.signal.offset : stop])
                    clock.check()
                if zero is None:
                    zero = records[0].copy()
                yield self._microvolts(records, zero)
                done += count
            elif waited >= idle_s:
                return
            else:
                sleep(_POLL_S)
                waited += _POLL_S

    def _microvolts(
        self, records: NDArray[np.int16], zero: NDArray[np.int16]
    ) -> NDArray[np.float32]:
        length = self._channels[0].samples
        out = np.empty((len(self._channels), len(records) * length), np.float32)
        offsets = np.array([channel.offset for channel in self._channels])
        zeros = zero[offsets].astype(np.float32)
        to_microvolts(records, offsets, length, 0, zeros, self._gains, out)
        return out
