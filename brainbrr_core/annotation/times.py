"""Times in annotation files, written so that reading them gives exactly the same number.

Scores depend on single comparisons (a gap of exactly 90 s, an edge on a sample), so a rounded time
may be scored differently from the original.
"""

from __future__ import annotations

import math
from decimal import Decimal

_LEAST_DECIMALS = 4


def seconds_text(seconds: float) -> str:
    """The shortest decimal text that reads as ``seconds``, with at least four decimals."""
    whole, _, decimals = f"{Decimal(repr(float(seconds))):f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_LEAST_DECIMALS, '0')}"


def duration_to(start: float, stop: float) -> float:
    """The duration that gives ``stop`` when added to ``start``, for 0 <= ``start`` <= ``stop``.

    ``stop - start`` is rounded, so the sum may differ from ``stop`` in its last bit. Where no
    number gives ``stop`` exactly (the sum is halfway between two numbers), the result keeps that
    error.
    """
    duration = stop - start
    nearer = duration
    for _ in range(3):
        if start + nearer == stop:
            return nearer
        nearer = math.nextafter(nearer, math.inf if start + nearer < stop else 0.0)
    return duration
