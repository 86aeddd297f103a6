"""The signals of a recording as they are in the file, including files that give no recording.

Whatever can be read is read; nothing is judged or refused here. ``reader`` says what is wrong with
a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import (
    ANNOTATIONS,
    BDF_ANNOTATIONS,
    EdfHeader,
    EdfSignal,
    UnusableEdf,
    read_header,
)
from brainbrr_core.edf.records import available_records, record_chunks
from brainbrr_core.edf.source import Digital, EdfBytes

#: Seconds that a data record may last: times outside these limits cannot be drawn to scale.
_RECORD_S = (1e-6, 1e6)
#: The range of 32-bit numbers.
_INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A recording that can be read: its header, and how many data records it has."""

    file: EdfBytes
    header: EdfHeader
    records: int

    @property
    def duration_s(self) -> float:
        """Duration of all data records in seconds; gaps between them are not counted."""
        return float(self.records * self.header.record_duration)

    def rate(self, signal: EdfSignal) -> Fraction:
        """Samples per second of a signal."""
        return signal.samples / self.header.record_duration

    def chunks(self) -> Iterator[tuple[int, NDArray[Digital]]]:
        """All data records, as :func:`~brainbrr_core.edf.records.record_chunks` gives them.

        Samples that a library decoded are rounded to whole nV; what is not a number becomes 0.
        """
        for first, records in record_chunks(self.file, self.header, self.records):
            if records.dtype.kind == "f":
                yield first, np.rint(np.nan_to_num(records)).clip(*_INT32).astype(np.int32)
            else:
                yield first, records


def open_raw(file: EdfBytes) -> RawFile:
    """Open a recording without judging it.

    Raises :class:`UnusableEdf` when its header makes no sense or it has no whole data record, and
    ``OSError`` when it cannot be opened.
    """
    header = read_header(file)
    if not _RECORD_S[0] <= header.record_duration <= _RECORD_S[1]:
        raise UnusableEdf("unreadable", "the header gives no possible duration of a data record")
    records = available_records(file, header)
    if not records:
        raise UnusableEdf("no_samples")
    return RawFile(file, header, records)


def is_annotation(signal: EdfSignal) -> bool:
    """Whether a signal of an EDF+ or BDF+ file holds text instead of samples."""
    return signal.label in (ANNOTATIONS, BDF_ANNOTATIONS)


def calibration(signal: EdfSignal) -> tuple[float, float, str]:
    """Gain, offset and unit of a signal: a value is ``gain * sample + offset``.

    The unit is µV, or digital units where the header gives no usable calibration.
    """
    try:
        gain = signal.microvolts()
        low, high, bottom, top = (float(text) for text in signal.ranges)
    except UnusableEdf:
        return 1.0, 0.0, "digital units"
    return gain, gain * (low * (top - bottom) / (high - low) - bottom), "µV"
