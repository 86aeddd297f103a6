"""Times of a recording as text."""

from __future__ import annotations


def clock(seconds: float, digits: int = 0) -> str:
    """Seconds from the start of a recording as ``h:mm:ss``, with ``digits`` decimals."""
    rounded = round(seconds, digits)
    width = digits + 3 if digits else 2
    minutes, rest = divmod(rounded, 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:0{width}.{digits}f}"
