"""Times in annotation files: written so that reading gives the very same number back.

Scores turn on single comparisons (a gap of exactly 90 s, an edge on a sample), so that a rounded
time may be counted otherwise than the one it was rounded from.
"""

from __future__ import annotations

import math
from decimal import Decimal

_LEAST_DECIMALS = 4


def seconds_text(seconds: float) -> str:
    """The shortest decimal fraction that reads as ``seconds``, with four decimals at least."""
    whole, _, decimals = f"{Decimal(repr(float(seconds))):f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_LEAST_DECIMALS, '0')}"


def duration_to(start: float, stop: float) -> float:
    """The duration that, added to ``start``, gives ``stop``, 0 <= ``start`` <= ``stop``.

    ``stop - start`` is rounded, so that the sum may miss ``stop`` by its last bit. Where no number
    hits it (the sum lies halfway to each neighbor), it is the one that misses by that bit.
    """
    duration = stop - start
    nearer = duration
    for _ in range(3):
        if start + nearer == stop:
            return nearer
        nearer = math.nextafter(nearer, math.inf if start + nearer < stop else 0.0)
    return duration
