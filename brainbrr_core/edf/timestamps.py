"""The time axis of an EDF: whether its data records follow each other as their samples say.

In EDF+ each data record begins its first annotation signal with ``+567.25`` and two bytes 0x14:
its start in seconds after that of the file (EDF+ specification, 2003, 2.2.4). Where a file has
time stamps, these decide and not its reserved field, which is easily blanked or written in another
way while the gap remains. Everything that reads an EDF asks :class:`RecordClock`.
"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import EdfHeader, EdfSignal, UnusableEdf
from brainbrr_core.edf.records import record_chunks
from brainbrr_core.edf.source import Digital, EdfBytes, as_bytes

#: A start in seconds; its length is bounded because the file is untrusted input.
_STAMP = re.compile(rb"([+-][0-9]{1,10}(?:\.[0-9]{0,12})?)\x14")
#: The same in a file that is not marked as EDF+: only the empty text after the start tells a time
#: stamp from an annotation.
_EMPTY_STAMP = re.compile(_STAMP.pattern + rb"\x14")
#: Half a sample of the cache (256 Hz) in seconds: a smaller shift leaves every sample the same.
_HALF_STORED = Fraction(1, 512)
#: Fraction of a record by which two clocks may differ in each record; more than that is a gap.
_LARGEST_DRIFT = Fraction(1, 100)
#: Data records that are read where reading all of them would take long.
_PROBES = 8


def stamped_signal(header: EdfHeader) -> EdfSignal | None:
    """The signal that holds the time stamps; None where there is none."""
    annotations = filter(header.is_text, header.signals)
    first = next(annotations, None)
    return first if first is not None and first.samples else None


def first_stamp(file: EdfBytes, header: EdfHeader) -> Fraction:
    """Seconds from the start in the header to the first sample; 0 without a time stamp.

    Raises ``OSError`` when the file cannot be read.
    """
    signal = stamped_signal(header)
    if signal is None:
        return Fraction(0)
    return _stamp(header, _annotations(file, header, signal, 0)) or Fraction(0)


def spaced_records(records: int) -> list[int]:
    """Numbers of a few data records: the first, the last, and some evenly spaced between them."""
    return sorted({int(number) for number in np.linspace(0, records - 1, _PROBES)})


def record_clock(file: EdfBytes, header: EdfHeader, records: int, rate: Fraction) -> RecordClock:
    """The clock of a file with ``records`` data records, having read as many stamps as it needs.

    It reads every stamp of an EDF+D, and of a file whose reserved field names neither kind. An
    EDF+C promises that nothing is missing between its records: eight evenly spaced stamps are
    checked, including the first and the last, and the others are read only when one of the eight
    is not where it should be. Gaps that cancel out between two of the eight are not noticed.
    Raises ``OSError`` when the file cannot be read.
    """
    clock = RecordClock(header, rate)
    signal = clock.signal
    if signal is None:
        return clock
    if header.kind == "EDF+C":
        for number in spaced_records(records):
            clock.add(number, _annotations(file, header, signal, number)[None])
        if clock.agrees:
            return clock
        clock = RecordClock(header, rate)
    for first, chunk in record_chunks(file, header, records):
        clock.add(first, chunk[:, signal.offset : signal.offset + signal.samples])
    return clock


def _annotations(
    file: EdfBytes, header: EdfHeader, signal: EdfSignal, number: int
) -> NDArray[Digital]:
    """The samples of ``signal`` in one data record."""
    before = number * header.record_samples + signal.offset
    width = header.sample_bytes
    return file.samples(header.header_bytes + width * before, signal.samples, width)


def _stamp(header: EdfHeader, annotations: NDArray[Digital]) -> Fraction | None:
    match = (_STAMP if header.kind else _EMPTY_STAMP).match(as_bytes(annotations))
    return None if match is None else Fraction(match[1].decode())


class RecordClock:
    """Compares the time stamp of each data record with the time that its samples give.

    A record's time follows from the number of samples since the first record. No stamp may differ
    from it by more than half a sample (at 256 Hz, or at the recording's rate where that is lower).
    A gap, a step back, and many steps too small to matter alone all exceed this limit. ``rate`` is
    that of the electrodes, in Hz. Memory does not grow with the number of records.
    """

    def __init__(self, header: EdfHeader, rate: Fraction) -> None:
        self._header = header
        #: The signal that holds the time stamps; None where there is none.
        self.signal = stamped_signal(header)
        self._tolerance = max(1 / (2 * rate), _HALF_STORED)
        #: Number of records without a time stamp.
        self.unstamped = 0
        self._first: Fraction | None = None
        #: Number of the last stamped record, and how many seconds its stamp is ahead of its
        #: samples.
        self._last = (0, Fraction(0))
        self._gaps = 0
        self._lost = self._first_gap = Fraction(0)
        self._steps: tuple[Fraction, Fraction] | None = None
        self._worst = (0, Fraction(0))

    def add(self, first: int, annotations: NDArray[Digital]) -> None:
        """Add data records, starting with number ``first``, in ascending order.

        ``annotations`` are the samples of the stamped signal in them, (records, samples).
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
        """Whether stamps are missing, so that the absence of gaps is taken on trust.

        So it is in an EDF+, or a file with a signal for stamps, that has records without one.
        """
        return self.unstamped > 0 or (self.signal is None and self._header.kind != "")

    @property
    def agrees(self) -> bool:
        """Whether every stamp so far agrees with the samples."""
        return abs(self._worst[1]) <= self._tolerance

    def check(self) -> None:
        """Raise :class:`UnusableEdf`, with the seconds, where stamps and samples disagree.

        The reason is ``discontinuous`` where something is missing between records or a record of
        an EDF+D has no stamp, and ``clock_drift`` where the two clocks run at different speeds.
        """
        if self._header.kind == "EDF+D" and self.signal is None:
            raise UnusableEdf("discontinuous", "no time stamps")
        if self._header.kind == "EDF+D" and self.unstamped:
            raise UnusableEdf("discontinuous", f"{self.unstamped} data records have no time stamp")
        if self.agrees:
            return
        low, high = self._steps or (Fraction(0), Fraction(0))
        limit = _LARGEST_DRIFT * self._header.record_duration
        even = high - low <= self._tolerance and max(abs(low), abs(high)) <= limit
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
