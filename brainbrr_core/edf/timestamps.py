"""The time axis of an EDF: whether its data records follow each other as their samples say.

In EDF+ each data record begins its first annotation signal with ``+567.25`` and two bytes 0x14:
its start in seconds after the file's (EDF+ specification, 2003, section 2.2.4). Where a file has
such time stamps they decide, whatever its reserved field says: a field is easily blanked or
written in another way, and the gap remains. All who read an EDF ask :class:`RecordClock`.
"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import ANNOTATIONS, EdfHeader, EdfSignal, UnusableEdf
from brainbrr_core.edf.source import EdfBytes

#: A start in seconds; bounded, as anybody may have written it.
_STAMP = re.compile(rb"([+-][0-9]{1,10}(?:\.[0-9]{0,12})?)\x14")
#: The same where nothing but the empty text after it tells it from an annotation.
_EMPTY_STAMP = re.compile(_STAMP.pattern + rb"\x14")
#: Half a sample of the store, in seconds: what is nearer is the same sample.
_HALF_STORED = Fraction(1, 512)
#: Part of a record by which clocks may differ; records further apart have something between them.
_LARGEST_DRIFT = Fraction(1, 100)
#: Data records that are looked at where looking at all of them would take long.
_PROBES = 8
#: Bytes of data records that are read at once.
_READ_BYTES = 1 << 22


def stamped_signal(header: EdfHeader) -> EdfSignal | None:
    """The signal that holds the time stamps; None where there is none."""
    annotations = (signal for signal in header.signals if signal.label == ANNOTATIONS)
    first = next(annotations, None)
    return first if first is not None and first.samples else None


def first_stamp(file: EdfBytes, header: EdfHeader) -> Fraction:
    """Seconds after the header's start at which the samples begin; 0 where no stamp says.

    A header gives whole seconds, the stamp of the first data record what is to be added. Raises
    ``OSError`` when the file cannot be read.
    """
    signal = stamped_signal(header)
    if signal is None:
        return Fraction(0)
    return _stamp(header, _annotations(file, header, signal, 0)) or Fraction(0)


def spread(records: int) -> list[int]:
    """Numbers of a few data records: the first, the last, and some evenly between them."""
    return sorted({int(number) for number in np.linspace(0, records - 1, _PROBES)})


def record_clock(file: EdfBytes, header: EdfHeader, records: int, rate: Fraction) -> RecordClock:
    """The clock of a whole file of ``records``, after as many time stamps as it takes.

    Every stamp of an EDF+D, and where the reserved field names neither kind. An EDF+C promises
    that nothing is missing between its records: eight stamps spread over it, the first and the
    last among them, are held against that, and the others are only read when one is not where it
    should be. What cancels out again between two of the eight is taken on trust. Raises
    ``OSError`` when the file cannot be read.
    """
    clock = RecordClock(header, rate)
    signal = clock.signal
    if signal is None:
        return clock
    if header.kind == "EDF+C":
        for number in spread(records):
            clock.add(number, _annotations(file, header, signal, number)[None])
        if clock.agrees:
            return clock
        clock = RecordClock(header, rate)
    size = header.record_samples
    step = max(1, _READ_BYTES // (2 * size))
    for first in range(0, records, step):
        count = min(step, records - first)
        content = file.samples(header.header_bytes + 2 * first * size, count * size)
        clock.add(first, content.reshape(-1, size)[:, signal.offset :][:, : signal.samples])
    return clock


def _annotations(
    file: EdfBytes, header: EdfHeader, signal: EdfSignal, number: int
) -> NDArray[np.int16]:
    """The samples of ``signal`` in one data record."""
    before = number * header.record_samples + signal.offset
    return file.samples(header.header_bytes + 2 * before, signal.samples)


def _stamp(header: EdfHeader, annotations: NDArray[np.int16]) -> Fraction | None:
    match = (_STAMP if header.kind else _EMPTY_STAMP).match(annotations.tobytes())
    return None if match is None else Fraction(match[1].decode())


class RecordClock:
    """Compares the time stamps of data records with the times at which their samples put them.

    No record may start more than half a sample (at 256 Hz, or of the recording where it is sampled
    lower) from where the number of samples since the first one puts it: a gap, a step back, and
    steps too small to be noticed that add up all exceed that. ``rate`` is that of the wanted
    channels, in samples per second. Memory does not grow with the records.
    """

    def __init__(self, header: EdfHeader, rate: Fraction) -> None:
        self._header = header
        #: Where the time stamps are; None where there are none.
        self.signal = stamped_signal(header)
        self._tolerance = max(1 / (2 * rate), _HALF_STORED)
        #: Records without a time stamp.
        self.unstamped = 0
        self._first: Fraction | None = None
        #: Number and shift of the last stamped record, in seconds from where the samples put it.
        self._last = (0, Fraction(0))
        self._gaps = 0
        self._lost = self._first_gap = Fraction(0)
        self._steps: tuple[Fraction, Fraction] | None = None
        self._worst = (0, Fraction(0))

    def add(self, first: int, annotations: NDArray[np.int16]) -> None:
        """Take data records from number ``first`` on, none before the last one that was taken.

        ``annotations`` are their samples of the stamped signal, (records, samples).
        """
        record_s = self._header.record_duration
        for number, row in enumerate(annotations, first):
            stamp = _stamp(self._header, row)
            if stamp is None:
                self.unstamped += 1
                continue
            shift = stamp - number * record_s
            if self._first is None:
                self._first = shift
            else:
                self._add_step(number, shift)
            self._last = number, shift

    def _add_step(self, number: int, shift: Fraction) -> None:
        before, last = self._last
        if shift == last:
            step = Fraction(0)
        else:
            step = (shift - last) / (number - before)
            if abs(shift - last) > self._tolerance:
                self._gaps += 1
                self._lost += abs(shift - last)
                self._first_gap = self._first_gap or number * self._header.record_duration
        low, high = self._steps or (step, step)
        self._steps = min(low, step), max(high, step)
        off = shift - (self._first or Fraction(0))
        if abs(off) > abs(self._worst[1]):
            self._worst = number, off

    @property
    def is_trusted(self) -> bool:
        """Whether an EDF+, or a file with a signal for them, leaves records without a stamp."""
        return self.unstamped > 0 or (self.signal is None and self._header.kind != "")

    @property
    def agrees(self) -> bool:
        """Whether every stamped record so far starts where the samples put it."""
        return abs(self._worst[1]) <= self._tolerance

    def check(self) -> None:
        """Raise :class:`UnusableEdf` with the seconds where stamps and samples disagree.

        ``discontinuous`` where something is missing between records, or a record of an EDF+D has
        no stamp; ``clock_drift`` where the two clocks run at different speeds.
        """
        if self._header.kind == "EDF+D" and self.signal is None:
            raise UnusableEdf("discontinuous", "no time stamps")
        if self._header.kind == "EDF+D" and self.unstamped:
            raise UnusableEdf("discontinuous", f"{self.unstamped} data records have no time stamp")
        if self.agrees:
            return
        low, high = self._steps or (Fraction(0), Fraction(0))
        most = _LARGEST_DRIFT * self._header.record_duration
        even = high - low <= self._tolerance and max(abs(low), abs(high)) <= most
        if self._gaps and not even:
            raise UnusableEdf(
                "discontinuous",
                f"{self._gaps} gaps of {float(self._lost):g} s in all, the first at "
                f"{float(self._first_gap):g} s",
            )
        number, off = self._worst
        raise UnusableEdf(
            "clock_drift",
            f"the time stamps are {abs(float(off)):g} s {'ahead of' if off > 0 else 'behind'} the "
            f"samples {float(number * self._header.record_duration):g} s after the start",
        )
