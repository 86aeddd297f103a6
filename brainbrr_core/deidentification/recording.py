"""One EDF: opened as a source, and the bytes of a copy that does not say who was recorded."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.annotation.texts import Texts
from brainbrr_core.deidentification.annotations import AnnotationFilter
from brainbrr_core.deidentification.header import (
    UNKNOWN_DATE,
    HeaderFields,
    Identity,
    clean_header,
)
from brainbrr_core.edf.header import EdfHeader, UnusableEdf, read_header
from brainbrr_core.edf.records import record_chunks, whole_records
from brainbrr_core.edf.source import LocalEdf


@dataclass(frozen=True)
class SourceEdf:
    """An EDF with whole data records, opened by :func:`open_source`.

    ``trailing`` counts the bytes after the last of them that the header promises.
    """

    file: LocalEdf
    header: EdfHeader
    fields: HeaderFields
    records: int
    trailing: int

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """The dates that the header gives: of the recording, twice, and of the patient's birth."""
        start = self.header.start.date() if self.header.start is not None else None
        dates = (start, self.fields.recording_date, self.fields.birth_date)
        return tuple(date for date in dates if date is not None and date != UNKNOWN_DATE)


def open_source(path: Path) -> SourceEdf:
    """Open an EDF, or an EDF+ with annotations alone, to copy it.

    Raises :class:`UnusableEdf` for a header that makes no sense and for a file that is cut short,
    and ``OSError`` when it cannot be read.
    """
    file = LocalEdf(path)
    header = read_header(file, without_signals=True)
    if header.sample_bytes != 2:
        raise UnusableEdf("unreadable", "a BDF: only EDFs are copied")
    whole, rest = whole_records(file, header)
    if whole <= 0:
        raise UnusableEdf("no_samples", "no whole data record")
    if whole < header.records:
        raise UnusableEdf("truncated_file", f"{whole} of {header.records} data records")
    records = whole if header.records < 0 else header.records
    if not records:
        raise UnusableEdf("no_samples", "no data record")
    trailing = rest + (whole - records) * 2 * header.record_samples
    fields = HeaderFields.of(file.head(header.header_bytes))
    return SourceEdf(file, header, fields, records, trailing)


def cleaned(
    source: SourceEdf, identity: Identity | None, texts: Texts, removed: Counter[str]
) -> Iterator[bytes]:
    """The bytes of a copy that says nothing of the patient, some megabytes at a time.

    Samples are those of the source, bit for bit. What is left out is counted in ``removed``, by
    kind. Raises :class:`UnusableEdf`, also after some of the bytes, for a file that cannot be
    copied in this way, and ``OSError`` when it cannot be read.
    """
    header = source.header
    yield clean_header(source.fields, header, source.records, identity, removed)
    if source.trailing:
        removed["trailing_bytes"] += 1
    annotations = AnnotationFilter(header, texts, removed)
    for _, records in record_chunks(source.file, header, source.records):
        annotations.apply(records)
        yield records.tobytes()
    annotations.finish()
