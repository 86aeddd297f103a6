"""The catalog: what the remote copy of one version holds, by the hash of every object.

It is written after the objects it names, and replaced whole, so whoever reads it finds what it
promises. An object is named by the BLAKE3 hash of its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brainbrr_core.corpus.layouts.base import is_partition_key
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import canonical_json
from brainbrr_core.remote.interface import DOCUMENT_LIMIT

#: Bumped when the catalog's fields change.
SCHEMA_VERSION = 1
NAME = "catalogue.json"
#: Bytes of the largest catalog that is written or read; 100,000 shards have 30 MB.
CATALOG_LIMIT = 64 * 2**20
#: Bytes for each value of a catalog, at least: a shard's row has several times as many. What
#: has more values is made to fill the memory when it is parsed.
_VALUE_BYTES, _FEW_VALUES = 16, 1000
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """One object: the BLAKE3 hash of its bytes, as hex, and their number."""

    hash: str
    size: int

    @property
    def name(self) -> str:
        """Where it lies below its version."""
        return f"objects/{self.hash[:2]}/{self.hash}"


@dataclass(frozen=True, slots=True)
class ShardBlob(Blob):
    """A shard's object, and the fingerprint that the shard carries."""

    fingerprint: str


@dataclass(frozen=True)
class Catalog:
    """The index and the shards of one version, by partition key."""

    version: str
    index: Blob
    shards: Mapping[str, ShardBlob]

    @property
    def shard_bytes(self) -> int:
        """Bytes of every shard."""
        return sum(blob.size for blob in self.shards.values())

    def content(self) -> bytes:
        """The catalog as a file: the same bytes for the same content.

        Raises :class:`BrainbrrError` where it is larger than what is read.
        """
        values = {
            "schema": SCHEMA_VERSION,
            "version": self.version,
            "index": [self.index.hash, self.index.size],
            "shards": {
                key: [blob.hash, blob.size, blob.fingerprint] for key, blob in self.shards.items()
            },
        }
        content = canonical_json(values).encode()
        if len(content) > CATALOG_LIMIT:
            raise BrainbrrError(
                f"the catalog of {len(self.shards)} shards has {len(content) / 1e6:.0f} MB, and "
                f"{CATALOG_LIMIT / 1e6:.0f} MB can be read: use a smaller --profile"
            )
        return content


def parse_catalog(content: bytes, version: str | None, where: str) -> Catalog:
    """Read a catalog of ``version`` (any, where None); ``where`` names it in errors.

    Raises :class:`BrainbrrError` for anything that is not exactly one.
    """
    if len(content) > CATALOG_LIMIT:
        raise BrainbrrError(f"{where} is refused: a catalog of {len(content)} bytes")
    if sum(map(content.count, (b",", b"[", b"{"))) > len(content) / _VALUE_BYTES + _FEW_VALUES:
        raise BrainbrrError(f"{where} is no catalog (it holds too many values)")
    try:
        values = json.loads(content)
        schema, found = values["schema"], values["version"]
        index = Blob(*_blob(values["index"]))
        shards = {
            _checked_key(key): ShardBlob(*_blob(fields[:2]), _checked_hash(fields[2]))
            for key, fields in sorted(values["shards"].items())
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise BrainbrrError(f"{where} is no catalog ({type(error).__name__}: {error})") from None
    if index.size > DOCUMENT_LIMIT:
        raise BrainbrrError(f"{where} is refused: an index of {index.size} bytes")
    if schema != SCHEMA_VERSION:
        raise BrainbrrError(f"{where} is of another version of the program: push it anew")
    if not isinstance(found, str) or not is_partition_key(found) or "/" in found:
        raise BrainbrrError(f"{where} is no catalog (it names no version)")
    if version is not None and found != version:
        raise BrainbrrError(f"{where} is the catalog of {found}, not of {version}")
    return Catalog(found, index, shards)


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raise :class:`BrainbrrError` naming the first key that would leave the cache root."""
    for key in keys:
        if not is_partition_key(key):
            raise BrainbrrError(
                f"{where} is refused: {key!r} is no partition key that travels (no part of it may "
                "begin with a dot, and every character must be printable): remove or rename that "
                "recording where the index was made, and run `brainbrr index` there"
            )


def _checked_key(key: str) -> str:
    if not is_partition_key(key):
        raise ValueError(f"{key!r} is no partition key")
    return key


def _checked_hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("no hash")
    return value


def _blob(fields: Any) -> tuple[str, int]:
    name, size = fields
    if type(size) is not int or size < 0:
        raise ValueError("no size")
    return _checked_hash(name), size
