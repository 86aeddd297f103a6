"""Canonical JSON, and the digest of a value computed from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TypeAlias

#: A value that JSON can express.
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: Json) -> str:
    """JSON text that is identical for equal values on every Python: sorted, compact, ASCII.

    Raises ``ValueError`` for NaN and infinities.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Json) -> str:
    """The SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def json_text(text: str) -> str:
    """Encode a string as :func:`canonical_json` does, in a tenth of the time."""
    return encode_basestring_ascii(text)
