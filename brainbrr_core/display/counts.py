"""Numbers with their nouns, in the one place that knows the plural."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 recording``, ``1,200 recordings``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
