"""Parquet files with a checksum, so that a flipped bit is always detected.

The footer holds the BLAKE3 hash of the whole file, computed with ASCII zeros in place of the hash.
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
    """The file's bytes do not match its checksum, or it has none."""


def encode_checked(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """Encode a table and its metadata as the bytes of a Parquet file with a checksum."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**metadata, _CHECKSUM.decode(): _NO_CHECKSUM.decode()})
    content = buffer.getvalue()
    offset = _checksum_place(content)
    end = offset + len(_NO_CHECKSUM)
    if offset < 0 or content[offset:end] != _NO_CHECKSUM:
        raise ValueError("the Parquet writer did not put the checksum where it is expected")
    checksum = blake3(content).hexdigest().encode()
    # As long as a name refers to these bytes, writing to the buffer would copy all of them.
    del content
    buffer.seek(offset)
    buffer.write(checksum)
    return buffer.getvalue()


def open_checked(content: bytes, repetitive: Sequence[str] = ()) -> pq.ParquetFile:
    """Verify and open the bytes of a file of :func:`encode_checked`, decoding only its footer.

    String columns named in ``repetitive`` (paths of the Parquet schema) are read as Arrow
    dictionary arrays.

    Raises :class:`ChecksumMismatch` if the bytes do not match their checksum.
    """
    offset = _checksum_place(content)
    end = offset + len(_NO_CHECKSUM)
    view = memoryview(content)
    hasher = blake3(view[: max(offset, 0)])
    hasher.update(_NO_CHECKSUM)
    hasher.update(view[end:])
    if offset < 0 or hasher.hexdigest().encode() != content[offset:end]:
        raise ChecksumMismatch
    return pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(repetitive))


def read_texts(file: pq.ParquetFile) -> dict[str, str]:
    """The key-value metadata in the footer of a file of :func:`encode_checked`."""
    return {key.decode(): text.decode() for key, text in file.metadata.metadata.items()}


def read_column(file: pq.ParquetFile, group: int, name: str) -> pa.Array:
    """Read one column of a row group as a single array."""
    return file.read_row_group(group, [name], use_threads=False)[name].combine_chunks()


def _checksum_place(content: bytes) -> int:
    """Offset of the checksum in the bytes of a file; -1 if there is none."""
    key = content.rfind(_CHECKSUM)
    if key < 0:
        return -1
    # In Thrift's compact protocol, a byte of type and one of length precede the text.
    offset = key + len(_CHECKSUM) + 2
    return offset if offset + len(_NO_CHECKSUM) <= len(content) else -1
