"""Times in annotation files, written so that reading them gives exactly the same number.

Scores depend on single comparisons (a gap of exactly 90 s, an edge on a sample), so a rounded time
may be scored differently from the original.
"""

from __future__ import annotations

from decimal import Decimal

_LEAST_DECIMALS = 4


def seconds_text(seconds: float) -> str:
    """The shortest decimal text that reads as ``seconds``, with at least four decimals."""
    whole, _, decimals = f"{Decimal(repr(float(seconds))):f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_LEAST_DECIMALS, '0')}"


def duration_to(start: float, stop: float) -> float:
    """The duration that gives ``stop`` when added to ``start``, for 0 <= ``start`` <= ``stop``.

    The sum may differ from ``stop`` in its last bit. This happens only where the exact duration
    lies halfway between two numbers, and then no number gives ``stop``.
    """
    return stop - start
