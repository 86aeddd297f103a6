"""An EDF that another program is still writing, read record by record as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration.settings import ChannelRules
from brainbrr_core.constants import MontageName
from brainbrr_core.edf.channels import match_labels, montage_channels
from brainbrr_core.edf.header import EdfHeader, UnusableEdf, read_header
from brainbrr_core.edf.records import read_records, whole_records
from brainbrr_core.edf.source import Digital, LocalEdf
from brainbrr_core.edf.timestamps import RecordClock
from brainbrr_core.signal.resampling import UnsupportedRate, design

#: Seconds between two checks of the file's size, and seconds of signal that are read at once.
_POLL_S, _READ_S = 0.5, 60


class GrowingEdf:
    """The channels of a montage in an EDF whose data records are appended while it is read.

    The number of records in its header is ignored: writers fill it in at the end. ``bad`` names
    channels that count as missing. Raises :class:`UnusableEdf` as
    :func:`~brainbrr_core.edf.reader.open_edf` does, and ``OSError`` where the file cannot be
    opened.
    """

    def __init__(
        self,
        path: Path,
        bad: Iterable[str] = (),
        rules: ChannelRules | None = None,
        montage: MontageName = "10-20",
    ) -> None:
        self._file = LocalEdf(path)
        self._header: EdfHeader = read_header(self._file)
        labels = [signal.label for signal in self._header.signals]
        match = match_labels(labels, bad, rules, montage)
        channels = self._channels = montage_channels(self._header, match)
        channels.check_calibration()
        rates = {s.samples / self._header.record_duration for s in channels.signals.values()}
        if len(rates) > 1:
            raise UnusableEdf("uneven_rates", ", ".join(f"{float(r):g}" for r in sorted(rates)))
        self.rate: Fraction = rates.pop()
        self.missing = channels.missing
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
        zero: NDArray[Digital] | None = None
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
                self._channels.check_copies(records)
                samples = len(records) * self._channels.per_record
                yield self._channels.microvolts(records, zero, 0, samples)
                done += count
            elif waited >= idle_s:
                return
            else:
                sleep(_POLL_S)
                waited += _POLL_S
