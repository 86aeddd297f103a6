"""Parquet files of which no flipped bit is ever read as other content.

The footer holds the BLAKE3 of all bytes of the file, those of the hash itself taken as zeros.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

_CHECKSUM = b"brainbrr.blake3"
_NO_CHECKSUM = b"0" * 64


class ChecksumMismatch(Exception):
    """Some byte of the file is not as it was written."""


def encode_checked(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """A table and texts about it as the bytes of a sealed Parquet file."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**metadata, _CHECKSUM.decode(): _NO_CHECKSUM.decode()})
    content = buffer.getvalue()
    place = _checksum_place(content)
    end = place + len(_NO_CHECKSUM)
    if place < 0 or content[place:end] != _NO_CHECKSUM:
        raise ValueError("the Parquet writer put its metadata elsewhere")
    checksum = blake3(content).hexdigest().encode()
    # What holds the bytes is written to: without this name for them, none is copied.
    del content
    buffer.seek(place)
    buffer.write(checksum)
    return buffer.getvalue()


def open_checked(content: bytes, repetitive: Sequence[str] = ()) -> pq.ParquetFile:
    """The file of :func:`encode_checked`, of which nothing but the footer is unpacked.

    Columns of texts that are ``repetitive`` (paths of the Parquet schema) are read as codes and
    the different texts.

    Raises :class:`ChecksumMismatch` unless the file is whole.
    """
    place = _checksum_place(content)
    end = place + len(_NO_CHECKSUM)
    view = memoryview(content)
    hasher = blake3(view[: max(place, 0)])
    hasher.update(_NO_CHECKSUM)
    hasher.update(view[end:])
    if place < 0 or hasher.hexdigest().encode() != content[place:end]:
        raise ChecksumMismatch
    return pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(repetitive))


def read_texts(file: pq.ParquetFile) -> dict[str, str]:
    """The texts about the table of a sealed file."""
    return {key.decode(): text.decode() for key, text in file.metadata.metadata.items()}


def read_column(file: pq.ParquetFile, group: int, name: str) -> pa.Array:
    """One column of a row group of a sealed file, in one piece."""
    return file.read_row_group(group, [name], use_threads=False)[name].combine_chunks()


def _checksum_place(content: bytes) -> int:
    """Where the footer holds the checksum; -1 where it does not."""
    key = content.rfind(_CHECKSUM)
    if key < 0:
        return -1
    # Thrift's compact form: the field's type, the length of the text, the text.
    place = key + len(_CHECKSUM) + 2
    return place if place + len(_NO_CHECKSUM) <= len(content) else -1
