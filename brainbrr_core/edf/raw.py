"""The signals of an EDF as they stand in the file, also where no recording can be made of it.

Nothing is judged here and nothing refused that can be read: what is wrong with the file is said
beside the signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.edf.header import EdfHeader, EdfSignal, UnusableEdf, read_header
from brainbrr_core.edf.source import LocalEdf

#: Bytes of data records that are read at once.
_STRETCH_BYTES = 8_000_000
#: Seconds of a data record that a device may write; times outside cannot be drawn to scale.
_RECORD_S = (1e-6, 1e6)


@dataclass(frozen=True, slots=True)
class RawFile:
    """Header and number of the data records of an EDF that can be read."""

    file: LocalEdf
    header: EdfHeader
    records: int

    @property
    def duration_s(self) -> float:
        """Seconds that the data records last, gaps between them not counted."""
        return float(self.records * self.header.record_duration)

    def rate(self, signal: EdfSignal) -> Fraction:
        """Samples per second of a signal."""
        return signal.samples / self.header.record_duration

    def stretches(self) -> Iterator[tuple[int, NDArray[np.int16]]]:
        """Number of a data record, and some records from it, (records, record samples)."""
        size = self.header.record_samples
        step = max(1, _STRETCH_BYTES // (2 * size))
        for first in range(0, self.records, step):
            count = min(step, self.records - first)
            offset = self.header.header_bytes + 2 * first * size
            yield first, self.file.samples(offset, count * size).reshape(-1, size)


def open_raw(path: Path) -> RawFile:
    """Open an EDF without judging it.

    Raises :class:`UnusableEdf` when it has no header that makes sense or no whole data record,
    ``OSError`` when it cannot be opened.
    """
    file = LocalEdf(path)
    header = read_header(file)
    if not _RECORD_S[0] <= header.record_duration <= _RECORD_S[1]:
        raise UnusableEdf("unreadable", "the duration of a data record")
    held = (file.size() - header.header_bytes) // (2 * header.record_samples)
    records = held if header.records < 0 else min(held, header.records)
    if records <= 0:
        raise UnusableEdf("no_samples")
    return RawFile(file, header, records)


def is_annotation(signal: EdfSignal) -> bool:
    """Whether a signal of an EDF+ holds text and no samples."""
    return signal.label in ("EDF Annotations", "BDF Annotations")


def calibration(signal: EdfSignal) -> tuple[float, float, str]:
    """Gain, offset and unit of ``gain * sample + offset``: µV, or digital units without one."""
    try:
        gain = signal.microvolts()
        low, high, bottom, top = (float(text) for text in signal.ranges)
    except UnusableEdf:
        return 1.0, 0.0, "digital units"
    return gain, gain * (low * (top - bottom) / (high - low) - bottom), "µV"
