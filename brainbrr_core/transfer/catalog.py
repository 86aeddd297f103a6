"""The catalog: the objects in the remote copy of one version, each with the hash of its bytes.

The catalog is written after the objects that it names, and always replaced as a whole, so a reader
finds everything that it promises. An object is named by the BLAKE3 hash of its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from brainbrr_core.corpus.layouts.base import is_partition_key
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.canonical import Json, canonical_json
from brainbrr_core.remote.interface import DOCUMENT_LIMIT

#: Increased when the fields of the catalog change.
SCHEMA_VERSION = 1
NAME = "catalogue.json"
#: Bytes of the largest catalog that is written or read; that of 100,000 shards has 30 MB.
CATALOG_LIMIT = 64 * 2**20
#: A catalog has at least this many bytes for each of its values; a shard's row has several times
#: as many. A document with more values was made to fill the memory of whoever parses it.
_VALUE_BYTES, _FEW_VALUES = 16, 1000


@dataclass(frozen=True, slots=True)
class Blob:
    """One object: the BLAKE3 hash of its bytes, in hexadecimal, and their number."""

    hash: str
    size: int

    @property
    def name(self) -> str:
        """The name of the object below its version."""
        return f"objects/{self.hash[:2]}/{self.hash}"


@dataclass(frozen=True, slots=True)
class ShardBlob(Blob):
    """The object of a shard, and the fingerprint that the shard carries."""

    fingerprint: str


@dataclass(frozen=True)
class Catalog:
    """The index and the shards of one version; the shards by partition key."""

    version: str
    index: Blob
    shards: Mapping[str, ShardBlob]

    @property
    def shard_bytes(self) -> int:
        """Total bytes of all shards."""
        return sum(blob.size for blob in self.shards.values())

    def content(self) -> bytes:
        """The catalog as the bytes of a file: the same bytes for the same content.

        Raises :class:`BrainbrrError` if there are more bytes than a reader accepts.
        """
        values: dict[str, Json] = {
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
                f"the catalog of {len(self.shards)} shards has {len(content) / 1e6:.0f} MB, and at "
                f"most {CATALOG_LIMIT / 1e6:.0f} MB are read: use a smaller --profile"
            )
        return content


_Hash = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
_Size = Annotated[int, Field(strict=True, ge=0)]
_ROW = TypeAdapter(tuple[_Hash, _Size, _Hash])


def _check_version(version: str) -> str:
    if not is_partition_key(version) or "/" in version:
        raise ValueError(f"{version!r} is not the name of a version")
    return version


def _parse_shards(rows: object) -> dict[str, ShardBlob]:
    """Check the rows one by one: of a million wrong ones, only the first becomes an error."""
    if not isinstance(rows, dict):
        raise ValueError("not a JSON object")
    shards = {}
    for key in sorted(rows):
        if not is_partition_key(key):
            raise ValueError(f"{key!r} is not a partition key")
        try:
            shards[key] = ShardBlob(*_ROW.validate_python(rows[key]))
        except ValidationError as error:
            raise ValueError(f"the row of {key!r}: {_explain(error)}") from None
    return shards


class _CatalogFile(BaseModel):
    """The JSON of a catalog."""

    schema_version: Annotated[int, Field(alias="schema", strict=True)]
    version: Annotated[str, AfterValidator(_check_version)]
    index: tuple[_Hash, _Size]
    shards: Annotated[dict[str, ShardBlob], PlainValidator(_parse_shards)]


def parse_catalog(content: bytes, version: str | None, where: str) -> Catalog:
    """Parse the catalog of ``version``, or of any version if that is None.

    ``where`` names the catalog in messages. Raises :class:`BrainbrrError` if ``content`` is not a
    catalog of that version, or would take too much memory.
    """
    if len(content) > CATALOG_LIMIT:
        raise BrainbrrError(
            f"{where} is refused: it has {len(content):,} bytes, and a catalog has at most "
            f"{CATALOG_LIMIT:,}"
        )
    if sum(map(content.count, (b",", b"[", b"{"))) > len(content) / _VALUE_BYTES + _FEW_VALUES:
        raise BrainbrrError(f"{where} is not a catalog: it has too many values for its size")
    try:
        file = _CatalogFile.model_validate_json(content)
    except ValidationError as error:
        raise BrainbrrError(f"{where} is not a catalog: {_explain(error)}") from None
    index = Blob(*file.index)
    if index.size > DOCUMENT_LIMIT:
        raise BrainbrrError(
            f"{where} is refused: it names an index of {index.size:,} bytes, and an index has at "
            f"most {DOCUMENT_LIMIT:,}"
        )
    if file.schema_version != SCHEMA_VERSION:
        raise BrainbrrError(
            f"{where} is from another version of brainbrr (schema {file.schema_version}, not "
            f"{SCHEMA_VERSION}): push again with the version installed here"
        )
    if version is not None and file.version != version:
        raise BrainbrrError(f"{where} is the catalog of {file.version}, not of {version}")
    return Catalog(file.version, index, file.shards)


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, on one line of bounded length."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    location = " ".join(str(step) for step in first["loc"])
    return " ".join(f"{location}: {first['msg']}".removeprefix(": ").split())[:300]


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raise :class:`BrainbrrError` naming the first key whose shard would lie outside the cache."""
    for key in keys:
        if not is_partition_key(key):
            raise BrainbrrError(
                f"{where} is refused: {key!r} is not a partition key that can be transferred (no "
                "component may begin with a dot, and every character must be printable): remove or "
                "rename that recording where the index was made, and run `brainbrr index` there"
            )
