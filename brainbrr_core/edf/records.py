"""Data records of a recording: how many whole ones a file has, and reading some of them."""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import NDArray

from brainbrr_core.edf.header import EdfHeader
from brainbrr_core.edf.source import Digital, EdfBytes

#: Bytes of data records that are read at once.
_CHUNK_BYTES = 1 << 22


def whole_records(file: EdfBytes, header: EdfHeader) -> tuple[int, int]:
    """How many whole data records a file has, and the bytes that follow them.

    Not more than 0 where the file ends within its header. Raises ``OSError``.
    """
    return divmod(file.size() - header.header_bytes, header.sample_bytes * header.record_samples)


def available_records(file: EdfBytes, header: EdfHeader) -> int:
    """How many data records can be read: not more than the header promises. Raises ``OSError``."""
    whole, _ = whole_records(file, header)
    return max(whole if header.records < 0 else min(whole, header.records), 0)


def read_records(file: EdfBytes, header: EdfHeader, first: int, stop: int) -> NDArray[Digital]:
    """Data records ``first`` up to ``stop``, (records, samples of a record). Raises ``OSError``."""
    size = header.record_samples
    count = (stop - first) * size
    width = header.sample_bytes
    start = header.header_bytes + width * first * size
    return file.samples(start, count, width).reshape(-1, size)


def record_chunks(
    file: EdfBytes, header: EdfHeader, records: int
) -> Iterator[tuple[int, NDArray[Digital]]]:
    """The first ``records`` data records, some megabytes at a time.

    Each chunk, (records, samples of a record), comes with the number of its first record. Raises
    ``OSError``.
    """
    step = max(1, _CHUNK_BYTES // (header.sample_bytes * header.record_samples))
    for first in range(0, records, step):
        yield first, read_records(file, header, first, min(first + step, records))
